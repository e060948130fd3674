"""Fur: its markings (stripes, light underside, white patches, dark points), its strands, and how light falls on it."""
import torch

from .noise import fbm
from .tracing import color, mix, step


def band(value, half, soft):
    """1 where |value| < half, with an edge `soft` wide."""
    return step(-0.5, 0.5, (half - value.abs()) / soft)


def _spine(x, y, z, p):
    """Place on the body: along the spine from the hips, the angle about it, 0 at the back, pi at the belly, and the distance from it."""
    x, y, unit = x - p.hip_x, y - p.hip_y, p.spine_i.sqrt()
    up = (y * p.spine_x - x * p.spine_y) * unit
    return (x * p.spine_x + y * p.spine_y) * unit, torch.atan2(z.abs(), up), (up * up + z * z).sqrt()


def body_marks(x, y, z, leg, tail_part, p):
    """Markings of the body, each (M,) in [0, 1]: stripes, light underside, white patches, dark points; and strands of fur."""
    along, angle, off = _spine(x, y, z, p)
    az = z.abs()
    wander = fbm(along * 0.55 + 3, angle * 0.8 + 0.15 * z)
    rings = torch.where(tail_part > 0.5, torch.atan2(z, x - p.tail_x) * 2.4, torch.where(leg > 0.5, y * 2.3, along * 1.9))
    wave = torch.sin(6.283 * ((1 + 0.15 * p.tiger) * rings + 0.75 * (1 - 0.6 * leg) * wander))
    stripes = step(-0.1 + 0.3 * p.tiger, 0.65 + 0.1 * p.tiger, wave) * (1 - 0.75 * step(1.7, 2.7, angle) * (1 - leg)) * step(0.05, 0.35, y)
    stripes = torch.maximum(stripes, step(0.40, 0.20, angle) * 0.8 * (1 - leg) * (1 - tail_part))
    strand = 0.4 * fbm(along * 2.0 + 0.9 * z, angle * 5.0) + 0.6 * fbm(along * 5.5 + 2.0 * z + y, angle * 15.0 + 5)
    under = step(1.5, 2.9, angle + 0.9 * (strand - 0.5)) * (1 - tail_part)
    chest = 1.05 - torch.maximum(0.85 * az, 1.5 * step(2.9, 1.2, angle)) - 0.15 * (y - p.hip_y - p.spine_y).abs()
    paws = 0.95 - 1.1 * y - 0.9 * step(0.35, 0.75, y) * (1 - leg)
    patch = torch.maximum(chest, paws) - 1.3 * tail_part
    points = torch.maximum(tail_part, step(0.9, 0.0, y) * leg)
    return stripes, under, patch, points, 0.5 + 1.5 * (strand - 0.5) * step(0.0, 0.35, off)


def head_marks(x, y, z, p):
    """The same for the head (head frame)."""
    a = z.abs()
    angle = torch.atan2(z, y + 0.40)
    reach = (x * x * 0.5 + (y + 0.40) ** 2 + z * z).sqrt()
    strand = 0.4 * fbm(angle * 3.2 + 4, reach * 2.4) + 0.6 * fbm(angle * 11 + 9, reach * 6 + x)
    wander = fbm(z * 0.8 + 5, y * 0.8 + x)
    brow = step(0.28, 0.50, y) * band(a - 0.10 - 0.10 * (y - 0.3) - 0.06 * (wander - 0.5), 0.055, 0.07)
    brow = torch.maximum(brow, step(0.26, 0.46, y - 0.35 * a) * band(a - 0.36 - 0.12 * (y - 0.3), 0.060, 0.08))
    corner = step(0.60, 0.72, a) * band(y - 0.02 + 0.45 * (a - 0.62) - 0.10 * (x - 0.3), 0.050, 0.06)
    cheek = step(0.55, 0.75, a) * band(y + 0.36 + 0.50 * (a - 0.62), 0.050, 0.06)
    crown = step(0.25, -0.1, x) * step(-0.2, 0.6, torch.sin(11 * z + 4 * (wander - 0.5)))
    stripes = torch.maximum(torch.maximum(brow, corner), torch.maximum(cheek, crown)) * step(0.0, 0.2, 0.9 - _mask(x, y, z, 0.55))
    front = step(0.2, 0.7, x)
    ring = ((y - 0.06) ** 2 + (a - 0.40) ** 2).sqrt()
    under = torch.maximum(step(0.55, 0.15, _mask(x, y, z, 0.0)), 0.65 * step(0.45, 0.30, ring) * front)
    blaze = 0.80 - 1.05 * (a - 0.05).clamp(min=0) * (1.2 + 1.2 * (y + 0.1).clamp(min=0)) - 0.55 * (y + 0.35).clamp(min=0)
    patch = blaze * front - 0.6 * (1 - front)
    points = step(1.15, 0.45, _mask(x, y, z, 0.1))
    return stripes, under, patch, points, 0.5 + 1.5 * (strand - 0.5)


def _mask(x, y, z, up):
    """Distance from the muzzle (head frame)."""
    return ((x - 0.85) ** 2 * 0.6 + (y + 0.42 - up) ** 2 + z * z).sqrt()


def fur(marks, p):
    """Albedo (3, M) of fur with those markings."""
    stripes, under, patch, points, strand = marks
    rough = strand - 0.5
    base = p.coat * (1 + 0.9 * rough)
    pale = torch.lerp(base, color(strand, 0.74, 0.68, 0.60).expand_as(base), 0.62)
    light = (under * (0.35 + 0.4 * p.tabby + 0.4 * p.tiger)).clamp(0, 1) * (1 - p.black)
    base = mix(base, pale, light)
    base = mix(base, torch.lerp(base, color(strand, 0.72, 0.63, 0.50).expand_as(base), 0.8), p.points)
    stripes = (stripes + 0.35 * rough).clamp(0, 1)
    dark = torch.lerp(p.dark, color(strand, 0.016, 0.013, 0.012).expand_as(base), p.tiger) * (1 + 0.4 * rough)
    base = mix(base, dark, (stripes * torch.maximum(0.95 * p.tabby, p.tiger) * (1 - 0.85 * p.points)).clamp(0, 1))
    base = mix(base, color(strand, 0.045, 0.032, 0.026) * (1 + 0.5 * rough), points * p.points * 0.92)
    cover = step(-0.05, 0.05, p.white * 1.30 - 1.05 + patch + 0.24 * rough)
    return mix(base, color(strand, 0.78, 0.75, 0.71) * (1 + 0.22 * rough), cover)


def fur_light(albedo, strand, n, d, tangent, light, open_sky, y, p):
    """Light (3, M) that fur sends along -d: wrapped daylight, sky, floor, a bright rim where strands stand against the light, sheen.

    tangent: cosines between the fur's direction and (the sun, d).
    """
    sun = n[0] * p.sun_x + n[1] * p.sun_y + n[2] * p.sun_z
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2]).clamp(-1, 0)
    key = ((sun + 0.28 + 0.9 * (strand - 0.5)) / 1.28).clamp(min=0) * (0.92 * light + 0.08 * open_sky)
    over = (0.42 + 0.58 * (0.5 + 0.5 * n[1])) * open_sky
    under = (0.5 - 0.5 * n[1]) * open_sky * (1.2 - 0.25 * y).clamp(0.2, 1)
    edge = (1 - facing) ** 4 * open_sky
    behind = 0.40 * (sun + 0.5).clamp(0, 1) * (0.25 + 0.75 * light)
    halo = albedo.clamp(min=0) ** 0.6 * (p.ambient * 0.30 * open_sky + p.sunlight * behind)
    cosine = tangent[0] * tangent[1]
    sheen = ((1 - tangent[0] ** 2).clamp(min=0).sqrt() * (1 - tangent[1] ** 2).clamp(min=0).sqrt() + cosine).clamp(0, 1) ** 12
    gloss = (0.03 + 0.10 * albedo) * sheen * (0.3 + 1.4 * strand) * light * (sun + 0.2).clamp(0, 1)
    return albedo * (p.sunlight * key * 0.95 + p.ambient * over + p.bounce * under) + halo * edge + p.sunlight * gloss
