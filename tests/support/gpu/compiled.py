"""Compile the very launches that launch code makes, for GPUs that are not there, and read what the compiler made.

    for launch in record(lambda: launch_something(*meta_tensors), "sm_90"):
        code = compile_launch(launch, "sm_90")
        assert code.spilled == 0 and code.loops[0]["FFMA"] == 272

Arguments go through Triton's own binding, so alignment and `== 1` specialisation happen as on a GPU. Tensors on the
meta device stand for aligned pointers of any size. Triton's wheels carry the tools.
"""

from __future__ import annotations

import functools
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import triton
from triton.runtime.jit import JITFunction, MockTensor

from support.gpu.stub_driver import SHARED_BYTES, TARGETS, pretend

CUOBJDUMP = str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump")  # of the wheel
MOST_PROGRAMS = (2**31 - 1, 65535, 65535)  # along each axis of a grid, on every target

NVIDIA = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);", re.MULTILINE)
AMD = re.compile(r"^(?:(\.L\w+):|\s+([a-z]+_[a-z0-9_]+)\s*([^;\n]*))", re.MULTILINE)


@dataclass(frozen=True)
class Launch:
    """One `kernel[grid](*args, **options)`; options are keyword arguments and launch options together."""

    kernel: JITFunction[Any]
    args: tuple[Any, ...]
    options: dict[str, Any]
    grid: tuple[int, ...]

    @property
    def name(self) -> str:
        return self.kernel.__name__


@dataclass(frozen=True)
class Code:
    """What the compiler made of a launch. Counts are instructions that one thread (one lane) issues."""

    target: str
    threads: int  # of a block
    registers: int
    spilled: int  # bytes a thread, or lanes' registers on AMD: anything but 0 is a spill
    shared: int  # bytes a block
    metadata: Any
    assembly: dict[str, Any]

    @functools.cached_property
    def text(self) -> str:
        """Machine code as text."""
        if "cubin" in self.assembly:
            return _cuobjdump("-sass", self.assembly["cubin"])
        return self.assembly["amdgcn"]

    @functools.cached_property
    def instructions(self) -> list[tuple[str, str]]:
        """(operation, place it may jump back to) in order; labels are entries with an empty operation."""
        if "cubin" in self.assembly:
            return [entry for place in NVIDIA.findall(self.text) for entry in (("", place[0]), (place[1], place[2]))]
        return [("", label) if label else (name, rest) for label, name, rest in AMD.findall(self.text)]

    @functools.cached_property
    def counts(self) -> Counter[str]:
        return _histogram(name for name, _ in self.instructions)

    @functools.cached_property
    def loops(self) -> list[Counter[str]]:
        """Counts of each loop (from where a backward jump lands up to the jump), longest first."""
        places: dict[str, int] = {}
        found = []
        for index, (name, rest) in enumerate(self.instructions):
            if not name:
                places[rest.lstrip("0") or "0"] = index
            elif name.startswith(("BRA", "s_cbranch", "s_branch")):
                aim = re.search(r"0x0*([0-9a-f]+)|(\.L\w+)", rest)
                start = places.get((aim[1] or aim[2]) if aim else "")
                if start is not None and start < index - 1:
                    found.append(_histogram(name for name, _ in self.instructions[start : index + 1]))
        return sorted(found, key=lambda loop: -loop["total"])

    def has(self, kind: str) -> bool:
        """Whether an instruction kind occurs; a prefix is enough (`v_mfma`)."""
        return any(name.startswith(kind) for name in self.counts)


def record(launch_code: Callable[[], object], target: str) -> list[Launch]:
    """The Triton launches that `launch_code` makes when it sees `target` as the GPU; none of them runs."""
    launches: list[Launch] = []

    def note(kernel: JITFunction[Any], *args: Any, grid: Any, warmup: bool = False, **options: Any) -> None:  # noqa: ARG001
        if callable(grid):
            grid = grid({**dict(zip(kernel.arg_names, args, strict=False)), **options})
        grid = tuple(grid)
        assert all(0 < size <= most for size, most in zip(grid, MOST_PROGRAMS, strict=False)), (kernel.__name__, grid)
        launches.append(Launch(kernel, args, options, grid))

    run = JITFunction.run
    JITFunction.run = note
    try:
        with pretend(target):
            launch_code()
    finally:
        JITFunction.run = run
    return launches


def compile_launch(launch: Launch, target: str) -> Code:
    """A recorded launch compiled for a target (a key of TARGETS)."""
    args = [_pointer(value) for value in launch.args]
    options = {name: _pointer(value) for name, value in launch.options.items()}
    assert options.get("enable_fp_fusion") is True, "pass enable_fp_fusion=True: newer Triton leaves it off by default"
    with pretend(target):
        kernel = _compile(launch.kernel, args, launch.grid, options)
    facts = _nvidia_facts(kernel.asm) if "cubin" in kernel.asm else _amd_facts(kernel.asm["amdgcn"])
    data = kernel.metadata
    code = Code(target, data.num_warps * TARGETS[target].warp_size, *facts, data.shared, data, dict(kernel.asm))
    assert not getattr(data, "global_scratch_size", 0), f"{launch.name} needs memory that nobody allocates on {target}"
    assert code.shared <= SHARED_BYTES[target], f"{launch.name} wants {code.shared} bytes of shared memory on {target}"
    return code


def _compile(kernel: JITFunction[Any], args: list[Any], grid: tuple[int, ...], options: dict[str, Any]) -> Any:
    try:
        return kernel.warmup(*args, grid=grid, **options)
    except Exception as error:
        if "ROCm linker" in str(error):  # Triton brings one from 3.5 on
            pytest.skip(str(error).splitlines()[0])
        raise


def _pointer(value: Any) -> Any:
    """Meta tensors have no address: an aligned pointer of their type."""
    if isinstance(value, torch.Tensor) and value.is_meta:
        address = value.storage_offset() * value.element_size()
        pointer = MockTensor(value.dtype)
        pointer.data_ptr = lambda: address  # type: ignore[method-assign]
        return pointer
    return value


def _nvidia_facts(assembly: dict[str, Any]) -> tuple[int, int]:
    usage = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", _cuobjdump("--dump-resource-usage", assembly["cubin"])))
    return int(usage["REG"]), int(usage["STACK"]) + int(usage["LOCAL"])


def _amd_facts(text: str) -> tuple[int, int]:
    def fact(name: str) -> int:
        found = re.search(rf"\.{name}:?\s+(\d+)", text)
        assert found, f"no .{name} in the assembly"
        return int(found[1])

    return fact("vgpr_count"), fact("private_segment_fixed_size") + fact("vgpr_spill_count") + fact("sgpr_spill_count")


def _cuobjdump(what: str, cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [CUOBJDUMP, what, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _histogram(names: Any) -> Counter[str]:
    """Loads and stores by width in bits (LDG128, STG16), other operations by their first word; `total` of all."""
    counts: Counter[str] = Counter()
    for name in filter(None, names):
        base = name.split(".")[0]
        if base in ("LDG", "STG", "LDL", "STL", "LDS", "STS"):
            width = re.search(r"\.[US]?(128|64|16|8)\b", name)
            base += width[1] if width else "32"
        counts[base] += 1
        counts["total"] += 1
    return counts
