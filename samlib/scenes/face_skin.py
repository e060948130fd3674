"""How light falls on a head: skin that it enters and that reddens its edge, hair, eyes, glasses. What is painted is in face_paint.py."""
import torch

from . import face_paint as paint
from .face_head import EYE_X, SHAPE, distance, glasses, hill, lids, local, parts
from .face_paint import CLASSES, ID  # noqa: F401 (part of the category)
from .noise import fbm
from .tracing import mix, stack, step

SHADING = SHAPE + ("sun_x", "sun_y", "sun_z", "sunlight", "ambient", "bounce", "skin", "redness", "freckles", "hair_color", "wave",
                   "brow", "brow_color", "beard", "old", "smile", "gaze_z", "gaze_y", "iris", "lip_color", "shirt", "frame_color", "glare",
                   "solid", "lapel", "jacket")


def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(a):
    scale = torch.rsqrt(_dot(a, a))
    return [v * scale for v in a]


def _open(x, y, z, n, p):
    """Share of the surroundings (M,) that reaches a point: less in hollows."""
    total = torch.zeros_like(x)
    for h, w in ((0.08, 0.5), (0.32, 0.5)):
        total = total + w * (distance(x + h * n[0], y + h * n[1], z + h * n[2], p) / (0.9 * h)).clamp(0, 1)
    return total


def _lens(x, y, z, d, p):
    """Where the sight line to (x, y, z) passes the glasses' lenses, 0..1."""
    t = (x - 0.965 + 0.25 * z * z) / d[0].clamp(max=-0.2)           # back along the ray
    _, ring = glasses(x - t * d[0], y - t * d[1], (z - t * d[2]).abs(), p)
    return step(0.0, -0.015, ring) * (t > 0) * p.solid


def _surface(x, y, z, n, p, soft):
    """Albedo (3, M), gloss, tilt and segment of a head; covers of bare skin, hair, frame and eye; the hair's strands and shift."""
    front, eye, lobe, body, mane, frame, line = parts(x, y, z, p)
    hx, hy, hz = local(x, y, z / p.width, p)
    skin = torch.minimum(torch.minimum(front, lobe), body)
    albedo, gloss, tilt, segment = paint.face(hx, hy, hz, n, p, soft)
    on_ear = lobe < front
    shell = step(0.0, 0.06, hill((hy + 0.06) / 0.17, (hx + 0.03) / 0.09) - 0.45) * on_ear
    albedo = paint.darken(albedo, 0.38, 0.52, 0.55, shell)
    segment = torch.where(on_ear, ID["ears"], segment)
    below = body < torch.minimum(front, lobe)
    albedo = torch.where(below, p.skin * (1 + 0.12 * (fbm(z * 2, y * 2) - 0.5)).unsqueeze(-2), albedo)
    cloth = paint.edge(-line, soft + 0.01) * below
    albedo = mix(albedo, paint.clothes(x, y, z, line, p), cloth)
    segment = torch.where(below, torch.where(cloth > 0.5, ID["clothes"], ID["neck"]), segment)
    is_eye = (eye < front) & (hx > EYE_X)
    albedo = torch.where(is_eye, paint.eyeball(hy, hz, lids(hy, hz.abs(), p)[0], p), albedo)
    segment = torch.where(is_eye, ID["eyes"], segment)
    locks, strand, shift = paint.hair(hx, hy, hz, n, p)
    is_hair = step(-0.006, 0.008, skin - mane + 0.015 * shift) * (eye > 0.03)
    albedo = mix(albedo, locks, is_hair)
    segment = torch.where(is_hair > 0.5, ID["hair"], segment)
    is_frame = (frame < torch.minimum(torch.minimum(skin, mane), eye)) * p.solid
    albedo = mix(albedo, p.frame_color, is_frame)
    segment = torch.where(is_frame > 0.5, ID["glasses"], segment)
    bare = (1 - is_hair) * (1 - cloth) * (1 - is_frame) * ~is_eye
    return albedo, gloss, tilt, segment, (bare, is_hair, is_frame, is_eye.to(x.dtype)), strand, shift


def _diffuse(n, sun, light, bare, is_hair, strand, p):
    """Share of the sun (3, M) that comes back from under the surface: skin, red the most, also past its edge; hair across its strands."""
    wrap = lambda w, k: ((sun + w) / (1 + w)).clamp(min=0) * light.clamp(min=1e-4) ** k
    soft = stack(wrap(0.30, 0.70), wrap(0.20, 0.90), wrap(0.15, 1.0))
    hard = sun.clamp(min=0) * light
    along = strand[0] * p.sun_x + strand[1] * p.sun_y + strand[2] * p.sun_z
    comb = (1 - along * along).clamp(min=0).sqrt() * (0.35 + 0.65 * ((sun + 0.4) / 1.4).clamp(0, 1)) * (0.25 + 0.75 * light)
    return mix(mix(stack(hard, hard, hard), soft, bare), stack(comb, comb, comb), is_hair)


def _highlights(n, d, half, sun, light, cover, gloss, covers, strand, shift, p):
    """Light (3, M) off the surface: skin's sheen, two bands along the hair, glints of eyes and frame."""
    bare, is_hair, is_frame, is_eye = covers
    at_half = _dot(n, half).clamp(0, 1)
    fresnel = (1 + _dot(n, d)).clamp(0, 1) ** 4
    sheen = bare * gloss * (0.05 + 0.35 * fresnel) * (0.9 * at_half ** 14 + 1.6 * at_half ** 50) * (sun > -0.1) * light
    along = _dot(strand, half)
    first = (1 - (along + 0.18 * shift) ** 2).clamp(min=0) ** 40
    second = (1 - (along - 0.15 + 0.25 * shift) ** 2).clamp(min=0) ** 12
    lit = is_hair * light * ((sun + 0.3) / 1.3).clamp(0, 1)
    glint = 0.7 * is_eye * step(0.992, 0.998, at_half) + 0.5 * is_frame * light * at_half ** 30
    result = p.sunlight * (sheen + 0.035 * lit * first + glint) + p.sunlight * p.hair_color * (0.45 * lit * second).unsqueeze(-2)
    return result + p.ambient * (0.16 * bare * gloss * fresnel * cover + 0.05 * is_eye)


def shade(x, y, z, n, d, p, light, soft):
    """Light (3, M) and segment (M,) of points of the head, seen along d; light: share of sun (M,); n: normals; soft: a pixel's size."""
    albedo, gloss, tilt, segment, covers, strand, shift = _surface(x, y, z, n, p, soft)
    bare, is_hair, is_frame, _ = covers
    n = _unit((n[0], n[1] + tilt * bare, n[2]))
    cover = _open(x, y, z, n, p)
    sun = n[0] * p.sun_x + n[1] * p.sun_y + n[2] * p.sun_z
    half = _unit((p.sun_x - d[0], p.sun_y - d[1], p.sun_z - d[2]))
    crevice = stack(cover ** 0.88, cover ** 1.02, cover ** 1.08)
    around = torch.lerp(p.bounce, p.ambient, (0.5 + 0.5 * n[1]).unsqueeze(-2)) * crevice
    result = albedo * (p.sunlight * _diffuse(n, sun, light, bare, is_hair, strand, p) + around)
    result = result + _highlights(n, d, half, sun, light, cover, gloss, covers, strand, shift, p)
    hx, hy, hz = local(x, y, z / p.width, p)
    lens = _lens(hx, hy, hz, d, p) * (1 - is_frame)
    result = result * (1 - 0.10 * lens).unsqueeze(-2) + p.ambient * (lens * p.glare * step(-0.3, 0.3, hy + 0.4 * hz + 0.05))
    return result, torch.where(lens > 0.5, ID["glasses"], segment)
