"""Published checkpoints in every wrapping, and everything that is not one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
import torch

from support.samples import KINDS, published_state, small_model
from umlite.classes import PUBLISHED
from umlite.errors import WeightsError
from umlite.kernels.implementations import REFERENCE
from umlite.weights.conversion import UNSTATED_LICENSE, convert_checkpoint
from umlite.weights.loading import load_model, read_card


def convert(tmp_path: Path, content: object, **options):
    checkpoint, path = tmp_path / "net.pth", tmp_path / "net.safetensors"
    torch.save(content, checkpoint)
    return convert_checkpoint(checkpoint, path, name="net", **options)


def assert_same_network(path: Path, model) -> None:
    loaded, _ = load_model(path, REFERENCE)
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


@pytest.mark.parametrize(("backbone", "generator"), KINDS)
def test_released_layout(tmp_path: Path, backbone: str, generator: str) -> None:
    model = small_model(backbone, generator)
    content = {"net": published_state(model), "optimizer": {"state": {}}, "scheduler": {"last_epoch": 3}, "epoch": 61}
    conversion = convert(tmp_path, content, class_names=["published"] if backbone == "segresnet" else None)
    assert_same_network(conversion.path, model)
    card = read_card(conversion.path)
    assert card == conversion.card
    assert card.classes == tuple(c.name for c in PUBLISHED)
    assert card.spacing_mm == (1.5, 1.5, 1.5)
    assert card.window == (96, 96, 96)
    assert card.hu_range == (-175, 250)
    assert card.license == UNSTATED_LICENSE
    assert card.source.file == "net.pth"
    assert card.source.sha256 == hashlib.sha256((tmp_path / "net.pth").read_bytes()).hexdigest()


@pytest.mark.parametrize("container", ["net", "state_dict", "model", None])
@pytest.mark.parametrize("prefix", ["", "module.", "module.module.", "_orig_mod.module.", "model."])
def test_every_wrapping(tmp_path: Path, prefix: str, container: str | None) -> None:
    model = small_model("unet")
    state = published_state(model, prefix)
    assert_same_network(convert(tmp_path, {container: state} if container else state).path, model)


def test_swin_keys_with_and_without_backbone(tmp_path: Path) -> None:
    model = small_model("swin_unetr")
    heads = ("organ_embedding", "GAP", "controller", "text_to_vision", "precls_conv")
    state = published_state(model, "")
    with_prefix = {k if k.startswith(heads) else f"backbone.{k}": v for k, v in state.items()}
    assert with_prefix.keys() != state.keys()
    assert_same_network(convert(tmp_path, {"net": with_prefix}).path, model)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_segresnet_keys_with_any_prefix(tmp_path: Path, prefix: str) -> None:
    model = small_model("segresnet", classes=25)
    conversion = convert(tmp_path, {"net": published_state(model, prefix)}, class_names=["published"])
    assert_same_network(conversion.path, model)
    assert conversion.card.classes == tuple(c.name for c in PUBLISHED[:25])


def test_names_of_a_segresnet_are_never_assumed(tmp_path: Path) -> None:
    state = published_state(small_model("segresnet", classes=25))
    with pytest.raises(
        WeightsError, match=r"25 classes and does not say which.*'published' alone.*spleen, right_kidney"
    ):
        convert(tmp_path, state)
    names = [c.name for c in reversed(PUBLISHED[:25])]
    assert convert(tmp_path, state, class_names=names).card.classes == tuple(names)
    with pytest.raises(WeightsError, match="names are known for 25 and 32"):
        convert(tmp_path, published_state(small_model("segresnet", classes=7)), class_names=["published"])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("convInit.conv.weight", (), "no usable"),
        ("convInit.conv.weight", (16, 4, 3, 3, 3), r"convInit.conv.weight is \[16, 4, 3, 3, 3\]"),
        ("convInit.conv.weight", (12, 1, 3, 3, 3), "No network can be built"),
        ("convInit.conv.weight", (0, 1, 3, 3, 3), "No network can be built"),
        ("conv_final.2.conv.weight", (25,), "no usable"),
        ("conv_final.2.conv.weight", (25, 32, 1, 1, 1), "No network can be built"),
        ("conv_final.2.conv.bias", (24,), r"generator.heads.bias is \[24\]"),
        ("up_samples.0.1.deconv.weight", (64, 64, 3, 3, 3), "unexpected backbone.up_samples.0.1.deconv.weight"),
        ("down_layers.3.2.conv1.conv.weight", (128, 128, 3, 3, 3), "missing backbone.down_layers.3.2.norm1.weight"),
        ("up_layers.0.0.conv1.conv.weight", None, "No network can be built"),
    ],
)
def test_a_segresnet_of_other_shapes(tmp_path: Path, name: str, shape: tuple[int, ...] | None, message: str) -> None:
    state = published_state(small_model("segresnet", classes=25), "")
    if shape is None:
        del state[name]
    else:
        state[name] = torch.zeros(shape)
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path, state, class_names=["published"])


def test_learned_rows_stored_as_an_embedding_layer(tmp_path: Path) -> None:
    model = small_model(generator="embedding")
    state = published_state(model)
    state["module.organ_embedding.weight"] = state.pop("module.organ_embedding")
    assert_same_network(convert(tmp_path, {"net": state}).path, model)


def test_first_25_classes_are_known(tmp_path: Path) -> None:
    conversion = convert(tmp_path, {"net": published_state(small_model(classes=25))})
    assert conversion.card.classes == tuple(c.name for c in PUBLISHED[:25])


def test_other_counts_need_names(tmp_path: Path) -> None:
    state = {"net": published_state(small_model(classes=3))}
    with pytest.raises(WeightsError, match=r"3 classes.*Give all 3 names"):
        convert(tmp_path, state)
    with pytest.raises(WeightsError, match="3 classes, but 2 names were given"):
        convert(tmp_path, state, class_names=["liver", "spleen"])
    conversion = convert(tmp_path, state, class_names=["Liver", "my new organ", "kidney_right"])
    assert conversion.card.classes == ("liver", "my_new_organ", "right_kidney")


def test_unused_entries_are_dropped_and_told(tmp_path: Path) -> None:
    model = small_model()
    state = published_state(model)
    state["module.backbone.out_tr.final_conv.weight"] = torch.zeros(3, 16, 1, 1, 1)
    dropped = convert(tmp_path, {"net": state}).dropped
    assert "backbone.out_tr.final_conv.weight" in dropped
    assert "backbone.down_tr64.ops.0.bn1.running_mean" in dropped


def test_one_error_lists_every_fault(tmp_path: Path) -> None:
    state = published_state(small_model())
    del state["module.GAP.3.bias"]
    del state["module.backbone.up_tr64.ops.1.conv1.weight"]
    state["module.backbone.attic.weight"] = torch.zeros(2)
    state["module.precls_conv.0.weight"] = torch.zeros(5)
    with pytest.raises(WeightsError) as caught:
        convert(tmp_path, {"net": state})
    message = str(caught.value)
    assert "4 faults" in message
    for part in (
        "missing generator.gap.3.bias [32]",
        "missing backbone.up_tr64.ops.1.conv1.weight [16, 16, 3, 3, 3]",
        "unexpected backbone.attic.weight [2]",
        "head_input.0.weight is [5], expected [16]",
    ):
        assert part in message
    assert not (tmp_path / "net.safetensors").exists()


def test_another_position_index_is_refused(tmp_path: Path) -> None:
    state = published_state(small_model("swin_unetr"))
    state["module.swinViT.layers1.0.blocks.0.attn.relative_position_index"] = torch.zeros(27, 27, dtype=torch.int64)
    with pytest.raises(WeightsError, match="relative positions"):
        convert(tmp_path, {"net": state})


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    state = {**published_state(small_model()), **published_state(small_model(seed=1), "")}
    with pytest.raises(WeightsError, match="twice"):
        convert(tmp_path, {"net": state})


@pytest.mark.parametrize(
    "content", [{"fc.weight": torch.zeros(10, 20)}, {"net": {"layer1.conv.weight": torch.zeros(3)}}], ids=["fc", "conv"]
)
def test_another_network(tmp_path: Path, content: dict) -> None:
    with pytest.raises(WeightsError, match="not the weights of a Universal Model"):
        convert(tmp_path, content)


@pytest.mark.parametrize("content", [{}, {"net": {}}, {"epoch": 3}, [torch.zeros(3)], "text"])
def test_no_tensors(tmp_path: Path, content: object) -> None:
    with pytest.raises(WeightsError, match="no named tensors"):
        convert(tmp_path, content)


class Payload:
    """Unpickling this would create a file: the proof that code ran."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_pickle_never_runs(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    with pytest.raises(WeightsError, match=r"mkdir.*refused"):
        convert(tmp_path, {"net": published_state(small_model()), "extra": Payload(str(proof))})
    assert not proof.exists()


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    target = tmp_path / "out.safetensors"
    with pytest.raises(WeightsError, match="No such checkpoint"):
        convert_checkpoint(tmp_path / "absent.pth", target, name="x")
    with pytest.raises(WeightsError, match="Cannot read"):
        convert_checkpoint(tmp_path, target, name="x")
    whole = tmp_path / "whole.pth"
    torch.save({"net": published_state(small_model())}, whole)
    for name, content in (
        ("text.pth", b"<html>not found</html>"),
        ("empty.pth", b""),
        ("cut.pth", whole.read_bytes()[:-2000]),
        ("short.pth", whole.read_bytes()[:100]),
        ("u.pth", b"u"),
        ("line.pth", b"a\n"),
        ("tomorrow.pth", b"tomorrow"),
        ("noise.pth", bytes(range(128, 256)) * 3),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="not a PyTorch checkpoint"):
            convert_checkpoint(path, target, name="x")
    assert not target.exists()


def test_tensors_that_share_memory_are_a_legal_checkpoint(tmp_path: Path) -> None:
    state = published_state(small_model())
    state["module.backbone.up_tr64.ops.1.bn1.weight"] = state["module.backbone.up_tr64.ops.1.bn1.bias"]
    convert(tmp_path, {"net": state})


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    state = published_state(small_model())
    state["module.precls_conv.0.weight"] = torch.ones(16).to_sparse()
    with pytest.raises(WeightsError, match="not a dense tensor"):
        convert(tmp_path, {"net": state})
