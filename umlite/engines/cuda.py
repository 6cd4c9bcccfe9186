"""The engine on a GPU: resampling, gathering, network, heads, blending and decision without leaving the device.

It has never run on a GPU. Tests compute its values on a CPU, where its operations have another implementation, and run
each step on CUDA tensors without numbers. Its kernels run in Triton's interpreter and compile for seven GPUs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from umlite.engines.compiling import compiled
from umlite.engines.engine import Engine
from umlite.engines.setup import Setup
from umlite.errors import DeviceError, WeightsError
from umlite.gpu import transfer
from umlite.gpu.features import WindowFeatures, bytes_of_one_window, wide_sums
from umlite.gpu.graph import RecordedGraphs, can_record
from umlite.gpu.memory import is_out_of_memory, limit_memory, windows_at_a_time
from umlite.gpu.memory_ladder import MemoryLadder
from umlite.gpu.preparation import prepare_on
from umlite.kernels.blend import blend
from umlite.kernels.decide import decide
from umlite.kernels.fused_heads import fused_heads
from umlite.kernels.gather import gather_windows
from umlite.machine.memory import available_bytes
from umlite.models.universal import UniversalModel
from umlite.progress import Notify, no_notice
from umlite.volume.preparation import Volume
from umlite.volume.reading import Scan
from umlite.weights.model_card import ModelCard
from umlite.windows import Size, importance_map, window_at

HOST = torch.device("cpu")


class CudaEngine(Engine):
    """Gives the reference's numbers up to the rounding of the setup's precision.

    The backbone runs in the precision of the options. Parameter generator, heads and sums are float32, except operands
    of tensor cores in the heads, which are rounded to 16 bits.

    If memory runs out, finished windows stay finished and the engine continues with half as many at a time, down to
    one. If one window still does not fit, the sums move to the host while the network runs. `notify` gets a sentence
    for each step. Only if a single window does not fit beside the weights is a DeviceError raised.

    The batch of the options is the most windows at a time, None for as many as fit. `sums_device` is where the sums of
    the next sweep go.

    Args:
        model: loaded with fast kernels; taken over and changed.
        card: describes the weights.
        setup: device, precision, memory format and limits.
        notify: gets a sentence whenever memory does not hold what was planned.
    """

    def __init__(self, model: UniversalModel, card: ModelCard, setup: Setup, notify: Notify = no_notice) -> None:
        super().__init__(card, setup)
        self._tell, self.sums_device = notify, setup.device
        self.dtype: torch.dtype = getattr(torch, setup.options.precision)
        self._importance_on_host = importance_map(card.window)
        self._one_window = bytes_of_one_window(card.network, card.window, self.dtype)
        if can_record(setup.device) and setup.options.max_vram is not None:
            limit_memory(setup.device, setup.options.max_vram)
        features = WindowFeatures(model, self.dtype, channels_last=setup.channels_last)
        try:
            self.features = transfer.module_to_device(features, setup.device)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                "The GPU's memory does not hold the network. Close other programs that use the GPU, or use the CPU.",
                about="device",
            ) from error
        self._network: Callable[[Tensor], tuple[Tensor, ...]] = self.features
        if setup.options.compile:
            self._network = compiled(self.features)
        self._graphs = RecordedGraphs(self._network) if can_record(setup.device) else None
        self._folded = functools.lru_cache(maxsize=4)(self.features.generator.fold)
        self._ladder = MemoryLadder(setup.options.batch, self._windows_that_fit, self._forget_graphs, self._tell)

    def prepare(self, scan: Scan) -> Volume:
        volume = prepare_on(self.setup.device, scan, self.card, self._tell, self.setup.options.max_ram)
        if can_record(self.setup.device):
            torch.cuda.empty_cache()  # frees the scan's memory: no graph can be recorded into torch's cache
        return volume

    @torch.inference_mode()
    def window_logits(self, windows: Tensor, classes: Sequence[int]) -> Tensor:
        logits: list[Tensor] = []

        def compute(first: int, last: int) -> None:
            part = transfer.to_device(windows[first:last], self.setup.device)
            logits.append(self._logits(self._run(part.to(self.dtype)), classes))

        with self.lock:
            if self._ladder.run(len(windows), compute) < len(windows):
                raise self._nothing_fits()
        return torch.cat(logits)

    @torch.inference_mode()
    def add_windows(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> None:
        with self.lock:
            self._add(volume, starts, classes, sums, origin)

    def _add(self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size) -> None:
        if sums.device.type != self.setup.device.type:
            done = self._add_on_host(volume, starts, classes, sums, origin)
        else:
            done = self._add_on_device(volume, starts, classes, sums, origin)
            if done == len(starts):
                return
            self._tell("The GPU's memory does not hold a window beside the sums: the sums wait on the host meanwhile.")
            with transfer.moved_to_host(sums) as waiting:
                done += self._add_on_host(volume, starts[done:], classes, waiting, origin)
                self._forget_graphs()  # the sums need their room again
            self.sums_device = HOST  # the next sweep starts there
        if done < len(starts):
            raise self._nothing_fits()

    @torch.inference_mode()
    def add_logits(self, logits: Tensor, start: Size, sums: Tensor, origin: Size) -> None:
        x, y, z = (s - o for s, o in zip(start, origin, strict=True))
        if sums.device.type == self.setup.device.type:
            blend(logits[None], self.importance, sums, self._places([(x, y, z)]))
            return
        here = sums[:, *window_at((x, y, z), self.card.window)]
        here.addcmul_(transfer.to_host(logits), self._importance_on_host)

    def place_sums(self, size: int) -> torch.device:
        if can_record(self.setup.device) and self.sums_device != HOST:
            available = available_bytes(self.setup.device, self.setup.options.max_vram)
            if size + self._one_window > available:
                self._tell(
                    f"The GPU's memory does not hold {size / 1e9:.1f} GB of sums and a window: sums go to the host."
                )
                self.sums_device = HOST
        return self.sums_device

    def decide(self, sums: Tensor, names: Sequence[str]) -> Tensor:
        try:
            return decide(sums, names)
        except WeightsError as error:
            if self.dtype != torch.float16:
                raise
            advice = "Or a number exceeded 65504, the largest in float16: try precision float32."
            raise WeightsError(f"{error} {advice}", about="precision") from error

    def _add_on_device(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> int:
        """Number of windows added, from the first on, before memory ran out."""
        places, corner = self._places(starts), self._places([origin])

        def add(first: int, last: int) -> None:
            here = places[first:last]
            made = self._run(gather_windows(volume, here, self.card.window, self.dtype))
            self._accumulate(made, classes, self.importance, sums, here - corner)

        return self._ladder.run(len(starts), add)

    def _add_on_host(
        self, volume: Tensor, starts: Sequence[Size], classes: Sequence[int], sums: Tensor, origin: Size
    ) -> int:
        """Like `_add_on_device`, with sums on the host, which adds some windows while the GPU computes the next."""
        places = self._places(starts)
        arriving: list[tuple[Sequence[Size], Callable[[], Tensor]]] = []

        def add_arrived() -> None:
            while arriving:
                here, arrived = arriving.pop()
                for start, logits in zip(here, arrived(), strict=True):
                    self.add_logits(logits, start, sums, origin)

        def add(first: int, last: int) -> None:
            made = self._run(gather_windows(volume, places[first:last], self.card.window, self.dtype))
            arrived = transfer.to_host_later(self._logits(made, classes))
            add_arrived()
            arriving.append((starts[first:last], arrived))

        done = self._ladder.run(len(starts), add)
        add_arrived()
        return done

    def _logits(self, made: tuple[Tensor, ...], classes: Sequence[int]) -> Tensor:
        """Logits [N, C, D, H, W] float32, computed by the operation that adds to sums."""
        n, (depth, rows, columns) = len(made[0]), made[0].shape[2:]
        sums = torch.zeros(len(classes), n * depth, rows, columns, device=self.setup.device)
        ones = torch.ones(depth, rows, columns, device=self.setup.device)
        self._accumulate(made, classes, ones, sums, self._places([(k * depth, 0, 0) for k in range(n)]))
        return sums.view(len(classes), n, depth, rows, columns).transpose(0, 1)

    def _accumulate(
        self, made: tuple[Tensor, ...], classes: Sequence[int], importance: Tensor, sums: Tensor, starts: Tensor
    ) -> None:
        feature, scale, shift, image = made
        with wide_sums():
            params = self._folded(tuple(classes))(image)
        fused_heads(feature, scale, shift, *self.features.head_layer, params, importance, sums, starts)

    def _run(self, windows: Tensor) -> tuple[Tensor, ...]:
        """Output of `WindowFeatures` for windows, valid until the next call."""
        with wide_sums():
            if self._graphs is not None and windows.shape[2:] == self.card.window:
                try:
                    return self._graphs(windows)
                except RuntimeError as error:
                    if is_out_of_memory(error):
                        raise
                    self._graphs = None
                    self._tell(f"Continuing without CUDA graphs, which failed: {str(error).splitlines()[0]}")
            return self._network(windows)

    def _windows_that_fit(self) -> int:
        if not can_record(self.setup.device):
            return 1
        return windows_at_a_time(available_bytes(self.setup.device, self.setup.options.max_vram), self._one_window)

    def _forget_graphs(self) -> None:
        if self._graphs is not None:
            self._graphs.clear()
        if can_record(self.setup.device):
            torch.cuda.empty_cache()

    def _places(self, starts: Sequence[Size]) -> Tensor:
        """First voxels as [N, 3] int64 on the device."""
        return transfer.to_device(torch.tensor(starts, dtype=torch.int64).view(-1, 3), self.setup.device)

    def _nothing_fits(self) -> DeviceError:
        return DeviceError(
            f"The GPU's memory does not hold one window, which takes about {self._one_window / 1e9:.1f} GB (the GPU "
            f"said: {self._ladder.fault}). Close other programs that use the GPU, or use the CPU.",
            about="device",
        )
