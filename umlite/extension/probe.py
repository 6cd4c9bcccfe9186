"""A linear probe: logistic regression on the features alone, and the head that answers like it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from umlite.extension.samples import Samples

_NOISE = 0.05
"""Of the numbers that a linear head has no need of, so that learning can put them to use."""


def linear_probe(samples: Sequence[Samples]) -> Tensor:
    """Weights of the features and a bias, float32 [K + 1], whose threshold at 0 has the best Dice over the samples."""
    feature = torch.cat([one.feature.float() for one in samples])
    inside = torch.cat([one.inside for one in samples]).float()
    weight = torch.cat([one.weight for one in samples])
    line = torch.zeros(feature.shape[1] + 1, requires_grad=True)
    solver = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        logits = feature @ line[:-1] + line[-1]
        loss = F.binary_cross_entropy_with_logits(logits, inside, weight / weight.mean())
        loss.backward()
        return loss

    solver.step(closure)
    with torch.no_grad():
        logits = feature @ line[:-1] + line[-1]
        order = logits.argsort(descending=True)
        guessed = weight[order].cumsum(0)
        overlap = (weight * inside)[order].cumsum(0)
        best = int((2 * overlap / (guessed + overlap[-1])).argmax())
        line[-1] -= logits[order[best]] - 1e-4
    return line.detach()


def head_of(line: Tensor, channels: int, random: torch.Generator) -> Tensor:
    """Parameters [P] of a head that answers like a linear probe.

    Two units of each layer hold the positive and the negative part of its logits; the others start near 0.
    """
    k = channels
    noise = [_NOISE * torch.randn(k, k, generator=random) for _ in range(2)]
    first, second, third = noise[0], noise[1], _NOISE * torch.randn(k, generator=random)
    first_bias, second_bias = torch.zeros(k), torch.zeros(k)
    first[0], first[1] = line[:-1], -line[:-1]
    first_bias[0], first_bias[1] = line[-1], -line[-1]
    second[:2] = 0
    second[0, 0] = second[1, 1] = 1
    third[0], third[1] = 1, -1
    third[2:] = 0
    return torch.cat([first.flatten(), second.flatten(), third, first_bias, second_bias, torch.zeros(1)])
