"""Small networks as safetensors files: matrices in 16 bit, vectors in 32, the settings as JSON metadata."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from samlib.arrays import CheckpointError, brief
from samlib.checkpoints import check_header, save_tensors

MAX_CONFIG = 10_000  # characters of JSON


def save(module: nn.Module, path, half: bool = True, **metadata) -> Path:
    """Write `module`, its `config` and any JSON-able `metadata`; the file appears whole or not at all.

    half: matrices in 16 bit; False keeps every number exactly. What the module says of how it was `trained` goes along."""
    header = {"class": type(module).__name__, "config": module.config, **getattr(module, "trained", {}), **metadata}
    save_tensors(module.state_dict(), path, {key: json.dumps(value) for key, value in header.items()}, half)
    return Path(path)


def load(kind: type, path, device=None) -> nn.Module:
    """The `kind` of module that `save` wrote, in evaluation mode; `.metadata` is the header. ValueError for others."""
    try:
        check_header(path)
        with safe_open(path, framework="pt") as file:
            header = {key: json.loads(value) for key, value in (file.metadata() or {}).items() if key != "format"}
            state = {name: file.get_tensor(name) for name in file.keys()}
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error)[:150].split())
        raise ValueError(f"{path}: no weights ({reason}); wanted a file written by samlib.weights.save") from None
    if header.get("class") != kind.__name__:
        found = brief(header.get("class", "no named class"))
        raise ValueError(f"{path}: holds {found}, wanted {kind.__name__}; give the file of that network")
    try:
        _check(kind, header["config"], state)
        module = kind(**header["config"])
        module.load_state_dict(state)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise ValueError(f"{path}: does not fit {kind.__name__}: {' '.join(str(error)[:250].split())}") from error
    module.metadata = header
    return module.to(device or "cpu").eval()


def _check(kind: type, config: dict, state: dict) -> None:
    """Refuse settings that claim more than the file holds before any memory is taken for them."""
    if len(json.dumps(config)) > MAX_CONFIG:
        raise ValueError(f"settings of more than {MAX_CONFIG:,} characters")
    with torch.device("meta"):  # shapes only
        wanted = {name: tuple(tensor.shape) for name, tensor in kind(**config).state_dict().items()}
    for name, shape in wanted.items():
        if name in state and tuple(state[name].shape) != shape:
            raise ValueError(f"{name} has shape {tuple(state[name].shape)}; want {shape}")
    for name in sorted(wanted.keys() ^ state.keys()):
        raise ValueError(f"{name[:200]} is {'missing' if name in wanted else 'left over'}")
