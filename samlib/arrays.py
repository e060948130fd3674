"""Arrays described by a file that nobody vouches for: claims are checked before a number is touched."""

import math
from dataclasses import dataclass, field

import numpy as np


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read safely; the message says why in one line."""


NUMERIC = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"}


def brief(value) -> str:
    """Something small from a file, for an error message: short, and without a walk through what is nested."""
    if type(value) is str:
        return repr(value[:80])
    if type(value) is tuple and len(value) <= 8 and all(type(v) is int and abs(v) < 1 << 64 for v in value):
        return repr(value)
    return f"(a {type(value).__name__})"


def check_sizes(sizes) -> tuple:
    """`sizes` if they can be the shape or strides of an array: at most 8 whole numbers of a sensible size."""
    if type(sizes) is tuple and len(sizes) <= 8 and all(type(n) is int and 0 <= n < 1 << 40 for n in sizes):
        return sizes
    raise CheckpointError(f"an array claims impossible sizes {brief(sizes)}")


@dataclass(slots=True)
class Storage:
    """`raw` bytes of the file, read as numbers of `dtype`; `count`: how many there are said to be."""

    dtype: np.dtype
    count: int
    raw: memoryview | bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Array:
    """A tensor described by its storage, offset, shape and strides (in elements). Nothing is copied until `view` is."""

    storage: Storage | None = None
    offset: int = 0
    shape: tuple = ()
    strides: tuple = ()

    def view(self) -> np.ndarray:
        """The numbers as a read-only view into the file, after checking that the file holds what the shape claims."""
        if type(self.storage) is not Storage or self.storage.raw is None:
            raise CheckpointError("an array has no data; the file is damaged")
        dtype, shape, strides = self.storage.dtype, check_sizes(self.shape), check_sizes(self.strides)
        (offset,) = check_sizes((self.offset,))
        held, count = len(self.storage.raw) // dtype.itemsize, math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if count else -1
        if self.storage.count != held or count > held or last >= held:  # a stride of 0 would repeat one number for ever
            raise CheckpointError(f"an array claims the shape {brief(shape)} where the file holds {held:,} numbers")
        flat = np.frombuffer(self.storage.raw, dtype, count=held) if held else np.zeros(0, dtype)
        strides = [s * dtype.itemsize for s in strides]
        return np.lib.stride_tricks.as_strided(flat[offset:] if count else flat, shape, strides, writeable=False)


@dataclass(slots=True)
class Dtype:
    """A numpy type on its way through a pickle: the byte order arrives after the rest."""

    code: str
    order: str = "="

    def __post_init__(self):
        if type(self.code) is not str or self.code.lstrip("|") not in NUMERIC:
            raise CheckpointError(f"an array of type {brief(self.code)}; want plain numbers")

    def numpy(self) -> np.dtype:
        if self.order not in ("<", ">", "=", "|"):
            raise CheckpointError("an array of unknown byte order")
        return np.dtype(self.code).newbyteorder(self.order)


def set_array_state(array: Array, version, shape, dtype: Dtype, fortran, raw) -> None:
    """The state of a numpy array, as its pickle gives it: shape, type, order, bytes."""
    kind, shape = dtype.numpy(), check_sizes(shape)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise CheckpointError(f"an array claims the shape {brief(shape)} but brings {len(raw):,} bytes")
    steps = [math.prod(shape[:i] if fortran else shape[i + 1 :]) for i in range(len(shape))]
    array.storage, array.shape, array.strides = Storage(kind, math.prod(shape), raw), shape, tuple(steps)
