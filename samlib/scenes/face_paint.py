"""What is painted on a head: skin and its age, eyes, brows, beard, lips and teeth, hair, clothes. The shape is in face_head.py.

Points are in the head's frame, flat lists (M,); az is |z|, smooth. Albedos are (3, M), covers (M,) in [0, 1].
"""
import torch

from .face_head import EYE, EYE_Z, fold, hill, lids, mouth
from .noise import fbm
from .tracing import color, mix, stack, step

CLASSES = ("background", "skin", "hair", "eyes", "brows", "mouth", "ears", "neck", "clothes", "glasses", "hat", "scarf", "hand", "object",
           "sign", "person")
ID = {name: i for i, name in enumerate(CLASSES)}


def edge(value, soft):
    """1 where value > 0, over an edge `soft` wide."""
    return step(-0.5, 0.5, value / soft)


def darken(albedo, r, g, b, cover):
    return albedo * stack(1 - r * cover, 1 - g * cover, 1 - b * cover)


def eyeball(y, z, upper, p):
    """Albedo of white, iris and pupil; darker under the lid."""
    a, b = (z - torch.sign(z) * EYE_Z) / EYE - p.gaze_z, y / EYE - p.gaze_y
    r = (a * a + b * b).sqrt() * EYE
    white = stack(0.50 - 0.83 * r, 0.45 - 1.25 * r, 0.43 - 1.33 * r)
    spokes = 0.75 + 0.5 * fbm(torch.atan2(b, a) * 3, r * 8)
    iris = p.iris * (spokes * (0.5 + 0.6 * step(0.025, 0.045, r))).unsqueeze(-2)
    albedo = mix(white, iris * 0.35, edge(0.066 - r, 0.010))
    albedo = mix(albedo, iris, edge(0.060 - r, 0.012))
    albedo = mix(albedo, torch.full_like(albedo, 0.02), edge(0.024 - r, 0.008))
    return albedo * (0.35 + 0.65 * step(0.0, 0.05, -upper)).unsqueeze(-2)


def complexion(x, y, z, az, p):
    """Albedo of bare skin: red cheeks, nose and ears, mottling, freckles, shadows about the eyes."""
    red = hill((az - 0.38) / 0.17, (y + 0.28) / 0.15) + 0.8 * hill(az / 0.13, (y + 0.38) / 0.10)
    red = red + 0.5 * hill(az / 0.2, (y + 1.0) / 0.12) + 0.7 * step(0.2, 0.0, x)
    blotch, fine = fbm(z * 2.3 + 5, y * 2.3 + 3) - 0.5, fbm(z * 11 + 2, y * 11) - 0.5
    albedo = p.skin * (1 + 0.16 * blotch + 0.14 * fine).unsqueeze(-2)
    albedo = darken(albedo, -0.02, 0.20, 0.16, (red * (0.15 + 0.9 * p.redness) + 0.5 * blotch).clamp(0, 1.5))
    where = step(0.55, 0.2, (y + 0.22).abs()) * step(0.62, 0.35, az) * p.freckles
    albedo = darken(albedo, 0.25, 0.40, 0.50, step(0.56, 0.74, fbm(z * 15 + 1, y * 15 + 9)) * where)
    hollow = 0.16 * hill((az - 0.30) / 0.15, (y + 0.005) / 0.10) + (0.10 + 0.25 * p.old) * hill((az - 0.27) / 0.12, (y + 0.115) / 0.045)
    return darken(albedo, 0.75, 1.0, 0.9, hollow)


def wrinkles(y, z, az, p):
    """How far the skin tilts up in the lines of age, and how dark it is in them and in the folds from nose to mouth."""
    brow = step(0.25, 0.34, y) * step(0.72, 0.55, y) * step(0.5, 0.25, az) * torch.sin((y + 0.05 * torch.cos(az * 6)) * 55)
    crow = hill((az - 0.54) / 0.07, y / 0.10) * torch.sin((y - 0.3 * (az - 0.5)) * 90)
    line = (brow + crow) * p.old
    folds = hill((az - 0.20 - 0.5 * (-0.42 - y)) / 0.030, (y + 0.56) / 0.15) * (0.25 * p.old + 0.3 * p.smile)
    pores = fbm(z * 8 + 3, y * 8 + 6) - 0.5
    return 0.16 * line + 0.16 * pores, 0.17 * line.clamp(min=0) + 0.40 * folds


def brows(x, y, az, p):
    """Cover of the eyebrows: an arch, thin or thick, of slanted hairs."""
    along = ((az - 0.11) / 0.42).clamp(-0.2, 1.2)
    inner = along.clamp(0, 1)
    arch = 0.215 + 0.070 * torch.sin(inner * 2.3) - 0.07 * along - p.brow_low
    half = (0.016 + 0.050 * p.brow) * (1 - 0.55 * inner)
    grain = fbm((az * 1.2 - y * 0.8) * 22, (y + az * 0.5) * 6)
    inside = 1 - ((y - arch) / half) ** 2 + 0.9 * (grain - 0.5)
    ends = step(-0.08, 0.10, along) * step(1.08, 0.85, along)
    return step(-0.2, 0.9, inside) * ends * step(0.3, 0.5, x) * (0.45 + 0.5 * p.brow)


def beard(x, y, az, lip, p):
    """Cover of beard and moustache, from a shadow to full; none on the lips."""
    jaw = step(-0.38, -0.75, y - 0.5 * (az - 0.35).clamp(min=0)) * step(-0.05, 0.25, x) * step(-1.32, -1.05, y)
    cheek = step(0.10, 0.30, az - 0.10 + 0.9 * (-0.62 - y))
    moustache = hill(az / 0.28, (y + 0.555) / 0.085)
    cover = jaw * torch.maximum(torch.maximum(cheek, step(-0.80, -0.92, y)), moustache) + 0.6 * moustache
    grain = fbm(az * 55, y * 35)
    strength = step(0.0, 0.5, p.beard) * 0.4 + step(0.3, 1.0, p.beard) * 0.5
    return (cover.clamp(0, 1) * (1 - lip) * (0.75 + 0.9 * (grain - 0.4))).clamp(0, 1) * strength


def lips(v, half, taper, az, p):
    """Cover of the red of the lips; height over the line between them as from `mouth`."""
    bow = 1 - 0.16 * hill(az / 0.05)
    above = (v - 0.5 * half) / (p.lip * 0.072 * taper.sqrt() * bow + 0.004)
    below = (-v - 1.5 * half) / (p.lip * 0.098 * taper ** 0.7 + 0.004)
    return torch.where(v > 0, edge(1.0 - above, 0.35), edge(1.0 - below, 0.30)) * edge(taper - 0.08, 0.16)


def _paint_mouth(albedo, x, y, z, az, soft, p):
    """Lips, the dark between them, teeth, beard. Returns albedo, covers of the lips, of the open mouth and of the beard."""
    v, half, slit, taper = mouth(y, az, p)
    front = step(0.45, 0.6, x)
    lip = lips(v, half, taper, az, p) * front
    hairy = beard(x, y, az, lip, p)
    albedo = mix(albedo, torch.lerp(p.skin * 0.35, p.brow_color, step(0.1, 0.8, p.beard).unsqueeze(-2)), hairy)
    crease = 0.85 + 0.15 * fbm(z * 18, y * 2)
    albedo = mix(albedo, p.lip_color * crease.unsqueeze(-2), lip * 0.85)
    tooth = 1 - 0.35 * hill(((z / 0.075).remainder(1) - 0.5) / 0.10)
    seen = step(1.0, 0.3, az / p.mouth) * step(0.006, 0.018, half) * step(-1.5, -0.7, v / half.clamp(min=0.005))
    cave = mix(color(z, 0.06, 0.015, 0.012).expand_as(albedo), color(z, 0.58, 0.53, 0.46) * tooth.unsqueeze(-2), seen)
    inside = edge(-slit - 0.004, soft * 0.7 + 0.006) * front * edge(p.mouth - az, 0.02)
    albedo = mix(albedo, cave, inside)
    line = hill(v / 0.013) * edge(p.mouth + 0.012 - az, 0.03) * front * (1 - step(0.01, 0.04, p.gap))
    return mix(albedo, albedo * 0.30, line * 0.8), lip, inside, hairy


def _paint_eyes(albedo, x, y, az, upper, lower, p):
    """The fold over the upper lid, lashes, the edge of the lower lid. Returns albedo and cover of the lashes."""
    out = (az - EYE_Z).abs() - p.eye_wide
    front = step(0.45, 0.6, x)
    crease = hill((upper - 0.045) / 0.013) * step(0.03, -0.05, out) * front
    albedo = mix(albedo, albedo * 0.45, crease * 0.7)
    lash = step(0.034, 0.004, upper.abs() + 0.012 * step(0.1, -0.1, az - EYE_Z)) * step(0.04, 0.0, lower) * step(0.03, -0.03, out) * front
    albedo = mix(albedo, color(az, 0.015, 0.010, 0.008).expand_as(albedo), lash * 0.85)
    rim = step(0.018, 0.002, lower.abs()) * step(0.03, -0.01, upper) * step(0.02, -0.03, out) * front
    return mix(albedo, albedo * 0.45, rim * 0.6), lash


def face(x, y, z, n, p, soft):
    """Albedo, gloss, tilt and segment of the face, all that is painted on it included."""
    az = fold(z)
    tilt, dark = wrinkles(y, z, az, p)
    albedo = complexion(x, y, z, az, p) * (1 - dark.clamp(0, 0.6)).unsqueeze(-2)
    gloss = 0.6 + 0.5 * hill(az / 0.12, (y + 0.30) / 0.25) + 0.4 * hill(az / 0.35, (y - 0.45) / 0.2)
    albedo, lip, inside, hairy = _paint_mouth(albedo, x, y, z, az, soft, p)
    nostril = hill((az - 0.52 * p.nose_wide) / 0.036, (y + 0.456) / 0.020) * step(0.85, 0.95, x)
    nostril = nostril + 0.6 * step(0.2, 0.8, -n[1]) * hill((az - 0.06) / 0.05, (y + 0.46) / 0.04)
    albedo = mix(albedo, color(z, 0.03, 0.010, 0.007).expand_as(albedo), (nostril * 0.7).clamp(0, 1))
    upper, lower = lids(y, az, p)
    albedo, lash = _paint_eyes(albedo, x, y, az, upper, lower, p)
    brow = brows(x, y, az, p)
    albedo = mix(albedo, p.brow_color, brow)
    gloss = torch.lerp(gloss * (1 - 0.7 * hairy) * (1 - brow) * (1 - lash), torch.full_like(gloss, 1.1), lip)
    segment = torch.where(torch.maximum(lip, inside) > 0.5, ID["mouth"], ID["skin"])
    segment = torch.where((torch.maximum(upper - 0.012, lower - 0.008) < 0) & (x > 0.5), ID["eyes"], segment)
    return albedo, gloss, tilt, torch.where(brow > 0.3, ID["brows"], segment)


def hair(x, y, z, n, p):
    """Albedo of hair, the direction of its strands, and each strand's own shift of the highlight."""
    a, c = z - p.part * step(-0.2, 0.6, y), x + 0.25
    level = (a * a + c * c).sqrt() - y * 0.8
    around = torch.atan2(a, c)
    around = around + 0.08 * p.wave * torch.sin(level * 7 + 3 * torch.sin(around * 2))
    strand = fbm(around * 16 + level * 0.6, level * 0.4 + 4)
    lock = fbm(around * 3.2 + 7 + level * 0.3, level * 0.4)
    albedo = p.hair_color * ((0.15 + 1.5 * strand) * (0.50 + 0.9 * lock)).unsqueeze(-2)
    t = c, y - 1.25, a                                              # away from the crown, along the surface
    along = t[0] * n[0] + t[1] * n[1] + t[2] * n[2]
    t = [a - along * b for a, b in zip(t, n)]
    scale = torch.rsqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2] + 1e-6)
    return albedo, [a * scale for a in t], strand + lock - 1


def clothes(x, y, z, line, p):
    """Albedo of a shirt under an open jacket; line: height over the neckline."""
    weave = (1 + 0.35 * (fbm(x * 3 + z * 2, y * 3) - 0.5)).unsqueeze(-2)
    seam = hill((line + 0.055) / 0.012)
    over = z.abs() - p.lapel - 0.45 * (line + 0.5).clamp(min=-0.5)
    jacket = step(-0.02, 0.02, over)
    shirt = p.shirt * (1 - 0.35 * seam - 0.5 * hill(over / 0.03)).unsqueeze(-2)
    return mix(shirt, p.jacket, jacket) * weave
