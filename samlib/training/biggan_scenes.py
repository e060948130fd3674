"""The data of a class-conditional generator, from the built-in scenes: images of each class, and their numbers as z."""

import torch
from tqdm.auto import tqdm

from ..scenes import codes, render
from ..scenes.classes import columns
from .biggan import Data
from .loop import as_uint8
from .paired import to_normal


def z_of(numbers: torch.Tensor, index: torch.Tensor, z_dim: int) -> torch.Tensor:
    """Uniform numbers (N, K), which stand in the entries `index` (K,) -> z (N, z_dim), NaN in the entries left free."""
    if int(index.max()) >= z_dim:
        raise ValueError(f"the numbers of these classes take {int(index.max()) + 1} entries of z, which has {z_dim}")
    z = torch.full((len(numbers), z_dim), float("nan"))
    z[:, index] = to_normal(numbers, numbers.shape[1])
    return z


def scene_data(names, count: int, size: int, z_dim: int, device, seed: int = 0, part: int = 0, parts: int = 1,
               challenging: bool = False, chunk: int = 64) -> Data:
    """`count` scenes of each class, of which this process renders every `parts`-th, from `part` on."""
    names, (index, _) = list(names), columns(tuple(names))
    images, labels, z = [], [], []
    for label, name in enumerate(names):
        indices = range(part, count, parts)
        for start in tqdm(range(0, len(indices), chunk), desc=f"rendering {name}", mininterval=5):
            scenes = render(name, seed, indices[start : start + chunk], size, challenging, device)
            images.append(as_uint8(scenes.images))
        labels += [label] * len(indices)
        z.append(z_of(codes(name, seed, indices)[0], index[name], z_dim))
    return Data(torch.cat(images).to(device), torch.tensor(labels, device=device), names, torch.cat(z).to(device))


def scene_lesson(names, count: int, z_dim: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """z, labels and meaning, as `biggan_lesson.teach` wants them, of `count` scenes of each class; nothing is rendered."""
    index, _ = columns(tuple(names))
    drawn = [codes(name, seed, range(count)) for name in names]
    most = max(meaning.shape[1] for _, meaning in drawn)
    z = torch.cat([z_of(numbers, index[name], z_dim) for name, (numbers, _) in zip(names, drawn)])
    meaning = torch.cat([torch.nn.functional.pad(meaning.float(), (0, most - meaning.shape[1])) for _, meaning in drawn])
    return z, torch.arange(len(names)).repeat_interleave(count), meaning
