"""What challenging scenes add to ordinary ones: things no generator of ordinary scenes has seen.

One to four of KINDS are added to a picture. Boards facing the camera (fences, shrubs, poles, signs, objects) are laid over it with a
test of depth; patterns on the ground, on walls and on the paint, and odd light, are worked into what is there. Nothing is moved.
"""
from dataclasses import dataclass

import torch

from .noise import cell, fbm, uniforms
from .tracing import Params, color, mix, step

KINDS = ("fence_front", "fence_back", "shrubs", "poles", "signs", "objects", "paving", "mural", "light", "lettering")
POLES, SIGNS, OBJECTS = 2, 3, 4
STREAM = 1                                      # numbers of their own, so that the ordinary part of the scene stays as it was


@dataclass(frozen=True)
class Room:
    """Where a category has room for the additions, as multiples of its p.size, and what it calls the surfaces they are worked into."""
    reach: float = 1.0                          # how far from the subject things stand: 1 for one about 4.4 long
    scale: float = 1.0                          # of the things: 1 where the unit is a metre
    base: float = 0.0                           # the height they stand on
    ground: tuple = ("road",)                   # segments that take the pattern of a pavement
    walls: tuple = ("building",)                # segments that take a mural
    marked: tuple = ()                          # segments of the subject that are written on
    belt: tuple = (0.0, 1.0)                    # between these heights


def settings(category, seed, indices, kinds=KINDS):
    """Params (N, 1) of the additions: one to four of `kinds` for each picture, told by `has_<kind>`, 0 or 1."""
    u = torch.from_numpy(uniforms(128, category, seed, indices, STREAM))
    count = 1 + (u[:, :1] * 4).floor()
    rank = u[:, 1:1 + len(kinds)].argsort(1).argsort(1)
    c = Params({f"has_{kind}": (rank[:, k:k + 1] < count).double() for k, kind in enumerate(kinds)})
    column = iter(range(1 + len(kinds), u.shape[1]))
    take = lambda low=0.0, high=1.0: low + (high - low) * u[:, next(column)][:, None]
    hue = lambda: torch.stack([take(0.05, 0.8) for _ in range(3)], 1)
    c.update(front_style=take(0, 3).floor(), back_style=take(0, 3).floor(), front_high=take(0.5, 1.0), back_high=take(1.2, 2.4),
             front_color=hue(), back_color=hue(), bush=take(0, 16), bush_high=take(0.25, 0.6), flower=hue(), flower_share=take(0.1, 0.5))
    for kind, number in (("pole", POLES), ("sign", SIGNS), ("object", OBJECTS)):
        for k in range(number):
            c.update(
                {
                    f"{kind}_u{k}": ((k + 0.5) / number * 2 - 1) * 2.2 + take(-0.8, 0.8),
                    f"{kind}_front{k}": (take() < 0.6).double(),
                    f"{kind}_size{k}": take(0.7, 1.3),
                    f"{kind}_kind{k}": take(0, 4).floor(),
                    f"{kind}_color{k}": hue(),
                    f"{kind}_seed{k}": take(0, 400),
                }
            )
    c.update(
        paving_kind=take(0, 3).floor(),
        mural_kind=take(0, 3).floor(),
        mural_a=hue() * 1.8,
        mural_b=hue() * 1.8,
        light_kind=take(0, 3).floor(),
        tint=0.35 + 1.3 * hue(),
        letters=hue(),
        letter_seed=take(0, 400),
    )
    c.update({f"own{k}": take() for k in range(8)})          # for what a category adds of its own
    return c


def board(canvas, p, side, offset, room):
    """A board facing the camera, `offset` behind the subject (before it, where negative) and `side` to the right, in the room's measure.

    Returns u right and v up, in units of room.scale, t along the ray, and a pixel's size there in those units; each (N, P).
    """
    (dx, dy, dz), oy = canvas.d, canvas.o[1]
    fx, fz = -torch.cos(p.bearing), -torch.sin(p.bearing)
    away = p.away + offset * room.reach * p.size
    t = away / (dx * fx + dz * fz).clamp(min=1e-3)
    u = t * (dz * fx - dx * fz) / room.scale - side * away / p.away
    return u, (oy + t * dy - room.base) / room.scale, t, canvas.pixel * t / room.scale


def _either(front, near, far):
    return front * near + (1 - front) * far


def _line(value, half, soft):
    return step(-0.5, 0.5, (half - value.abs()) / soft)


def _glyphs(u, v, pitch, seed):
    """Writing-like marks: rows of letters, each a random 4 x 6 block of dots with a gap after it; 1 where there is ink."""
    a, b = u / pitch * 5, v / pitch * 5
    letter = (a.remainder(5) < 4) & (b.remainder(8) < 6)
    word = cell((a / 5).floor() + seed, (b / 8).floor() + 60) > 0.18
    return ((cell(a + seed * 7, b + seed) > 0.45) & letter & word).to(u.dtype)


def _lit(albedo, p, share=0.6):
    return albedo * (p.sunlight * 0.5 * share + p.ambient * 0.6)


def _fence(canvas, p, has, style, high, paint, offset, room):
    u, v, t, soft = board(canvas, p, torch.zeros_like(has), offset, room)
    top = high + 0.06 * (0.5 - ((u / 0.17).remainder(1) - 0.5).abs())
    picket = torch.maximum(_line(((u / 0.17).remainder(1) - 0.5) * 0.17, 0.055, soft) * (v < top),
                           torch.maximum(_line(v - 0.25 * high, 0.04, soft), _line(v - 0.75 * high, 0.04, soft)))
    wires = [(((u + s * v) / 0.20).remainder(1) - 0.5) * 0.20 for s in (1, -1)]
    mesh = torch.maximum(*(_line(w, 0.018, soft) for w in wires)) * (v < high)
    post = _line(((u / 1.9).remainder(1) - 0.5) * 1.9, 0.05, soft) * (v < high + 0.1)
    rail = torch.maximum(_line((v / high * 3).remainder(1) - 0.5, 0.17, soft / high * 3) * (v < high), post)
    cover = torch.where(style == 0, picket, torch.where(style == 1, torch.maximum(mesh, post), rail))
    albedo = paint * (0.8 + 0.3 * fbm(u * 3, v * 0.7)).unsqueeze(-2)
    canvas.put(_lit(albedo, p, 1.0), cover * (v > 0) * has, t, "fence")


def _shrubs(canvas, p, c, room):
    u, v, t, soft = board(canvas, p, torch.zeros_like(c.bush), -3.0, room)
    outline = c.bush_high * (2.2 * fbm(u * 0.45 + c.bush, u * 0 + 3.3) - 0.25 + 0.5 * fbm(u * 2.5 + c.bush, v * 2.5))
    cover = step(-0.04, 0.04, outline - v) * (v > -0.1) * c.has_shrubs
    leaf = fbm(u * 4 + c.bush, v * 4)
    light = p.foliage * (
        p.sunlight * (0.9 * step(0.25, 0.8, leaf) + 0.1).unsqueeze(-2) + p.ambient * (0.2 + 0.5 * v.clamp(0, 1)).unsqueeze(-2)
    )
    a, b = u / 0.14, v / 0.14
    fa, fb = a.remainder(1) - 0.3 - 0.4 * cell(a, b + 90), b.remainder(1) - 0.3 - 0.4 * cell(a + 70, b)
    petal = step(0.27, 0.17, (fa * fa + fb * fb).sqrt()) * (cell(a + 30, b + 30) < c.flower_share)
    canvas.put(mix(light, _lit(c.flower * 1.2, p, 1.4), petal), cover, t, "shrub")


def _poles(canvas, p, c, room):
    for k in range(POLES):
        u, v, t, soft = board(canvas, p, c[f"pole_u{k}"], _either(c[f"pole_front{k}"], -2.7, 3.0), room)
        thick = 0.07 * c[f"pole_size{k}"]
        bar = _line(u, thick, soft) * (v < 4.5)
        arm = _line(v - 3.2, 0.04, soft) * (u > 0) * (u < 0.9) + _line(v - 3.15, 0.09, soft) * _line(u - 0.9, 0.28, soft)
        shade = (0.5 + 0.5 * (u / thick).clamp(-1, 1)).unsqueeze(-2)
        canvas.put(
            _lit(c[f"pole_color{k}"] * 0.5, p) * (0.5 + shade), torch.maximum(bar, arm.clamp(max=1)) * (v > 0) * c.has_poles, t, "pole"
        )


def _signs(canvas, p, c, room):
    for k in range(SIGNS):
        u, v, t, soft = board(canvas, p, c[f"sign_u{k}"], _either(c[f"sign_front{k}"], -2.9, 3.4), room)
        s, kind = c[f"sign_size{k}"], c[f"sign_kind{k}"]
        middle = 1.35 * s
        wide, high = torch.where(kind == 3, 0.85, 0.45) * s, torch.where(kind == 3, 0.36, 0.38) * s
        b = v - middle
        plate = torch.maximum(u.abs() - wide, b.abs() - high)
        plate = torch.where(kind == 1, (u * u + b * b + 1e-9).sqrt() - 0.42 * s, plate)
        plate = torch.where(kind == 2, torch.maximum(0.866 * u.abs() + 0.5 * b, -b) - 0.24 * s, plate)
        cover = step(0.5, -0.5, plate / soft)
        ink = _glyphs(u + 2, v, 0.15, c[f"sign_seed{k}"]) * (plate < -0.07)
        rim = step(0.5, -0.5, (plate.abs() - 0.05) / soft)
        face = mix(color(u, 0.85, 0.85, 0.82).expand_as(canvas.light), c[f"sign_color{k}"] * 0.9, rim)
        face = torch.where((kind == 0)[:, None], mix(c[f"sign_color{k}"].expand_as(canvas.light), color(u, 0.9, 0.9, 0.9), rim), face)
        face = mix(face, torch.where((kind == 0)[:, None], color(u, 0.9, 0.9, 0.85), color(u, 0.03, 0.03, 0.05)), ink)
        post = _line(u, 0.035, soft) * (v > 0) * (b < 0)
        canvas.put(_lit(color(u, 0.35, 0.35, 0.36), p), post * c.has_signs, t, "pole")
        canvas.put(_lit(face, p, 1.2), cover * c.has_signs, t - 0.02, "sign")


def _objects(canvas, p, c, room):
    for k in range(OBJECTS):
        u, v, t, soft = board(canvas, p, c[f"object_u{k}"], _either(c[f"object_front{k}"], -2.8, 2.8), room)
        s, kind, paint = c[f"object_size{k}"], c[f"object_kind{k}"], c[f"object_color{k}"]
        cone = torch.minimum(
            torch.maximum(u.abs() - 0.26 * s * (1.08 - v / (0.85 * s)), v - 0.85 * s), torch.maximum(u.abs() - 0.33 * s, v - 0.06)
        )
        crate = torch.maximum(u.abs() - 0.40 * s, v - 0.72 * s)
        ball = (u * u + (v - 0.38 * s) ** 2 + 1e-9).sqrt() - 0.38 * s
        barrel = torch.maximum(u.abs() - (0.34 + 0.04 * torch.cos((v / s - 0.5) * 3)) * s, v - 1.0 * s)
        body = torch.where(kind == 0, cone, torch.where(kind == 1, crate, torch.where(kind == 2, ball, barrel)))
        stripes = torch.where(
            kind == 0,
            _line((v / (0.34 * s)).remainder(1) - 0.5, 0.22, 0.05),
            torch.where(
                kind == 1,
                torch.maximum(_line((v / 0.18).remainder(1) - 0.5, 0.06, 0.1), _line(u.abs() - v * 0.5, 0.05, soft)),
                torch.where(
                    kind == 2,
                    _line(((u + 0.5 * v) / (0.30 * s)).remainder(1) - 0.5, 0.22, 0.05),
                    _line((v / (0.33 * s)).remainder(1) - 0.5, 0.1, 0.05),
                ),
            ),
        )
        orange = torch.where((kind == 0)[:, None], color(u, 0.85, 0.20, 0.03), paint)
        albedo = mix(orange.expand_as(canvas.light), torch.where((kind == 1)[:, None], orange * 0.3, color(u, 0.8, 0.8, 0.78)), stripes)
        curve = torch.where(kind == 1, torch.ones_like(u), (1 - (u / (0.40 * s)) ** 2).clamp(0.05, 1).sqrt())
        canvas.put(
            _lit(albedo, p, 1.1) * (0.35 + 0.75 * curve).unsqueeze(-2), step(0.5, -0.5, body / soft) * (v > 0) * c.has_objects, t, "object"
        )


def _patterns(canvas, p, c, room):
    """Cobbles, stripes or checks on the ground; murals on walls; writing and stripes on the subject. Works on what the rays have met."""
    x, y, z = ((o + canvas.t * d) / room.scale for o, d in zip(canvas.o, canvas.d))
    if "has_paving" in c:
        soft = (canvas.pixel * canvas.t / room.scale / canvas.d[1].abs().clamp(min=0.05)).clamp(max=3)
        fade = 1 / (1 + 2 * soft)
        row = (z / 0.45).floor()
        cobble = (0.45 + 0.9 * cell(x / 0.6 + 0.5 * row.remainder(2), z / 0.45)) * (1 - 0.6 * torch.maximum(
            _line((x / 0.6 + 0.5 * row.remainder(2)).remainder(1), 0.09, 0.08), _line((z / 0.45).remainder(1), 0.1, 0.08)))
        zebra = 0.6 + 2.0 * _line((x / 1.2).remainder(1) - 0.5, 0.25, 0.05)
        checks = 0.4 + 1.8 * ((x / 0.9).floor() + (z / 0.9).floor()).remainder(2)
        ground = torch.where(c.paving_kind == 0, cobble, torch.where(c.paving_kind == 1, zebra, checks))
        canvas.light = canvas.light * (1 + (ground - 1) * fade * canvas.at(*room.ground) * c.has_paving).unsqueeze(-2)
    if "has_mural" in c:
        along = x + z
        waves = (fbm(along * 0.35 + 3, y * 0.35) * 5 + along * 0.2).remainder(1)
        choice = torch.where(c.mural_kind == 0, (waves > 0.5).to(x.dtype), torch.where(c.mural_kind == 1,
            ((along / 1.4).floor() + (y / 1.4).floor()).remainder(2), _glyphs(along, y, 1.1, c.letter_seed)))
        canvas.light = mix(canvas.light, _lit(mix(c.mural_a, c.mural_b, choice), p, 0.8), canvas.at(*room.walls) * c.has_mural * 0.85)
    if "has_lettering" in c:
        u, v = x / p.size, y / p.size
        belt = ((v > room.belt[0]) & (v < room.belt[1])).to(x.dtype)
        ink = (
            torch.maximum(
                _glyphs(torch.where(torch.sin(p.bearing) > 0, -u, u) + z + 3, v, 0.20, c.letter_seed), _line(v - 0.40, 0.03, 0.01)
            )
            * belt
        )
        stripes = _line((u * 0.7 + v).remainder(1) - 0.5, 0.12, 0.03) * (c.letter_seed > 200)
        canvas.light = mix(canvas.light, _lit(c.letters * 1.3, p), torch.maximum(ink, stripes) * canvas.at(*room.marked) * c.has_lettering)


def _light(canvas, p, c, room):
    """Coloured light, dappled shade, or night with a lamp."""
    x, y, z = ((o + canvas.t.clamp(max=100) * d) / room.scale for o, d in zip(canvas.o, canvas.d))
    solid = (~canvas.at("sky")).to(x.dtype)
    dapple = 0.35 + 0.9 * step(0.44, 0.58, fbm((x + 0.6 * y) * 0.8 + c.bush, (z + 0.4 * y) * 0.8))
    lamp = 0.10 + 1.1 * torch.exp(-((x - 1.5) ** 2 + (z - 1) ** 2) / 9) * solid
    one = torch.ones_like(x).unsqueeze(-2)
    night = mix(one * color(x, 0.16, 0.2, 0.34), color(x, 1.1, 0.8, 0.45), lamp.clamp(0, 1))
    kind = c.light_kind[:, None]
    light = torch.where(kind == 0, c.tint * one, torch.where(kind == 1, 1 + (dapple * solid + 1 - solid - 1).unsqueeze(-2), night))
    canvas.light = canvas.light * torch.lerp(one, light, c.has_light[:, None])


def add(canvas, p, c, room):
    """Add everything in c to the canvas, in place; a kind the category does not have is left out."""
    has = lambda kind: f"has_{kind}" in c
    _patterns(canvas, p, c, room)
    if has("fence_back"):
        _fence(canvas, p, c.has_fence_back, c.back_style, c.back_high, c.back_color, 3.6, room)
    for kind, draw in (("poles", _poles), ("signs", _signs), ("objects", _objects)):
        if has(kind):
            draw(canvas, p, c, room)
    if has("fence_front"):
        _fence(canvas, p, c.has_fence_front, c.front_style, c.front_high, c.front_color, -2.9, room)
    if has("shrubs"):
        _shrubs(canvas, p, c, room)
    if has("light"):
        _light(canvas, p, c, room)
