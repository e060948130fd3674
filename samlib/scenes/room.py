"""A room: floor with boards or carpet and a rug, wall with skirting, a sofa, a cushion, and daylight from a window.

The room's frame: b runs from the subject at the origin towards the wall, a to the right of it, along the unit vector (wall_x, wall_z).
What is far from the subject is out of focus: its edges are widened by `blur`. Names of the segments: wall, floor, rug, sofa, cushion.
"""
import torch

from .noise import cell, fbm
from .outdoors import Ground
from .tracing import color, mix, step
from .world import Canvas


def _line(value, half, soft):
    return step(-0.5, 0.5, (half - value.abs()) / soft)


def daylight(p):
    """Params of the light, from bearing, sun (radians beside the camera), elevation, warmth and brightness of the window."""
    angle, e, w = p.bearing + p.sun, p.elevation, p.warmth[:, None]
    white = color(p.sun, 1.0, 0.96, 0.90)
    sun = torch.lerp(white, color(p.sun, 1.0, 0.76, 0.48), w) * (1.75 + 1.35 * p.contrast[:, None])
    ambient = torch.lerp(color(p.sun, 0.90, 0.96, 1.05), color(p.sun, 1.0, 0.88, 0.72), w) * (0.60 - 0.34 * p.contrast[:, None])
    return {"sun_x": torch.cos(angle) * torch.cos(e), "sun_y": torch.sin(e), "sun_z": torch.sin(angle) * torch.cos(e),
            "sunlight": sun, "ambient": ambient}


def window(x, z, p):
    """Share of direct light on the floor: a pane's bright patch with a bar, as far as the light is hard (`patch`)."""
    flat = torch.rsqrt(p.sun_x ** 2 + p.sun_z ** 2)
    a, b = (p.sun_x * z - p.sun_z * x) * flat - p.pane, (p.sun_x * x + p.sun_z * z) * flat + 1.5
    pane = _line(a, 3.4, 0.7) * _line(b, 6.5, 1.2) * (1 - 0.8 * _line(a, 0.22, 0.5)) * (1 - 0.8 * _line(b + 2.4, 0.30, 0.6))
    return 1 - p.patch * (1 - pane) * 0.75


def _floor(a, b, soft, p):
    """Albedo (N, 3, P) of the floor at (a, b)."""
    column = (a / p.board).floor()
    row = b / 9.0 + 0.37 * column
    fade = 1 / (1 + 10 * soft)
    grain = 0.30 * (fbm(a * 1.6 + column, b * 0.16) - 0.5) + 0.18 * fade * (fbm(a * 5, b * 0.5 + column) - 0.5)
    tone = 0.60 * (cell(column + 64, row + 64) - 0.5) + grain
    seam = torch.maximum(_line(((a / p.board).remainder(1) - 0.5).abs() - 0.5, 0.02, 0.03 + soft / p.board),
                         _line((row.remainder(1) - 0.5).abs() - 0.5, 0.003, 0.004 + soft / 9)) / (1 + 3 * soft)
    pile = 0.35 * (fbm(a * 0.5, b * 0.5) - 0.5) + 0.5 * fade * (fbm(a * 3.5, b * 3.5) - 0.5)
    wood = (1 + tone) * (1 - 0.7 * seam)
    return p.floor_color * torch.lerp(1 + pile, wood, p.boards).unsqueeze(-2)


def _sofa(canvas, p, across, depth, camera):
    """A sofa along the wall, seen from in front: plinth, seat cushions and back, out of focus."""
    t = (p.wall_at * 0.62 - camera[0]) / depth.clamp(min=0.05)
    a, h = camera[1] + t * across, canvas.o[1] + t * canvas.d[1]
    soft = canvas.pixel * t + p.blur * 0.5
    side = (a - p.sofa_edge) * p.sofa_side
    shape = step(-0.5, 0.5, side / soft) * step(-0.5, 0.5, (p.sofa_high - h - 0.8 * (0.7 - side).clamp(min=0) ** 2) / soft)
    seat = p.sofa_high * 0.58
    upright = _line((a / 5.5).remainder(1) - 0.5, 0.012, (soft + 0.15) / 5.5) * step(0.3 * seat, 0.35 * seat, h)
    seam = torch.maximum(_line(h - seat, 0.06, soft + 0.15), upright)
    tone = 0.62 + 0.30 * step(0.0, seat, h) + 0.14 * step(seat - 0.7, seat, h) * (h < seat) + 0.25 * (fbm(a * 0.7, h * 0.7 + 3) - 0.5)
    dark = step(0.35, 1.1, h) * 0.85 + 0.15
    light = p.sofa_color * (p.sunlight * 0.34 + p.ambient * 0.75) * (tone * dark * (1 - 0.5 * seam)).unsqueeze(-2)
    canvas.put(light, shape * (h > 0), t, "sofa")


def _cushion(canvas, p, across, depth, camera):
    """A plump cushion leaning behind the subject."""
    t = (p.cushion_at - camera[0]) / depth.clamp(min=0.05)
    a, h = camera[1] + t * across, canvas.o[1] + t * canvas.d[1]
    soft = canvas.pixel * t + p.blur * 0.25
    size = 1.7 * p.cushion.clamp(min=0.05)
    u, v = (a - p.cushion_a) / size, (h - 0.86 * size) / size
    u, v = u + 0.18 * v, v - 0.10 * u
    pinch = 1 - 0.10 * (1 - u * u).clamp(min=0) * (1 - v * v).clamp(min=0)
    outline = 1 - ((u.abs() / 0.97) ** 5 + (v.abs() / 0.90) ** 5 + 1e-9) ** 0.2 * pinch
    bulge = (outline * 3).clamp(0, 1)
    slope = -torch.sin((u * 1.3).clamp(-1.5, 1.5)) * p.light_a * 0.35 + v * 0.22
    weave = 1 + 0.22 * (fbm(u * 2.5, v * 2.5 + 7) - 0.5) + 0.25 * p.stripes * torch.sin(u * 16).clamp(-0.6, 0.6)
    tone = (0.50 + 0.35 * bulge ** 0.5 + slope).clamp(0.1, 1.3) * weave * (0.45 + 0.55 * step(0.0, 0.8, h))
    light = p.cushion_color * (p.sunlight * 0.45 + p.ambient * 0.7) * tone.unsqueeze(-2)
    canvas.put(light, step(-0.5, 0.5, outline * size / soft) * (p.cushion > 0.08) * (h > -0.2), t, "cushion")


def background(p, o, d, pixel, ids):
    """The room without its subject: Canvas, and the Ground on which the subject's shadow is to fall."""
    wx, wz = p.wall_x, p.wall_z
    depth, across = d[0] * wx + d[2] * wz, d[2] * wx - d[0] * wz
    camera = o[0] * wx + o[2] * wz, o[2] * wx - o[0] * wz
    t = (p.wall_at - camera[0]) / depth.clamp(min=0.05)
    a, h = camera[1] + t * across, o[1] + t * d[1]
    soft = pixel * t + p.blur
    facing = -(wx * p.sun_x + wz * p.sun_z)
    x, z = (o[i] + t * d[i] - p.sun_x / p.sun_y * h if i == 0 else o[i] + t * d[i] - p.sun_z / p.sun_y * h for i in (0, 2))
    direct = facing.clamp(min=0.05) * window(x, z, p) * 0.75
    glow = 0.62 + 0.35 * torch.tanh(a * p.light_a / 9) + 0.10 * (h / 10).clamp(0, 1)
    board = step(-0.5, 0.5, (p.skirting - h) / soft)
    ledge = _line(h - p.skirting - 0.05, 0.10, soft + 0.1)
    paint = p.wall_color * (0.96 + 0.10 * (fbm(a * 0.12, h * 0.12 + 5) - 0.2)).unsqueeze(-2)
    paint = mix(paint, p.skirting_color, board)
    shade = glow * (1 - 0.30 * ledge) * (0.60 + 0.40 * step(-0.2, 1.5, h))
    light = paint * (p.sunlight * (direct + 0.20 * glow).unsqueeze(-2) + p.ambient * shade.unsqueeze(-2))
    canvas = Canvas(o, d, light, t, torch.full_like(t, ids["wall"], dtype=torch.long), pixel, ids)
    _sofa(canvas, p, across, depth, camera)

    down = d[1] < -1e-3
    far = torch.where(down, o[1] / (-d[1]).clamp(min=1e-3), torch.full_like(t, 2e3))
    x, z = o[0] + far * d[0], o[2] + far * d[2]
    a, b = z * wx - x * wz, x * wx + z * wz
    deep = pixel * far / (-d[1]).clamp(min=0.05) + p.blur * 0.35 * ((far / p.away - 1).abs() - 0.15).clamp(0, 1.5)
    albedo = _floor(a, b, deep, p)
    edge = p.rug - ((a - p.rug_a) ** 2 * 0.55 + b * b + 1e-6).sqrt()
    pile = 1 + 0.5 * (fbm(a * 3, b * 3 + 4) - 0.5) / (1 + 6 * deep)
    border = 1 - 0.35 * _line(edge - 0.45, 0.12, deep + 0.06)
    on_rug = step(-0.5, 0.5, edge / (deep + 0.05))
    albedo = mix(albedo, p.rug_color * (pile * border).unsqueeze(-2), on_rug)
    near_wall = 0.55 + 0.45 * step(0.0, 2.5, p.wall_at - b)
    canvas.put(albedo * near_wall.unsqueeze(-2), down.to(t.dtype), far, "floor")
    canvas.segment = torch.where(canvas.at("floor") & (on_rug > 0.5), torch.full_like(canvas.segment, ids["rug"]), canvas.segment)
    _cushion(canvas, p, across, depth, camera)
    return canvas, Ground(far, x, z, down, canvas.at("floor", "rug"), window(x, z, p))
