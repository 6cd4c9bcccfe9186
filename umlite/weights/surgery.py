"""Classes taken out of weights, renamed, or put together: new files, with what was done in their cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from umlite.class_table import ClassTable
from umlite.errors import RequestError, WeightsError
from umlite.files import file_sha256
from umlite.weights.loading import load_tensors, save_model
from umlite.weights.model_card import ModelCard
from umlite.weights.packs import ADDED, Pack, PackCard, Step, is_pack, joined, read_pack, with_packs, write_pack

if TYPE_CHECKING:
    from torch import Tensor

_PER_CLASS = "generator.controllers."
_ROWS = ("generator.embedding", "generator.heads.weight", "generator.heads.bias")  # tensors with a row per class


def drop(path: Path, classes: str, output: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write weights or a pack without some classes. Returns the classes that are left.

    Raises:
        RequestError: an unknown class, or none would be left.
        WeightsError: the file cannot be used.
        OutputError: the new file cannot be written.
    """
    names = _names(path)
    gone = {c.name for c in ClassTable(names).resolve(classes)}
    kept = [i for i, name in enumerate(ClassTable(names).names) if name not in gone]
    if not kept:
        raise RequestError("No class would be left.", about="classes")
    what = f"dropped {', '.join(sorted(gone))}"

    def from_pack(pack: Pack) -> Pack:
        card = pack.card
        left = tuple(card.classes[i] for i in kept)
        card = replace(
            card,
            classes=left,
            replaces=tuple(name for name in card.replaces if name in left),
            measured={name: numbers for name, numbers in card.measured.items() if name in left},
        )
        return Pack(card, pack.weight[kept], pack.bias[kept])

    def from_weights(tensors: dict[str, Tensor], card: ModelCard) -> tuple[dict[str, Tensor], ModelCard]:
        return _keep(tensors, card, kept)

    _rewrite(path, output, what, from_pack, from_weights, overwrite=overwrite)
    return tuple(ClassTable(names).names[i] for i in kept)


def rename(path: Path, old: str, new: str, output: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write weights or a pack with another name for a class. Returns all names. Raises as `drop`."""
    names = ClassTable(_names(path)).names
    found = ClassTable(names).resolve([old])
    if len(found) != 1:
        raise RequestError(
            f"Expected the name of one class, found {old!r}, which stands for {len(found)}.", about="old"
        )
    before = found[0].name
    changed = ClassTable(new if name == before else name for name in names).names

    def from_pack(pack: Pack) -> Pack:
        measured = dict(zip(changed, (pack.card.measured.get(name) for name in names), strict=True))
        known = {name: numbers for name, numbers in measured.items() if numbers is not None}
        replaced = tuple(name for name in pack.card.replaces if name != before)
        return replace_card(pack, replace(pack.card, classes=changed, replaces=replaced, measured=known))

    def from_weights(tensors: dict[str, Tensor], card: ModelCard) -> tuple[dict[str, Tensor], ModelCard]:
        return tensors, replace(card, classes=changed)

    _rewrite(path, output, f"renamed {before} to {new}", from_pack, from_weights, overwrite=overwrite)
    return changed


def merge(paths: Sequence[Path], output: Path, *, overwrite: bool = False) -> tuple[str, ...]:
    """Write one pack of several, or full weights of a network's and packs. Returns the classes. Raises as `drop`."""
    packs = [path for path in paths if is_pack(path)]
    networks = [path for path in paths if path not in packs]
    if len(networks) > 1 or len(paths) < 2:
        raise RequestError("Expected packs, or one network's weights and packs, at least two files.", about="files")
    read, hashes = [read_pack(path) for path in packs], [file_sha256(path) for path in packs]
    if not networks:
        pack = joined(read, hashes)
        write_pack(output, pack, overwrite=overwrite)
        return pack.card.classes
    tensors, card = load_tensors(networks[0])
    tensors, card = with_packs(tensors, card, read, str(networks[0]))
    save_model(output, tensors, card, overwrite=overwrite)
    return card.classes


def replace_card(pack: Pack, card: PackCard) -> Pack:
    """The same numbers under another card."""
    return Pack(card, pack.weight, pack.bias)


def _names(path: Path) -> tuple[str, ...]:
    from umlite.weights.loading import read_card
    from umlite.weights.packs import read_pack_card

    return read_pack_card(path).classes if is_pack(path) else read_card(path).classes


def _rewrite(
    path: Path,
    output: Path,
    what: str,
    from_pack: Callable[[Pack], Pack],
    from_weights: Callable[[dict[str, Tensor], ModelCard], tuple[dict[str, Tensor], ModelCard]],
    *,
    overwrite: bool,
) -> None:
    if not is_pack(path):
        save_model(output, *from_weights(*load_tensors(path)), overwrite=overwrite)
        return
    pack = from_pack(read_pack(path))
    history = (*pack.card.history, Step(what, (file_sha256(path),)))
    write_pack(output, replace_card(pack, replace(pack.card, history=history)), overwrite=overwrite)


def _keep(tensors: Mapping[str, Tensor], card: ModelCard, kept: Sequence[int]) -> tuple[dict[str, Tensor], ModelCard]:
    """A network with some of its heads."""
    head = card.network.head
    own, added = [i for i in kept if i < head.classes], [i - head.classes for i in kept if i >= head.classes]
    if not own:
        raise WeightsError("A network keeps at least one of the classes that it was trained with.", about="classes")
    made = {name: t for name, t in tensors.items() if not name.startswith((_PER_CLASS, ADDED))}
    for name in (n for n in _ROWS if n in tensors):
        made[name] = tensors[name][own]
    for name, tensor in tensors.items():
        if name.startswith(_PER_CLASS):
            number, rest = name.removeprefix(_PER_CLASS).split(".", 1)
            if int(number) in own:
                made[f"{_PER_CLASS}{own.index(int(number))}.{rest}"] = tensor
        elif name.startswith(ADDED) and added:
            made[name] = tensor[added]
    network = replace(card.network, head=replace(head, classes=len(own), added=len(added)))
    return made, replace(card, network=network, classes=tuple(card.classes[i] for i in kept))
