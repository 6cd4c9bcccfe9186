"""The contract of an engine: one network on one device, applied to windows. The sweep is the same for all engines."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.engines.setup import Setup
from umlite.errors import DeviceError
from umlite.gpu import transfer
from umlite.kernels.decide import decide, decide_bits_on_host, decide_bits_ref
from umlite.machine.forks import Lock, note_threads
from umlite.volume.preparation import Volume, prepare_volume
from umlite.volume.reading import Scan
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, importance_map, window_at


class Engine(ABC):
    """One network on one device.

    An engine must compute `window_logits`. Everything else has a plain implementation here, which an engine replaces if
    it can do better: `prepare` on the device where windows run, `add_windows` without logits in memory, `decide` in one
    kernel. A replacement gives the same numbers as its own `window_logits` with the plain implementation, up to
    rounding, and keeps the order of additions.

    Several threads may call an engine. Calls that change its state hold `lock`. `importance`, [D, H, W] float32 on the
    setup's device, says how much each voxel of a window counts. Classes are positions of heads. Tensors are float32; C,
    D, H, W stand for classes and window.

    Args:
        card: describes the weights; `card.window` is the window.
        setup: device, batch and the other choices, with their reasons.
    """

    def __init__(self, card: ModelCard, setup: Setup) -> None:
        self.card = card
        self.setup = setup
        note_threads(max(setup.threads, torch.get_num_threads()))
        self.lock = Lock()
        self.importance = transfer.to_device(importance_map(card.window), setup.device)

    def prepare(self, scan: Scan) -> Volume:
        """Turn a scan into what the network sees, as `prepare_volume` does.

        Returns:
            The volume, with its voxels on the host or on the setup's device.
        """
        return prepare_volume(scan, self.card.spacing_mm, self.card.hu_range, max_ram=self.setup.options.max_ram)

    @abstractmethod
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        """Logits of single windows, each computed on its own.

        Args:
            windows: [N, 1, D, H, W] in [0, 1] on any device, of any size. The engine takes `setup.options.batch` of
                them at a time.
            classes: positions of heads.

        Returns:
            [N, C, D, H, W] on the setup's device.
        """

    def window_features(self, window: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002  of engines that have them
        """What the heads read of one window: their input [K, D, H, W] and the image vector [gap_width], on the host.

        Args:
            window: [D, H, W] in [0, 1].

        Raises:
            DeviceError: this engine keeps no features.
        """
        raise DeviceError("This engine does not give features of windows. Compute on the CPU.", about="device")

    @torch.inference_mode()
    def add_windows(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> None:
        """Run windows of a volume and add logits times importance to `sums`, in the order of `starts`.

        Voxels of `sums` outside these windows keep their values, bit for bit. The sweep never changes `volume`, and
        reads `sums` only through torch operations on its device, so work may still be queued when this returns.

        Args:
            volume: [X, Y, Z] in [0, 1] on the setup's device, contiguous, at least as large as a window.
            starts: first voxels of windows inside the volume; any number, at most a batch from the sweep.
            classes: positions of heads.
            sums: [C, X', Y', Z'] on the device of `place_sums`, covering all these windows; changed in place. The last
                axis is contiguous, the others have any strides, because it is part of a larger buffer.
            origin: first voxel of `sums` in the volume: sums[c, i, j, k] belongs to volume[origin + (i, j, k)].
        """
        boxes = [window_at(start, self.card.window) for start in starts]
        windows = torch.stack([volume[box] for box in boxes])[:, None]
        for start, logits in zip(starts, self.window_logits(windows, classes), strict=True):
            self.add_logits(logits, start, sums, origin)

    @torch.inference_mode()
    def add_logits(self, logits: Tensor, start: Size, sums: Tensor, origin: Size) -> None:
        """Add known logits of one window, times importance, to `sums`, as `add_windows` does.

        The sweep uses this for windows of constant input, whose logits it already has. An engine whose `add_windows`
        rounds differently replaces this too, so that reusing logits changes no bit.

        Args:
            logits: [C, D, H, W].
            start: first voxel of the window in the volume.
            sums, origin: see `add_windows`.
        """
        x, y, z = (s - o for s, o in zip(start, origin, strict=True))
        here = sums[:, *window_at((x, y, z), self.card.window)]
        here.addcmul_(transfer.to(logits, sums.device), transfer.to(self.importance, sums.device))

    def place_sums(self, size: int) -> torch.device:
        """Device for the sums of the next sweep, which take `size` bytes; the setup's device by default."""
        del size
        return self.setup.device

    @torch.inference_mode()
    def decide(self, sums: Tensor, names: Sequence[str]) -> Tensor:
        """Finished sums to masks: bit k of a voxel is set if sums[k] > 0. This implementation needs no Triton.

        Args:
            sums: [C, x, y, z], any strides.
            names: class names, for messages.

        Returns:
            [x, y, z], int32 for up to 32 classes and int64 for up to 64, on the sums' device, any strides.

        Raises:
            WeightsError: a sum is not finite; the message names the class.
        """
        return decide(sums, names, decide_bits_ref if sums.device.type == "cuda" else decide_bits_on_host)

    def layers(self) -> list[dict[str, str]]:
        """How each convolution of a window runs, one row of words per layer; empty if there is nothing to choose."""
        return []

    def step_seconds(self) -> dict[str, float]:
        """Seconds of each step of the last window's backbone, in order; empty if steps are not timed."""
        return {}
