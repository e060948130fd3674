"""What challenging pictures of cats add: things of a household before and behind the cat, a collar, odd patterns and light.

All are boards that face the camera, in decimetres, except the collar, which is painted on what the rays have met.
"""
import torch

from . import clutter
from .noise import fbm
from .tracing import color, mix, smin, step

KINDS = ("cup", "books", "yarn", "plant", "collar", "hand", "fence_front", "paving", "mural", "light")
ROOM = clutter.Room(reach=1.0, scale=1.5, ground=("floor", "rug"), walls=("wall",))
NEAR = clutter.Room(reach=1.0, scale=1.0)


def _lit(albedo, p, tone):
    return albedo * (p.sunlight * 0.42 + p.ambient * 0.7) * tone.unsqueeze(-2)


def _line(value, half, soft):
    return step(-0.5, 0.5, (half - value.abs()) / soft)


def _round(u):
    """Brightness across something round, u in [-1, 1] from edge to edge."""
    return 0.35 + 0.75 * (1 - (u - 0.25) ** 2 / 1.56).clamp(0, 1).sqrt()


def _place(canvas, p, c, k, before):
    """A board for thing k: to one side of the cat, before it or behind it."""
    front = c[f"object_front{k}"] if before is None else torch.full_like(p.size, before)
    side = torch.sign(c[f"object_u{k}"]) * (0.3 + 0.55 * c[f"object_u{k}"].abs())
    return clutter.board(canvas, p, side, torch.where(front > 0.5, -2.1, 1.9), NEAR)


def _rod(u, v, ax, ay, bx, by, wide, narrow):
    """Signed distance to a tapered bar from a to b, all like u."""
    u, v, bx, by = u - ax, v - ay, bx - ax, by - ay
    h = ((u * bx + v * by) / (bx * bx + by * by)).clamp(0, 1)
    return ((u - h * bx) ** 2 + (v - h * by) ** 2 + 1e-9).sqrt() - wide - (narrow - wide) * h


def _cup(canvas, p, c):
    u, v, t, soft = _place(canvas, p, c, 0, None)
    s = c.object_size0
    u, v = u / s, v / s
    body = torch.maximum(u.abs() - 0.46 + 0.06 * (1 - v), torch.maximum(v - 1.05, -v - 0.05 + 0.1 * u * u))
    ring = (((u - 0.50) ** 2 + ((v - 0.55) * 0.85) ** 2 + 1e-9).sqrt() - 0.27).abs() - 0.065
    rim = ((u / 0.46) ** 2 + ((v - 1.05) / 0.10) ** 2 + 1e-9).sqrt() - 1
    shape = torch.minimum(torch.minimum(body, ring), rim * 0.10)
    print_ = clutter._glyphs(u + 2, v, 0.17, c.object_seed0) * _line(v - 0.50, 0.22, 0.02) * _line(u, 0.34, 0.02)
    print_ = torch.where(c.own0 < 0.5, print_, _line((v * 4).remainder(1) - 0.5, 0.22, 0.08))
    albedo = mix(c.object_color0.expand_as(canvas.light), color(u, 0.85, 0.83, 0.78), print_ * 0.9)
    albedo = mix(albedo, albedo * 0.35, step(0.02, -0.02, rim))
    canvas.put(_lit(albedo, p, _round(u / 0.46)), step(0.5, -0.5, shape * s / soft) * c.has_cup, t, "cup")


def _books(canvas, p, c):
    u, v, t, soft = _place(canvas, p, c, 1, None)
    low = torch.zeros_like(c.own1)
    for k in range(4):
        thick, wide = 0.22 + 0.16 * ((c.own1 * 7 + k * 0.37) % 1), 1.0 + 0.5 * ((c.own1 * 5 + k * 0.61) % 1)
        a = u - 0.25 * (((c.own1 * 11 + k * 0.47) % 1) - 0.5)
        shape = torch.maximum(a.abs() - wide, (v - low - thick / 2).abs() - thick / 2)
        ink = clutter._glyphs(a + 3 * k, v - low, thick * 0.95, c.object_seed1 + 13 * k)
        ink = ink * _line(v - low - thick / 2, thick * 0.34, 0.02) * (a.abs() < wide * 0.8)
        albedo = mix(c[f"object_color{k}"].expand_as(canvas.light), color(u, 0.80, 0.76, 0.62), ink)
        tone = 0.95 - 0.35 * _line(v - low, 0.02, soft + 0.03) + 0.1 * fbm(a * 2, v * 2)
        canvas.put(_lit(albedo, p, tone), step(0.5, -0.5, shape / soft) * c.has_books, t, "book")
        low = low + thick


def _yarn(canvas, p, c):
    for k, big in ((2, 0.55), (3, 0.38)):
        u, v, t, soft = _place(canvas, p, c, k, 1.0)
        r = big * c[f"object_size{k}"]
        u, v = u / r, (v - r) / r
        far = (u * u + v * v + 1e-9).sqrt()
        bend = torch.asin((u * 0.8 + v * 0.6).clamp(-0.99, 0.99))
        turn = torch.where(v > 0.3 * u, bend, torch.asin((0.6 * u - 0.8 * v).clamp(-0.99, 0.99)))
        strand = 0.65 + 0.5 * step(-0.6, 0.8, torch.sin(turn * 17))
        shade = (0.55 + 0.45 * (v * 0.7 + u * 0.3 + (1 - far.clamp(max=1) ** 2).clamp(min=0).sqrt() * 0.6)).clamp(0.15, 1.3)
        canvas.put(_lit(c[f"object_color{k}"] * 1.2, p, strand * shade), step(0.5, -0.5, (far - 1) * r / soft) * c.has_yarn, t, "toy")


def _plant(canvas, p, c):
    side = torch.where(c.own2 < 0.5, -1.0, 1.0) * (1.0 + 1.2 * c.own3)
    u, v, t, soft = clutter.board(canvas, p, side, torch.full_like(side, -2.4), NEAR)
    pot = torch.maximum(u.abs() - 0.42 - 0.12 * v, (v - 0.35).abs() - 0.37)
    canvas.put(_lit(c.object_color1 * 0.9, p, _round(u / 0.5)), step(0.5, -0.5, pot / soft) * c.has_plant, t, "plant")
    for k in range(9):
        lean = (k - 4) / 4 * 1.15 + 0.25 * (((c.own4 * 9 + k * 0.38) % 1) - 0.5)
        long = 1.4 + 1.5 * ((c.own4 * 5 + k * 0.62) % 1)
        a, b = u * torch.sin(lean) + (v - 0.65) * torch.cos(lean), u * torch.cos(lean) - (v - 0.65) * torch.sin(lean)
        h = (a / long).clamp(0, 1)
        b = b - 0.25 * torch.sign(lean) * h * h * long * 0.5
        edge = 0.30 * torch.sin(3.1416 * h ** 0.8) * (a > 0) - b.abs() - 2 * (a - long).clamp(min=0)
        tone = (0.65 + 0.5 * step(-0.02, 0.02, b) + 0.25 * fbm(a * 2 + k, b * 5)) * (0.6 + 0.5 * h)
        canvas.put(_lit(p.foliage * (1.3 + 0.8 * (k % 3)), p, tone), step(-0.5, 0.5, edge / soft) * c.has_plant, t - 0.01 * k, "plant")


def _hand(canvas, p, c):
    """An arm from below at one side, its fingers spread before the cat."""
    flip = torch.where(c.own5 < 0.5, -1.0, 1.0)
    u, v, t, soft = clutter.board(canvas, p, 0 * flip, torch.full_like(flip, -2.3), NEAR)
    u, v = u * flip - 0.75 - 0.8 * c.own6, v - 0.6 - 0.9 * c.own5
    one = torch.ones_like(u)
    shape = _rod(u, v, 0.35 * one, -0.1 * one, 2.6 * one, -1.7 * one, 0.32, 0.42)
    shape = smin(shape, _rod(u, v, 0.0 * one, 0.05 * one, 0.3 * one, -0.05 * one, 0.30, 0.33), 0.2)
    for k, (x, y) in enumerate(((-0.80, 0.42), (-0.98, 0.20), (-0.98, -0.04), (-0.82, -0.26))):
        shape = smin(shape, _rod(u, v, -0.15 * one, (0.22 - 0.13 * k) * one, x * one, y * one, 0.105, 0.08), 0.04)
    shape = smin(shape, _rod(u, v, 0.05 * one, 0.2 * one, -0.25 * one, 0.72 * one, 0.12, 0.09), 0.08)
    skin = torch.lerp(color(u, 0.62, 0.38, 0.27), color(u, 0.20, 0.10, 0.06), c.own7[..., None])
    sleeve = step(-0.05, 0.05, u - 0.9 - v * 0.3)
    albedo = mix(skin.expand_as(canvas.light), c.object_color2.expand_as(canvas.light), sleeve)
    tone = 0.55 + 0.55 * step(0.0, 0.16, -shape) + 0.12 * (fbm(u * 2, v * 2) - 0.5)
    canvas.put(_lit(albedo, p, tone), step(0.5, -0.5, shape / soft) * c.has_hand, t, "hand")


def _collar(canvas, p, c):
    """A band about the neck with a round tag."""
    x, y, z = (o + canvas.t * d for o, d in zip(canvas.o, canvas.d))
    foot_x, foot_y = p.chest_x, p.chest_y
    along = ((x - foot_x) * p.neck_x + (y - foot_y) * p.neck_y) * p.neck_i
    band = _line(along - 0.42, 0.11, 0.03) * canvas.at("body", "head", "mouth", "leg")
    band = band * ((x - foot_x) ** 2 + (y - foot_y) ** 2 + z * z < 1.0)
    stud = step(0.32, 0.18, (((torch.atan2(z, x - foot_x) * 3.2).remainder(1) - 0.5) ** 2 + ((along - 0.42) * 4.5) ** 2 + 1e-9).sqrt())
    albedo = mix((c.object_color3 * 1.1).expand_as(canvas.light), color(x, 0.85, 0.80, 0.60), stud)
    cover = band * c.has_collar
    canvas.light = mix(canvas.light, _lit(albedo, p, 0.8 + 0 * x), cover)
    canvas.segment = torch.where(cover > 0.5, torch.full_like(canvas.segment, canvas.ids["collar"]), canvas.segment)


def add(canvas, p, c):
    """Add everything in c to the canvas, in place."""
    if bool(c.has_collar.any()):
        _collar(canvas, p, c)
    clutter.add(canvas, p, c, ROOM)
    for draw in (_cup, _books, _yarn, _plant, _hand):
        draw(canvas, p, c)
