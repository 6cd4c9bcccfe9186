"""One class's controller, learned from samples: a linear map from the image vector to the parameters of its head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.extension.samples import Samples
from umlite.training.network import dynamic_heads_batched

WINDOWS_PER_STEP = 12
VALIDATE_EVERY = 25
PATIENCE = 10
"""Validations without a better one after which learning stops."""
LEAST_STEPS = 200
LEARNING_RATE = 5e-3
MOST_STEPS = 800


Window = tuple[Tensor, Tensor, Tensor, Tensor]
"""Image vector [gap_width], features [V, K], whether each voxel is inside [V], and how many it stands for [V]."""


@dataclass(frozen=True, eq=False)
class Controller:
    """weight: float32 [P, gap_width]. bias: float32 [P]."""

    weight: Tensor
    bias: Tensor

    def logits(self, feature: Tensor, image: Tensor) -> Tensor:
        """Logits [V] of voxels with features [K, V] in a window with this image vector [gap_width]."""
        params = F.linear(image[None], self.weight, self.bias)[:, None]
        return dynamic_heads_batched(feature[None].float(), params)[0, 0]


@dataclass(frozen=True)
class Curve:
    """The course of learning: (step, loss, Dice of held-out samples), and which start was best."""

    points: tuple[tuple[int, float, float], ...] = ()
    start: str = ""


@dataclass(eq=False)
class Learner:
    """Learns a controller.

    Args:
        train, held_out: samples of scans.
        seed: of the order of windows.
        stop: asked between steps; true ends learning with the best so far.
    """

    train: Sequence[Samples]
    held_out: Sequence[Samples]
    seed: int = 0
    stop: Callable[[], bool] = lambda: False
    _train: list[Window] = field(init=False)
    _held_out: list[Window] = field(init=False)

    def __post_init__(self) -> None:
        self._train, self._held_out = _windows(self.train), _windows(self.held_out)

    def learn(self, start: Controller, name: str, most_steps: int = MOST_STEPS) -> tuple[Controller, float, Curve]:
        """Minimise from a start. Returns the best controller by Dice of held-out samples, that Dice, and the curve.

        On one thread, since several do not always add in the same order.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._learn(start, name, most_steps)
        finally:
            torch.set_num_threads(threads)

    def _learn(self, start: Controller, name: str, most_steps: int) -> tuple[Controller, float, Curve]:
        windows = self._train
        random = torch.Generator().manual_seed(self.seed)
        images = torch.stack([image for image, *_ in windows])
        usual = images.mean(0)
        # The head of the usual image, and what an image changes by being another: from few windows, little is learned
        # of that, where a map of the image itself would answer nonsense for any other image.
        weight = start.weight.clone().requires_grad_()
        bias = (start.bias + start.weight @ usual).requires_grad_()
        rates = (LEARNING_RATE / (images.square().mean().sqrt().item() or 1.0) / 4, LEARNING_RATE)
        optimiser = torch.optim.Adam([{"params": [weight]}, {"params": [bias]}])
        best, best_dice, waited = start, self.dice(start), 0
        points: list[tuple[int, float, float]] = []
        recent: list[float] = []
        points.append((0, 0.0, best_dice))
        full = [n for n, w in enumerate(windows) if w[2].any()]
        for step in range(1, most_steps + 1):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * min(1.0, step / 20) * (1 - 0.9 * step / most_steps)
            drawn = [windows[n] for n in _drawn(full, len(windows), random)]
            loss = _loss(Controller(weight, bias - weight @ usual), drawn)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            recent.append(float(loss.detach()))
            if step % VALIDATE_EVERY == 0 or step == most_steps:
                now = Controller(weight.detach().clone(), (bias - weight @ usual).detach())
                dice = self.dice(now)
                points.append((step, sum(recent) / len(recent), dice))
                recent = []
                waited = 0 if dice > best_dice + 1e-4 or step <= LEAST_STEPS else waited + 1
                if dice > best_dice:
                    best, best_dice = now, dice
                if waited >= PATIENCE or self.stop():
                    break
        return best, best_dice, Curve(tuple(points), name)

    def dice(self, controller: Controller) -> float:
        """Dice of a controller over the held-out samples, each voxel counted as often as it stands for."""
        overlap = guessed = true = 0.0
        with torch.inference_mode():
            for image, feature, inside, weight in self._held_out:
                guess = controller.logits(feature.T, image) > 0
                overlap += float((weight * (guess & inside)).sum())
                guessed += float((weight * guess).sum())
                true += float((weight * inside).sum())
        return 2 * overlap / (guessed + true) if guessed + true else 0.0


def _windows(samples: Sequence[Samples]) -> list[Window]:
    found = []
    for one in samples:
        ends = torch.searchsorted(one.window, torch.arange(len(one.image) + 1)).tolist()  # windows are in order
        for image, first, end in zip(one.image, ends[:-1], ends[1:], strict=True):
            here = slice(first, end)
            # copies: where a tensor happens to lie in memory or in a file would change the last bits of sums
            found.append((image.clone(), one.feature[here].float(), one.inside[here].clone(), one.weight[here].clone()))
    return found


def _drawn(full: Sequence[int], count: int, random: torch.Generator) -> list[int]:
    """Windows of a step: half of them show the class."""
    half = WINDOWS_PER_STEP // 2
    some = [full[int(n)] for n in torch.randint(len(full), (half,), generator=random)] if full else []
    return some + [int(n) for n in torch.randint(count, (WINDOWS_PER_STEP - len(some),), generator=random)]


def _loss(controller: Controller, windows: Sequence[Window]) -> Tensor:
    """Cross-entropy, in which both sides weigh the same, and 1 - soft Dice, over all windows of a step."""
    logits = torch.cat([controller.logits(feature.T, image) for image, feature, _, _ in windows])
    inside = torch.cat([inside for _, _, inside, _ in windows]).float()
    weight = torch.cat([weight for *_, weight in windows])
    entropy = F.binary_cross_entropy_with_logits(logits, inside, reduction="none") * weight
    probability = torch.sigmoid(logits)
    overlap = 2 * (weight * probability * inside).sum() + 1
    dice = overlap / ((weight * probability.square()).sum() + (weight * inside).sum() + 1)
    sides = [entropy[inside == side].sum() / weight[inside == side].sum().clamp_min(1) for side in (0, 1)]
    return 0.5 * (sides[0] + sides[1]) + (1 - dice)
