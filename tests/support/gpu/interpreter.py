"""Run Triton kernels on CPU tensors in Triton's interpreter, one call at a time, with no environment variable.

TRITON_INTERPRET turns every kernel of a process into an interpreted one at import, which then cannot be compiled. Here
a kernel stays an ordinary one: it is interpreted inside `interpreted()` only, and can be compiled before and after.

The interpreter keeps bfloat16 as integers, multiplies those and truncates conversions; both are mended within.
"""

from __future__ import annotations

import functools
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.runtime import interpreter as machine
from triton.runtime.errors import InterpreterError
from triton.runtime.jit import JITFunction

from support.gpu.stub_driver import pretend
from umlite.kernels import triton as kernels

for found in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}."):
    importlib.import_module(found.name)  # one that is first imported inside `interpreted()` could never be compiled

LANGUAGE = [tl, tl.core, tl.math, tl.standard, tl.tensor, tl.dtype]
SOME = ("tensor_descriptor_base", "_experimental_tensor_descriptor_base", "condition")  # in some versions
LANGUAGE += [getattr(tl.core, name) for name in SOME if hasattr(tl.core, name)]
REWRITTEN = {"triton", "interpreter_semantic", "interpreter_builder", "_InterpreterComparison"}
"""What rewritten kernels look up in their own module."""
KEPT = {"__dict__", "__weakref__", "__doc__"}

_functions: dict[Callable[..., Any], Any] = {}


@contextmanager
def interpreted(target: str = "sm_90") -> Iterator[None]:
    """Within: `kernel[grid](...)` runs in the interpreter, and launch code sees `target` as the GPU.

    Programs of a launch run one after another; races, warps, layouts and alignment are not modelled.
    Costs about 0.1 ms for each `tl` operation of each program, whatever the block size: use few programs.
    Skips the test where this Triton's interpreter and this numpy do not go together.
    """
    fault = _fault()
    if fault:
        pytest.skip(fault)
    with _interpreting(target):
        yield


@functools.cache
def _fault() -> str:
    """Why interpreter and numpy do not go together; empty where they do."""
    try:
        with _interpreting("sm_90"):
            _count[(1,)](torch.zeros(1, dtype=torch.int32), 2)
    except InterpreterError as error:
        return f"Triton {triton.__version__} does not interpret kernels with numpy {np.__version__}: {error}"
    return ""


@triton.jit
def _count(total, turns):
    for _ in range(turns):  # older versions convert arrays of one number, which numpy 2.4 and newer refuse
        tl.store(total, tl.load(total) + 1)


@contextmanager
def _interpreting(target: str) -> Iterator[None]:
    run, call = JITFunction.run, JITFunction.__call__
    JITFunction.run = lambda self, *args, grid, **kw: _run(self, args, kw, grid)  # kw: also Triton's own `warmup`
    JITFunction.__call__ = lambda self, *args, **kw: _interpreted(self.fn)(*args, **kw)
    try:
        with pretend(target), mock.patch.dict(os.environ, {"TRITON_INTERPRET": "1"}):
            yield  # compile-time functions of the language look at the variable
    finally:
        JITFunction.run, JITFunction.__call__ = run, call


def _interpreted(function: Callable[..., Any]) -> Any:
    if function not in _functions:
        function.__globals__.setdefault("triton", triton)  # what Triton 3.3 rewrites a function to looks it up there
        _functions[function] = machine.InterpretedFunction(function)
    return _functions[function]


def _run(kernel: JITFunction[Any], args: tuple[Any, ...], keywords: dict[str, Any], grid: Any) -> None:
    keywords = {name: value for name, value in keywords.items() if name in kernel.arg_names}  # no num_warps and such
    names = kernel.fn.__globals__
    before = set(names)
    with _interpreter_language():
        try:
            _interpreted(kernel.fn).run(*args, grid=grid, warmup=False, **keywords)
        finally:
            for name in set(names) - before - REWRITTEN:  # the interpreter leaves its own names in a kernel's module
                del names[name]


@contextmanager
def _interpreter_language() -> Iterator[None]:
    """The interpreter patches the language and does not put all of it back."""
    language = [(module, dict(vars(module))) for module in LANGUAGE]
    builder = machine.InterpreterBuilder
    mended = ("cast_impl", "binary_op", "unary_op", "create_dot", "get_bf16")
    arithmetic = {name: getattr(builder, name, None) for name in mended}  # Triton 3.7 has no get_bf16
    try:
        for name, method in _bfloat16_arithmetic(arithmetic).items():
            setattr(builder, name, method)
        for name, function in list(vars(tl.tensor).items()):
            if isinstance(function, JITFunction):  # x.sum() and its like
                setattr(tl.tensor, name, lambda x, *args, _function=function, **kw: _function(x, *args, **kw))
        yield
    finally:
        for name, method in arithmetic.items():
            setattr(builder, name, method) if method else delattr(builder, name)
        for module, saved in language:
            for name in set(vars(module)) - set(saved) - REWRITTEN:
                with suppress(AttributeError):
                    delattr(module, name)
            for name, value in saved.items():
                if vars(module).get(name) is not value and name not in KEPT:
                    setattr(module, name, value)


def _bfloat16_arithmetic(plain: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Methods of the interpreter that go through float32 and round to the nearest even, as a GPU does."""

    def cast(self: Any, source: Any, wanted: Any) -> Any:
        if wanted.scalar == tl.bfloat16:
            return source if _is_bfloat16(source) else _to_bfloat16(source.data.astype(np.float32))
        return plain["cast_impl"](self, _to_float32(source), wanted)

    def binary(self: Any, left: Any, right: Any, operation: Callable[..., Any]) -> Any:
        if not (_is_bfloat16(left) and _is_bfloat16(right)):
            return plain["binary_op"](self, left, right, operation)
        found = operation(_to_float32(left).data, _to_float32(right).data)
        return machine.TensorHandle(found, tl.int1) if found.dtype == np.bool_ else _to_bfloat16(found)

    def unary(self: Any, value: Any, operation: Callable[..., Any]) -> Any:
        if not _is_bfloat16(value):
            return plain["unary_op"](self, value, operation)
        return _to_bfloat16(operation(_to_float32(value).data))

    def dot(self: Any, left: Any, right: Any, *rest: Any) -> Any:
        return plain["create_dot"](self, _to_float32(left), _to_float32(right), *rest)

    def constant(self: Any, value: float) -> Any:  # noqa: ARG001
        return _to_bfloat16(np.array([value], np.float32))

    return {"cast_impl": cast, "binary_op": binary, "unary_op": unary, "create_dot": dot, "get_bf16": constant}


def _is_bfloat16(handle: Any) -> bool:
    return handle.dtype.scalar == tl.bfloat16


def _to_float32(handle: Any) -> Any:
    if not _is_bfloat16(handle):
        return handle
    return machine.TensorHandle((np.asarray(handle.data).astype(np.uint32) << 16).view(np.float32), tl.float32)


def _to_bfloat16(values: Any) -> Any:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return machine.TensorHandle(
        np.where(np.isnan(values), np.uint16(0x7FC0), rounded).reshape(np.shape(values)), tl.bfloat16
    )
