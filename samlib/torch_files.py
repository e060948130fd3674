"""Checkpoint files as data: pickles, and the two formats of torch.save, read without executing anything in them.

`torch.load(weights_only=True)` would also run nothing, but it believes the sizes a file claims (a shape larger than
its storage allocates that much) and unpacks compressed archives of any size. Here the file is mapped into memory, and
every array is a checked view into it.
"""

import io
import mmap
import struct
import zipfile
from pathlib import Path

import numpy as np

from .arrays import Array, CheckpointError, Dtype, Storage, brief, check_sizes, set_array_state
from .unpickle import Machine, Name, Record

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that opens a file of torch.save before zip archives
MAX_INDEX = 1 << 20  # bytes of a zip archive's table of contents
NO_TABLE = "damaged, or cut short (a zip archive without a table of contents)"

STORAGES = {
    f"torch.{kind}Storage": Dtype(code, "<").numpy()
    for kind, code in dict(Half="f2", Float="f4", Double="f8", Char="i1", Short="i2", Int="i4", Long="i8", Byte="u1",
                           Bool="b1").items()
}  # fmt: skip


def _tensor(storage, offset, shape, strides, *unused):
    """torch._utils._rebuild_tensor(_v2), with the sizes checked when the numbers are read."""
    if type(storage) is not Storage:
        raise CheckpointError("a tensor without a storage")
    return Array(storage, offset, check_sizes(shape), check_sizes(strides))


def _scalar(dtype, raw):
    return np.frombuffer(raw, dtype.numpy(), count=1)[0].item()


def _from_buffer(raw, dtype, shape, order):
    """How pickle protocol 5 spells an array. Of `order` only text is looked up: the hash of what is nested can take for ever."""
    if type(order) is not str or order not in ("C", "F"):
        raise CheckpointError(f"an array in the order {brief(order)}; want 'C' or 'F'")
    array = Array()
    set_array_state(array, 1, shape, dtype, order == "F", raw)
    return array


def _persistent(meta):
    """An object of NVIDIA's `persistence`: its attributes. The source text beside them stays unread."""
    if type(meta) is not dict or type(meta["state"]) is not dict:
        raise CheckpointError("a network without attributes")
    if type(meta["class_name"]) is not str:  # to spell out what is nested can take for ever
        raise CheckpointError(f"a network whose class is named by {brief(meta['class_name'])}; want text")
    return Record(meta["class_name"][:80], meta["state"])


def _latin1(text, encoding):
    """Old pickles spell bytes as text. Only short ones: no array of a checkpoint is stored like this."""
    if encoding != "latin1" or len(text) > 64:
        raise CheckpointError("bytes spelt as text, as before pickle protocol 3; want protocol 3 or newer")
    return text.encode("latin1")


BUILDERS = {
    "collections.OrderedDict": lambda: {},
    "dnnlib.EasyDict": lambda: {},
    "dnnlib.util.EasyDict": lambda: {},
    "builtins.set": lambda items: items,
    "__builtin__.set": lambda items: items,
    "_codecs.encode": _latin1,
    "argparse.Namespace": lambda: Record("Namespace"),
    "dnnlib.tflib.network.Network": lambda: Record("Network"),
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "numpy.ndarray": None,
    "numpy.dtype": lambda code, *flags: Dtype(code),
    **{f"numpy.{core}.multiarray._reconstruct": lambda *unused: Array() for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *unused: tensor,
    "torch.storage._load_from_bytes": lambda raw: read_legacy(raw, STORAGE_NAMES, steps=100),
    **dict.fromkeys(STORAGES),
}
NAMES = {name: Name(name, build) for name, build in BUILDERS.items()}
STORAGE_NAMES = {name: NAMES[name] for name in STORAGES}


def read(path):
    """The object in a pickle or PyTorch file, made of plain containers, `Record`s and `Array`s that view the file.

    CheckpointError if the file is something else, damaged, or asks for more than data.
    """
    path = Path(path)
    try:
        data = _map(path)
        if data[:4] == b"PK\3\4":
            return read_zip(path, data)
        if data[2 : 2 + len(LEGACY)] == LEGACY:
            return read_legacy(data, NAMES)
        if data[:1] == b"\x80":
            return Machine(data, NAMES).run()
        raise CheckpointError(f"is no checkpoint: it begins with {bytes(data[:8])!r}; want .pkl, .pt or .safetensors")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _map(path) -> memoryview:
    try:
        with open(path, "rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:  # missing, a folder, unreadable; empty
        raise CheckpointError(f"cannot be read ({error})") from None


class _Storages(dict):
    """Persistent ids ('storage', type, key, device, count, ...) -> Storage, one for each key."""

    def __call__(self, reference):
        kind, name, key, _, count = reference[:5]
        if kind != "storage" or type(name) is not Name or name.name not in STORAGES or type(key) is not str:
            raise CheckpointError("refers to data that is no tensor")
        (count,) = check_sizes((count,))
        return self.setdefault(key, Storage(STORAGES[name.name], count))


def read_legacy(data, names, steps: int | None = None):
    """The object in torch.save's older format: five pickles one after the other, then the storages' bytes."""
    data, storages, position, parts = memoryview(data), _Storages(), 0, []
    for _ in range(5):  # magic number, version, system, object, keys of the storages in the order of their bytes
        machine = Machine(data, names, storages, position, **({} if steps is None else {"steps": steps}))
        parts.append(machine.run())
        position = machine.position
    _, version, system, content, keys = parts
    if version != 1001 or type(keys) is not list or type(system) is not dict or system.get("little_endian") is not True:
        raise CheckpointError("an unknown version of PyTorch's older format")
    for key in keys:
        storage = storages.get(key) if type(key) is str else None
        if storage is None or position + 8 > len(data):
            raise CheckpointError("ends early or holds data that nothing refers to")
        (count,) = struct.unpack_from("<q", data, position)
        end = position + 8 + count * storage.dtype.itemsize
        if count != storage.count or end > len(data):
            raise CheckpointError(f"ends early: a tensor claims {storage.count:,} numbers")
        storage.raw, position = data[position + 8 : end], end
    return content


class _Index(io.FileIO):
    """A file from which zipfile can read a table of contents, but not a huge one, nor one that begins before the file."""

    def seek(self, offset, whence=io.SEEK_SET):
        if whence == io.SEEK_SET and offset < 0:  # older versions of zipfile do not look before they ask
            raise CheckpointError(NO_TABLE)
        return super().seek(offset, whence)

    def read(self, size=-1):
        data = super().read(MAX_INDEX if size is None or size < 0 else min(size, MAX_INDEX))
        if len(data) == MAX_INDEX:
            raise CheckpointError("an archive with a huge table of contents")
        return data


def read_zip(path, data: memoryview):
    """The object in torch.save's zip format. Entries must be stored as they are, as torch.save does."""
    try:
        with _Index(path) as file, zipfile.ZipFile(file) as archive:
            entries = {entry.filename.partition("/")[2]: entry for entry in archive.infolist()}
    # NotImplementedError: an entry of a later version than zipfile knows; UnicodeDecodeError: a name that is no text
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError):
        raise CheckpointError(NO_TABLE) from None
    if "data.pkl" not in entries:
        raise CheckpointError("a zip archive, but not one that torch.save wrote")
    if "byteorder" in entries and bytes(_entry(data, entries["byteorder"])) != b"little":
        raise CheckpointError("written on a big-endian machine")
    storages = _Storages()
    content = Machine(_entry(data, entries["data.pkl"]), NAMES, storages).run()
    for key, storage in storages.items():
        if f"data/{key}" not in entries:
            raise CheckpointError(f"tensor {brief(key)} has no data")
        storage.raw = _entry(data, entries[f"data/{key}"])
    return content


def _entry(data: memoryview, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of one stored entry, found behind its local header."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
        raise CheckpointError("a compressed archive, which torch.save does not write")
    header = data[entry.header_offset : entry.header_offset + 30]
    if len(header) < 30 or header[:4] != b"PK\3\4":
        raise CheckpointError("damaged: an entry of the archive is not where it should be")
    name, extra = struct.unpack("<HH", header[26:30])
    start = entry.header_offset + 30 + name + extra
    if start + entry.file_size > len(data):
        raise CheckpointError("ends early: an entry of the archive reaches beyond the file")
    return data[start : start + entry.file_size]
