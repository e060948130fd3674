"""Weights on disk. Every file is data: arrays are read and checked, nothing in a file is ever executed.

The project's own format is safetensors: matrices in 16 bits, vectors and scalars in 32, the constructor's
arguments as JSON in the header. Loading gives float32 on the CPU.
"""

import json
import os
import struct
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from . import biggan_layout, paths
from .arrays import CheckpointError, brief
from .biggan import BigGAN
from .layouts import arrays_of, config_of
from .stylegan2 import Generator
from .torch_files import read

HEADER_LIMIT = 1 << 20  # bytes of JSON in a safetensors file; a thousand tensors need about 100 kB


def save_tensors(tensors: dict, path, metadata: dict | None = None, half: bool = True) -> None:
    """Write named tensors as safetensors, to a temporary file that is then renamed to `path`.

    half: store floating tensors of two or more dimensions in 16 bits (vectors are small and keep 32).
    metadata: name -> anything JSON can hold; strings are stored as they are.
    """
    stored = {name: _shrink(name, tensor) if half else tensor for name, tensor in tensors.items()}
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in stored.items()}
    header = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    try:
        with paths.atomic_file(path) as temporary:
            save_file(stored, temporary, metadata=header)
    except SafetensorError as error:  # what it makes of a full disk
        raise OSError(f"{path}: cannot be written ({' '.join(str(error)[:150].split())})") from None


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
    check_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: _own(name, file.get_tensor(name)) for name in file.keys()}
            return tensors, dict(file.metadata() or {})
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (SafetensorError, OSError, ValueError) as error:
        why = " ".join(str(error)[:150].split())  # names out of the file stand in it
        raise CheckpointError(f"{path} is not a whole safetensors file ({why}); fetch or write it again") from None


def _own(name, tensor):
    """A copy that does not depend on the file any more; floating ones as float32."""
    if not tensor.is_floating_point():
        return tensor.clone()
    if tensor.element_size() < 2:
        raise CheckpointError(f"{brief(name)} is of type {tensor.dtype}; want 16 bits or more")
    return tensor.to(torch.float32, copy=True)


def check_header(path):
    """Refuse a header that claims more than the file has before any library parses it."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    if start[8:] != b"{" or length > min(HEADER_LIMIT, size - 8):
        raise CheckpointError(f"{path} is not a whole safetensors file; want one written by `samlib convert`")


def save_generator(generator, path, half: bool = True, metadata: dict | None = None) -> None:
    """Write a generator: its tensors (noise_const too) and, as JSON under "config", its constructor's arguments."""
    save_tensors(generator.state_dict(), path, {**(metadata or {}), "config": generator.config}, half)


def load_generator(path):
    """The generator in `path`, float32, on the CPU, in evaluation mode, with gradients off.

    Reads safetensors, NVIDIA's TensorFlow-era and PyTorch-era pickles, rosinality's `.pt` (`g_ema`), the generator inside a
    pSp or e4e checkpoint, and the BigGAN-deep of pytorch-pretrained-biggan (`pytorch_model.bin`, or a folder with it).
    CheckpointError, in one line, for anything else; nothing in a file is executed.
    """
    path = Path(path) / "pytorch_model.bin" if Path(path).is_dir() else Path(path)
    arrays, settings = _read_safetensors(path) if is_safetensors(path) else read_arrays(path, arrays_of)
    if biggan_layout.is_biggan(arrays):
        return _load_biggan(path, arrays, settings or biggan_layout.config_beside(path))
    estimate = "mapping.w_avg" not in arrays
    try:
        config = {**settings, **config_of({name: tuple(array.shape) for name, array in arrays.items()})}
        if estimate:
            arrays["mapping.w_avg"] = torch.zeros(config["w_dim"])
        with torch.device("meta"):  # shapes only: the arrays of the file become the parameters
            generator = Generator(**config)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    fill(generator, arrays, path)
    if estimate:
        generator.w_avg.copy_(_mean_w(generator))
    return generator


def _load_biggan(path, arrays, stored):
    """The BigGAN of these arrays; `stored`: what its file, or the one beside it, says of it."""
    try:
        config = biggan_layout.config_of({name: tuple(array.shape) for name, array in arrays.items()})
        settings = biggan_layout.settings_of(stored, config)
        with torch.device("meta"):
            generator = BigGAN(**config, **settings)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    fill(generator, arrays, path)
    return generator


def is_safetensors(path) -> bool:
    """By what the file begins with, for its name may say anything."""
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise CheckpointError(f"{path}: cannot be read ({'a folder' if Path(path).is_dir() else 'no plain file'})")
    try:
        with open(path, "rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    return start[8:] == b"{" or (Path(path).suffix == ".safetensors" and start[:1] != b"\x80" and start[:2] != b"PK")


def _read_safetensors(path):
    tensors, metadata = load_tensors(path)
    try:
        config = json.loads(metadata.get("config", "{}"))
        clamp = config.get("conv_clamp")
        if biggan_layout.is_biggan(tensors):
            return tensors, {name: config[name] for name in ("eps", "names") if name in config}
    except (ValueError, AttributeError, RecursionError):
        raise CheckpointError(f"{path}: its config is not the JSON of a generator's arguments") from None
    if clamp is not None and type(clamp) not in (int, float):
        raise CheckpointError(f"{path}: conv_clamp {brief(clamp)}; want a number or null")
    return tensors, {"conv_clamp": clamp}


def read_arrays(path, interpret):
    """interpret(content of the pickle or `.pt` at `path`, size of the file), any failure being a CheckpointError."""
    content = read(path)
    try:
        return interpret(content, Path(path).stat().st_size)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CheckpointError(f"{path}: laid out as no known checkpoint ({type(error).__name__})") from None


def fill(module, arrays: dict, path) -> None:
    """Make `arrays` (name -> numpy view or tensor) the parameters and buffers of `module`, which is on the meta device.

    Every name must be wanted, and every wanted one there with its shape, or the CheckpointError names it.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in (*wanted, *arrays):
        if name not in arrays:
            raise CheckpointError(f"{path}: {name} is missing; want {brief(wanted[name])}")
        if name not in wanted:
            raise CheckpointError(f"{path}: {brief(name)} is left over; this network has no such tensor")
        if tuple(arrays[name].shape) != wanted[name]:
            shape = brief(tuple(arrays[name].shape))
            raise CheckpointError(f"{path}: {name} has shape {shape}; want {brief(wanted[name])}")
    whole = {name for name, tensor in module.state_dict().items() if not tensor.is_floating_point()}
    tensors = {name: _tensor(array, name in whole, f"{path}: {name}") for name, array in arrays.items()}
    module.load_state_dict(tensors, assign=True)
    module.eval().requires_grad_(False)


def _tensor(array, whole: bool, name: str) -> torch.Tensor:
    """A copy of a view into the file: float32, or int64 for counters."""
    if isinstance(array, torch.Tensor) and array.is_floating_point() != whole:
        return array.long() if whole else array.float()
    if isinstance(array, torch.Tensor) or array.dtype.kind not in ("iu" if whole else "f"):
        raise CheckpointError(f"{name} holds numbers of type {array.dtype}; want {'int64' if whole else 'float32'}")
    return torch.from_numpy(np.array(array, dtype=np.int64 if whole else np.float32, order="C"))


def _mean_w(generator, samples: int = 4096) -> torch.Tensor:
    """The mean of w, for files that do not hold it."""
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(0))
    return generator.mapping(z)[:, 0].mean(0)
