"""What a cat is made of: fur with its markings, eyes, nose, mouth, inner ears, whiskers; and how light falls on it."""
from dataclasses import dataclass

import torch

from .cat_body import HEAD, SHAPE, distance, ear, eye, face, head, legs, tail, trunk
from .cat_fur import band, body_marks, fur, fur_light, head_marks
from .noise import fbm
from .tracing import color, mix, step

CLASSES = ("wall", "floor", "rug", "sofa", "cushion", "body", "leg", "tail", "head", "ear", "eye", "nose", "mouth",
           "collar", "cup", "book", "toy", "plant", "hand", "fence")
ID = {name: i for i, name in enumerate(CLASSES)}
SHADING = SHAPE + ("coat", "dark", "ginger", "black", "tabby", "white", "points", "tiger", "nose", "iris", "pupil",
                   "sun_x", "sun_y", "sun_z", "sunlight", "ambient", "bounce")


def eyes(part, light, p):
    """Light (3, M) of eyes, how far a point is inside their lids, and in the dark rim about them."""
    (x, y, z), n, d, sun = part.at, part.normal, part.ray, part.sun
    a, sign = z.abs(), torch.sign(z)
    radius = 0.165 + 0.10 * p.eye_size
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
    line = band(smile, 0.014, soft + 0.014) * step(0.46, 0.40, a)
    line = torch.maximum(line, band(z, 0.010, soft + 0.012) * band(y + 0.41, 0.075, 0.02)) * step(0.45, 0.55, x)
    rows = ((y + 0.30 + 0.3 * a) / 0.075).remainder(1) - 0.5, ((a - 0.12) / 0.085).remainder(1) - 0.5
    dots = step(0.30, 0.10, (rows[0] ** 2 + rows[1] ** 2 + 1e-6).sqrt()) * band(a - 0.245, 0.12, 0.02) * band(y + 0.40, 0.10, 0.02) * front
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


def openness(x, y, z, n, p):
    """Share of the sky that M points of the surface see, by the gap to the surface a little way out."""
    gap = sum((distance(x + h * n[0], y + h * n[1], z + h * n[2], p) / (0.9 * h)).clamp(0, 1) * w for h, w in ((0.10, 0.35), (0.40, 0.65)))
    return (0.12 + 0.88 * gap) * (0.45 + 0.55 * step(0.0, 0.7, y + 0.3 * n[1]))


@dataclass
class Parts:
    """Where M points are on the cat: in the head's frame, and how much (0 to 1) they belong to each part."""
    at: tuple               # place, normal, direction of the ray and of the light in the head's frame
    normal: tuple
    ray: tuple
    sun: tuple
    leg: torch.Tensor
    tail: torch.Tensor
    head: torch.Tensor
    ear: torch.Tensor
    hollow: torch.Tensor    # distance to the hollow of the ear
    eyeball: torch.Tensor


def parts(x, y, z, n, d, p):
    hx, hy, hz = face(x, y, z, p)
    skull, (ears, hollow), ball = head(hx, hy, hz.abs(), p), ear(hx, hy, hz.abs(), p), eye(hx, hy, hz.abs(), p)
    torso, limbs, brush = trunk(x, y, z.abs(), p), legs(x, y, z.abs(), z, p), tail(x, y, z, p)
    body = torch.minimum(torch.minimum(torso, limbs), brush)
    on_head = step(0.10, -0.10, torch.minimum(torch.minimum(skull, ears), ball) * HEAD - body)
    return Parts((hx, hy, hz), turn(n, p), turn(d, p), turn((p.sun_x, p.sun_y, p.sun_z), p),
                 leg=step(0.04, -0.04, limbs - torso), tail=step(0.03, -0.03, brush - torch.minimum(torso, limbs)), head=on_head,
                 ear=step(0.03, -0.03, ears - torch.minimum(skull, ball)) * on_head, hollow=hollow,
                 eyeball=step(0.03, -0.01, ball - skull) * on_head)


def turn(v, p):
    """A direction in the head's frame."""
    return tuple(p[f"r{i}0"] * v[0] + p[f"r{i}1"] * v[1] + p[f"r{i}2"] * v[2] for i in range(3))


def coat(x, y, z, part, p):
    """Albedo (3, M) of the fur and the skin of the ears, and how its strands vary (M,)."""
    hx, hy, hz = part.at
    marks = [torch.lerp(b, h, part.head) for b, h in zip(body_marks(x, y, z, part.leg, part.tail, p), head_marks(hx, hy, hz, p))]
    marks[0], marks[2], marks[3] = marks[0] * (1 - part.ear), marks[2] - 1.5 * part.ear, torch.maximum(marks[3], part.ear)
    albedo = fur(marks, p)
    inside = part.ear * step(0.05, -0.02, part.hollow) * step(-0.2, 0.1, part.normal[0])
    skin = color(x, 0.52, 0.28, 0.23) * (1 - 0.6 * p.black) * (0.5 + 0.5 * step(-0.35, 0.0, part.hollow))
    tuft = step(0.48, 0.66, fbm(hz * 4, hy * 0.9 + hx)) * step(0.35, -0.05, hy - 0.55)
    return mix(albedo, mix(skin, albedo * 0.7 + 0.18, tuft * 0.7), inside * 0.9), marks[4]


def shade(x, y, z, n, d, p, light, soft):
    """Light (3, M) and segment (M,) of the cat's points in the world, seen along d; light: share of direct light (M,); n: normals."""
    open_sky, soft = openness(x, y, z, n, p), soft / HEAD
    part = parts(x, y, z, n, d, p)
    hx, hy, hz = part.at
    albedo, strand = coat(x, y, z, part, p)
    leather, nostril, line, dots = (v * part.head for v in nose_and_mouth(hx, hy, hz, soft))
    albedo = mix(albedo, color(x, 0.10, 0.04, 0.03), line * 0.75)
    albedo = mix(albedo, albedo * 0.4, dots * 0.5)
    dark, red = color(x, 0.030, 0.022, 0.022).expand_as(albedo), color(x, 0.60, 0.15, 0.12).expand_as(albedo)
    pink = torch.lerp(dark, red, p.nose)
    albedo = mix(mix(albedo, pink, leather), pink * 0.12, nostril)
    toes = band(((z.abs() - 0.19) / 0.10).remainder(1) - 0.5, 0.09, 0.12 + soft * 8)
    albedo = mix(albedo, albedo * 0.35, toes * 0.7 * step(0.24, 0.12, y) * step(0.2, 0.7, n[0]) * (1 - part.head))
    globe, open_lid, rim = eyes(part, light, p)
    albedo = mix(albedo, color(x, 0.016, 0.012, 0.011), part.eyeball * rim)

    result = fur_light(albedo, strand, n, d, _flow(part, n, d, p), light, open_sky, y, p)
    (hn, hd, sun) = part.normal, part.ray, part.sun
    wet = step(0.55, 0.95, 0.5 * (sun[0] - hd[0]) * hn[0] + 0.6 * hn[1])
    result = result + p.sunlight * (0.10 * leather * wet * light)
    result = mix(result, globe, part.eyeball * open_lid)
    hair, at = whiskers(part.at, hd, soft, p)
    result = mix(result, (p.sunlight * 0.45 + p.ambient * 0.6) * color(x, 0.95, 0.93, 0.90), hair * 0.75 * (at < 0.02))
    return result, _segment(part, leather, part.eyeball * open_lid)


def _flow(part, n, d, p):
    """Cosines of the angles between the fur, which lies away from the nose and towards the tail, and (the sun, d)."""
    hx, hy, hz = part.at
    nose = torch.stack([hx - 0.75, hy + 0.25, hz])
    nose = nose * torch.rsqrt((nose * nose).sum(0) + 1e-6)
    back = p.spine_i.sqrt()
    return [torch.lerp(-(p.spine_x * b[0] + p.spine_y * b[1]) * back, nose[0] * a[0] + nose[1] * a[1] + nose[2] * a[2], part.head)
            for a, b in ((part.sun, (p.sun_x, p.sun_y)), (part.ray, d))]


def _segment(part, leather, eyes_open):
    segment = torch.where(part.tail > 0.5, ID["tail"], torch.where(part.leg > 0.5, ID["leg"], ID["body"]))
    segment = torch.where(part.head > 0.5, ID["head"], segment)
    segment = torch.where((part.head > 0.5) & (_mouth(*part.at) > 0), ID["mouth"], segment)
    segment = torch.where(part.ear > 0.5, ID["ear"], segment)
    return torch.where(eyes_open > 0.5, ID["eye"], torch.where(leather > 0.5, ID["nose"], segment))


def _mouth(x, y, z):
    """Positive where muzzle, mouth and chin are (head frame)."""
    return torch.minimum(0.44 - ((y + 0.46) ** 2 * 1.6 + z * z + 1e-6).sqrt(), x - 0.45)
