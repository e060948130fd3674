"""What outdoor categories share: the random numbers of sky, greenery, trees and buildings, and the background made of them."""
from dataclasses import dataclass

import torch

from . import world
from .noise import fbm


@dataclass
class Ground:
    """Where the rays meet the plane y = 0; each (N, P). The subject's shadow falls on it."""
    t: torch.Tensor
    x: torch.Tensor
    z: torch.Tensor
    below: torch.Tensor    # bool: the ray goes down
    seen: torch.Tensor     # bool: nothing is in front; there the canvas holds the albedo, and light is still to fall on it
    light: torch.Tensor    # share of sunlight that reaches it past everything but the subject


def greens(u):
    """Colours of turf and foliage, from juicy to dry."""
    dry, dark = u(0, 1), u(0.75, 1.15)
    turf = torch.stack([(0.11 + 0.14 * dry) * dark, (0.19 + 0.04 * dry) * dark, (0.05 + 0.02 * dry) * dark], 1)[..., None]
    dry, dark = u(0, 1) ** 2, u(0.7, 1.2)
    foliage = torch.stack([(0.07 + 0.10 * dry) * dark, (0.13 + 0.01 * dry) * dark, (0.035 + 0.01 * dry) * dark], 1)[..., None]
    return {"turf": turf, "foliage": foliage}


def grove(u):
    """Places and measures of the trees' slots, spread over the width, whatever their number."""
    p = {}
    for k in range(world.TREES):
        lane = (k * 0.618 + 0.31) % 1.0
        p[f"tree_side{k}"] = ((lane - 0.5) * 2.0 + u(-0.16, 0.16))[:, None]
        p.update({f"tree_depth{k}": u(8, 26)[:, None], f"tree_tall{k}": u(4.5, 9)[:, None], f"tree_wide{k}": u(0.26, 0.40)[:, None],
                  f"tree_tint{k}": u(0.75, 1.3)[:, None]})
        p[f"tree_rank{k}"] = torch.full_like(p[f"tree_side{k}"], k)
    return p


def town(u):
    """Places, measures and colours of the buildings' slots."""
    p = {}
    for k in range(world.BUILDINGS):
        lane = (k * 0.618 + 0.62) % 1.0
        p[f"building_side{k}"] = ((lane - 0.5) * 2.0 + u(-0.2, 0.2))[:, None]
        p.update({f"building_depth{k}": u(18, 40)[:, None], f"building_high{k}": u(4, 12)[:, None], f"building_wide{k}": u(4, 8)[:, None]})
        tone, value = u(0, 1), u(0.16, 0.50)
        p[f"wall{k}"] = torch.stack([value, value * (0.95 - 0.30 * tone), value * (0.90 - 0.50 * tone)], 1)[..., None]
    return p


def framing(u):
    """Where the subject stands in the picture, and the exposure."""
    return {"shift_x": u(-0.12, 0.12)[:, None], "shift_y": u(-0.06, 0.10)[:, None], "exposure": u(0.85, 1.10)[:, None]}


def orbit(p, away, look_y):
    """Put the camera, in place, `away` from the origin at its bearing, looking at the subject there, off by the framing's shift."""
    sine, cosine = torch.sin(p.bearing), torch.cos(p.bearing)
    p.update(away=away, camera_x=cosine * away, camera_z=sine * away, camera_y=p.camera_height,
             look_x=-sine * p.shift_x * 2, look_z=cosine * p.shift_x * 2, look_y=look_y + p.shift_y * 2)


def far_trees_first(p):
    """Reorder the trees' slots, in place, from far to near, so that each is laid over those behind it."""
    far = torch.cat(
        [(x - p.camera_x) ** 2 + (z - p.camera_z) ** 2 for x, z, _ in (world.place(p, k, "tree", 1.0) for k in range(world.TREES))], 1
    )
    order = far.argsort(1, descending=True)
    for part in ("side", "depth", "tall", "wide", "tint", "rank"):
        values = torch.cat([p[f"tree_{part}{k}"] for k in range(world.TREES)], 1).gather(1, order)
        p.update({f"tree_{part}{k}": values[:, k:k + 1] for k in range(world.TREES)})


def background(p, o, d, pixel, ids, ground=world.ground, names=("road", "grass")):
    """Sky, hills, ground, buildings (where p has them) and trees; returns the Canvas and the Ground.

    ground: draws the albedo of the plane y = 0 like world.ground; names: the segments it is made of.
    """
    canvas = world.backdrop(p, o, d, pixel, ids)
    t, x, z, below = ground(canvas, p)
    if "building_side0" in p:
        world.buildings(canvas, p)
    grain = fbm(d[0] * 42 + p.skyline, d[1] * 42 + d[2] * 30)
    world.trees(canvas, p, grain)
    return canvas, Ground(t, x, z, below, canvas.at(*names), world.tree_shadows(p, x, z))
