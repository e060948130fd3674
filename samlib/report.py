"""What an inversion came to, in words: how close it is, which spaces it needed, and which edits are left."""

import torch

from samlib.figures import shares
from samlib.metrics import psnr

HARD = 0.9  # share of an image in feature spaces from which it counts as very hard
REACHED = 0.5  # share of it that an edit has to reach to be one of those that are left


def describe(domain, inversion):
    """Lines about each image of an Inversion.

    Says of a very hard image what Sec. 5 of the paper says: later spaces, so only limited edits, and which.
    """
    lines = []
    for i, one in enumerate(inversion):
        prefix = f"image {i}: " if len(inversion) > 1 else ""
        quality = f"PSNR {float(psnr(one.images, one.inputs, one.valid)):.1f} dB"
        used = {name: share for name, share in shares(_where_valid(one), domain.spaces).items() if share > 0}
        lines.append(f"{prefix}{quality}; " + ", ".join(f"{name} {share:.0%}" for name, share in used.items()))
        if domain.directions:
            reached = {name: reached_share(domain, one, name) for name in domain.directions}
            lines.append(f"{prefix}edits reach: " + ", ".join(f"{name} {share:.0%}" for name, share in reached.items()))
            lines += [prefix + line for line in _hard(domain, used, reached)]
    return lines


def reached_share(domain, inversion, direction):
    """Share of the image in spaces in which the edit works (Table 3; see `Domain.works`)."""
    layer_map = _where_valid(inversion)
    return torch.tensor(domain.works(direction), device=layer_map.device)[layer_map].float().mean().item()


def _where_valid(inversion):
    """The layer map (N, H, W), or of padded images the pixels (K,) of it that are theirs."""
    return inversion.layer_map if inversion.valid is None else inversion.layer_map[inversion.valid[:, 0] > 0]


def _hard(domain, used, reached):
    late = {name: share for name, share in used.items() if name != domain.spaces[0].name}
    if sum(late.values()) < HARD:
        return []
    left = [name for name, share in reached.items() if share >= REACHED]
    return [f"a very hard image: {sum(late.values()):.0%} of it needs {', '.join(late)}, where only limited things can be edited: "
            f"{', '.join(left) or 'none of the directions'} (of {', '.join(reached)})"]
