"""What an edit of an inversion did, as numbers: how far it went along what it was to change, and what else it changed.

Of a built-in category, a regressor reads the factors of a scene from its picture. Of any other domain no factors are known, and
there an edit goes as far as the picture changes in the way in which the whole edit, with all rows of w+ alone, changes it.
"""

import torch
from torch import Tensor

from samlib.directions import allowed_in, progress, read, sample_w
from samlib.domains import WORKS
from samlib.metrics import kid
from samlib.scenes import SEGMENTS
from samlib.training.edits import CONCERNED, EDITS, change_asked
from samlib.training.factors import FactorRegressor


def regressor_of(domain) -> FactorRegressor | None:
    """The factor regressor of a built-in category; None of other domains."""
    return FactorRegressor.load(domain.folder / "factors.safetensors", domain.device) if domain.name in EDITS else None


def along(change: Tensor, way: Tensor) -> Tensor:
    """How far changes of pictures (N, 3, H, W) go along others, (N,): 0 not at all, 1 all the way."""
    return (change * way).sum((1, 2, 3)) / way.square().sum((1, 2, 3)).clamp(min=1e-12)


def whole_edit(domain, w_plus: Tensor, step: Tensor, batch: int = 32) -> Tensor:
    """What `step` (L, D) in all its rows changes of the pictures of w_plus (N, L, D) alone, no features changed."""
    def formed(w):
        return torch.cat([domain.generator.synthesis(part, noise="none").clamp(-1, 1) for part in w.split(batch)])

    return formed(w_plus + step) - formed(w_plus)


def concerned(category: str, direction: str, segments: Tensor) -> Tensor:
    """Where the parts are that a direction is about: bool (N, H, W), of the true segments (N, H, W)."""
    classes = CONCERNED[category].get(direction, CONCERNED[category][None])
    return torch.isin(segments, segments.new_tensor([SEGMENTS[category].index(name) for name in classes]))


@torch.inference_mode()
def effect(domain, regressor, inversion, direction: str, strength: float, segments: Tensor | None = None,
           batch: int = 32) -> dict[str, Tensor]:
    """One edit at one strength, of `batch` images at a time: `images` (N, 3, R, R), `change` (N,), and with the true segments `rest` (N,).

    change  1 where the factors moved as far as the direction promises at this strength, 0 where they did not.
    rest    mean absolute change of the pixels outside of what the direction is about, in units of [-1, 1].
    """
    parts = [slice(i, i + batch) for i in range(0, len(inversion), batch)]
    true = [None if segments is None else segments[part] for part in parts]
    found = [_effect(domain, regressor, inversion[part], direction, strength, its) for part, its in zip(parts, true)]
    return {name: torch.cat([one[name] for one in found]) for name in found[0]}


def _effect(domain, regressor, inversion, direction, strength, segments):
    """`effect` of as many images as can be edited at once."""
    images = domain.edit(inversion, {direction: strength})
    if regressor is None:
        change = along(images - inversion.images, whole_edit(domain, inversion.w_plus, strength * domain.directions[direction]))
    else:
        asked = change_asked(domain.name, direction, regressor.names).to(images).nan_to_num()
        change = progress(regressor(images) - regressor(inversion.images), strength * asked)
    found = {"images": images, "change": change}
    if segments is not None:
        outside = ~concerned(domain.name, direction, segments)
        moved = (images - inversion.images).abs().mean(1) * outside
        found["rest"] = moved.sum((1, 2)) / outside.sum((1, 2)).clamp(min=1)
    return found


@torch.inference_mode()
def realism(features, images: Tensor, real: Tensor, seed: int = 0) -> float:
    """KID of images (N, 3, H, W) to real ones (M, 3, H, W), both at least 2, by `features` (see `metrics.ImageFeatures`)."""
    return kid(features.of(images), features.of(real), seed=seed)[0]


@torch.inference_mode()
def left_in_spaces(domain, regressor, names, images: int = 2, seed: int = 0, strength: float = 2.0,
                   spaces=None) -> dict[str, dict[str, float]]:
    """Table 3, measured: direction -> space -> the share of the edit that is left when only the rows after the space act.

    spaces  names of those to measure, the latent one among them; None: all.

    For `images` drawn codes; their pictures before the edits are made once for all.
    """
    w = sample_w(domain.generator, images, seed)
    if regressor is None:
        return {name: _left_of_pictures(domain, w, strength * domain.directions[name], spaces) for name in names}
    before = read(domain.generator, regressor, w)
    asked = {name: change_asked(domain.name, name, regressor.names).to(before) for name in names}
    return {name: allowed_in(domain.generator, regressor, w, domain.directions[name], asked[name], strength, before, spaces)
            for name in names}


def left_in(domain, regressor, names, images: int = 2, seed: int = 0) -> dict[str, dict[str, float]]:
    """What `left_in_spaces` gives: as the domain knows it, measured on many codes, or else measured here on `images` of them."""
    unknown = [name for name in names if name not in domain.left]
    found = left_in_spaces(domain, regressor, unknown, images, seed) if unknown else {}
    return {name: found.get(name) or domain.left[name] for name in names}


def _left_of_pictures(domain, w: Tensor, step: Tensor, spaces=None) -> dict[str, float]:
    """A row of `left_in_spaces` without factors."""
    w_plus = w[:, None].expand(-1, domain.generator.num_layers, -1)
    late = {space.name: step * (torch.arange(len(step), device=step.device) >= space.layer)[:, None] for space in domain.spaces
            if spaces is None or space.name in spaces}
    whole = whole_edit(domain, w_plus, step)
    return {name: float(along(whole_edit(domain, w_plus, rows), whole).mean()) if rows.any() else 0.0 for name, rows in late.items()}


def works_in(left: dict[str, dict[str, float]], least: float = WORKS) -> dict[str, list[bool]]:
    """direction -> for each space, whether it leaves at least the share `least` of the edit: the ticks of Table 3."""
    return {name: [share >= least for share in row.values()] for name, row in left.items()}
