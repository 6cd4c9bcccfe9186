"""Options of a training run, and its learning rate over time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingOptions:
    """How long, how fast and how evenly to train.

    Args:
        steps: of the whole schedule.
        batch: windows a step.
        stride: the loss looks at every stride-th voxel along each axis, from a random first one. With all voxels, heads
            and loss would cost more than the backbone on a CPU.
        learning_rate: the highest, of AdamW.
        generator_rate: share of it for the layers that make the heads' weights. Nothing normalises what they make, and
            full steps drive whole classes into dead ReLUs.
        supervision: weight of the linear heads that only training has; 0 for none, as when the backbone is frozen.
        weight_decay: of AdamW.
        warm_up: steps of rising learning rate.
        decay: steps at the end in which the rate falls, by half a cosine, to a hundredth; None for all steps after the
            warm-up. In between the rate stays, so that a run can be made longer before its decay has begun.
        clip: largest norm of the gradient.
        average: decay of the moving average of the weights, a step.
        seed: of everything that is drawn.
        validate_every, save_every, log_every: steps.
    """

    steps: int = 3000
    batch: int = 2
    stride: int = 2
    learning_rate: float = 2e-3
    generator_rate: float = 0.3
    supervision: float = 0.5
    weight_decay: float = 1e-2
    warm_up: int = 60
    decay: int | None = None
    clip: float = 5.0
    average: float = 0.995
    seed: int = 0
    validate_every: int = 300
    save_every: int = 100
    log_every: int = 20

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        last = max(0, self.steps - self.warm_up)
        decay = max(1, last if self.decay is None else min(self.decay, last))
        progress = (step - self.steps + decay) / decay
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2)
