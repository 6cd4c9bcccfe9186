"""Weights files: what is stored comes back, and nothing else is accepted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from support.samples import small_card, small_model
from umlite.errors import OutputError, WeightsError
from umlite.kernels.implementations import REFERENCE
from umlite.weights.loading import load_model, read_card, save_model


def test_round_trip(tmp_path: Path) -> None:
    model = small_model(generator="per_class", classes=3)
    card = small_card(model, notice="for tests", spacing_mm=(1.0, 2.0, 3.5), hu_range=(-1000.0, 1000.0))
    save_model(tmp_path / "deep" / "a.safetensors", model.state_dict(), card)
    loaded, found = load_model(tmp_path / "deep" / "a.safetensors", REFERENCE)
    assert found == card
    assert not loaded.training
    x = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(loaded(x), model(x))


def test_half_precision_storage_is_read_as_float32(tmp_path: Path) -> None:
    model = small_model(classes=2)
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_model(tmp_path / "a.safetensors", halves, small_card(model))
    loaded, _ = load_model(tmp_path / "a.safetensors", REFERENCE)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.state_dict().values())


def test_the_file_can_be_shared(small_weights: Path) -> None:
    """safetensors writes private files; the user's mask decides here."""
    plain = small_weights.with_name("plain")
    plain.touch()
    assert small_weights.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("said", "told"),
    [("I/O error: No space left on device (os error 28)", "the disk is full"), ("InvalidHeader", "InvalidHeader")],
)
def test_a_refusal_of_the_library(tmp_path: Path, said: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise SafetensorError(f"Error while serializing: {said}")

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    model = small_model(classes=2)
    with pytest.raises(OutputError, match=rf"Cannot write .*a\.safetensors: .*{told}"):
        save_model(tmp_path / "a.safetensors", model.state_dict(), small_card(model))
    assert not os.listdir(tmp_path)


def test_a_limit_of_the_size_of_files(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    model = small_model(classes=2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OutputError, match="the file would be larger than is allowed"):
            save_model(tmp_path / "a.safetensors", model.state_dict(), small_card(model))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not os.listdir(tmp_path)


def test_tensors_and_manifest_must_fit(tmp_path: Path) -> None:
    model, other = small_model("unet", classes=3), small_model("swin_unetr", classes=3)
    with pytest.raises(WeightsError, match="does not fit the Universal Model"):
        save_model(tmp_path / "a.safetensors", other.state_dict(), small_card(model))
    save_file(other.state_dict(), tmp_path / "b.safetensors", small_card(model).to_metadata())
    with pytest.raises(WeightsError, match=r"missing backbone\.down_tr64"):
        load_model(tmp_path / "b.safetensors", REFERENCE)


@pytest.mark.parametrize("kept", [0, 5, 100, 3000, -1])
def test_a_file_cut_short(tmp_path: Path, small_weights: Path, kept: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(small_weights.read_bytes()[:kept])
    with pytest.raises(WeightsError, match=r"Cannot read .*cut\.safetensors"):
        read_card(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.safetensors", None, "No weights file"),
        ("net.pth", b"PK", "umlite weights convert"),
        ("text.safetensors", b"hello, this is text and long enough", "Cannot read"),
    ],
)
def test_other_files(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        read_card(tmp_path / name)
    with pytest.raises(WeightsError, match="found the folder"):
        read_card(tmp_path)


def test_foreign_and_damaged_manifests(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    good = small_card(small_model(classes=2)).to_metadata()["umlite"]

    def expect(message: str, metadata: dict[str, str] | None) -> None:
        save_file({"x": torch.zeros(1)}, path, metadata)
        with pytest.raises(WeightsError, match=message):
            read_card(path)

    expect("no model card of umlite", None)
    expect("no model card of umlite", {"format": "pt"})
    expect("damaged", {"umlite": "{not json"})
    expect("damaged", {"umlite": "[]"})
    expect("format 99", {"umlite": json.dumps({**json.loads(good), "format": 99})})
    for field, value, message in (
        ("network", {}, "damaged"),
        ("window", [15, 16, 16], "multiples of 8"),
        ("window", [16, 16], "multiples of 8"),
        ("window", [8, 8, 8], "more than 8"),
        ("window", [16.0, 16, 16], "multiples of 8"),
        ("window", [800000000, 16, 16], "up to 512"),
        ("hu_range", [-float("inf"), 5], "rises"),
        ("notice", "\x1b]0;title\x07", "plain text"),
        ("license", 3, "plain text"),
        ("classes", ["liver", "../evil"], "cannot name"),
        ("classes", ["liver", 5], "damaged|attribute"),
        ("spacing_mm", [0, 1, 1], "three lengths"),
        ("spacing_mm", [1e-4, 1, 1], "three lengths"),
        ("window", [16, 16, 4096], "up to 512"),
        ("hu_range", [5, 5], "rises"),
        ("classes", ["liver"], "2 classes, but 1"),
        ("classes", ["liver", "liver"], "more than once"),
        ("surprise", 1, "damaged"),
    ):
        expect(message, {"umlite": json.dumps({**json.loads(good), field: value})})


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("backbone", "channels", [16, 16, 32]),
        ("backbone", "channels", [16, 16, 32, 10**9]),
        ("backbone", "channels", [16, 16, 32, -32]),
        ("backbone", "channels", [16, 16, 32, 40]),
        ("backbone", "kind", "resnet"),
        ("head", "groups", 0),
        ("head", "groups", 7),
        ("head", "generator", "other"),
        ("head", "embedding_width", "many"),
        ("head", "channels", 10**12),
        ("head", "classes", 10**9),
        ("head", "task_width", 0),
        ("head", "generator", "per_class"),
        ("head", "generator", ["shared"]),
        ("backbone", "channels", [16, 1, 32, 32]),
    ],
)
def test_networks_that_cannot_be(tmp_path: Path, part: str, field: str, value: object) -> None:
    data = json.loads(small_card(small_model(classes=2)).to_metadata()["umlite"])
    data["network"][part][field] = value
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", {"umlite": json.dumps(data)})
    with pytest.raises(WeightsError):
        load_model(tmp_path / "a.safetensors", REFERENCE)


def test_endless_depth_is_refused_at_once(tmp_path: Path) -> None:
    data = json.loads(small_card(small_model("swin_unetr", classes=2)).to_metadata()["umlite"])
    data["network"]["backbone"]["depths"] = [2, 2, 2, 8000]
    save_file({"x": torch.zeros(1)}, tmp_path / "a.safetensors", {"umlite": json.dumps(data)})
    with pytest.raises(WeightsError, match="No network can be built"):
        load_model(tmp_path / "a.safetensors", REFERENCE)
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors", {"umlite": "[" * 100000})
    with pytest.raises(WeightsError, match="damaged"):
        read_card(tmp_path / "b.safetensors")


@pytest.mark.parametrize(("number", "sound"), [(float("nan"), False), (float("-inf"), False), (3e38, True)])
def test_numbers_must_be_finite_and_may_be_large(tmp_path: Path, number: float, sound: bool) -> None:
    """A tensor of 3e38 adds up to infinity, and is finite."""
    model = small_model()
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = next(iter(tensors))
    tensors[name].view(-1)[: None if sound else 1] = number
    if sound:
        save_model(tmp_path / "net.safetensors", tensors, small_card(model))
    else:
        with pytest.raises(WeightsError, match=f"{name} holds NaN or infinite"):
            save_model(tmp_path / "net.safetensors", tensors, small_card(model))


def rewritten(source: Path, path: Path, change: Callable[[dict], None], length: int | None = None) -> Path:
    """The weights file `source` with another header."""
    data = source.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data[8 + size :])
    return path


def overlap(header: dict) -> None:
    first, second = [name for name in header if name.startswith("backbone")][:2]
    header[second]["data_offsets"] = header[first]["data_offsets"]


def beyond(header: dict) -> None:
    next(v for k, v in header.items() if k.startswith("backbone"))["data_offsets"][1] = 2**60


def integers(header: dict) -> None:
    next(v for k, v in header.items() if k.startswith("backbone"))["dtype"] = "I32"


def strange_names(header: dict) -> None:
    for name in [name for name in header if name.startswith("backbone")]:
        header["\x1b[2J\nError: " + name] = header.pop(name)


@pytest.mark.parametrize("change", [overlap, beyond, integers, strange_names])
def test_headers_that_lie(tmp_path: Path, small_weights: Path, change: Callable[[dict], None]) -> None:
    path = rewritten(small_weights, tmp_path / "net.safetensors", change)
    with pytest.raises(WeightsError) as caught:
        load_model(path, REFERENCE)
    assert str(caught.value).replace("\n  ", "").isprintable()


@pytest.mark.parametrize("length", [0, 10**8, 2**40, 2**63, 2**64 - 1])
def test_headers_of_any_length_cost_nothing(tmp_path: Path, small_weights: Path, length: int) -> None:
    path = rewritten(small_weights, tmp_path / "net.safetensors", lambda _: None, length)
    with pytest.raises(WeightsError, match="Cannot read"):
        read_card(path)


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "net.safetensors")
    for path in (tmp_path / "net.safetensors", Path("/dev/zero")):
        with pytest.raises(WeightsError, match="a pipe or a device"):
            read_card(path)
