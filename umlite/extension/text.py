"""Text features of a new class's name, by the encoder that training has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from umlite.classes import REPLACED
from umlite.errors import RequestError
from umlite.extension.starts import check_embedding
from umlite.models.parameter_generator import ParameterGenerator
from umlite.training.embeddings import embed_classes

ALIKE = 0.99
"""Cosine from which two texts are the same: prompts of different classes have 0.56 mostly, and 0.98 at most."""


def encoded(generator: ParameterGenerator, classes: Sequence[str], name: str) -> Tensor:
    """Text features of a name, if those of the network's own classes come from the same encoder.

    Args:
        generator: of the network.
        classes: names of its classes, in the order of its heads.
        name: of the new class, or of one of them.

    Returns:
        A unit vector [embedding_width].

    Raises:
        RequestError: the encoder is not installed, the network takes no text, or its texts come from another encoder.
    """
    stored = generator.embedding.detach().float()
    check_embedding(generator, stored[0])
    own = [one.removesuffix(REPLACED) for one in classes[: len(stored)]]
    wanted = list(dict.fromkeys([*own, name]))
    rows = torch.from_numpy(embed_classes(wanted))
    same = rows.shape[1] == stored.shape[1]
    found = torch.cosine_similarity(rows[: len(own)], stored, dim=1).median().item() if same else 0.0
    if found < ALIKE:
        raise RequestError(
            f"The texts of this network's classes come from another encoder ({stored.shape[1]} numbers, cosine "
            f"{found:.2f}) than all-MiniLM-L6-v2 ({rows.shape[1]} numbers). Give the text features of that encoder as "
            "a file, or leave text out.",
            about=("text", "embedding"),
        )
    return rows[wanted.index(name)]
