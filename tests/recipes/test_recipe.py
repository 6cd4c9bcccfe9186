from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recipes.demo_weights import recipe
from umlite.classes import PUBLISHED
from umlite.errors import InputError


def test_network_is_reproducible(embedding: Path) -> None:
    one, other = (recipe.build_model(embedding, seed=4).state_dict() for _ in range(2))
    assert all(tensor.equal(other[name]) for name, tensor in one.items())


def test_embedding_of_other_classes_is_refused(tmp_path: Path) -> None:
    few, text = tmp_path / "few.npy", tmp_path / "text.npy"
    np.save(few, np.zeros((3, 384), np.float32))
    text.write_text("no numbers")
    for path in (few, text, tmp_path / "missing.npy"):
        with pytest.raises(InputError, match=path.name):
            recipe.build_model(path, seed=0)


def test_lesions_grow_in_their_hosts() -> None:
    hosts = recipe.host_classes()
    assert hosts.sum(1).tolist() == [len(c.hosts) for c in PUBLISHED]
    number = recipe.CLASSES.index
    kidneys = hosts[number("kidney_tumor")].nonzero().flatten().tolist()
    assert sorted(kidneys) == sorted([number("right_kidney"), number("left_kidney")])


def test_images_are_phantoms_and_the_real_anatomy(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "LESSON_SHARE", 0.0)
    source = recipe.build_source(data, data, seed=0, spacing_mm=12.0)
    images = [source.make(seed) for seed in range(12)]
    everywhere = [bool((image.known == image.known.flat[0]).all()) for image in images]
    assert 0 < sum(everywhere) < 12  # phantoms know the same classes everywhere, the real scan does not
