"""What challenging pictures of faces add: hands, microphones, hats, scarves, masks, paint, placards, odd light, other people.

Flat things are laid over the picture in its own measure (u right, v up, the edges at 1); what is worn is worked into what the rays
have met. Nothing is moved.
"""
import torch

from .clutter import _glyphs, _line
from .noise import fbm
from .tracing import color, mix, step

KINDS = ("hand", "microphone", "hat", "scarf", "mask", "paint", "sign", "light", "crowd")


def screen(o, d, p):
    """Where rays cross the picture: u right, v up, each (N, P), -1 to 1."""
    dx, dy, dz = d
    fx, fy, fz = p.look_x - o[0], p.look_y - o[1], p.look_z - o[2]
    length, flat = (fx * fx + fy * fy + fz * fz).sqrt(), (fx * fx + fz * fz).sqrt()
    along = (dx * fx + dy * fy + dz * fz) / length
    return (dz * fx - dx * fz) / flat / along / p.tangent, (dy / along - fy / length) * length / flat / p.tangent


def _lit(albedo, p, share=1.0):
    return albedo * (p.sunlight * 0.5 + p.ambient * 0.5) * share


def _before(canvas, light, cover, name):
    canvas.put(light, cover, torch.full_like(canvas.t, 5.0), name)


def _capsule(u, v, ax, ay, bx, by, r):
    """Share of the radius (N, P) at which points lie about the stretch from a to b: below 1 inside."""
    px, py, qx, qy = u - ax, v - ay, bx - ax, by - ay
    h = ((px * qx + py * qy) / (qx * qx + qy * qy)).clamp(0, 1)
    return ((px - qx * h) ** 2 + (py - qy * h) ** 2 + 1e-9).sqrt() / r


def _rounded(canvas, r, albedo, p, has, name, soft=0.06):
    """Lay over a body with a round section: r: share of its radius."""
    shade = (0.45 + 0.75 * (1 - r.clamp(0, 1) ** 2).sqrt()).unsqueeze(-2)
    _before(canvas, _lit(albedo, p) * shade, step(1 + soft, 1 - soft, r) * has, name)


def _hand(canvas, p, c, u, v):
    """A palm with four fingers and a thumb, over the chin, a cheek or the mouth."""
    side = 2 * (c.own0 > 0.5).to(u.dtype) - 1
    x, y = (u - side * (0.10 + 0.35 * c.own1)) * side, v + 0.60 - 0.35 * c.own2
    x, y = x * 0.94 + y * 0.34, y * 0.94 - x * 0.34
    tone = p.skin * (0.9 + 0.2 * fbm(u * 4, v * 4)).unsqueeze(-2)
    _rounded(canvas, _capsule(x, y, 0.02, -1.2, 0.0, -0.35, 0.17), tone, p, c.has_hand, "hand")
    _rounded(canvas, _capsule(x, y, -0.03, -0.32, 0.05, -0.18, 0.22), tone, p, c.has_hand, "hand")
    _rounded(canvas, _capsule(x, y, -0.16, -0.25, -0.34, 0.02, 0.072), tone, p, c.has_hand, "hand")
    for k in range(4):
        at, tall = -0.15 + 0.115 * k, (0.28, 0.36, 0.33, 0.22)[k]
        _rounded(canvas, _capsule(x, y, at, -0.10, at * 1.35, tall, 0.066), tone, p, c.has_hand, "hand")
        nail = _capsule(x, y, at * 1.34, tall - 0.01, at * 1.36, tall + 0.02, 0.036)
        _before(canvas, _lit(c.object_color0 * 1.2, p), step(1.1, 0.9, nail) * (c.own3 > 0.5) * c.has_hand, "hand")


def _microphone(canvas, p, c, u, v):
    x, y = u - 0.5 * (c.own4 - 0.5), v + 0.62 - 0.15 * c.own5
    lean = 0.5 * (c.own4 - 0.5)
    _rounded(canvas, _capsule(x, y, lean, -0.9, 0.0, 0.0, 0.085), color(u, 0.03, 0.03, 0.032), p, c.has_microphone, "object")
    wires = [_line((x * 22 + s * y * 22).remainder(1) - 0.5, 0.2, 0.2) for s in (1, -1)]
    mesh = mix(c.object_color1, color(u, 0.35, 0.35, 0.36), 0.35 + 0.9 * torch.maximum(*wires))
    _rounded(canvas, (x * x + y * y + 1e-9).sqrt() / 0.17, mesh, p, c.has_microphone, "object")


def _worn(canvas, p, c, u, v):
    """Hat, mask and scarf: knitted or woven over what is there, by the height in the head's frame."""
    x, y, z = (o + canvas.t * d for o, d in zip(canvas.o, canvas.d))
    y, z = p.roll_c * y + p.roll_s * z, p.roll_c * z - p.roll_s * y
    head = canvas.at("skin", "hair", "ears", "brows", "eyes", "glasses", "mouth", "neck")
    grey = canvas.light.mean(-2, keepdim=True)
    shading = (grey / grey.mean(-1, keepdim=True).clamp(min=0.05)).clamp(0.4, 1.5)
    knit = (0.7 + 0.3 * torch.sin(z * 60) * torch.sin(y * 45)).unsqueeze(-2)
    stripe = _line((y * 3.2 + c.own6).remainder(1) - 0.5, 0.24, 0.08)
    hat = head & (y - 0.15 * x > 0.34 + 0.12 * c.own7) & (canvas.t < 50)
    band = step(0.18, 0.14, y - 0.15 * x - 0.36 - 0.12 * c.own7)
    wool = mix(mix(c.sign_color0, c.sign_color1, stripe), c.sign_color2 * 1.2, band) * knit
    plain = torch.ones_like(u).unsqueeze(-2) * (0.7 + 0.5 * step(-0.8, 0.8, z * p.sun_z + x * p.sun_x)).unsqueeze(-2)
    _paint(canvas, _lit(wool, p, 1.1) * plain, hat, c.has_hat, "hat")
    face = head & (x > 0.25) & (y < -0.24 + 0.12 * (1 - z.abs() * 1.6).clamp(min=0)) & (y > -1.25) & ~canvas.at("neck")
    pleat = 1 - 0.35 * step(0.8, 1.0, torch.sin(y * 22).abs())
    fabric = mix(color(u, 0.55, 0.65, 0.70) + 0 * c.object_color2, c.object_color2, (c.object_kind0 > 1).to(u.dtype)) * pleat.unsqueeze(-2)
    _paint(canvas, _lit(fabric, p) * shading, face, c.has_mask, "object")
    fold = fbm(u * 1.2 + c.bush, v * 7 + 0.6 * torch.sin(u * 4 + c.bush))
    edge = -0.62 + 0.10 * u * u + 0.10 * (fbm(u * 2 + c.bush, u * 0 + 5) - 0.5)
    plaid = torch.maximum(_line((u * 4).remainder(1) - 0.5, 0.14, 0.05), stripe * 0.7)
    cloth = mix(c.object_color3, c.sign_color1, plaid * (c.object_kind3 > 1)) * (0.25 + 1.2 * fold).unsqueeze(-2)
    _before(canvas, _lit(cloth, p), step(-0.012, 0.012, edge - v) * step(0.95, 0.75, u.abs()) * c.has_scarf, "scarf")


def _paint(canvas, light, where, has, name):
    """Give a colour and a name to what the rays have met."""
    cover = where.to(light.dtype) * has
    canvas.light = mix(canvas.light, light, cover)
    canvas.segment = torch.where(cover > 0.5, torch.full_like(canvas.segment, canvas.ids[name]), canvas.segment)


def _face_paint(canvas, p, c):
    """Bold paint on the skin: stripes, a half, dots or flames."""
    x, y, z = (o + canvas.t.clamp(max=50) * d for o, d in zip(canvas.o, canvas.d))
    skin = canvas.at("skin", "mouth", "brows").to(x.dtype)
    bars = _line((y * 2.4 + 0.35 * z.abs() * c.own6).remainder(1) - 0.5, 0.22, 0.05)
    half = step(-0.01, 0.01, z)
    dots = step(0.42, 0.36, (((z * 4).remainder(1) - 0.5) ** 2 + ((y * 4).remainder(1) - 0.5) ** 2).sqrt())
    flame = step(0.5, 0.54, fbm(z.abs() * 1.2 + c.bush, y * 0.7) + 0.3 * (z.abs() - 0.4))
    kind = c.mural_kind
    pattern = torch.where(kind == 0, bars, torch.where(kind == 1, half, torch.where(c.own7 > 0.5, dots, flame)))
    tint = mix(c.mural_a, c.mural_b, step(-0.3, -0.25, y))
    canvas.light = mix(canvas.light, canvas.light * tint / p.skin.clamp(min=0.08), pattern * skin * 0.9 * c.has_paint)


def _sign(canvas, p, c, u, v):
    """A placard with writing, held before the chest, or hung behind."""
    near = c.sign_front1
    x, y = u - 0.35 * c.sign_u1 / 2.2, v + torch.where(near > 0.5, 0.86, -0.45)
    plate = torch.maximum(x.abs() - 0.72 * c.sign_size1, y.abs() - 0.30)
    ink = _glyphs(x + 4, y, 0.20, c.sign_seed1) * (plate < -0.05)
    rim = step(0.012, -0.012, plate.abs() - 0.025)
    face = torch.where((c.sign_kind1 > 1)[..., None], c.sign_color0, color(u, 0.8, 0.8, 0.76))
    face = mix(face, c.sign_color2 * 0.3, torch.maximum(rim, ink))
    canvas.put(_lit(face, p), step(0.012, -0.012, plate) * c.has_sign, torch.where(near > 0.5, 5.0, 40.0) + 0 * u, "sign")


def _crowd(canvas, p, c, u, v):
    """Heads and shoulders of other people behind."""
    for k, side in enumerate((-1.0, 1.0)):
        x, y = u - side * (0.70 + 0.25 * c[f"own{2 * k}"]), v - 0.5 * c[f"own{2 * k + 1}"] + 0.25
        oval = lambda a, b, wide, high: ((a / wide) ** 2 + (b / high) ** 2 + 1e-9).sqrt()
        tone = torch.lerp(color(u, 0.42, 0.28, 0.21), color(u, 0.10, 0.06, 0.04), c[f"own{k + 4}"][..., None])
        layers = ((oval(x, (y + 1.05).clamp(min=0), 0.62, 0.5), c[f"pole_color{k}"]),          # shoulders, neck, hair, face
                  (_capsule(x, y, 0.0, -0.7, 0.0, -0.3, 0.17), tone), (oval(x, y - 0.08, 0.36, 0.44), c[f"object_color{k}"] * 0.25),
                  (oval(x, y + 0.06, 0.29, 0.40), tone), (oval(x - 0.11, y + 0.02, 0.05, 0.022), tone * 0.15),
                  (oval(x + 0.11, y + 0.02, 0.05, 0.022), tone * 0.15), (oval(x, y + 0.24, 0.10, 0.025), tone * color(u, 0.7, 0.3, 0.3)))
        for i, (r, albedo) in enumerate(layers):
            shade = (0.4 + 0.7 * (1 - r.clamp(0, 1) ** 2).sqrt()).unsqueeze(-2)
            canvas.put(_lit(albedo, p) * shade, step(1.03, 0.97, r) * c.has_crowd, torch.full_like(u, 30.0 - k - 0.1 * i), "person")


def _light(canvas, p, c, u, v):
    """Coloured light, from both sides or through leaves or blinds."""
    left = step(-0.5, 0.5, u + 0.6 * (c.own5 - 0.5))
    gels = mix(0.15 + 1.4 * c.tint, 0.15 + 1.4 * c.letters.flip(1), left)
    blinds = 0.35 + 0.85 * _line(((v + 0.25 * u) * 4).remainder(1) - 0.5, 0.28, 0.06)
    leaves = 0.35 + 0.9 * step(0.44, 0.56, fbm(u * 2.2 + c.bush, v * 2.2))
    pattern = torch.where(c.light_kind == 1, blinds, leaves).unsqueeze(-2)
    light = torch.where(c.light_kind[..., None] == 0, gels, pattern)
    canvas.light = canvas.light * torch.lerp(torch.ones_like(light), light, c.has_light[..., None])


def challenge(canvas, p, c):
    """Add everything in c to the canvas, in place."""
    u, v = screen(canvas.o, canvas.d, p)
    _crowd(canvas, p, c, u, v)
    _face_paint(canvas, p, c)
    _worn(canvas, p, c, u, v)
    _sign(canvas, p, c, u, v)
    _microphone(canvas, p, c, u, v)
    _hand(canvas, p, c, u, v)
    _light(canvas, p, c, u, v)
