"""Fixtures that tests share: the folder of golden numbers, a small weights file, a small scan."""

from __future__ import annotations

import functools
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import nibabel as nib
import pytest
import torch
from hypothesis import settings

from support.recipes import Recipe
from support.samples import make_scan, small_card, small_model
from umlite.cpu import compiler, libraries
from umlite.errors import DeviceError
from umlite.weights.loading import save_model

settings.register_profile("umlite", deadline=None)  # a shared core may be taken away for seconds
settings.load_profile("umlite")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell without job control starts what it puts behind
    signal.signal(signal.SIGINT, signal.default_int_handler)  # programs that tests interrupt would inherit it


@functools.cache
def _compiles() -> bool:
    """Whether this machine has a C compiler that works."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "one.c"
        source.write_text("int one = 1;\n")
        try:
            compiler.compile_source(source, source.with_suffix(".so"), compiler.compiler())
        except compiler.CompilerError:
            return False
    return True


def _has_kernels() -> bool:
    try:
        return bool(libraries.description())
    except compiler.CompilerError:
        return False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    if item.get_closest_marker("compiler") and not _compiles():
        pytest.skip("needs a C compiler")
    if item.get_closest_marker("kernels") and not _has_kernels():
        pytest.skip("needs compiled kernels")
    yield from _skipped_without_a_compiler()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    yield from _skipped_without_a_compiler()


def _skipped_without_a_compiler() -> Generator[None, None, None]:
    """A test that needs compiled kernels is skipped where nothing can compile them; elsewhere it fails."""
    try:
        yield
    except DeviceError as error:
        if _compiles():
            raise
        pytest.skip(f"needs a C compiler: {error}")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small networks gain nothing from threads, and wait long for each other where cores are shared."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def all_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every core, for full-size networks."""
    monkeypatch.delenv("OMP_NUM_THREADS")
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Golden numbers and real scans: $UMLITE_SHARED, else `shared` beside the checkout."""
    folder = Path(os.environ.get("UMLITE_SHARED") or Path(__file__).parents[2] / "shared")
    if not (folder / "golden").is_dir():
        pytest.skip(f"needs the golden numbers in {folder} (UMLITE_SHARED names another folder)")
    return folder


@pytest.fixture(scope="session")
def recipe(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The recipe checkpoints that the golden numbers belong to."""
    return Recipe(shared, tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file of a small U-Net with the 32 published classes."""
    model = small_model()
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_model(path, model.state_dict(), small_card(model))
    return path


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic scan on disk."""
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    nib.save(make_scan(), path)
    return path
