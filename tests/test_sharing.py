"""One Segmenter for several threads, coroutines and processes: every answer is the one that it gives alone."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from support.samples import make_scan
from umlite import Segmenter
from umlite.machine import forks
from umlite.volume.reading import read_scan

ROOT = Path(__file__).parents[1]
CLASSES = "liver,spleen,kidneys"


@pytest.fixture(scope="module", params=["native", "torch"])
def segmenter(small_weights: Path, request: pytest.FixtureRequest) -> Segmenter:
    return Segmenter(small_weights, device="cpu", kernels=request.param)


@pytest.fixture(scope="module")
def scans() -> list[nib.Nifti1Image]:
    return [make_scan(shape, seed=seed) for seed, shape in enumerate([(40, 36, 30), (30, 24, 40), (24, 20, 20)])]


def masks(segmenter: Segmenter, scan: nib.Nifti1Image) -> dict[str, np.ndarray]:
    result = segmenter.segment(scan, CLASSES)
    return {name: result.mask(name) for name in result.voxels}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_threads(segmenter: Segmenter, scans: list[nib.Nifti1Image]) -> None:
    alone = [masks(segmenter, scan) for scan in scans]
    assert any(mask.any() for found in alone for mask in found.values())
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda i: masks(segmenter, scans[i % 3]), range(12)))
    assert [equal(one, alone[i % 3]) for i, one in enumerate(found)] == [True] * 12


def test_threads_with_one_scan_read_once(segmenter: Segmenter, scan_file: Path) -> None:
    scan = read_scan(scan_file)
    alone = segmenter.segment(scan, CLASSES).voxels
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: segmenter.segment(scan, CLASSES).voxels, range(4))) == [alone] * 4


def test_windows_of_several_sizes_from_several_threads(segmenter: Segmenter) -> None:
    windows = [torch.rand(2, 1, *shape) for shape in ((16, 16, 16), (24, 16, 16), (16, 16, 32))]
    alone = [segmenter.window_logits(window, "liver") for window in windows]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda i: segmenter.window_logits(windows[i % 3], "liver"), range(9)))
    assert all(torch.equal(one, alone[i % 3]) for i, one in enumerate(found))


def test_coroutines(segmenter: Segmenter, scans: list[nib.Nifti1Image]) -> None:
    async def all_of_them() -> list[dict[str, int]]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(None, segmenter.segment, scan, CLASSES) for scan in scans * 2]
        return [result.voxels for result in await asyncio.gather(*calls)]

    assert asyncio.run(all_of_them()) == [segmenter.segment(scan, CLASSES).voxels for scan in scans * 2]


@pytest.mark.parametrize("method", ["fork", "spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_processes(method: str, small_weights: Path, scan_file: Path) -> None:
    """With OpenMP's threads running in the parent, which a forked child has lost."""
    command = [sys.executable, str(ROOT / "tests/support/forked.py"), method, str(small_weights), str(scan_file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr[-2000:]
    assert lines[0] == ("inherited True" if method == "fork" else "inherited none")
    assert lines[1] == "own True"
    if method == "fork":
        assert "do not survive a fork" in lines[2]
        assert "forkserver" in lines[2]
    else:
        assert lines[2] == "two threads True"
    assert lines[3] == "parent True 2"


def test_a_lock_that_another_thread_holds_is_free_in_a_forked_child() -> None:
    lock, held, done = forks.Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if not child:
        with lock:
            os._exit(7)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 7
