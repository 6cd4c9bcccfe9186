"""The language-driven parameter generator (arXiv 2301.00785, 2405.18356): from text and image to head weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from umlite.models.added_controllers import AddedControllers, FoldedWithAdded
from umlite.models.config import HeadConfig


class ParameterGenerator(nn.Module):
    """Turns the bottleneck [N, C, d, h, w] into the parameters of each requested class's head, [N, classes, P].

    `embedding` [classes, width] is a stored table of text features of the class prompts, or of learned rows. Subclasses
    define how an image vector and a row become P parameters. Heads from `config.classes` on are added classes, whose
    controllers are their own.
    """

    embedding: Tensor

    def __init__(self, config: HeadConfig, bottleneck_channels: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("embedding", torch.zeros(config.classes, config.embedding_width))
        self.gap = nn.Sequential(
            nn.GroupNorm(config.groups, bottleneck_channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(bottleneck_channels, config.gap_width, 1),
        )
        self.added = AddedControllers(config) if config.added else None

    def image_vector(self, bottleneck: Tensor) -> Tensor:
        """The image's features, [N, gap_width]."""
        return self.gap(bottleneck).flatten(1)

    def forward(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        """Join image vector and class vector and apply the controller: [N, gap_width] -> [N, classes, P]."""
        first = self.config.classes
        own = [c for c in classes if c < first]
        if len(own) == len(classes):
            return self.generate(image, own)
        made = [self.generate(image, [c]) if c < first else self._added(image, c - first) for c in classes]
        return torch.cat(made, dim=1)

    def fold(self, classes: Sequence[int]) -> nn.Module:
        """The function [N, gap_width] -> [N, classes, P] with everything that does not depend on the image precomputed.

        The constants of a class are the same to the bit, whichever other classes are requested.
        """
        first = self.config.classes
        own = [c for c in classes if c < first]
        if len(own) == len(classes):
            return self.fold_own(own)
        assert self.added is not None
        return FoldedWithAdded(self.fold_own(own) if own else None, self.added, classes, first)

    def generate(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        """`forward` for classes that were not added."""
        raise NotImplementedError

    def fold_own(self, classes: Sequence[int]) -> nn.Module:
        """`fold` for classes that were not added."""
        raise NotImplementedError

    def _added(self, image: Tensor, c: int) -> Tensor:
        assert self.added is not None
        return self.added(image, [c])


class SharedController(ParameterGenerator):
    """One linear map for all classes, on the image vector joined with the class's task vector.

    The task vector is ReLU(text_to_vision(text)), or the stored row itself (`generator="embedding"`).
    """

    def __init__(self, config: HeadConfig, bottleneck_channels: int) -> None:
        super().__init__(config, bottleneck_channels)
        self.controller = nn.Conv3d(config.gap_width + config.task_width, config.parameters, 1)
        if config.generator == "shared":
            self.text_to_vision = nn.Linear(config.embedding_width, config.task_width)

    def task_vector(self, c: int) -> Tensor:
        """The task vector of one class, [task_width]."""
        row = self.embedding[c]
        return F.relu(self.text_to_vision(row)) if self.config.generator == "shared" else row

    def task_vectors(self) -> Tensor:
        """The task vectors of all classes, [classes, task_width]."""
        return torch.stack([self.task_vector(c) for c in range(self.config.classes)])

    def generate(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        weight = self.controller.weight.flatten(1)
        made = []
        for c in classes:
            joined = torch.cat((image, self.task_vector(c).expand(len(image), -1)), dim=1)
            made.append(F.linear(joined, weight, self.controller.bias))
        return torch.stack(made, dim=1)

    def fold_own(self, classes: Sequence[int]) -> nn.Module:
        halves = self.controller.weight.flatten(1).split((self.config.gap_width, self.config.task_width), dim=1)
        constants = F.linear(self.task_vectors(), halves[1], self.controller.bias)
        return _FoldedShared(halves[0], constants[list(classes)])


class PerClassControllers(ParameterGenerator):
    """Two layers of its own for each class, on the image vector joined with the class's text (journal variant)."""

    def __init__(self, config: HeadConfig, bottleneck_channels: int) -> None:
        super().__init__(config, bottleneck_channels)
        joined = config.gap_width + config.embedding_width
        self.controllers = nn.ModuleList(
            nn.Sequential(
                nn.Conv3d(joined, config.hidden_width, 1),
                nn.ReLU(),
                nn.Conv3d(config.hidden_width, config.parameters, 1),
            )
            for _ in range(config.classes)
        )

    def generate(self, image: Tensor, classes: Sequence[int]) -> Tensor:
        made = []
        for c in classes:
            joined = torch.cat((image, self.embedding[c].expand(len(image), -1)), dim=1)
            made.append(self.controllers[c](joined[:, :, None, None, None]).flatten(1))
        return torch.stack(made, dim=1)

    def fold_own(self, classes: Sequence[int]) -> nn.Module:
        layers = [self.controllers[c] for c in classes]
        first = torch.stack([layer[0].weight.flatten(1) for layer in layers])  # type: ignore[index]
        image_half, text_half = first.split((self.config.gap_width, self.config.embedding_width), dim=2)
        text = torch.einsum("chw,cw->ch", text_half, self.embedding[list(classes)])
        return _FoldedPerClass(
            image_half,
            text + torch.stack([layer[0].bias for layer in layers]),  # type: ignore[index]
            torch.stack([layer[2].weight.flatten(1) for layer in layers]),  # type: ignore[index]
            torch.stack([layer[2].bias for layer in layers]),  # type: ignore[index]
        )


class _FoldedShared(nn.Module):
    image_half: Tensor
    constant: Tensor

    def __init__(self, image_half: Tensor, constant: Tensor) -> None:
        super().__init__()
        self.register_buffer("image_half", image_half.detach().contiguous())  # [P, gap_width]
        self.register_buffer("constant", constant.detach())  # [classes, P]

    def forward(self, image: Tensor) -> Tensor:
        return F.linear(image, self.image_half)[:, None] + self.constant


class _FoldedPerClass(nn.Module):
    image_half: Tensor
    constant: Tensor
    second: Tensor
    bias: Tensor

    def __init__(self, image_half: Tensor, constant: Tensor, second: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("image_half", image_half.detach().contiguous())  # [classes, hidden, gap_width]
        self.register_buffer("constant", constant.detach())  # [classes, hidden]
        self.register_buffer("second", second.detach())  # [classes, P, hidden]
        self.register_buffer("bias", bias.detach())  # [classes, P]

    def forward(self, image: Tensor) -> Tensor:
        hidden = F.relu(torch.einsum("ng,chg->nch", image, self.image_half) + self.constant)
        return torch.einsum("nch,cph->ncp", hidden, self.second) + self.bias


def build_generator(config: HeadConfig, bottleneck_channels: int) -> ParameterGenerator:
    """The generator of a configuration, with parameters still to be loaded."""
    kind = PerClassControllers if config.generator == "per_class" else SharedController
    return kind(config, bottleneck_channels)
