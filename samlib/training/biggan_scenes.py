"""The data of a class-conditional generator, from the built-in scenes: images of each class, and their numbers as z."""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from .. import paths
from ..scenes import codes, render
from ..scenes.classes import columns
from .biggan import Data
from .loop import as_uint8
from .paired import to_normal
from .records import code_of_scenes


def z_of(numbers: torch.Tensor, index: torch.Tensor, z_dim: int) -> torch.Tensor:
    """Uniform numbers (N, K), which stand in the entries `index` (K,) -> z (N, z_dim), NaN in the entries left free."""
    if int(index.max()) >= z_dim:
        raise ValueError(f"the numbers of these classes take {int(index.max()) + 1} entries of z, which has {z_dim}")
    z = torch.full((len(numbers), z_dim), float("nan"))
    z[:, index] = to_normal(numbers, numbers.shape[1])
    return z


def scene_data(names, count: int, size: int, z_dim: int, device, seed: int = 0, part: int = 0, parts: int = 1,
               keep=None, shard: int = 500) -> Data:
    """`count` scenes of each class, mixed, of which this process has every `parts`-th shard, from `part` on. keep: a folder for
    what was rendered, so that the next run need not."""
    names, (index, _) = list(names), columns(tuple(names))
    starts = range(part * shard, count, parts * shard)
    images, labels, z, meanings = [], [], [], []
    for label, name in enumerate(names):
        for start in tqdm(starts, desc=f"rendering {name}", mininterval=5):
            indices = range(start, min(start + shard, count))
            images.append(_rendered(name, seed, indices, size, device, keep))
            numbers, meaning = codes(name, seed, indices)
            z.append(z_of(numbers, index[name], z_dim))
            meanings.append(meaning.float())
            labels += [label] * len(indices)
    most = max(meaning.shape[1] for meaning in meanings)
    meanings = torch.cat([F.pad(meaning, (0, most - meaning.shape[1])) for meaning in meanings])
    turn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))  # so that those held out are of all classes
    parts = torch.cat(images), torch.tensor(labels), torch.cat(z), meanings
    images, labels, z, meanings = (x[turn.to(x.device)].to(device) for x in parts)
    return Data(images, labels, names, z, meanings)


def _rendered(name, seed, indices, size, device, keep) -> torch.Tensor:
    """Images (N, 3, size, size) uint8, from the file of an earlier run of the same code if there is one. Distance fields are not
    compiled: for each class it would take half a minute, as long as all of its scenes."""
    file = keep and Path(keep) / f"{name}-{seed}-{size}-{indices[0]:06d}-{indices[-1]:06d}-{code_of_scenes()}.safetensors"
    if file and file.is_file():
        return load_file(file, device=str(device))["images"]
    each = max(256, 2**22 // size**2)
    parts = [indices[i : i + each] for i in range(0, len(indices), each)]
    images = torch.cat([as_uint8(render(name, seed, p, size, device=device).images) for p in parts])
    if file:
        with paths.atomic_file(file) as temporary:
            save_file({"images": images}, temporary)
    return images
