"""What an engine is: one network on one device, applied to windows. The sweep over a scan is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.engines.setup import Setup
from umlite.gpu import transfer
from umlite.kernels.decide import decide, decide_bits_on_host, decide_bits_ref
from umlite.machine.forks import Lock, note_threads
from umlite.volume.preparation import Volume, prepare_volume
from umlite.volume.reading import Scan
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, importance_map, window_at


class Engine(ABC):
    """One network on one device.

    An engine computes `window_logits`; everything else has a plain implementation here, which an engine replaces
    where it can do better: `prepare` where the windows run, `add_windows` without logits in memory, `decide` in one
    kernel. A replacement gives the same numbers, of windows those of its own `window_logits` blended by the plain one,
    up to rounding, and keeps the order of additions.

    card: of the weights; `card.window` is the window. setup: device and batch, with the reasons.
    importance: [D, H, W] float32 on the setup's device, how much each voxel of a window counts.
    lock: held by calls that change what the engine holds. Every engine may be called by several threads.
    Classes are positions of heads. Tensors are float32 and C, D, H, W stand for classes and window.
    """

    def __init__(self, card: ModelCard, setup: Setup) -> None:
        self.card = card
        self.setup = setup
        note_threads(max(setup.threads, torch.get_num_threads()))
        self.lock = Lock()
        self.importance = transfer.to_device(importance_map(card.window), setup.device)

    def prepare(self, scan: Scan) -> Volume:
        """What the network sees of a scan, `prepare_volume`. Its voxels are on the host or on the setup's device."""
        return prepare_volume(scan, self.card.spacing_mm, self.card.hu_range)

    @abstractmethod
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        """[N, 1, D, H, W] in [0, 1], on any device -> [N, C, D, H, W] on the setup's; each window on its own.

        Any N: the engine takes `setup.options.batch` at a time. Windows need not be of the card's size.
        """

    @torch.inference_mode()
    def add_windows(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> None:
        """Add logits times importance of the windows of `volume` that begin at `starts` to `sums`, in that order.

        volume: [X, Y, Z] in [0, 1], on the setup's device, contiguous, at least a window large.
        starts: first voxels of windows that lie inside the volume; any number, at most a batch from the sweep.
        sums: [C, X', Y', Z'] on the device of `place_sums`, a part of the volume that holds all these windows; its last
            axis is contiguous, the others have any strides (it is a part of a larger buffer). Changed in place.
        origin: of `sums` in the volume: sums[c, i, j, k] belongs to volume[origin + (i, j, k)].
        The voxels of `sums` outside these windows keep their values, bit for bit. The sweep never
        changes `volume`, and reads `sums` only through torch operations on its device, so that work may still be
        queued when this returns.
        """
        boxes = [window_at(start, self.card.window) for start in starts]
        windows = torch.stack([volume[box] for box in boxes])[:, None]
        for start, logits in zip(starts, self.window_logits(windows, classes), strict=True):
            self.add_logits(logits, start, sums, origin)

    @torch.inference_mode()
    def add_logits(self, logits: Tensor, start: Size, sums: Tensor, origin: Size) -> None:
        """Add the logits [C, D, H, W] of the window at `start`, times importance, to `sums`, as `add_windows` does.

        The sweep uses it for windows of constant input, whose logits it has computed before. An engine whose
        `add_windows` rounds otherwise replaces this too, so that reused windows change no bit.
        """
        x, y, z = (s - o for s, o in zip(start, origin, strict=True))
        here = sums[:, *window_at((x, y, z), self.card.window)]
        here.addcmul_(transfer.to(logits, sums.device), transfer.to(self.importance, sums.device))

    def place_sums(self, size: int) -> torch.device:
        """The device for the sums of the next sweep, which take `size` bytes; the setup's by default."""
        del size
        return self.setup.device

    @torch.inference_mode()
    def decide(self, sums: Tensor, names: Sequence[str]) -> Tensor:
        """One integer per voxel of finished sums [C, x, y, z] (any strides): bit k is set where sums[k] > 0.

        Returns [x, y, z], int32 for up to 32 classes and int64 for up to 64, on the sums' device, any strides.
        Raises WeightsError, naming the class, when a sum is not finite. This one needs no Triton on a GPU.
        """
        return decide(sums, names, decide_bits_ref if sums.device.type == "cuda" else decide_bits_on_host)

    def layers(self) -> list[dict[str, str]]:
        """How each convolution of a window runs, a row of words per layer; empty where nothing is chosen."""
        return []

    def step_seconds(self) -> dict[str, float]:
        """Wall time of each step of the last window's backbone, in order; empty where steps are not timed."""
        return {}
