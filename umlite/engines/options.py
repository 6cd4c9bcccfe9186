"""What is asked of an engine: device, kernels, precision, threads and limits, as plain data."""

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
    """How windows are to be computed. Equal options are equal, hashable and picklable; JSON holds them as they are.

    Args:
        device: "auto" (CUDA when there is a GPU, else the CPU) or any torch device; never replaced by another silently.
        engine: "fast", or "reference", the plain one that the fast one is tested against.
        kernels: "native" (compiled C on a CPU, Triton on a GPU), "torch", or "auto": native where available.
        precision: "float32", "float16", "bfloat16" or "auto": the backbone's on a GPU; a CPU computes in float32.
        threads: CPU threads; None for OMP_NUM_THREADS, or all cores.
        batch: windows at a time; None lets the engine choose.
        compile: torch.compile the network (fast engine on torch kernels).
        max_ram: bytes of memory for the whole run. The C kernels then keep smaller weights, which are slower, until
            the network takes no more than half. Whether a scan fits is for `umlite.cost` to say.
        max_vram: bytes of a GPU's memory to stay under.

    Raises:
        RequestError: unknown name, or a number out of range.
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
        """Options as `to_dict` gives them; those left out keep their defaults. Raises RequestError."""
        return from_fields(cls, data, "engine options")
