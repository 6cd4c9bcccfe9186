"""A pickle of tensors, read without running or making anything that it asks for.

`torch.load(weights_only=True)` runs no foreign code, but it makes what a file asks for: `FloatTensor(10**10)`, text in
an encoding of quadratic time, a set of numbers that all collide. Here a pickle yields numbers, text, lists, dicts with
text keys and descriptions of tensors. Other names that honest checkpoints hold are passed over; the rest is refused.
"""

from __future__ import annotations

import math
import pickle
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, ClassVar

MOST_AXES = 8
STORAGES = {  # kind of storage -> torch's name of its dtype, bytes per number
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16),
    "UntypedStorage": ("untyped", 1),
}
PASSED_OVER = ("torch", "numpy", "collections", "_codecs")  # modules
PASSED_OVER_BUILTINS = ("set", "frozenset", "bytearray", "complex", "slice", "range")
# What torch.save writes, in protocols 2 to 4. Others can ask for memory (BYTEARRAY8), or for time (text of numbers).
OPCODES = (
    "PROTO STOP FRAME MARK POP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT BINUNICODE "
    "SHORT_BINUNICODE BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "EMPTY_LIST APPEND APPENDS EMPTY_DICT SETITEM SETITEMS MEMOIZE BINPUT LONG_BINPUT BINGET LONG_BINGET "
    "GLOBAL STACK_GLOBAL REDUCE NEWOBJ BINPERSID"
)


@dataclass(frozen=True)
class Storage:
    """`count` numbers in a row, in the record `key` of a checkpoint."""

    dtype: str
    itemsize: int
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A dense tensor whose numbers lie in a file. It fits its storage and repeats no number."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dtype(self) -> str:
        """Name of torch's dtype."""
        return self.storage.dtype

    @property
    def extent(self) -> int:
        """Numbers of the storage from the tensor's first to its last."""
        return 0 if 0 in self.shape else 1 + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))

    def is_floating_point(self) -> bool:
        """Whether the numbers have fractions, as torch's method of this name."""
        return "float" in self.dtype


class OtherTensor:
    """A tensor that is not dense, repeats numbers or is of a kind that no network has."""


class InertUnpickler(pickle._Unpickler):
    """Reads one pickle from `file`; `storages` holds every storage that it names, by its key.

    Built on the unpickler in Python: its opcodes can be chosen, and its memo takes no more than its entries need.
    `load` raises pickle.UnpicklingError or any of `DAMAGE` on what is no pickle of tensors.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a global name. Raises UnpicklingError with the name if it is none of honest checkpoints."""
        package = module.partition(".")[0]
        if package == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) in REBUILT:
            return REBUILT[module, name]
        if module == "torch._utils" and name.startswith("_rebuild"):
            return _other_tensor
        if package in PASSED_OVER or (package in ("builtins", "__builtin__") and name in PASSED_OVER_BUILTINS):
            return _PassedOver
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that a tensor refers to: ("storage", kind, key, device, count), older ones with a last None."""
        _, (dtype, itemsize), key, _, count, *view = pid
        if type(key) is not str or not _natural(count) or view not in ([], [None]):
            raise pickle.UnpicklingError("a storage without a key or a size")
        storage = Storage(dtype, itemsize, key, count)
        self.storages.setdefault(key, storage)
        return storage

    def _set_items(self) -> None:
        items = self.pop_mark()
        self._update(zip(items[::2], items[1::2], strict=True))

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([(key, value)])

    def _update(self, items: Iterable[tuple[Any, Any]]) -> None:
        """Text keys alone: the hashes of others can be made to collide."""
        target = self.stack[-1]
        if type(target) is not dict:
            raise pickle.UnpicklingError("items of what is no dict")
        target.update((key, value) for key, value in items if type(key) is str)

    def _drop(self) -> None:
        self.stack.pop()

    def _drop_marked(self) -> None:
        self.pop_mark()

    def _empty_set(self) -> None:
        self.stack.append(_PassedOver())

    dispatch: ClassVar[dict[int, Any]] = {
        **{getattr(pickle, n)[0]: pickle._Unpickler.dispatch[getattr(pickle, n)[0]] for n in OPCODES.split()},
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
        pickle.BUILD[0]: _drop,
        pickle.EMPTY_SET[0]: _empty_set,
        pickle.ADDITEMS[0]: _drop_marked,
    }


DAMAGE = (EOFError, ValueError, LookupError, AttributeError, TypeError, RecursionError, struct.error, AssertionError)
"""What a damaged pickle raises besides UnpicklingError."""


class _PassedOver:
    """Stands for any object that is not needed."""

    def __new__(cls, *_: Any, **__: Any) -> _PassedOver:
        return super().__new__(cls)

    def __call__(self, *_: Any) -> _PassedOver:
        return self


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor | OtherTensor:
    sizes = (*shape, *stride)
    if not isinstance(storage, Storage) or len(shape) != len(stride) or len(shape) > MOST_AXES:
        return OtherTensor()
    if not _natural(offset, *sizes) or storage.dtype.startswith(("complex", "untyped")):
        return OtherTensor()
    tensor = StoredTensor(storage, offset, tuple(shape), tuple(stride))
    fits = math.prod(shape) <= tensor.extent and offset + tensor.extent <= storage.count
    return tensor if fits else OtherTensor()


def _other_tensor(*_: Any) -> OtherTensor:
    return OtherTensor()


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _rebuild_from_type(rebuild: Any, _: Any, arguments: Any, *__: Any) -> Any:
    return rebuild(*arguments)


def _ordered_dict(*items: Any) -> Any:
    return _PassedOver() if items else {}


def _natural(*numbers: Any) -> bool:
    return all(type(n) is int and 0 <= n < 1 << 62 for n in numbers)


REBUILT: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
}
