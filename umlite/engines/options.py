"""Options of an engine as plain data: device, kernels, precision, threads and limits."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from umlite.errors import RequestError
from umlite.records import from_fields

ENGINES = ("fast", "reference")
KERNELS = ("auto", "native", "torch")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class EngineOptions:
    """How windows are to be computed. Options can be compared, hashed, pickled and stored as JSON.

    Args:
        device: "auto" (CUDA if there is a GPU, else the CPU) or any torch device, which is never silently replaced.
        engine: "fast", or "reference", the plain engine that the fast one is tested against.
        kernels: "native" (compiled C on a CPU, Triton on a GPU), "torch", or "auto": native if available.
        precision: of the backbone on a GPU: "float32", "float16", "bfloat16" or "auto". A CPU computes in float32.
        threads: number of CPU threads; None for OMP_NUM_THREADS, or else all cores.
        batch: number of windows at a time; None lets the engine choose.
        compile: whether to use torch.compile on the network (fast engine on torch kernels).
        max_ram: memory limit of the whole run in bytes. The C kernels then use smaller weights, which are slower, until
            the network takes at most half. `umlite.cost` decides whether a scan fits.
        max_vram: limit of GPU memory in bytes.

    Raises:
        RequestError: an unknown name, or a number out of range.
    """

    device: str = "auto"
    engine: str = "fast"
    kernels: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    batch: int | None = None
    compile: bool = False
    max_ram: int | None = None
    max_vram: int | None = None

    def __post_init__(self) -> None:
        for name, word, known in (
            ("engine", self.engine, ENGINES),
            ("kernels", self.kernels, KERNELS),
            ("precision", self.precision, PRECISIONS),
        ):
            if word not in known:
                raise RequestError(
                    f"Unknown {name} {word!r}: expected {', '.join(known[:-1])} or {known[-1]}.", about=name
                )
        for name, number, least in (
            ("batch", self.batch, "a batch of at least 1 window"),
            ("threads", self.threads, "at least 1 thread"),
            ("max_ram", self.max_ram, "a limit of at least 1 byte of memory"),
            ("max_vram", self.max_vram, "a limit of at least 1 byte of GPU memory"),
        ):
            if number is not None and number < 1:
                raise RequestError(f"Expected {least}, found {number}.", about=name)

    def to_dict(self) -> dict[str, Any]:
        """The options by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> EngineOptions:
        """Inverse of `to_dict`. Missing options keep their defaults. Raises RequestError for anything else."""
        return from_fields(cls, data, "engine options")
