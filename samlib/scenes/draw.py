"""From (category, seed, indices) to pictures: draw the numbers, set up the scene, trace, shade, expose."""
import functools
from collections import namedtuple
from dataclasses import dataclass

import torch

from . import clutter, world
from .classes import category_of, module_of
from .noise import uniforms
from .tracing import box, camera, film, majority, mix, normal, shadow, shrink, trace

SAMPLES = 2                                    # rays along a side of a pixel
NUMBERS = 160                                  # uniform numbers drawn for each picture


@dataclass
class Scenes:
    """Pictures with what is known about them."""
    images: torch.Tensor                       # (N, 3, H, W) in [-1, 1]
    segments: torch.Tensor                     # (N, H, W) long, index into SEGMENTS[category]
    factors: dict                              # name -> (N,) float


class Draw:
    """Hands out columns of a table of uniform numbers: u() in [0, 1), u(low, high) in that range; each (N,)."""

    def __init__(self, table):
        self.table, self.next = table, 0

    def __call__(self, low=0.0, high=1.0):
        column = self.table[:, self.next]
        self.next += 1
        return low + (high - low) * column


def _drawn(category, seed, indices):
    """The uniform numbers, Params (N, 1) in float64 and factors (N,) of ordinary scenes."""
    module = module_of(category)
    u = Draw(torch.from_numpy(uniforms(NUMBERS, category, seed, indices)))
    factors, own = module.sample(u)
    p = module.settings(u, factors, own)
    return u.table[:, :u.next], p, {name: factors[name] for name in module.FACTORS}


def codes(category, seed, indices):
    """What ordinary scenes are drawn from: the uniform numbers (N, K) in [0, 1), which determine the picture, and what they
    come to, (N, M): every length, place, angle and colour of the scene. Both float64 on the CPU, K and M of the category.
    """
    numbers, p, _ = _drawn(category, seed, indices)
    return numbers, torch.cat([p[name].flatten(1) for name in sorted(p) if name != "bearing"], 1)


def _flat(p, names, mask, *values):
    """The rays where mask (N, P) holds: their places, their parameters of those names (M,), and values (N, P) as (M,)."""
    image, ray = torch.nonzero(mask, as_tuple=True)
    return (image, ray), p.take(image, names), [v[image, ray] if v.shape[1] > 1 else v[image, 0] for v in values]


def _on_ground(module, canvas, p, ground, field):
    """Light the ground: the subject's shadow, and the dark where it touches."""
    low, high = module.bounds(p)
    x, z = ground.x, ground.z
    sun = [p.sun_x, p.sun_y, p.sun_z]
    near, far = box((x, torch.zeros_like(x), z), sun, low, high)
    light = ground.light
    mask = ground.below & (far > near.clamp(min=0)) & (ground.t < 60)
    at, q, (fx, fz, fn, ff, sx, sy, sz) = _flat(p, module.SHAPE, mask, x, z, near, far, *sun)
    light[at] = torch.minimum(light[at], shadow(field, (fx, torch.zeros_like(fx), fz), (sx, sy, sz), q, fn, ff))
    open_sky = torch.ones_like(x)
    margin = 0.9 * p.size
    mask = ground.below & (x.abs() < high[0] + margin) & (z.abs() < high[2] + margin)
    at, q, (fx, fz) = _flat(p, module.SHAPE, mask, x, z)
    gap = sum((field(fx, torch.full_like(fx, h), fz, q) / h).clamp(0, 1) * w for h, w in ((0.15, 0.35), (0.45, 0.40), (0.9, 0.25)))
    open_sky[at] = 0.10 + 0.90 * gap
    lit = p.sunlight * (light * p.sun_y * 0.9).unsqueeze(-2) + p.ambient * (0.9 * open_sky).unsqueeze(-2)
    canvas.light = mix(canvas.light, canvas.light * lit, ground.seen.to(x.dtype))


def _subject(module, canvas, p, field):
    """Trace and shade the subject."""
    low, high = module.bounds(p)
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


@functools.cache
def _fused(category):
    """The category's distance field as one compiled kernel, for any number of points."""
    module = module_of(category)
    Shape = namedtuple("Shape", module.SHAPE)
    compiled = torch.compile(lambda x, y, z, *values: module.distance(x, y, z, Shape(*values)), dynamic=True)
    return lambda x, y, z, p: compiled(x, y, z, *(p[name] for name in module.SHAPE))


def _scene(module, p, added, size, field):
    rays = size * SAMPLES
    d = camera(p, rays)
    o = (p.camera_x, p.camera_y, p.camera_z)
    pixel = p.tangent * (2 / size)
    canvas, ground = module.background(p, o, d, pixel)
    if ground is not None:
        _on_ground(module, canvas, p, ground, field)
    _subject(module, canvas, p, field)
    if added is not None:
        module.challenge(canvas, p, added)
    if "haze" in p:
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
    module = module_of(category)
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
    field = _fused(category_of(category)) if compile and torch.device(device).type == "cuda" else module.distance
    _, p, factors = _drawn(category, seed, indices)
    added = clutter.settings(category, seed, indices, module.KINDS) if challenging else None
    images = torch.empty(len(indices), 3, size, size, dtype=dtype, device=device)
    segments = torch.empty(len(indices), size, size, dtype=torch.long, device=device)
    for first in range(0, len(indices), batch):
        part = slice(first, first + batch)
        images[part], segments[part] = _scene(
            module, p.rows(part).to(device, work), added and added.rows(part).to(device, work), size, field)
    return Scenes(images, segments, {name: v.to(device, dtype) for name, v in factors.items()})
