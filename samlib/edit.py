"""Editing an inversion, Sec. 3.4: w+ moves along a direction, and each segment follows in the layers after its space.

A direction is a tensor (L, D), a row for each row of w+. Whether it reaches a segment depends on the rows it has
(Table 3): it acts in a space if any of its rows from `space.layer` on is not zero.

The published implementation keeps f_l inside a segment, but not the image that the ToRGBs of the earlier blocks have summed
up by then: an edit in rows before a segment's layer shows inside it as a ghost, the stronger the later the space (of `size`
on the built-in cars, 30 % of the pixels' change in F4 and 80 % in F10). Sec. 3.4 asks for w+ up to layer l, and so this module
keeps that image as well; published=True gives the edit as it was published.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .inversion import Inversion
from .spaces import Space


@torch.no_grad()
def edit(
    generator,
    inversion: Inversion,
    directions: Mapping[str, Tensor],
    strengths: Mapping[str, float | Tensor],
    region: Tensor | None = None,
    published: bool = False,
) -> Tensor:
    """The images of `inversion` with every direction of `strengths` applied at once. Returns (N, 3, H, W) in [-1, 1].

    directions  name -> (L, D), or (N, L, D) where each image has its own, as a change of BigGAN's class is.
    strengths   name -> a number, or one for each image (N,). 0, or no name at all, gives the inversion's images.
    region      (N, H, W), 1 where the edit may act and 0 elsewhere, for instance `segments == 3`; None: everywhere.
    published   True: rows before a segment's layer leave a ghost in it, see above. A BigGAN, without ToRGBs, has none. Either way
                each cell that m_l touches (m_l > 0) keeps its feature whole, also at its soft border, see `keep`.
    """
    change = combine(directions, strengths, len(inversion)).to(inversion.w_plus)
    if region is not None:
        if region.ndim != 3 or len(region) != len(inversion):
            raise ValueError(f"the region has shape {tuple(region.shape)}; want ({len(inversion)}, H, W)")
        region = region.to(inversion.w_plus)[:, None]
    deltas, kept = keep(generator.spaces, inversion, region)
    change = change.expand(len(inversion), -1, -1)
    way = {} if published or generator.spaces[0].name == "Z+" else {"published": False}
    images = torch.cat([
        own.edit(inversion.w_plus[part], change[part], _rows(deltas, part), _rows(kept, part), inversion.noise, **way)
        for own, part in inversion.generators(generator)]).clamp(-1, 1)
    if region is None:
        return images
    # The layers after the last space still saw the direction everywhere: outside, the inversion's pixels return.
    return inversion.images.lerp(images, _resize(region, images.shape[-1]))


def sweep(
    generator,
    inversion: Inversion,
    directions: Mapping[str, Tensor],
    strengths: Sequence[Mapping[str, float | Tensor]],
    region: Tensor | None = None,
    published: bool = False,
) -> Tensor:
    """`edit` at each of K `strengths`, as one batch of K * N images. Returns (K, N, 3, H, W)."""
    n, k = len(inversion), len(strengths)
    names = {name for chosen in strengths for name in chosen}
    values = [torch.cat([_values(chosen.get(name, 0.0), n) for chosen in strengths]) for name in names]
    regions = None if region is None else region.repeat(k, 1, 1)
    directions = {name: d.repeat(k, 1, 1) if d.ndim == 3 else d for name, d in directions.items()}
    images = edit(generator, inversion.repeat(k), directions, dict(zip(names, values)), regions, published)
    return images.unflatten(0, (k, n))


def combine(directions: Mapping[str, Tensor], strengths: Mapping[str, float | Tensor], n: int) -> Tensor:
    """sum of strength * direction over the names in `strengths`: delta w+ of n images, (N, L, D)."""
    if unknown := {*strengths} - {*directions}:
        known = ", ".join(sorted(directions)) or "none"
        raise ValueError(f"no direction {', '.join(sorted(unknown))}; there are {known}")
    if not strengths:
        return torch.zeros(n, 1, 1)
    return sum(_values(value, n)[:, None, None] * directions[name].cpu() for name, value in strengths.items())


def keep(spaces: Sequence[Space], inversion: Inversion, region: Tensor | None = None) -> tuple[dict, dict]:
    """deltas, and the cells that keep their unedited feature: space name -> (N, C, h, w) and (N, 1, h, w) of 0 and 1.

    These are the cells that m_l touches; outside of `region` (N, 1, H, W), every cell of every space. The soft border
    of m_l moves into delta_f: left to the blend of `generator.edit`, that would be m^2 delta_f there, and an edit of
    strength 0 not quite the inversion.
    """
    deltas = {name: inversion.masks[name] * delta for name, delta in inversion.deltas.items()}
    kept = {name: inversion.masks[name] > 0 for name in deltas}
    for space in spaces if region is not None else ():
        if not space.is_latent:
            outside = _resize(1 - region, space.resolution) > 0
            zero = outside.new_zeros(len(outside), space.channels, *outside.shape[-2:], dtype=region.dtype)
            deltas.setdefault(space.name, zero)
            kept[space.name] = outside | kept.get(space.name, outside)
    return deltas, {name: cells.to(inversion.w_plus) for name, cells in kept.items()}


def acts_in(direction: Tensor, spaces: Sequence[Space]) -> list[bool]:
    """A row of Table 3: for each space, whether `direction` (L, D) can change a segment that is inverted in it."""
    used = direction.ne(0).any(1)
    return [bool(used[space.layer :].any()) for space in spaces]


def _values(strength: float | Tensor, n: int) -> Tensor:
    """A strength for each of n images, (N,)."""
    values = torch.as_tensor(strength, dtype=torch.float32).cpu()
    if values.ndim and tuple(values.shape) != (n,):
        raise ValueError(f"strengths have shape {tuple(values.shape)}; want a number, or one for each of {n} images")
    return values.expand(n)


def _rows(by_space: dict[str, Tensor], part: slice) -> dict[str, Tensor]:
    return {name: x[part] for name, x in by_space.items()}


def _resize(mask: Tensor, size: int) -> Tensor:
    return F.interpolate(mask, (size, size), mode="bilinear", align_corners=False, antialias=True)
