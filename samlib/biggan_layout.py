"""The files of pytorch-pretrained-biggan, in the names and conventions of `samlib.biggan`.

Spectral norm is folded: weight = weight_orig / (u^T W v), as the package computes it in evaluation mode. Only three of the
last convolution's outputs are colours; the package drops the others after computing them, here they are never built.
"""

import json
import re
from pathlib import Path

import numpy as np

from .arrays import CheckpointError, brief

SPECTRAL = ("weight_orig", "weight_u", "weight_v")
MARK = "generator.gen_z.weight"  # a tensor that every file of a BigGAN has, folded or not


def is_biggan(names) -> bool:
    """Whether these are the names of the tensors of a BigGAN, of this project or (before folding) of the package."""
    return MARK in names or f"{MARK}_orig" in names


def fold(found: dict) -> dict:
    """name -> array of the package's state (checked views) to name -> array of ours."""
    folded = {}
    for name, array in found.items():
        owner, _, kind = name.rpartition(".")
        if kind == "weight_orig":
            folded[f"{owner}.weight"] = _folded(owner, found)
        elif kind not in SPECTRAL:
            folded[name] = array
        elif f"{owner}.weight_orig" not in found:
            raise CheckpointError(f"{brief(name)} is there without {brief(owner)[:-1]}.weight_orig'")
    for name in ("generator.conv_to_rgb.weight", "generator.conv_to_rgb.bias"):
        if name in folded:
            folded[name] = folded[name][:3]
    return folded


def _folded(owner: str, found: dict) -> np.ndarray:
    parts = []
    for kind in SPECTRAL:
        if f"{owner}.{kind}" not in found:
            raise CheckpointError(f"{brief(f'{owner}.{kind}')} is missing; spectral norm needs {', '.join(SPECTRAL)}")
        parts.append(found[f"{owner}.{kind}"])
    weight, u, v = parts
    matrix = weight.reshape(len(weight), -1) if weight.ndim > 1 else weight[:, None]
    if matrix.shape != (*u.shape, *v.shape):
        want = brief(tuple(matrix.shape))
        raise CheckpointError(f"{owner}: weight_u {brief(u.shape)} and weight_v {brief(v.shape)} do not fit a weight {want}")
    norm = float(u.astype(np.float64) @ matrix.astype(np.float64) @ v)
    if not np.isfinite(norm) or norm == 0:
        raise CheckpointError(f"{owner}: its spectral norm is {norm}; the file is damaged")
    return (weight / norm).astype(np.float32)


def config_of(shapes: dict) -> dict:
    """The constructor's arguments that the tensors' shapes (name -> tuple) imply."""
    for name in (MARK, "embeddings.weight", "generator.bn.running_means", "generator.layers.0.conv_0.weight"):
        if len(shapes.get(name, ())) < 2 or not all(shapes[name]):
            raise CheckpointError(f"holds no whole BigGAN-deep generator: {name} is missing or empty")
    channels, attention = {4: shapes["generator.layers.0.conv_0.weight"][1]}, None
    indices = {int(m[1]) for m in (re.match(r"generator\.layers\.(\d{1,3})\.", name) for name in shapes) if m}
    blocks = 0
    for i in sorted(indices):
        if f"generator.layers.{i}.gamma" in shapes:
            if attention or blocks % 2:
                raise CheckpointError("attention in more than one place, or inside a resolution; samlib builds one, before its block")
            attention = 4 << blocks // 2
        elif f"generator.layers.{i}.conv_3.weight" not in shapes:
            raise CheckpointError(f"generator.layers.{i}.conv_3.weight is missing")
        else:
            blocks += 1
            channels[4 << blocks // 2] = shapes[f"generator.layers.{i}.conv_3.weight"][0]
    class_dim, classes = shapes["embeddings.weight"]
    return dict(resolution=max(channels), z_dim=shapes[MARK][1] - class_dim, class_dim=class_dim, classes=classes,
                channels=channels, attention=attention, n_stats=shapes["generator.bn.running_means"][0])


def config_beside(path) -> dict:
    """What shapes do not tell: eps, from the config.json that the package keeps beside pytorch_model.bin; {} without one.

    The package's own downloads are named biggan-deep-128-pytorch_model.bin and biggan-deep-128-config.json.
    """
    path = Path(path)
    name = path.name.replace("pytorch_model.bin", "config.json")
    file = path.with_name(name if name != path.name else "config.json")
    if not file.is_file() or file.stat().st_size > 1 << 20:
        return {}
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        return {"config": config, "eps": config["eps"]} if "eps" in config else {"config": config}
    except (ValueError, TypeError, RecursionError):
        raise CheckpointError(f"{file}: not the JSON of a BigGAN's settings; mend or remove it") from None


def settings_of(stored: dict, config: dict) -> dict:
    """eps and names out of what a file says of itself, checked; what it says of the package's `layers` must fit `config`."""
    eps, names, layers = stored.get("eps", 1e-4), stored.get("names"), stored.get("config", {}).get("layers")
    if type(eps) not in (int, float) or not 0 <= eps < 1:
        raise CheckpointError(f"eps {brief(eps)}; want a small number")
    if names is not None and (type(names) is not list or not all(type(n) is str for n in names)):
        raise CheckpointError("names that are no list of texts")
    ups = [i % 2 == 1 for i in range(2 * len(config["channels"]) - 2)]
    if layers is not None and [bool(layer[0]) for layer in layers] != ups:
        raise CheckpointError("layers that do not alternate between one that stays at its size and one that doubles it")
    return {"eps": float(eps), "names": names}
