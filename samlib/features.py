"""What all generators do at a feature space: f_l = g(...) + m_l * delta_f_l (Eq. 3-4), and checks of what they are given."""

import torch
import torch.nn.functional as F

from .spaces import Space

NOISE = ("const", "none", "random")


def mask_at(space: Space | None, x: torch.Tensor, deltas, masks) -> torch.Tensor | None:
    """m_l (N, 1, h, w) for the feature x (N, C, h, w) of `space`, all ones where none is given; None: nothing changes here."""
    if space is None or space.name not in (deltas or {}):
        return None
    m = (masks or {}).get(space.name)
    if m is None:
        return torch.ones_like(x[:1, :1])
    if m.shape[-2:] != x.shape[-2:]:
        m = F.interpolate(m, x.shape[-2:], mode="bilinear", align_corners=False, antialias=True)
    return m.to(x.dtype)


def add_change(space: Space | None, x: torch.Tensor, deltas, masks) -> torch.Tensor:
    """x + m_l * delta_f_l."""
    mask = mask_at(space, x, deltas, masks)
    return x if mask is None else x + mask * deltas[space.name].to(x.dtype)


def keep_inside(space: Space | None, x: torch.Tensor, deltas, masks) -> torch.Tensor:
    """The feature of an edit (Sec. 3.4). x (2N, C, h, w): N images as they were inverted, then the same with the edit; the
    first get their change, and the second the feature of the first inside m_l."""
    kept, edited = x.chunk(2)
    kept = add_change(space, kept, deltas, masks)
    mask = mask_at(space, x, deltas, masks)
    return torch.cat([kept, edited if mask is None else torch.lerp(edited, kept, mask)])


def check(generator, code: torch.Tensor, deltas, masks, noise: str, name: str = "w_plus", direction=None) -> None:
    """One ValueError for a code, deltas, masks, noise or the direction of an edit that do not fit `generator`."""
    want = (generator.num_layers, generator.w_dim)
    if code.ndim != 3 or tuple(code.shape[1:]) != want:
        raise ValueError(f"{name} has shape {tuple(code.shape)}; want (N, {want[0]}, {want[1]})")
    if noise not in NOISE:
        raise ValueError(f"noise {noise!r}; want 'const', 'none' or 'random'")
    features = {s.name: s for s in generator.spaces if not s.is_latent}
    sizes = () if direction is None else zip(reversed(direction.shape), reversed(code.shape))
    if direction is not None and (direction.ndim not in (2, 3) or any(size not in (1, whole) for size, whole in sizes)):
        raise ValueError(f"the direction has shape {tuple(direction.shape)}; want ({want[0]}, {want[1]}), or one for each of "
                         f"{len(code)} images")
    for unknown in {*(deltas or {})} - {*features} | {*(masks or {})} - {*features, generator.spaces[0].name}:
        raise ValueError(f"no feature space {unknown!r} in this generator; it has {', '.join(features)}")
    for space, delta in (deltas or {}).items():
        want = (features[space].channels, features[space].resolution, features[space].resolution)
        if tuple(delta.shape[1:]) != want:
            raise ValueError(f"delta of {space} has shape {tuple(delta.shape)}; want (N, {', '.join(map(str, want))})")
