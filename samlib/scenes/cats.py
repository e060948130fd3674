"""Cats in a room: their factors, the scenes they are in, the camera. What they look like is in cat_body.py and cat_coat.py."""
import torch

from . import cat_clutter, room
from .cat_body import HEAD, SHAPE, bounds, distance, face, shape  # noqa: F401 (part of the category)
from .cat_coat import CLASSES, ID, SHADING, shade, turn, whiskers  # noqa: F401
from .tracing import Params, color, mix

# name: (lowest, highest); every one can be read off the picture. Those marked * are computed from others.
FACTORS = {
    "pose": (-1.0, 1.0),             # * sine of the camera's bearing: which side of the body is seen, how much of it
    "head_turn": (-0.8, 0.8),        # * of the face away from the camera, radians
    "head_tilt": (-0.35, 0.35),
    "head_pitch": (-0.22, 0.18),
    "posture": (0.0, 1.0),           # lying to sitting
    "tail": (-1.0, 1.0),             # how far it curls round the body, and on which side
    "eye_size": (0.6, 1.4),
    "ear_size": (0.7, 1.3),
    "round": (0.0, 1.0),             # slim to chubby face
    "black": (0.0, 1.0),             # fur from its own colour to black
    "ginger": (0.0, 1.0),            # grey to orange
    "lightness": (0.0, 1.0),         # of the coat
    "tabby": (0.0, 1.0),             # contrast of the stripes
    "white": (0.0, 1.0),             # from none to chest, paws, muzzle and more
    "points": (0.0, 1.0),            # dark face, ears, legs and tail on a pale coat
    "red_nose": (0.0, 1.0),          # black to red
    "eye_color": (0.0, 1.0),         # orange, yellow, green, blue
    "pupil": (0.0, 1.0),             # slit to round
    "wall": (0.0, 1.0),              # lightness of the wall
    "floor": (0.0, 1.0),             # and of the floor
    "boards": (0.0, 1.0),            # carpet to boards
    "sofa": (0.0, 1.0),              # how much of the background it takes
    "cushion": (0.0, 1.0),
    "camera_height": (1.6, 4.4),
    "zoom": (1.02, 1.5),             # the whole cat to its head and chest
    "sun": (-1.3, 1.3),              # where the window is, radians beside the camera
    "contrast": (0.0, 1.0),          # soft to hard light
    "warmth": (0.0, 1.0),            # day white to evening gold
}
KINDS = cat_clutter.KINDS              # of additions in challenging scenes


def _column(*values):
    return torch.stack(torch.broadcast_tensors(*values), 1)[..., None]


def sample(u):
    """Factors (N,) of ordinary scenes, and what else those were computed from, by uniform numbers u: function of a range -> (N,)."""
    f = {name: u(*span) for name, span in FACTORS.items() if name not in ("pose", "head_turn", "tail", "black", "white", "points")}
    bearing = u(-1.30, 1.30)
    yaw = 1.2 * torch.tanh((bearing + u(-0.75, 0.75)) / 1.2)
    tail = u(-1.0, 1.0)
    f["posture"] = f["posture"] ** 2 * (3 - 2 * f["posture"])
    f.update(pose=torch.sin(bearing), head_turn=yaw - bearing, tail=torch.sign(tail) * (0.4 + 0.6 * tail.abs()))
    f.update(black=u() ** 1.5, white=u() ** 1.5, points=u() ** 4)
    return {name: f[name] for name in FACTORS}, {"bearing": bearing[:, None], "yaw": yaw[:, None]}


def coat(p):
    """Colours of fur, stripes and iris, each (N, 3, 1), linear."""
    ginger, light, black = p.ginger[..., None], p.lightness[..., None], p.black[..., None]
    grey = color(p.black, 0.36, 0.34, 0.33)
    base = torch.lerp(grey.expand(len(ginger), 3, 1), color(p.black, 0.58, 0.225, 0.06), ginger) * (0.24 + 0.80 * light)
    dark = base * torch.lerp(color(p.black, 0.13, 0.115, 0.105).expand_as(base), color(p.black, 0.44, 0.27, 0.16), ginger)
    ink = color(p.black, 0.0095, 0.0095, 0.0105)
    hue = p.eye_color[..., None] * 3
    stops = [color(p.black, *c).expand_as(base) for c in ((0.58, 0.22, 0.025), (0.56, 0.40, 0.05), (0.26, 0.38, 0.11), (0.20, 0.40, 0.62))]
    iris = stops[0]
    for k in range(3):
        iris = torch.lerp(iris, stops[k + 1], (hue - k).clamp(0, 1))
    blacken = lambda rgb, to: torch.lerp(rgb ** 0.45, to ** 0.45, black) ** (1 / 0.45)     # in even steps for the eye
    return {"coat": blacken(base, ink.expand_as(base)), "dark": blacken(dark, 0.6 * ink.expand_as(base)), "iris": iris}


def settings(u, factors, own):
    """All there is to know about the scenes of those factors, more of it drawn from u: Params (N, 1)."""
    p = Params({name: value[:, None] for name, value in factors.items()})
    p.update(own, elevation=u(0.45, 0.95)[:, None], fluff=u(0.0, 0.10)[:, None], step=u(-0.3, 0.3)[:, None], nose=p.red_nose)
    p.update(size=torch.ones_like(p.black), tiger=torch.zeros_like(p.black))      # tiger: 1 for broad black stripes on every part
    turn = p.bearing + u(-0.35, 0.35)[:, None]
    p.update(wall_x=-torch.cos(turn), wall_z=-torch.sin(turn), wall_at=u(4.5, 9.0)[:, None], blur=u(0.10, 0.55)[:, None])
    p.update(skirting=u(0.6, 1.3)[:, None], board=u(0.8, 1.6)[:, None], patch=(u() ** 2)[:, None], pane=u(-1.5, 1.5)[:, None])
    p["light_a"] = torch.sin(p.sun)
    hue, tint, light = u(), u(0.0, 0.45), 0.10 + 0.58 * factors["wall"]
    p["wall_color"] = _column(light * (1 - tint * hue * 0.5), light * (1 - 0.35 * tint * (hue - 0.5).abs()), light * (1 - tint * (1 - hue)))
    p["skirting_color"] = _column(*(3 * [u(0.35, 0.75)]))
    red, light = u(0.0, 1.0), 0.07 + 0.42 * factors["floor"]
    p["floor_color"] = _column(light * 1.15, light * (0.92 - 0.22 * red), light * (0.72 - 0.40 * red))
    for name, low, high in (("sofa", 0.06, 0.5), ("cushion", 0.08, 0.7), ("rug", 0.08, 0.6)):
        light, warm, green = u(low, high), u(-0.45, 0.45), u(-0.15, 0.15)
        p[f"{name}_color"] = _column(light * (1 + warm), light * (1 + green), light * (1 - warm))
    side = torch.where(u() < 0.5, -1.0, 1.0).to(p.black.dtype)[:, None]
    p.update(sofa_side=side, sofa_edge=side * (5.0 - 9.0 * p.sofa), sofa_high=u(3.4, 7.0)[:, None], cushion_at=u(1.9, 3.2)[:, None],
             cushion_a=u(-2.6, 2.6)[:, None], stripes=(u() ** 2)[:, None], rug=u(-2.5, 3.6)[:, None], rug_a=u(-1.0, 1.0)[:, None])
    p.update(shift_x=u(-0.10, 0.10)[:, None], shift_y=u(-0.05, 0.08)[:, None], exposure=u(0.9, 1.15)[:, None])
    p.update(coat(p))
    p.update(shape(p))
    camera(p)
    p.update(room.daylight(p))
    p["foliage"] = color(p.black, 0.06, 0.13, 0.03).expand(len(p.black), 3, 1)
    p["bounce"] = p.floor_color * (p.sunlight * 0.35 + p.ambient * 0.5)
    return p


def camera(p):
    """Where the camera stands, in place: low and near, so that the cat fills the picture."""
    sine, cosine = torch.sin(p.bearing), torch.cos(p.bearing)
    _, (_, top, _) = bounds(p)
    wide = 3.3 * sine.abs() + 1.9 * cosine.abs() + 0.5 * (1 - p.posture) * sine.abs()
    away = torch.full_like(top, 8.5)
    p["tangent"] = 0.5 * torch.maximum(top * 1.12, wide * 1.20) / (away * p.zoom)
    near = ((p.zoom - 1.02) * 1.5).clamp(0, 0.8)                        # close pictures are of the head
    p.update(away=away, camera_x=cosine * away, camera_z=sine * away, camera_y=p.camera_height)
    p.update(look_x=-sine * p.shift_x * 2 - 0.1 + 0.7 * near * p.head_x, look_z=cosine * p.shift_x * 2,
             look_y=torch.lerp(0.50 * top - 0.12, p.head_y - 0.1, near) + p.shift_y * 2)


def background(p, o, d, pixel):
    canvas, ground = room.background(p, o, d, pixel, ID)
    hair, _ = whiskers(face(*o, p), turn(d, p), pixel * p.away / HEAD, p)
    bright = (p.sunlight * 0.45 + p.ambient * 0.6) * color(pixel, 0.95, 0.93, 0.90)
    canvas.light = mix(canvas.light, bright.expand_as(canvas.light), hair * 0.7)
    return canvas, ground


def challenge(canvas, p, c):
    cat_clutter.add(canvas, p, c)
