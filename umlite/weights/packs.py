"""Packs: classes that were added to a trained network, in a file that holds nothing of that network.

A pack is a safetensors file with the tensors `weight` [classes, P, gap_width] and `bias` [classes, P], and one JSON
text about them. It names the network that it belongs to by a hash of its numbers, so that the file's name, format and
card make no difference, and a pack that was learned with another network is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from umlite.class_table import ClassTable, normalise
from umlite.classes import REPLACED
from umlite.errors import RequestError, WeightsError
from umlite.files import expanded
from umlite.weights.model_card import ModelCard
from umlite.weights.stored_tensors import PACK, check_finite, opened, plain, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

KEY = "umlite_pack"
FORMAT = 1
SUFFIX = ".pack.safetensors"
MOST_CLASSES = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Step:
    """One thing that was done to make a file, with the hashes of what it was made from."""

    what: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackCard:
    """Everything about a pack that its tensors do not say.

    classes: names in the order of its heads. replaces: those that answer in place of a class of the network.
    base, base_name, base_license: hash of the network's numbers, what it was called, and its licence. license: of the
    pack. notice: a sentence that marks every result, or empty. data: what it was learned from, in a few words.
    measured: Dice on scans that were held out, by class: [mean, lower end, upper end of the 95 % interval].
    history: what was done, oldest first.
    """

    classes: tuple[str, ...]
    base: str
    replaces: tuple[str, ...] = ()
    base_name: str = ""
    base_license: str = ""
    license: str = ""
    notice: str = ""
    data: str = ""
    measured: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    history: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        """Check everything, since the file may come from anywhere. Raises WeightsError."""
        if not 1 <= len(self.classes) <= MOST_CLASSES:
            raise WeightsError(f"Expected 1 to {MOST_CLASSES} classes in a pack, found {len(self.classes)}.")
        if not isinstance(self.base, str) or not _SHA256.fullmatch(self.base):
            raise WeightsError(f"Expected the SHA-256 of the network of a pack, found {self.base!r:.100}.")
        texts = [self.base_name, self.base_license, self.license, self.notice, self.data]
        texts += [text for step in self.history for text in (step.what, *step.sources)]
        for text in texts:
            if not isinstance(text, str) or not text.isprintable() or len(text) > 2000:
                raise WeightsError(f"Expected a short plain text, found {text!r:.100}.")
        try:
            names = ClassTable(self.classes).names
        except (RequestError, AttributeError) as error:
            raise WeightsError(str(error)[:500]) from error
        if names != self.classes or not set(self.replaces) <= set(names):
            raise WeightsError(f"Expected canonical names of classes in a pack, found {self.classes!r:.200}.")
        for name, numbers in self.measured.items():
            if name not in names or len(numbers) != 3 or not all(0 <= n <= 1 for n in numbers):
                raise WeightsError(
                    f"Expected Dice from 0 to 1 of classes of the pack, found {name!r:.80}: {numbers!r:.80}."
                )

    def to_metadata(self) -> dict[str, str]:
        """safetensors metadata: one JSON text."""
        return {KEY: json.dumps({**asdict(self), "format": FORMAT}, indent=1)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str] | None) -> PackCard:
        """Inverse of `to_metadata`. Raises WeightsError on metadata that is absent, newer or damaged."""
        if not metadata or KEY not in metadata:
            raise WeightsError("this safetensors file is no pack of umlite: it has no card of one.")
        try:
            data: dict[str, Any] = json.loads(metadata[KEY])
            if (version := data.pop("format")) != FORMAT:
                raise WeightsError(f"this pack is in format {version!r:.20}, expected {FORMAT}. Update umlite.")
            history = tuple(Step(one["what"], tuple(one["sources"])) for one in data.pop("history"))
            measured = {name: tuple(map(float, numbers)) for name, numbers in data.pop("measured").items()}
            fields = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
            return cls(history=history, measured=measured, **fields)  # type: ignore[arg-type]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"the pack's card is damaged ({error!r:.200}).") from error


@dataclass(frozen=True, eq=False)
class Pack:
    """A pack in memory. weight: float32 [classes, P, gap_width]. bias: float32 [classes, P]."""

    card: PackCard
    weight: Tensor
    bias: Tensor


def is_pack(path: Path) -> bool:
    """Whether a safetensors file is a pack. Raises WeightsError where it cannot be read."""
    with opened(path, "np") as file:
        return KEY in (file.metadata() or {})


def read_pack_card(path: Path) -> PackCard:
    """The card alone, without torch. Raises WeightsError as `read_pack`."""
    with opened(path, "np", PACK) as file:
        return _card(file.metadata(), path)


def read_pack(path: Path) -> Pack:
    """Read a pack. Raises WeightsError where the file is missing, damaged, or no pack."""
    import torch

    with opened(path, "pt", PACK) as file:
        card = _card(file.metadata(), path)
        names = sorted(file.keys())
        if names != ["bias", "weight"]:
            raise WeightsError(f"{path} holds {', '.join(map(plain, names[:5]))}: expected a pack's bias and weight.")
        shapes = [file.get_slice(name).get_shape() for name in names]
        count = len(card.classes)
        if [len(s) for s in shapes] != [2, 3] or shapes[0] != shapes[1][:2] or shapes[0][0] != count:
            raise WeightsError(f"{path} names {count} classes and holds tensors of {shapes}: it is damaged.")
        bias, weight = (file.get_tensor(name).to(torch.float32, copy=True) for name in names)
    check_finite({"bias": bias, "weight": weight}, path)
    return Pack(card, weight, bias)


def write_pack(path: Path, pack: Pack, *, overwrite: bool = True) -> None:
    """Write a pack, whole or not at all. Raises OutputError where the system refuses."""
    write_tensors(path, {"weight": pack.weight, "bias": pack.bias}, pack.card.to_metadata(), overwrite=overwrite)


def network_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of a network's own numbers, in float32, without added classes, by name."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(name for name in tensors if not name.startswith(ADDED)):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


ADDED = "generator.added."


def with_packs(
    tensors: dict[str, Tensor], card: ModelCard, packs: Sequence[Pack], label: str
) -> tuple[dict[str, Tensor], ModelCard]:
    """A network's tensors and card with the classes of packs, those of the network unchanged.

    A class that a pack replaces keeps its head under its name and `REPLACED`.

    Args:
        tensors: of the network, float32, by name.
        card: its card.
        packs: in the order in which their classes are added.
        label: what messages call the network.

    Raises:
        WeightsError: a pack that was learned with another network, or a class that is there already.
    """
    import torch

    _check_generator(card, label)
    own, head = network_sha256(tensors), card.network.head
    for pack in packs:
        if pack.card.base != own:
            called = f" ({pack.card.base_name})" if pack.card.base_name else ""
            raise WeightsError(
                f"The pack of {', '.join(pack.card.classes[:5])} was learned with another network{called} than "
                f"{label}: expected {pack.card.base[:16]}..., found {own[:16]}.... Use it with that network, or learn "
                "it again.",
                about="packs",
            )
        expected = [head.parameters, head.gap_width]
        if list(pack.weight.shape[1:]) != expected:
            raise WeightsError(f"A pack holds heads of {list(pack.weight.shape[1:])} numbers, expected {expected}.")
    made = dict(tensors)
    for kind, parts in (("weight", [pack.weight for pack in packs]), ("bias", [pack.bias for pack in packs])):
        before = [tensors[ADDED + kind]] if ADDED + kind in tensors else []
        made[ADDED + kind] = torch.cat([*before, *parts])
    return made, card_with(card, [pack.card for pack in packs], label)


def card_with(card: ModelCard, packs: Sequence[PackCard], label: str) -> ModelCard:
    """The card of a network with packs. Raises WeightsError as `with_packs`."""
    _check_generator(card, label)
    names = list(card.classes)
    for pack in packs:
        names = [f"{name}{REPLACED}" if name in pack.replaces else name for name in names]
        if double := sorted(set(names) & set(pack.classes)):
            raise WeightsError(
                f"A pack adds {', '.join(double[:5])}, which {label} has already. A pack that was made to replace a "
                "class says so.",
                about="packs",
            )
        names += pack.classes
    head = replace(card.network.head, added=len(names) - card.network.head.classes)
    notices = dict.fromkeys(filter(None, (card.notice, *(pack.notice for pack in packs))))
    network = replace(card.network, head=head)
    return replace(card, network=network, classes=tuple(names), notice=" ".join(notices)[:2000])


def _check_generator(card: ModelCard, label: str) -> None:
    if card.network.head.generator == "linear":
        raise WeightsError(
            f"{label} is a {card.network.backbone.kind}: packs add classes to networks with a parameter generator, and "
            "it has none. Leave packs out.",
            about="packs",
        )


def _card(metadata: Mapping[str, str] | None, path: Path) -> PackCard:
    try:
        return PackCard.from_metadata(metadata)
    except WeightsError as error:
        raise WeightsError(f"Cannot use {path}: {error}") from error


def pack_paths(text: str | None) -> tuple[Path, ...]:
    """Paths of packs that are joined by commas. Raises WeightsError for an empty one."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise WeightsError(f"Expected files of packs joined by commas, found {text!r:.200}.", about="packs")
    return tuple(expanded(part) for part in parts)


def joined(packs: Sequence[Pack], hashes: Sequence[str]) -> Pack:
    """One pack with the classes of several. hashes: of their files. Raises WeightsError if they do not fit."""
    import torch

    first = packs[0].card
    for pack in packs[1:]:
        if pack.card.base != first.base:
            raise WeightsError("Packs of different networks cannot be joined: each belongs to its own.")
    names = [name for pack in packs for name in pack.card.classes]
    if double := sorted({normalise(name) for name in names if names.count(name) > 1}):
        raise WeightsError(f"More than one of these packs has {', '.join(double[:5])}. Drop or rename one.")
    card = replace(
        first,
        classes=tuple(names),
        replaces=tuple(name for pack in packs for name in pack.card.replaces),
        license="; ".join(dict.fromkeys(filter(None, (pack.card.license for pack in packs))))[:2000],
        notice=" ".join(dict.fromkeys(filter(None, (pack.card.notice for pack in packs))))[:2000],
        data="; ".join(dict.fromkeys(filter(None, (pack.card.data for pack in packs))))[:2000],
        measured={name: numbers for pack in packs for name, numbers in pack.card.measured.items()},
        history=(Step("merged", tuple(hashes)),),
    )
    return Pack(card, torch.cat([pack.weight for pack in packs]), torch.cat([pack.bias for pack in packs]))
