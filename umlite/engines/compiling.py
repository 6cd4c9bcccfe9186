"""torch.compile, whose failures say what to do."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from umlite.errors import RequestError

Given = ParamSpec("Given")
Result = TypeVar("Result")


def compiled(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, compiled with its first call.

    A call raises RequestError where it cannot be compiled: torch's compiler needs one for C++ or Triton, and a disk.
    """
    run = torch.compile(function, fullgraph=True, dynamic=False)

    @functools.wraps(function)
    def call(*given: Given.args, **options: Given.kwargs) -> Result:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return run(*given, **options)
        except TorchDynamoException as error:
            first = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise RequestError(  # no DeviceError: less memory or another batch would not help
                f"torch.compile failed ({first[:300]}). Mend its compiler, or run without torch.compile.",
                about="compile",
            ) from error

    return call
