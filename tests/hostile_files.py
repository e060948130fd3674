"""Files that a checkpoint reader must refuse: what each does is its name. `write_all` puts them into a folder."""

import io
import json
import os
import pickle
import struct
import zipfile

import torch

HUGE = 20 << 30  # bytes


class Call:
    """Unpickles as the result of `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def tensor(shape, strides, count=4):
    """Opcodes of a PyTorch tensor of `shape` on a storage that is said to hold `count` numbers."""
    numbers = [b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", n) for n in ns) + b"t" for ns in (shape, strides)]
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu")
    storage += b"\x8a\x08" + struct.pack("<q", count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + b"".join(numbers) + b"\x89}tR"


def archive(content: bytes, data=bytes(16), compression=zipfile.ZIP_STORED):
    """A file of torch.save around the opcodes `content`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as entries:
        entries.writestr("x/data.pkl", b"\x80\x02" + content + b".")
        entries.writestr("x/data/0", data)
    return file.getvalue()


def many_entries(count):
    """An archive whose table of contents is nearly all of it."""
    name = b"x/" + b"n" * 60
    entry = b"PK\1\2" + bytes(24) + struct.pack("<H", len(name)) + bytes(16) + name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count & 65535, count & 65535, len(entry) * count, 30, 0)
    return b"PK\3\4" + bytes(26) + entry * count + end


def weights(value: bytes):
    """Opcodes of {"g_ema": {"input.input": value}}."""
    return b"}" + text("g_ema") + b"}" + text("input.input") + value + b"ss"


def safetensors(header, data=bytes(16), length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape, end=16):
    return {"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}


def calls(marker) -> dict:
    """Files that run something when a careless program reads them: `marker` would exist afterwards."""
    touch = Call(os.system, f"touch '{marker}'")
    write = Call(eval, f"open({str(marker)!r}, 'w')")
    files = {f"os.system, protocol {p}.pkl": pickle.dumps(touch, p) for p in range(6)}
    files["eval.pkl"] = pickle.dumps(write, 4)
    files["exec among weights.pkl"] = pickle.dumps({"G_ema": write, "training_set_kwargs": None}, 4)
    files["tuple of networks.pkl"] = pickle.dumps((write, touch, write), 4)
    files["inst opcode.pkl"] = b"\x80\x02(" + text(f"touch '{marker}'") + b"iposix\nsystem\n."
    inner = pickle.dumps([119547037146038801333356, 1001], 2) + pickle.dumps(touch, 2)
    files["inside a storage.pkl"] = pickle.dumps({"G_ema": Call(torch.storage._load_from_bytes, inner)}, 3)
    for name, zipped in (("zip", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save({"g_ema": touch}, file, _use_new_zipfile_serialization=zipped)
        files[f"torch.save {name}.pt"] = file.getvalue()
    return files


def bombs() -> dict:
    """Files that claim, or unpack to, far more than they hold."""
    nested, wide = b"", b"]q\0" + b"".join(b"](" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"eq" + bytes([i + 1])
                                           for i in range(60))  # fmt: skip
    nested = b"N" + b"\x85" * 100_000  # a tuple in a tuple in a tuple ...
    return {
        "20 GB of bytes.pkl": b"\x80\x04\x8e" + struct.pack("<Q", HUGE) + bytes(100) + b".",
        "20 GB frame.pkl": b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"N.",
        "20 GB of text.pkl": b"\x80\x04\x8d" + struct.pack("<Q", HUGE) + bytes(100) + b".",
        "2 GB long.pkl": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + bytes(100) + b".",
        "memo of 4 billion.pkl": b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b".",
        "a million lists.pkl": b"\x80\x02" + b"]" * 1_000_000 + b".",
        "doubling lists.pkl": b"\x80\x02" + wide + b".",
        "deep nesting.pkl": b"\x80\x02" + nested + b".",
        "deep dictionary key.pkl": b"\x80\x02}" + nested + b"Ns.",
        "compressed.pt": archive(weights(b"N"), bytes(32 << 20), zipfile.ZIP_DEFLATED),
        "compressed.safetensors": archive(weights(b"N"), bytes(32 << 20), zipfile.ZIP_DEFLATED),
        "compressed pickle.pt": archive(b"N" * (32 << 20), compression=zipfile.ZIP_DEFLATED),
        "many entries.pt": many_entries(20_000),
        "20 GB tensor.pt": archive(weights(tensor([1, 512, HUGE >> 11, 1], [0, 0, 1, 1]))),
        "20 GB storage.pt": archive(weights(tensor([HUGE // 4], [1], HUGE // 4))),
        "20 GB by stride 0.pt": archive(weights(tensor([HUGE // 4], [0]))),
        "beyond its storage.pt": archive(weights(tensor([2, 2], [1000, 1]))),
        "one storage under many names.pt": archive(
            b"}" + text("g_ema") + b"}"
            + b"".join(text(f"a{i}") + tensor([1 << 18], [1], 1 << 18) + b"s" for i in range(1000)) + b"s",
            bytes(1 << 20),
        ),
        "negative stride.pt": archive(weights(tensor([2, 2], [-2, 1]))),
        "20 GB header.safetensors": safetensors(entry([4]), length=HUGE),
        "20 GB tensor.safetensors": safetensors(entry([HUGE // 4], HUGE)),
        "lying shape.safetensors": safetensors(entry([HUGE // 4])),
        "offsets overlap.safetensors": safetensors({**entry([4]), "b": entry([4])["a"]}),
        "deep header.safetensors": safetensors(b"{" + b'"a":[' * 100_000),
        "deep config.safetensors": safetensors({"__metadata__": {"config": "[" * 200_000}, **entry([4])}),
    }


def wrong() -> dict:
    """Files that are something else."""
    return {
        "empty.pkl": b"",
        "empty.pt": b"",
        "empty.safetensors": b"",
        "text.pt": b"not found\n",
        "page.pkl": b"<!DOCTYPE html><html>",
        "picture.pkl": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "zip.pt": archive(b"N")[:-30],
        "list.pkl": pickle.dumps([1, 2, 3], 4),
        "three numbers.pkl": pickle.dumps((1, 2, 3), 4),
        "no generator.pkl": pickle.dumps({"G_ema": {"_modules": 3}, "state": None}, 4),
        "no tensors.pt": archive(weights(b"K\1")),
        "another tensor.safetensors": safetensors(entry([4])),
        "stack empty.pkl": b"\x80\x04.",
        "bad opcodes.pkl": b"\x80\x04" + bytes(range(256)),
    }


def write_all(folder, marker) -> list:
    files = {**calls(marker), **bombs(), **wrong()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]
