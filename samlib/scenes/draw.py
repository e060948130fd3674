"""From (category, seed, indices) to pictures: draw the numbers, set up the scene, trace, shade, expose."""
import functools
from collections import namedtuple
from dataclasses import dataclass

import torch

from . import clutter, world
from .categories import FACTORS, MODULES
from .noise import fbm, uniforms
from .tracing import Params, box, camera, film, majority, mix, normal, shadow, shrink, trace

SAMPLES = 2                                    # rays along a side of a pixel
NUMBERS = 160                                  # uniform numbers drawn for each picture


@dataclass
class Scenes:
    """Pictures with what is known about them."""
    images: torch.Tensor                       # (N, 3, H, W) in [-1, 1]
    segments: torch.Tensor                     # (N, H, W) long, index into SEGMENTS[category]
    factors: dict                              # name -> (N,) float


class _Draw:
    """Hands out columns of a table of uniform numbers: u() in [0, 1), u(low, high) in that range; each (N,)."""

    def __init__(self, table):
        self.table, self.next = torch.from_numpy(table), 0

    def __call__(self, low=0.0, high=1.0):
        column = self.table[:, self.next]
        self.next += 1
        return low + (high - low) * column


def _settings(u, f, bearing, rgb):
    """All that is random about an ordinary scene: Params in float64 on the CPU."""
    n = {k: v[:, None] for k, v in f.items()}
    p = Params(n)
    p.update(bearing=bearing[:, None], paint=rgb[:, :, None], spokes=(5 + (u() * 5).floor())[:, None], turn=u(0, 6.28)[:, None])
    p.update({k: u(0, 16)[:, None] for k in ("skyline", "cloud_x", "cloud_z")})
    p.update(half=n["road"], lane=u(-0.4, 0.4)[:, None], divider=u(1.7, 2.4)[:, None] * (2 * (u() < 0.5) - 1)[:, None],
             markings=u(0.3, 0.9)[:, None], pavement=(u() ** 2 * 2.4)[:, None], conifer=(u() < 0.25)[:, None].double(),
             bay=u(2.2, 3.4)[:, None])
    grey, warm = u(0.065, 0.135), u(0.94, 1.06)
    p.update(asphalt=torch.stack([grey * warm, grey, grey / warm], 1)[..., None], ground=torch.stack([grey * warm, grey, grey / warm], 1)[..., None])
    grey = u(0.20, 0.36)
    p["paving"] = torch.stack([grey * 1.03, grey, grey * 0.94], 1)[..., None]
    dry, dark = u(0, 1), u(0.75, 1.15)
    p["turf"] = torch.stack([(0.11 + 0.14 * dry) * dark, (0.19 + 0.04 * dry) * dark, (0.05 + 0.02 * dry) * dark], 1)[..., None]
    dry, dark = u(0, 1) ** 2, u(0.7, 1.2)
    p["foliage"] = torch.stack([(0.07 + 0.10 * dry) * dark, (0.13 + 0.01 * dry) * dark, (0.035 + 0.01 * dry) * dark], 1)[..., None]
    for k in range(world.TREES):
        lane = (k * 0.618 + 0.31) % 1.0        # spread over the width, whatever their number
        p[f"tree_side{k}"] = ((lane - 0.5) * 2.0 + u(-0.16, 0.16))[:, None]
        p.update({f"tree_depth{k}": u(8, 26)[:, None], f"tree_tall{k}": u(4.5, 9)[:, None], f"tree_wide{k}": u(0.26, 0.40)[:, None],
                  f"tree_tint{k}": u(0.75, 1.3)[:, None], f"tree_rank{k}": torch.full_like(n["size"], k)})
    for k in range(world.BUILDINGS):
        lane = (k * 0.618 + 0.62) % 1.0
        p[f"building_side{k}"] = ((lane - 0.5) * 2.0 + u(-0.2, 0.2))[:, None]
        p.update({f"building_depth{k}": u(18, 40)[:, None], f"building_high{k}": u(4, 12)[:, None], f"building_wide{k}": u(4, 8)[:, None]})
        tone, value = u(0, 1), u(0.16, 0.50)
        p[f"wall{k}"] = torch.stack([value, value * (0.95 - 0.30 * tone), value * (0.90 - 0.50 * tone)], 1)[..., None]
    p.update(shift_x=u(-0.12, 0.12)[:, None], shift_y=u(-0.06, 0.10)[:, None], exposure=u(0.85, 1.10)[:, None])
    return p


def _camera(p):
    """Where the camera stands, in place: so far away, and zoomed so, that the car fills the usual share of the picture."""
    sine, cosine = torch.sin(p.bearing), torch.cos(p.bearing)
    extent = 4.35 * sine.abs() + 1.85 * cosine.abs()
    usual = 5.6 + 0.95 * extent
    fill = 0.69 - 0.13 * cosine.abs() ** 4 + 0.28 * (sine * cosine) ** 2
    away = usual * p.distance
    p["tangent"] = extent / (2 * fill * usual)
    p.update(away=away, camera_x=cosine * away, camera_z=sine * away, camera_y=p.camera_height,
             look_x=-sine * p.shift_x * 2, look_z=cosine * p.shift_x * 2, look_y=0.75 + p.shift_y * 2)


def _far_trees_first(p):
    """Reorder the trees' slots, in place, from far to near, so that each is laid over those behind it."""
    far = torch.cat([(x - p.camera_x) ** 2 + (z - p.camera_z) ** 2 for x, z, _ in (world.place(p, k, "tree", 1.0) for k in range(world.TREES))], 1)
    order = far.argsort(1, descending=True)
    for part in ("side", "depth", "tall", "wide", "tint", "rank"):
        values = torch.cat([p[f"tree_{part}{k}"] for k in range(world.TREES)], 1).gather(1, order)
        p.update({f"tree_{part}{k}": values[:, k:k + 1] for k in range(world.TREES)})


def settings(category, seed, indices):
    """Params (N, 1) in float64 and factors (N,) of ordinary scenes."""
    module = MODULES[category]
    u = _Draw(uniforms(NUMBERS, category, seed, indices))
    factors, bearing, rgb = module.sample(u)
    p = _settings(u, factors, bearing, rgb)
    p.update(module.shape(p))
    _camera(p)
    _far_trees_first(p)
    p.update(world.weather(p))
    return p, {name: factors[name] for name in FACTORS[category]}


def codes(category, seed, indices):
    """What ordinary scenes are drawn from: the uniform numbers (N, K) in [0, 1), which determine the picture, and what they
    come to, (N, M): every length, place, angle and colour of the scene. Both float64 on the CPU, K and M of the category.
    """
    module = MODULES[category]
    u = _Draw(uniforms(NUMBERS, category, seed, indices))
    factors, bearing, rgb = module.sample(u)
    _settings(u, factors, bearing, rgb)
    p, _ = settings(category, seed, indices)
    meaning = torch.cat([p[name].flatten(1) for name in sorted(p) if name != "bearing"], 1)
    return u.table[:, :u.next], meaning


def _flat(p, names, mask, *values):
    """The rays where mask (N, P) holds: their places, their parameters of those names (M,), and values (N, P) as (M,)."""
    image, ray = torch.nonzero(mask, as_tuple=True)
    return (image, ray), p.take(image, names), [v[image, ray] if v.shape[1] > 1 else v[image, 0] for v in values]


def _subject(module, canvas, p, ground, field):
    """Shadow of the subject on the ground, then the subject itself."""
    low, high = module.bounds(p)
    t, x, z, below = ground
    sun = [p.sun_x, p.sun_y, p.sun_z]
    zero = torch.zeros_like(x)
    near, far = box((x, zero, z), sun, low, high)
    light = world.tree_shadows(p, x, z)
    mask = below & (far > near.clamp(min=0)) & (t < 60)
    at, q, (fx, fz, fn, ff, sx, sy, sz) = _flat(p, module.SHAPE, mask, x, z, near, far, *sun)
    light[at] = torch.minimum(light[at], shadow(field, (fx, torch.zeros_like(fx), fz), (sx, sy, sz), q, fn, ff))
    open_sky = torch.ones_like(x)
    margin = 0.9 * p.size
    mask = below & (x.abs() < high[0] + margin) & (z.abs() < high[2] + margin)
    at, q, (fx, fz) = _flat(p, module.SHAPE, mask, x, z)
    gap = sum((field(fx, torch.full_like(fx, h), fz, q) / h).clamp(0, 1) * w for h, w in ((0.15, 0.35), (0.45, 0.40), (0.9, 0.25)))
    open_sky[at] = 0.10 + 0.90 * gap
    lit = p.sunlight * (light * p.sun_y * 0.9).unsqueeze(-2) + p.ambient * (0.9 * open_sky).unsqueeze(-2)
    on_ground = (canvas.segment == world.ID["road"]) | (canvas.segment == world.ID["grass"])
    canvas.light = mix(canvas.light, canvas.light * lit, on_ground.to(x.dtype))

    near, far = box(canvas.o, canvas.d, low, high)
    at, q, (ox, oy, oz, dx, dy, dz, near, far) = _flat(p, module.SHAPE, far > near.clamp(min=0), *canvas.o, *canvas.d, near, far)
    t = trace(field, (ox, oy, oz), (dx, dy, dz), q, near, far)
    hit = torch.nonzero(t < 1e4)[:, 0]
    at = at[0][hit], at[1][hit]
    q = p.take(at[0], module.SHADING)
    ox, oy, oz, dx, dy, dz, t = (v[hit] for v in (ox, oy, oz, dx, dy, dz, t))
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    n = normal(field, x, y, z, q)
    e = 0.02
    start = (x + n[0] * e, y + n[1] * e, z + n[2] * e)
    reach = torch.full_like(t, 3.0)
    light = shadow(field, start, (q.sun_x, q.sun_y, q.sun_z), q, torch.full_like(t, 0.03), reach, steps=14, softness=10.0)
    soft = canvas.pixel[at[0], 0] * t
    color, segment = module.shade(x, y, z, n, (dx, dy, dz), q, light, soft)
    canvas.light[at[0], :, at[1]] = color.T.to(canvas.light.dtype)
    canvas.t[at], canvas.segment[at] = t, segment


@functools.lru_cache(maxsize=None)
def _fused(category):
    """The category's distance field as one compiled kernel, for any number of points."""
    module = MODULES[category]
    Shape = namedtuple("Shape", module.SHAPE)
    compiled = torch.compile(lambda x, y, z, *values: module.distance(x, y, z, Shape(*values)), dynamic=True)
    return lambda x, y, z, p: compiled(x, y, z, *(p[name] for name in module.SHAPE))


def _scene(module, p, added, size, field):
    rays = size * SAMPLES
    d = camera(p, rays)
    o = (p.camera_x, p.camera_y, p.camera_z)
    pixel = p.tangent * (2 / size)
    canvas = world.backdrop(p, o, d, pixel)
    ground = world.ground(canvas, p)
    world.buildings(canvas, p)
    grain = fbm(d[0] * 42 + p.skyline, d[1] * 42 + d[2] * 30)
    world.trees(canvas, p, grain)
    _subject(module, canvas, p, ground, field)
    if added is not None:
        clutter.clutter(canvas, p, added)
    world.haze(canvas, p)
    grey = canvas.light.mean(1, keepdim=True)
    light = torch.lerp(grey, canvas.light, 1.18) * p.exposure[..., None]
    light = shrink(film(light), size, SAMPLES)
    return light * 2 - 1, majority(canvas.segment, size, SAMPLES)


@torch.inference_mode()
def render(category, seed, indices, size=256, challenging=False, device="cpu", batch=None, dtype=torch.float32, compile=False):
    """Render pictures; the same (category, seed, index) is the same picture on every device and in every batch.

    seed: int; indices: N ints >= 0; size: side in pixels, >= 16; batch: pictures at once (default: what suits device and size);
    dtype: of the pictures and factors; the work is done in float32, or in float64 if that is asked for.
    compile: fuse the distance field with torch.compile (CUDA only). Returns Scenes. ValueError on an unknown category or bad number.
    """
    if category not in MODULES:
        raise ValueError(f"unknown category {category!r}: choose from {', '.join(MODULES)}")
    if int(size) != size or size < 16:
        raise ValueError(f"size {size!r} is no picture: give a whole number of pixels, at least 16")
    indices = [int(i) for i in indices]
    if any(i < 0 for i in indices) or int(seed) < 0:
        raise ValueError("seed and indices must not be negative")
    if batch is None:
        batch = max(1, (2 ** 24 if torch.device(device).type == "cuda" else 2 ** 18) // (size * SAMPLES) ** 2)
    if batch < 1:
        raise ValueError(f"batch is {batch}: render at least one picture at a time")
    if not dtype.is_floating_point:
        raise ValueError(f"dtype is {dtype}: pictures are in [-1, 1], give a floating-point type")
    work = torch.float64 if dtype == torch.float64 else torch.float32
    module = MODULES[category]
    field = _fused(category) if compile and torch.device(device).type == "cuda" else module.distance
    p, factors = settings(category, seed, indices)
    added = clutter.settings(category, seed, indices) if challenging else None
    images = torch.empty(len(indices), 3, size, size, dtype=dtype, device=device)
    segments = torch.empty(len(indices), size, size, dtype=torch.long, device=device)
    for first in range(0, len(indices), batch):
        part = slice(first, first + batch)
        images[part], segments[part] = _scene(
            module, p.rows(part).to(device, work), added and added.rows(part).to(device, work), size, field)
    return Scenes(images, segments, {name: v.to(device, dtype) for name, v in factors.items()})
