"""What processes of a batch load in tests: a segmenter that some scans end, or keep for ever."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from umlite import Segmenter
from umlite.cost.forecast import Forecast
from umlite.engines.options import EngineOptions


def load(weights: Path, options: EngineOptions) -> Segmenter:
    """A segmenter: scans called `deadly` end its process, those called `endless` never end, `once` is deadly once."""
    import torch

    torch.set_num_threads(1)
    segmenter = Segmenter(weights, options)
    prepare = segmenter.prepare

    def fateful(scan: Path, **how: Any) -> Any:
        name = Path(scan).stem
        trace = Path(scan).with_suffix(".tried")
        if name.startswith("deadly") or (name.startswith("once") and not trace.exists()):
            trace.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if name.startswith("endless"):
            threading.Event().wait()
        return prepare(scan, **how)

    segmenter.prepare = fateful  # type: ignore[method-assign]
    return segmenter


def forecast(_options: EngineOptions, segmenter: Segmenter) -> Forecast:
    """No limits."""
    return Forecast(segmenter)
