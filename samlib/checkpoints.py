"""Weights on disk. Every file is data: arrays are read and checked, nothing in a file is ever executed.

The project's own format is safetensors: matrices in 16 bits, vectors and scalars in 32, the constructor's
arguments as JSON in the header. Loading gives float32 on the CPU.
"""

import json
import os
import struct
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

HEADER_LIMIT = 4 << 20  # bytes of JSON in a safetensors file; a thousand tensors need about 100 kB


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read safely; the message says why in one line."""


def save_tensors(tensors: dict, path, metadata: dict | None = None, half: bool = True) -> None:
    """Write named tensors as safetensors, to a temporary file that is then renamed to `path`.

    half: store floating tensors of two or more dimensions in 16 bits (vectors are small and keep 32).
    metadata: name -> anything JSON can hold; strings are stored as they are.
    """
    path = Path(path)
    stored = {name: _shrink(name, tensor) if half else tensor for name, tensor in tensors.items()}
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in stored.items()}
    header = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        save_file(stored, temporary, metadata=header)
        os.chmod(temporary, 0o644)  # mkstemp made it readable by its owner alone
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _shrink(name, tensor):
    if tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    if tensor.isfinite().all() and not half.isfinite().all():
        raise ValueError(f"{name} has values above 65504, which 16 bits cannot hold; save with half=False")
    return half


def load_tensors(path) -> tuple[dict, dict]:
    """(name -> tensor, floating ones as float32; metadata: name -> string) of a safetensors file."""
    path = Path(path)
    _check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}); fetch or write it again") from None
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, metadata


def _check_header(path):
    """Refuse a header that claims more than the file has before any library parses it."""
    with open(path, "rb") as file:
        start = file.read(9)
    length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    if start[8:] != b"{" or length > min(HEADER_LIMIT, path.stat().st_size - 8):
        raise CheckpointError(f"{path} is not a safetensors file; want one written by samlib or `samlib convert`")


def save_generator(generator, path, half: bool = True, metadata: dict | None = None) -> None:
    """Write a generator: its tensors (noise_const too) and, as JSON under "config", its constructor's arguments."""
    save_tensors(generator.state_dict(), path, {**(metadata or {}), "config": generator.config}, half)


def load_generator(path):
    """The generator in `path`, float32, on the CPU, in evaluation mode, with gradients off."""
    from .stylegan2 import Generator

    tensors, metadata = load_tensors(path)
    config = json.loads(metadata["config"])
    config["channels"] = {int(res): ch for res, ch in config["channels"].items()}  # JSON keys are strings
    generator = Generator(**config)
    generator.load_state_dict(tensors)
    return generator.eval().requires_grad_(False)
