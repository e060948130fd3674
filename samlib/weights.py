"""Small networks as safetensors files: matrices in 16 bit, vectors (biases, batch statistics) in 32, the settings as JSON metadata."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def compact(tensor: Tensor) -> Tensor:
    """`tensor` as it is stored: 16 bit from two dimensions on. Running variances may be smaller than 16 bit can hold."""
    stored = tensor.detach().cpu().contiguous()
    return stored.half() if stored.is_floating_point() and stored.ndim > 1 else stored


def save(module: nn.Module, path, **metadata) -> Path:
    """Write `module`, its `config` and any JSON-able `metadata`; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"class": type(module).__name__, "config": module.config, **metadata}
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    state = {name: compact(tensor) for name, tensor in module.state_dict().items()}
    save_file(state, temporary, {key: json.dumps(value) for key, value in header.items()})
    temporary.replace(path)
    return path


def load(kind: type, path, device=None) -> nn.Module:
    """The module of class `kind` that `save` wrote, in evaluation mode; its `.metadata` holds the header. ValueError if it is another's file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key != "format"}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a safetensors file of this project ({error}); wanted one written by samlib.weights.save") from error
    if header.get("class") != kind.__name__:
        raise ValueError(f"{path}: holds {header.get('class', 'no named class')}, wanted {kind.__name__}; give the file that belongs to it")
    try:
        module = kind(**header["config"])
        module.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path}: does not fit {kind.__name__}: {' '.join(str(error).split())}") from error
    module.metadata = header
    return module.to(device or "cpu").eval()
