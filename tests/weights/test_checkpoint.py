"""Checkpoints are read as torch reads them; those that ask for more than they hold are refused, at once."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from support.samples import published_state, small_model
from umlite.errors import WeightsError
from umlite.weights.checkpoint import MOST_INDEX_BYTES, open_checkpoint
from umlite.weights.conversion import convert_checkpoint
from umlite.weights.unpickling import StoredTensor

DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


def tensors() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    base = torch.randn(6, 7, 8)
    return {
        **{str(dtype): (10 * torch.randn(3, 5)).to(dtype) for dtype in DTYPES},
        "part": base[1:3, ::2],
        "turned": base.permute(2, 0, 1),
        "shared": base,
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "with attributes": attributed(torch.ones(3)),
    }


def attributed(tensor: torch.Tensor) -> torch.Tensor:
    tensor.note = "kept by torch.save"  # type: ignore[attr-defined]
    return tensor


@pytest.mark.parametrize("layout", ["archive", "legacy"])
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_numbers_are_those_that_torch_reads(tmp_path: Path, layout: str, protocol: int) -> None:
    path = tmp_path / "net.pth"
    content = {"net": tensors(), "epoch": 3, "milestones": {1, 2}, "optimizer": {"state": {0: {"step": torch.ones(1)}}}}
    torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=layout == "archive")
    expected = torch.load(path, weights_only=False)["net"]
    with open_checkpoint(path) as checkpoint:
        assert list(checkpoint.tensors) == list(expected)
        for name, stored in checkpoint.tensors.items():
            assert isinstance(stored, StoredTensor)
            read = checkpoint.read(stored)
            assert read.dtype == expected[name].dtype, name
            assert torch.equal(read, expected[name]), name


def state() -> dict[str, torch.Tensor]:
    return published_state(small_model())


def refusal(path: Path) -> str:
    target = path.with_name("out.safetensors")
    with pytest.raises(WeightsError) as caught:
        convert_checkpoint(path, target, name="net")
    message = str(caught.value)
    assert not target.exists()
    assert len(message) < 20_000
    assert message.replace("\n  ", "").isprintable()
    return message


def saved(tmp_path: Path, content: object, **options: object) -> Path:
    path = tmp_path / "net.pth"
    torch.save(content, path, **options)  # type: ignore[arg-type]
    return path


def rewritten(path: Path, changes: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """The archive with other contents for the entries whose names end so."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", compression) as target:
        for entry in source.infolist():
            new = next((content for end, content in changes.items() if entry.filename.endswith(end)), None)
            target.writestr(entry.filename, source.read(entry) if new is None else new)
    return path


def archive(tmp_path: Path, content: bytes) -> Path:
    """An archive with this pickle and nothing else."""
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as target:
        target.writestr("net/data.pkl", content)
    return path


def test_container_that_holds_itself(tmp_path: Path) -> None:
    content: dict[str, object] = {}
    content["net"] = content
    assert "no named tensors" in refusal(saved(tmp_path, content))


@pytest.mark.parametrize("tensor", [torch.zeros(1).expand(16), torch.zeros(9).as_strided((16,), (0,))])
@pytest.mark.parametrize("legacy", [False, True])
def test_tensor_that_repeats_its_numbers(tmp_path: Path, tensor: torch.Tensor, legacy: bool) -> None:
    content = state() | {"module.precls_conv.0.weight": tensor}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    assert "head_input.0.weight, which is not a dense tensor" in refusal(path)


def test_storage_that_all_tensors_share(tmp_path: Path) -> None:
    """A few bytes of weights, used again for every tensor, are no network."""
    numbers = torch.zeros(max(t.numel() for t in state().values()))
    shared = {name: numbers[: t.numel()].view(t.shape) for name, t in state().items() if t.is_floating_point()}
    assert "claims more numbers than it holds" in refusal(saved(tmp_path, shared))


@pytest.mark.parametrize(
    "odd", [torch.ones(16).to_sparse(), torch.ones(16, dtype=torch.complex64), torch.ones(16).to("meta")]
)
def test_tensors_of_other_kinds(tmp_path: Path, odd: torch.Tensor) -> None:
    assert "not a dense tensor" in refusal(saved(tmp_path, state() | {"module.precls_conv.0.weight": odd}))


@pytest.mark.parametrize("end", ["data.pkl", "data/3"])
def test_packed_archives_expand(tmp_path: Path, end: str) -> None:
    path = rewritten(saved(tmp_path, state()), {end: bytes(50_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    assert "its archive is packed" in refusal(path)


@pytest.mark.parametrize(
    ("end", "content"), [("data/3", b""), ("data/3", b"1234"), ("byteorder", b"big"), ("data.pkl", b"")]
)
def test_entries_that_lack_what_the_pickle_claims(tmp_path: Path, end: str, content: bytes) -> None:
    refusal(rewritten(saved(tmp_path, state()), {end: content}))


def test_archives_without_end(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w") as target:
        for number in range(MOST_INDEX_BYTES // 50):
            target.writestr(f"net/data/{number}", b"")
    assert "too many entries" in refusal(path)
    assert "list of its tensors is too long" in refusal(archive(tmp_path, b"N" * (MOST_INDEX_BYTES + 1)))


COLLIDING = [b"\x8a\x09" + pickle.encode_long(i * (2**61 - 1)).ljust(9, b"\0") for i in range(1, 20_000)]
GREEDY = {
    "a tensor of 400 GB": b"ctorch\nFloatTensor\n\x8a\x05\x00\xe8vH\x17\x85R",
    "an array of 1 TB": b"cbuiltins\nbytearray\n\x8a\x06\x00\x10\xa5\xd4\xe8\x00\x85R",
    "bytes to come": pickle.BYTEARRAY8 + struct.pack("<Q", 10**12),
    "text to come": pickle.BINUNICODE8 + struct.pack("<Q", 10**12),
    "a frame to come": pickle.FRAME + struct.pack("<Q", 2**63),
    "a memo of 2**32": b"N" + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1),
    "an endless number": b"I" + b"1" * 1_000_000 + b"\n",
    "a quadratic encoding": b"c_codecs\nencode\n(X\x40\x0d\x03\x00" + b"\xc3\xa4" * 100_000 + b"\x8c\x08punycodetR",
    "colliding keys": b"}(" + b"N".join(COLLIDING) + b"Nu",
    "a colliding set": b"cbuiltins\nset\n](" + b"".join(COLLIDING) + b"e\x85R",
    "depth": b")" + b"\x85" * 100_000,
    "lists in lists": b"](" * 100_000 + b"e" * 100_000,
    "dicts": b"](" + b"}" * 100_000 + b"e",
    "doubled tuples": b")" + b"2\x86" * 10_000,
}  # fmt: skip


@pytest.mark.parametrize("greedy", GREEDY)
def test_pickles_that_ask_for_much_get_nothing(tmp_path: Path, greedy: str) -> None:
    """What they ask for would take terabytes or hours: that this ends is the proof."""
    refusal(archive(tmp_path, b"\x80\x02}X\x03\x00\x00\x00net" + GREEDY[greedy] + b"s."))


def test_names_that_would_write_to_the_terminal(tmp_path: Path) -> None:
    names = {f"\x1b[2J\nError: forged {i}": torch.zeros(1) for i in range(3000)}
    message = refusal(saved(tmp_path, state() | names))
    assert "3000 faults" in message
    assert r"\x1b[2J\nError: forged" in message
    assert "more" in message
    assert "1000" in refusal(saved(tmp_path, {"x" * 100_000: torch.zeros(1)}))


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = {"pipe": tmp_path / "net.pth", "device": Path("/dev/zero"), "folder": tmp_path}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(WeightsError, match="not a regular file"):
        convert_checkpoint(path, tmp_path / "out.safetensors", name="net")
