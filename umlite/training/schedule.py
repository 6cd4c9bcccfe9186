"""What a training run can be told, and its learning rate over time."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """steps: of the whole schedule. batch: windows a step. stride: the loss looks at every stride-th voxel along each
    axis, from a random first one (at all voxels, heads and loss cost more than the backbone on a CPU).
    generator_rate: of the learning rate, for the layers that make the heads' weights: nothing normalises what they
    make, so that full steps drive whole classes into dead ReLUs.
    supervision: weight of the linear heads that only training has; 0 for none, as when the backbone is frozen.
    warm_up: steps of rising learning rate. decay: steps at the end in which it falls, by half a cosine, to a hundredth;
    None for all after the warm-up. In between it stays, so that a run can be made longer before its decay has begun.
    average: decay of the EMA.
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
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        last = max(0, self.steps - self.warm_up)
        decay = max(1, last if self.decay is None else min(self.decay, last))
        progress = (step - self.steps + decay) / decay
        return self.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2)
