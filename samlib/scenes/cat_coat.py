"""What a cat is made of: fur with its markings, eyes, nose, mouth, inner ears, whiskers; and how light falls on it."""
import torch

from .cat_body import SHAPE, distance, ear, eye, face, head, legs, tail, trunk
from .noise import fbm
from .tracing import color, mix, step

CLASSES = ("wall", "floor", "rug", "sofa", "cushion", "body", "leg", "tail", "head", "ear", "eye", "nose", "mouth",
           "collar", "cup", "book", "toy", "plant", "hand", "fence")
ID = {name: i for i, name in enumerate(CLASSES)}
SHADING = SHAPE + ("coat", "dark", "ginger", "black", "tabby", "white", "points", "tiger", "nose", "iris", "pupil",
                   "sun_x", "sun_y", "sun_z", "sunlight", "ambient", "bounce")


def _band(value, half, soft):
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
    brow = step(0.28, 0.50, y) * _band(a - 0.10 - 0.10 * (y - 0.3) - 0.06 * (wander - 0.5), 0.055, 0.07)
    brow = torch.maximum(brow, step(0.26, 0.46, y - 0.35 * a) * _band(a - 0.36 - 0.12 * (y - 0.3), 0.060, 0.08))
    corner = step(0.60, 0.72, a) * _band(y - 0.02 + 0.45 * (a - 0.62) - 0.10 * (x - 0.3), 0.050, 0.06)
    cheek = step(0.55, 0.75, a) * _band(y + 0.36 + 0.50 * (a - 0.62), 0.050, 0.06)
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
    base = mix(base, torch.lerp(p.dark, color(strand, 0.016, 0.013, 0.012).expand_as(base), p.tiger) * (1 + 0.4 * rough), (stripes * torch.maximum(0.95 * p.tabby, p.tiger) * (1 - 0.85 * p.points)).clamp(0, 1))
    base = mix(base, color(strand, 0.045, 0.032, 0.026) * (1 + 0.5 * rough), points * p.points * 0.92)
    cover = step(-0.05, 0.05, p.white * 1.30 - 1.05 + patch + 0.24 * rough)
    return mix(base, color(strand, 0.78, 0.75, 0.71) * (1 + 0.22 * rough), cover)


def eyes(x, y, z, n, d, sun, light, p):
    """Light (3, M) of eyes, how far a point is inside their lids, and in the dark rim about them (head frame, directions too)."""
    a, sign = z.abs(), torch.sign(z)
    radius = 0.18 + 0.11 * p.eye_size
    qx, qy, qa = (x - 0.58) / radius, (y - 0.06) / radius, (a - 0.40) / radius
    across, up = 0.975 * qa - 0.22 * qx, qy
    across, up = 0.97 * across + 0.22 * up, 0.97 * up - 0.22 * across       # outer corners higher
    upper = 0.50 - 0.52 * across * across - up
    lid = torch.minimum(upper, up + 0.52 - 0.42 * across * across)
    gaze_a, gaze_y = -0.6 * d[2] * sign - 0.04, -0.5 * d[1]                       # towards the camera, in part
    u, v = across - gaze_a, up - gaze_y
    r = (u * u + v * v + 1e-6).sqrt()
    wide = 0.10 + 0.34 * p.pupil
    pupil = step(1.12, 0.92, ((u / wide) ** 2 + (v / 0.50) ** 2 + 1e-6).sqrt())
    ray = fbm(torch.atan2(v, u) * 2.5 + 8, r * 0.8)
    iris = p.iris * (0.55 + 0.9 * (ray - 0.2) * 0.6 + 0.55 * step(0.45, -0.6, up)) * (0.62 - 0.42 * step(0.45, 0.80, r))
    inner = mix(iris, color(x, 0.004, 0.004, 0.005), pupil)
    shaded = 0.35 + 0.65 * step(0.0, 0.35, upper)
    lit = inner * (p.sunlight * (0.25 + 0.45 * light) + p.ambient * 0.9) * shaded
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    mirror = [e + 2 * facing * m for e, m in zip(d, n)]
    spot = step(0.86, 0.95, mirror[0] * sun[0] + mirror[1] * sun[1] + mirror[2] * sun[2])
    sky = 0.05 * step(-0.1, 0.6, mirror[1])
    return lit + p.ambient * sky + p.sunlight * 0.55 * spot, step(-0.03, 0.03, lid), step(-0.20, -0.10, lid)


def nose_and_mouth(x, y, z, soft):
    """Cover of nose leather, nostrils, the mouth's line and the whiskers' roots (head frame), each (M,)."""
    a, front = z.abs(), step(0.70, 0.80, x)
    fall = (-0.135 - y) / 0.21
    edge = 0.155 * (1 - 0.80 * fall.clamp(0, 1) ** 1.3) - a - 0.10 * (fall - 1).clamp(min=0) - 0.4 * (-fall).clamp(min=0)
    leather = step(-0.5, 0.5, edge / (soft + 0.02)) * step(-0.5, 0.5, (1.02 - fall) * 0.2 / (soft + 0.01)) * front
    nostril = step(1.15, 0.6, (((a - 0.085) / 0.042) ** 2 + ((y + 0.245 - 0.25 * (a - 0.085)) / 0.028) ** 2 + 1e-6).sqrt()) * front
    smile = y + 0.485 + 0.115 * torch.sin(3.1416 * (a / 0.33).clamp(0, 1)) - 0.16 * (a - 0.30).clamp(min=0)
    line = _band(smile, 0.014, soft + 0.014) * step(0.46, 0.40, a)
    line = torch.maximum(line, _band(z, 0.010, soft + 0.012) * _band(y + 0.41, 0.075, 0.02)) * step(0.45, 0.55, x)
    rows = ((y + 0.30 + 0.3 * a) / 0.075).remainder(1) - 0.5, ((a - 0.12) / 0.085).remainder(1) - 0.5
    dots = step(0.30, 0.10, (rows[0] ** 2 + rows[1] ** 2 + 1e-6).sqrt()) * _band(a - 0.245, 0.12, 0.02) * _band(y + 0.40, 0.10, 0.02) * front
    return leather, nostril * leather, line * (1 - leather), dots


def whiskers(o, d, soft, p):
    """How much of a whisker covers a ray from o along d, and how far along it is (head frame), each like the ray."""
    cover, at = torch.zeros_like(d[0]), torch.full_like(d[0], 1e4)
    for side in (1.0, -1.0):
        for root_y, lift, reach in ((-0.32, 0.16, 1.25), (-0.40, -0.08, 1.35), (-0.47, -0.30, 1.15)):
            wx, wy, wz = o[0] - 0.93, o[1] - root_y, o[2] - 0.20 * side
            ex, ey, ez = -0.12, lift, reach * side
            b, wd = ex * d[0] + ey * d[1] + ez * d[2], wx * d[0] + wy * d[1] + wz * d[2]
            s = ((wx * ex + wy * ey + wz * ez - b * wd) / (ex * ex + ey * ey + ez * ez - b * b).clamp(min=0.01)).clamp(0, 1)
            vx, vy, vz = s * ex - wx, s * ey - 0.22 * s * s - wy, s * ez - wz
            t = vx * d[0] + vy * d[1] + vz * d[2]
            away = (vx * vx + vy * vy + vz * vz - t * t).clamp(min=1e-9).sqrt()
            one = step(0.5, -0.5, (away - 0.006) / (soft + 0.004)) * (0.012 / (soft + 0.012)) * step(1.0, 0.75, s) * step(0.0, 0.05, s)
            at = torch.where(one > cover, t, at)
            cover = torch.maximum(cover, one)
    return cover, at


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
    halo = albedo.clamp(min=0) ** 0.6 * (p.ambient * 0.30 * open_sky + p.sunlight * (0.40 * (sun + 0.5).clamp(0, 1) * (0.25 + 0.75 * light)))
    cosine = tangent[0] * tangent[1]
    sheen = ((1 - tangent[0] ** 2).clamp(min=0).sqrt() * (1 - tangent[1] ** 2).clamp(min=0).sqrt() + cosine).clamp(0, 1) ** 12
    gloss = (0.03 + 0.10 * albedo) * sheen * (0.3 + 1.4 * strand) * light * (sun + 0.2).clamp(0, 1)
    return albedo * (p.sunlight * key * 0.95 + p.ambient * over + p.bounce * under) + halo * edge + p.sunlight * gloss


def openness(x, y, z, n, p):
    """Share of the sky that M points of the surface see, by the gap to the surface a little way out."""
    gap = sum((distance(x + h * n[0], y + h * n[1], z + h * n[2], p) / (0.9 * h)).clamp(0, 1) * w for h, w in ((0.10, 0.35), (0.40, 0.65)))
    return (0.12 + 0.88 * gap) * (0.45 + 0.55 * step(0.0, 0.7, y / p.size + 0.3 * n[1]))


def _turn(v, p):
    """A direction in the head's frame."""
    return tuple(p[f"r{i}0"] * v[0] + p[f"r{i}1"] * v[1] + p[f"r{i}2"] * v[2] for i in range(3))


def shade(x, y, z, n, d, p, light, soft):
    """Light (3, M) and segment (M,) of the cat's points in the world, seen along d; light: share of direct light (M,); n: normals."""
    open_sky, s = openness(x, y, z, n, p), p.size
    x, y, z = x / s, y / s, z / s
    az, soft = z.abs(), soft / (s * p.head)
    hx, hy, hz = face(x, y, z, p)
    hn, hd, sun = (_turn(v, p) for v in (n, d, (p.sun_x, p.sun_y, p.sun_z)))
    skull, (ears, hollow), ball = head(hx, hy, hz.abs(), p), ear(hx, hy, hz.abs(), p), eye(hx, hy, hz.abs(), p)
    torso, limbs, brush = trunk(x, y, az, p), legs(x, y, az, z, p), tail(x, y, z, p)
    leg, tail_part = step(0.04, -0.04, limbs - torso), step(0.03, -0.03, brush - torch.minimum(torso, limbs))
    on_head = step(0.10, -0.10, torch.minimum(torch.minimum(skull, ears), ball) * p.head - torch.minimum(torch.minimum(torso, limbs), brush))
    on_ear = step(0.03, -0.03, ears - torch.minimum(skull, ball)) * on_head
    marks = [torch.lerp(b, h, on_head) for b, h in zip(body_marks(x, y, z, leg, tail_part, p), head_marks(hx, hy, hz, p))]
    marks[0], marks[2], marks[3] = marks[0] * (1 - on_ear), marks[2] - 1.5 * on_ear, torch.maximum(marks[3], on_ear)
    strand = marks[4]
    albedo = fur(marks, p)

    inside = on_ear * step(0.05, -0.02, hollow) * step(-0.2, 0.1, hn[0])
    skin = color(x, 0.52, 0.28, 0.23) * (1 - 0.6 * p.black) * (0.5 + 0.5 * step(-0.35, 0.0, hollow))
    tuft = step(0.48, 0.66, fbm(hz * 4, hy * 0.9 + hx)) * step(0.35, -0.05, hy - 0.55)
    albedo = mix(albedo, mix(skin, albedo * 0.7 + 0.18, tuft * 0.7), inside * 0.9)

    leather, nostril, line, dots = (v * on_head for v in nose_and_mouth(hx, hy, hz, soft))
    albedo = mix(albedo, color(x, 0.10, 0.04, 0.03), line * 0.75)
    albedo = mix(albedo, albedo * 0.4, dots * 0.5)
    pink = torch.lerp(color(x, 0.030, 0.022, 0.022).expand_as(albedo), color(x, 0.60, 0.15, 0.12).expand_as(albedo), p.nose)
    albedo = mix(mix(albedo, pink, leather), pink * 0.12, nostril)
    toes = _band(((az - 0.19) / 0.10).remainder(1) - 0.5, 0.09, 0.12 + soft * 8) * step(0.24, 0.12, y) * step(0.2, 0.7, n[0]) * (1 - on_head)
    albedo = mix(albedo, albedo * 0.35, toes * 0.7)

    globe, open_lid, rim = eyes(hx, hy, hz, hn, hd, sun, light, p)
    is_eye = step(0.03, -0.01, ball - skull) * on_head
    albedo = mix(albedo, color(x, 0.016, 0.012, 0.011), is_eye * rim)
    nose = torch.stack([hx - 0.75, hy + 0.25, hz])
    nose = nose * torch.rsqrt((nose * nose).sum(0) + 1e-6)
    flow = [torch.lerp(-(p.spine_x * b[0] + p.spine_y * b[1]) * p.spine_i.sqrt(), sum(q * c for q, c in zip(nose, a)), on_head)
            for a, b in ((sun, (p.sun_x, p.sun_y)), (hd, d))]
    result = fur_light(albedo, strand, n, d, flow, light, open_sky, y, p)
    result = result + p.sunlight * leather * 0.10 * step(0.55, 0.95, -(hd[0] * 0.5 - sun[0] * 0.5) * hn[0] + hn[1] * 0.6) * light
    result = mix(result, globe, is_eye * open_lid)
    hair, at = whiskers((hx, hy, hz), hd, soft, p)
    bright = (p.sunlight * 0.45 + p.ambient * 0.6) * color(x, 0.95, 0.93, 0.90)
    result = mix(result, bright, hair * 0.75 * (at < 0.02))

    segment = torch.where(tail_part > 0.5, ID["tail"], torch.where(leg > 0.5, ID["leg"], ID["body"]))
    segment = torch.where(on_head > 0.5, ID["head"], segment)
    segment = torch.where((on_head > 0.5) & (_mouth(hx, hy, hz) > 0), ID["mouth"], segment)
    segment = torch.where(on_ear > 0.5, ID["ear"], segment)
    segment = torch.where(leather > 0.5, ID["nose"], segment)
    return result, torch.where(is_eye * open_lid > 0.5, ID["eye"], segment)


def _mouth(x, y, z):
    """Positive where muzzle, mouth and chin are (head frame)."""
    return torch.minimum(0.44 - ((y + 0.46) ** 2 * 1.6 + z * z + 1e-6).sqrt(), x - 0.45)
