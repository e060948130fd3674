"""What a horse is made of: coat and its markings, hair, hooves, face, saddle; and the light on it."""
import torch

from .horse_body import SHAPE, distance, parts, to_frame
from .noise import fbm
from .tracing import color, mix, smin, step

CLASSES = ("sky", "tree", "hill", "grass", "path", "horse", "head", "mane", "saddle", "fence", "shrub", "pole", "sign", "object", "person")
ID = {name: i for i, name in enumerate(CLASSES)}
SHADING = SHAPE + (
    "coat",
    "mane_tone",
    "points",
    "socks",
    "stripes",
    "blaze",
    "dapples",
    "blanket",
    "white",
    "sun_x",
    "sun_y",
    "sun_z",
    "sunlight",
    "ambient",
    "horizon",
    "zenith",
    "ground",
    "foliage",
    "turf",
    "earth",
    "half",
    "lane",
)


def _spot(a, b, half_a, half_b, soft):
    """1 inside an ellipse in the plane, with an edge `soft` wide."""
    r = ((a / half_a) ** 2 + (b / half_b) ** 2 + 1e-9).sqrt()
    return step(0.5, -0.5, (r - 1) * min(half_a, half_b) / soft)


def _stripes(x, y, z, d):
    """A zebra's stripes, 0 white to 1 black: upright on trunk and neck, level on haunch and legs."""
    level = step(-0.15, -0.65, x) * step(1.55, 1.25, y)
    level = torch.maximum(level, step(1.0, 0.85, y))
    wave = 0.35 * (fbm(x * 1.2 + 3, y * 1.2) - 0.5)
    upright = x * 6.5 + 0.9 * (y - 1.2) + wave * 4
    flat = y * 9.0 - 1.5 * x + wave * 4
    neck = d["h"] * 6.0 + wave * 3
    value = torch.where(d["neck"] < d["body"], neck, torch.lerp(upright, flat, level))
    value = torch.where(d["skull"] < torch.minimum(d["neck"], d["body"]), d["a"] * 13 + wave * 2 + 2 * z.abs(), value)
    return step(-0.35, 0.35, torch.sin(value * 2 * torch.pi))


def surface(x, y, z, d, p, soft):
    """Albedo (3, M), gloss (M,), segment (M,) at points in the horse frame; d: distances to the parts; soft: (M,) size of a pixel."""
    az = z.abs()
    like = p.size
    black = color(like, 0.014, 0.012, 0.011)
    fine = fbm(x * 9 + 2 * z, y * 4.5)                               # lie of the hair
    cloud = fbm(x * 1.7 + z, y * 1.7)
    shade = 0.80 + 0.30 * cloud + 0.22 * (fine - 0.5)
    blade = torch.exp(-((x - 0.27 + 0.22 * (y - 1.25)) / 0.035) ** 2) * step(0.95, 1.05, y) * step(1.5, 1.38, y)      # behind the shoulder
    fold = torch.exp(-((x + 0.36 - 0.35 * (y - 1.1)) / 0.03) ** 2) * step(0.9, 1.0, y) * step(1.35, 1.15, y)          # before the thigh
    shade = shade * (1 - 0.15 * torch.maximum(blade, fold) * (d["body"] < d["limb"]))
    coat = p.coat * shade
    spots = step(0.50, 0.62, fbm(x * 3.6 + z, y * 3.6 + 5)) * step(0.8, 1.1, y)
    coat = coat * (1 - 0.45 * p.dapples * (1 - spots) * step(0.1, 0.35, p.white) * step(0.95, 0.6, p.white))
    low = step(0.72, 0.42, y + 0.1 * (cloud - 0.5))
    coat = mix(coat, black.expand_as(coat) * 1.3, p.points * low * 0.92)
    coat = mix(coat, color(like, 0.68, 0.65, 0.60) * shade, step(-0.04, 0.04, 0.36 * p.socks + 0.05 * (fine - 0.5) - y) * (p.socks > 0.03))
    belly = step(1.05, 0.88, y) * (d["body"] < d["limb"])
    coat = coat * (1 - 0.15 * belly)
    stripe = _stripes(x, y, z, d)
    coat = mix(coat, mix(color(like, 0.66, 0.63, 0.57).expand_as(coat), black.expand_as(coat), stripe) * shade, p.stripes)
    is_head = smin(d["skull"], d["ears"], 0.02) < torch.minimum(d["neck"], d["body"]) - 0.004
    coat = torch.where(is_head, face(coat, az, d, p, soft, black, shade), coat)
    segment = torch.where(is_head, ID["head"], ID["horse"])
    gloss = torch.full_like(x, 0.8)
    coat, gloss, segment = hair(x, z, az, fine, coat, gloss, segment, is_head, black, d, p)

    nail = d["hoof"] < d["limb"] - 0.006
    horn = torch.lerp(color(like, 0.045, 0.038, 0.032), color(like, 0.20, 0.16, 0.12), (p.socks * 0.7))
    coat = torch.where(nail, horn * (0.7 + 0.6 * fine), coat)
    gloss = torch.where(nail, 0.4, gloss)
    return tack(x, y, z, az, coat, gloss, segment, d, p, soft)


def hair(x, z, az, fine, coat, gloss, segment, is_head, black, d, p):
    """Mane, forelock and tail over the coat."""
    hair = color(p.size, 0.52, 0.44, 0.33) * p.mane_tone ** 1.5 + black * (1 - p.mane_tone)
    hair = mix(hair, coat * 0.9, 0.25 * torch.ones_like(x))
    coat_near = torch.minimum(torch.minimum(d["body"], d["neck"]), torch.minimum(d["skull"], d["limb"]))
    in_mane, in_tail = d["mane"] < coat_near, d["tail"] < torch.minimum(coat_near, d["mane"]) - 0.002
    strand = torch.where(in_tail, fbm((z + 0.7 * x) * 17, d["along"] * 1.5), fbm(d["strand"] * 19, d["q"] * 2.0))
    forelock = (d["a"] > -0.03) & (d["a"] < 0.05 + 0.10 * p.mane + 0.08 * (fine - 0.5)) & (d["b"] > 0.05) & (az < 0.04) & is_head
    hairy = in_mane | in_tail | forelock
    coat = torch.where(hairy, hair * (0.35 + 1.2 * strand), coat)
    return coat, torch.where(hairy, 0.5 + strand, gloss), torch.where(hairy, ID["mane"], segment)


def face(coat, az, d, p, soft, black, shade):
    """The head's markings: blaze, dark muzzle, nostrils, mouth, eyes, ears."""
    a, b = d["a"], d["b"]
    soft = soft + 0.004
    wide = p.blaze * (0.018 + 0.03 * step(0.1, 0.25, a) * step(0.55, 0.3, a))
    stripe = step(-0.5, 0.5, (wide - az) / soft) * (b > 0) * step(0.02, 0.06, p.blaze) * step(0.03, 0.08, a)
    coat = mix(coat, color(soft, 0.68, 0.65, 0.60) * shade, stripe)
    muzzle = step(0.40, 0.55, a + 0.25 * (0.02 - b).clamp(min=-0.05))
    coat = mix(coat, coat * 0.35 + color(soft, 0.03, 0.025, 0.024), muzzle * 0.75)
    nostril = _spot(a - 0.555, b - 0.018, 0.024, 0.015, soft) * (az > 0.015)
    mouth = step(0.5, -0.5, ((b + 0.040 - 0.05 * (a - 0.5)).abs() - 0.003) / soft) * step(0.44, 0.48, a) * 0.6
    coat = mix(coat, black.expand_as(coat) * 0.5, torch.maximum(nostril, mouth))
    socket = _spot(a - 0.185, b - 0.038, 0.040, 0.026, soft + 0.012)
    eye = _spot(a - 0.187, b - 0.036, 0.021, 0.016, soft) * (az > 0.03)
    glint = _spot(a - 0.182, b - 0.043, 0.005, 0.004, soft) * 0.8
    coat = mix(coat, coat * 0.45, socket * (az > 0.03) * 0.7)
    coat = mix(coat, mix(black.expand_as(coat) * 0.6, color(soft, 0.6, 0.6, 0.6), glint), eye)
    inner = (d["ears"] < d["skull"]) * step(0.06, 0.12, b) * step(0.012, 0.0, (az - 0.062 - 0.3 * (b - 0.1)).abs())
    return mix(coat, coat * 0.4, inner * (a > -0.02) * 0.8)


def tack(x, y, z, az, coat, gloss, segment, d, p, soft):
    """Saddle, blanket, girth and stirrup over the coat."""
    there = p.saddle > 0.05
    leather = there & (d["leather"] < torch.minimum(d["body"], d["pad"])) & (d["leather"] < 0.03)
    pad = there & ~leather & (d["pad"] < d["body"]) & (d["pad"] < 0.03)
    weave = 0.85 + 0.3 * fbm(x * 14, y * 14)
    hide = color(soft, 0.085, 0.035, 0.014) * (0.7 + 0.6 * fbm(x * 4, y * 4 + z))
    rim = step(0.5, -0.5, ((x - 0.13).abs() - 0.325 * p.saddle).abs() / (soft + 0.02) - 0.2)
    cloth = mix(p.blanket * weave, color(soft, 0.6, 0.58, 0.52) * weave, rim * 0.6)
    coat = torch.where(pad, cloth, torch.where(leather, hide, coat))
    girth = step(0.5, -0.5, ((x - 0.20).abs() - 0.035) / (soft + 0.004)) * step(0.2, 0.5, p.saddle)
    girth = girth * ~(leather | pad) * (d["body"] < 0.02) * (y < 1.4) * (d["body"] < d["limb"])
    coat = mix(coat, color(soft, 0.05, 0.03, 0.02), girth)
    strap = step(0.5, -0.5, ((x - 0.15).abs() - 0.012) / (soft + 0.003)) * step(0.80, 0.82, y) * leather * (y < 1.35)
    coat = mix(coat, color(soft, 0.02, 0.012, 0.008), strap * 0.8)
    worn = leather | pad | (girth > 0.5)
    return coat, torch.where(leather, 1.4, torch.where(pad, 0.1, gloss)), torch.where(worn, ID["saddle"], segment)


def shade(x, y, z, n, d, p, light, soft):
    """Light (3, M) and segment (M,) of the horse's points in the world, seen along d; light: share of sun (M,); n: normals."""
    s = p.size
    fx, fy, fz = to_frame(x, y, z, p)
    near = parts(fx, fy, fz, p)
    albedo, gloss, segment = surface(fx, fy, fz, near, p, soft / s)
    open_air = torch.ones_like(x)
    for reach, share in ((0.07, 0.35), (0.22, 0.45)):                # what is close by shuts out the sky
        gap = distance(x + n[0] * reach, y + n[1] * reach, z + n[2] * reach, p) / (0.85 * reach)
        open_air = open_air * (1 - share * (1 - gap.clamp(0, 1)))
    fine = fbm(fx * 16 + 3 * fz, fy * 7)
    rough = 0.16 * (fine - 0.5)
    sun = n[0] * p.sun_x + n[1] * p.sun_y + n[2] * p.sun_z + rough
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    sky = (0.5 + 0.5 * (n[1] + rough)) * open_air
    ground = p.ground * (0.45 * p.sunlight * p.sun_y + 0.6 * p.ambient)
    bounce = (0.5 - 0.5 * n[1]) * open_air * (0.4 + 0.6 * step(1.2, 0.3, fy))
    lit = ((sun + 0.08) / 1.08).clamp(min=0) * light * (0.55 + 0.45 * open_air)
    result = albedo * (p.sunlight * (lit * 0.9) + p.ambient * sky + ground * bounce * 0.9)
    rx, ry, rz = (a + 2 * facing * b for a, b in zip(d, n))
    spot = (rx * p.sun_x + ry * p.sun_y + rz * p.sun_z).clamp(0, 1)
    silk = gloss * light * open_air * (0.05 * spot ** 6 + 0.10 * spot ** 24) * (0.6 + 0.8 * fine) * (sun > 0)
    rim = (1 - facing.clamp(0, 1)) ** 3 * open_air * 0.10 * gloss
    result = result + p.sunlight * silk + (p.horizon * (0.4 + 0.6 * step(-0.3, 0.5, n[1]))) * rim * (0.25 + albedo)
    blade = 0.05 * (fbm(x * 9 + 2 * z, z * 3) - 0.25) + 0.02          # grass over the hooves
    off = step(-0.2, 0.3, (z - p.lane).abs() - p.half)
    hidden = step(-0.008, 0.008, blade * off - y)
    grass = p.turf * (0.35 + 0.6 * fine) * (p.sunlight * (0.7 * p.sun_y * light) + p.ambient * 0.35)
    return mix(result, grass, hidden), torch.where(hidden > 0.5, ID["grass"], segment)
