"""Horses: their factors, poses, the meadow they stand in, the camera. Their shape is in horse_body.py, their coat in horse_coat.py."""
import torch

from . import clutter, outdoors
from .horse_body import LEGS, NECK, SHAPE, bounds, cone, distance  # noqa: F401 (part of the category)
from .horse_coat import CLASSES, ID, SHADING, shade  # noqa: F401
from .noise import fbm
from .tracing import Params, color, mix, step
from .world import weather

# name: (lowest, highest); every one can be read off the picture.
FACTORS = {
    "size": (0.86, 1.14),
    "pose": (-1.0, 1.0),             # sine of the camera's bearing: which side is seen, how much of it
    "front": (-1.0, 1.0),            # cosine of the bearing: 1 the horse's face, -1 its tail
    "white": (0.0, 1.0),             # how light the coat is: black to white
    "ginger": (0.0, 1.0),            # how red it is: grey to chestnut
    "mane_tone": (0.0, 1.0),         # mane and tail, black to flaxen
    "points": (0.0, 1.0),            # dark lower legs, as a bay has them
    "socks": (0.0, 1.0),             # white feet
    "neck": (0.0, 1.0),              # grazing to upright
    "stride": (0.0, 1.0),            # standing to walking out
    "step": (-1.0, 1.0),             # the near foreleg is behind or ahead
    "mane": (0.0, 1.0),              # its length
    "saddle": (0.0, 1.0),            # none, with ever larger blanket, to a full one
    "trees": (0.0, 1.0),             # from none to six full-grown
    "hills": (0.1, 1.0),
    "path": (0.0, 2.2),              # half the width of the track the horse is on
    "dry": (0.0, 1.0),               # lush to parched meadow
    "camera_height": (0.9, 2.3),
    "distance": (0.95, 1.08),        # of the camera, as a multiple of the usual one
    "sun": (-1.3, 1.3),              # where the sun stands, radians from behind the camera
    "elevation": (0.40, 1.10),       # of the sun, radians
    "clouds": (0.0, 1.0),
    "haze": (0.0, 1.0),
    "warmth": (0.0, 1.0),            # noon white to evening gold
}
KINDS = ("fence_front", "fence_back", "shrubs", "poles", "signs", "objects", "light", "lettering", "people")


def sample(u):
    """Factors (N,) of ordinary scenes, and what else those were computed from, by uniform numbers u: function of a range -> (N,)."""
    f = {name: u(*span) for name, span in FACTORS.items() if name not in ("pose", "front")}
    s = u(-1, 1)
    bearing = torch.pi / 2 + 1.30 * s * (0.45 + 0.55 * s.abs())    # most are seen from the side
    bearing = torch.where(u() < 0.5, bearing, -bearing)
    f.update(pose=torch.sin(bearing), front=torch.cos(bearing), white=f["white"] ** 1.4, saddle=((f["saddle"] - 0.4) * 3).clamp(0, 1),
             path=(f["path"] - 0.5).clamp(min=0) * 2.2 / 1.7, stride=f["stride"] ** 0.8, socks=(f["socks"] * 2 - 1).clamp(min=0))
    f["neck"] = 1 - (1 - f["neck"]) ** 1.7
    return {name: f[name] for name in FACTORS}, {"bearing": bearing[:, None], "stripes": torch.zeros_like(bearing)[:, None]}


def coat(white, ginger):
    """Linear colour (N, 3, 1) of the coat: black, grey and white, or liver, chestnut and palomino; white, ginger: (N, 1)."""
    tint = torch.tensor([0.60, -0.10, -0.50], dtype=white.dtype)
    display = (0.13 + 0.76 * white) * (1 + tint * ginger * 0.9 * (1 - white) ** 0.45 + torch.tensor([0.015, 0.0, -0.03], dtype=white.dtype))
    return (display.clamp(0, 1) ** 2.2)[..., None]


def blanket(red, green, blue):
    """Linear colour (N, 3, 1) of the saddle's blanket."""
    rgb = torch.stack([red, green, blue], 1)
    return 0.02 + 0.5 * (0.75 * rgb + 0.25 * rgb.mean(1, keepdim=True))[..., None] ** 2


def joint(ax, ay, bx, by, upper, lower, forward):
    """Where the knee (N, 1) x 2 between a = (ax, ay) and b lies, for bones of those lengths (drawn out where b is too far)."""
    dx, dy = bx - ax, by - ay
    far = (dx * dx + dy * dy).sqrt()
    stretch = (far / (upper + lower) * 1.003).clamp(min=1)
    upper, lower = upper * stretch, lower * stretch
    along = (upper * upper - lower * lower + far * far) / (2 * far)
    out = (upper * upper - along * along).clamp(min=0).sqrt() * forward
    return ax + (along * dx - out * dy) / far, ay + (along * dy + out * dx) / far


def gait(p):
    """Joints of the four legs at this moment of the walk: a dict of (N, 1)."""
    phase = torch.asin(p["step"].clamp(-0.999, 0.999))
    joints = {}
    for name, shift, rest in zip(LEGS, (0.0, torch.pi, torch.pi / 2, -torch.pi / 2), (0.0, 0.05, -0.03, 0.06)):
        fore = name.endswith("fore")
        swing = 0.30 * p.stride * torch.sin(phase + shift) + rest
        lift = p.stride * torch.cos(phase + shift).clamp(min=0)
        ankle_x, ankle_y = (0.475 if fore else -0.70) + swing, 0.205 + 0.13 * lift
        knee = joint(0.43, 1.01, ankle_x, ankle_y, 0.475, 0.325, 1) if fore else joint(-0.52, 1.01, ankle_x, ankle_y, 0.51, 0.37, -1)
        bend = 0.42 - 1.1 * lift                                   # of the pastern, from straight down
        toe_x, toe_y = ankle_x + 0.185 * torch.sin(bend), ankle_y - 0.185 * torch.cos(bend)
        toe_y = torch.where(lift < 0.2, torch.lerp(torch.full_like(toe_y, 0.0), toe_y, (lift / 0.2).clamp(0, 1)), toe_y)
        joints.update({f"{name}_{part}": value for part, value in zip(
            ("knee_x", "knee_y", "ankle_x", "ankle_y", "toe_x", "toe_y"), (*knee, ankle_x, ankle_y, toe_x, toe_y))})
    return joints


def settings(u, factors, own):
    """All there is to know about the scenes of those factors, more of it drawn from u: Params (N, 1)."""
    p = Params({name: value[:, None] for name, value in factors.items()})
    number = lambda low=0.0, high=1.0: u(low, high)[:, None]
    p.update(own, coat=coat(p.white, p.ginger), side=torch.where(torch.sin(own["bearing"]) > 0, 1.0, -1.0).double())
    angle = -0.78 + 1.66 * p.neck + number(-0.06, 0.06)
    nod = -1.25 + 0.50 * p.neck + number(-0.16, 0.16)
    p.update(turn=number(-0.22, 0.22), belly=number(-0.5, 1.2), arch=number(0.02, 0.07),
             neck_cos=torch.cos(angle), neck_sin=torch.sin(angle), head_cos=torch.cos(nod), head_sin=torch.sin(nod))
    p.update(poll_x=0.54 + NECK * p.neck_cos + 0.01, poll_y=1.325 + NECK * p.neck_sin + 0.01)
    p.update(tail_x=number(-0.26, -0.08), tail_y=number(-0.95, -0.70), tail_bend=number(0.04, 0.12),
             tail_full=number(), sway=number(-0.12, 0.12))
    p.update(blaze=(number() * 2 - 1).clamp(min=0), dapples=number() * (1 - p.ginger), blanket=blanket(u(), u(), u()))
    p.update(gait(p))
    p.update(skyline=number(0, 6), cloud_x=number(0, 4), cloud_z=number(0, 4), half=p.path, lane=number(-0.5, 0.5), pavement=0 * p.path,
             conifer=number())
    tone = number(0.8, 1.15)
    p.update(outdoors.greens(u))
    p["turf"] = torch.lerp(p.turf, torch.cat([0.27 * tone, 0.235 * tone, 0.13 * tone], 1)[..., None], (0.75 * p.dry)[..., None])
    p["ground"] = p.turf
    p["earth"] = torch.cat([0.26 * tone, 0.20 * tone, 0.14 * tone], 1)[..., None]
    p.update(outdoors.grove(u))
    p.update(outdoors.framing(u))
    camera(p)
    outdoors.far_trees_first(p)
    p.update(weather(p))
    return p


def camera(p):
    """Where the camera stands, in place: so far away, and zoomed so, that the horse fills the usual share of the picture."""
    sine, cosine = torch.sin(p.bearing).abs(), torch.cos(p.bearing).abs()
    (back, _, _), (front, high, _) = bounds(p)
    long, tall, usual = (front - back) / p.size, high / p.size, 7.8
    extent = long * sine + 1.15 * cosine
    p["tangent"] = torch.maximum(extent / 0.80, tall * (1 + 0.16 * cosine) / 0.78) / (2 * usual)
    outdoors.orbit(p, usual * p.distance, 0.5 * tall)
    p.update(look_x=0.4 * p.look_x + 0.5 * (back + front), look_z=0.4 * p.look_z)   # the neck moves the middle


def meadow(canvas, p):
    """Grass with tufts, and a worn track along x; returns its hits t, x, z, each (N, P), and whether the ray goes down."""
    (ox, oy, oz), (dx, dy, dz) = canvas.o, canvas.d
    below = dy < -1e-3
    t = torch.where(below, oy / (-dy).clamp(min=1e-3), torch.full_like(dy, 2e3))
    x, z = ox + t * dx, oz + t * dz
    deep = canvas.pixel * t / (-dy).clamp(min=0.02)
    fade, fine_fade = 1 / (1 + 2 * deep), 1 / (1 + 12 * deep)
    big, mid, fine = fbm(x * 0.21 + p.skyline, z * 0.21), fbm(x * 1.3, z * 1.3), fbm(x * 6.1, z * 6.1)
    blade = fbm(x * 17.3, z * 17.3)
    tuft = 0.46 + 0.50 * big + 0.60 * (mid - 0.5) * fade + 0.9 * (fine - 0.5) * fine_fade + 0.7 * (blade - 0.5) * fine_fade
    straw = (0.35 * (big - 0.35) + 0.5 * (mid - 0.5) * fade).clamp(0, 0.6)
    turf = mix(p.turf.expand(-1, -1, x.shape[1]), p.earth * 1.25, straw * 0.7) * tuft.unsqueeze(-2)
    edge = (z - p.lane).abs() - p.half + 0.9 * (mid - 0.5) + 0.35 * (fine - 0.5)
    worn = step(0.18, -0.18, edge) * step(0.0, 0.4, p.half)
    ruts = 1 - 0.16 * torch.exp(-(((z - p.lane).abs() - 0.45 * p.half) / 0.2) ** 2)
    track = p.earth * ((0.72 + 0.35 * mid + 0.35 * (fine - 0.5) * fine_fade) * ruts).unsqueeze(-2)
    canvas.put(mix(turf, track, worn), below.to(turf.dtype), t, "grass")
    canvas.segment = torch.where(below & (worn > 0.5), torch.full_like(canvas.segment, ID["path"]), canvas.segment)
    return t, x, z, below


def background(p, o, d, pixel):
    return outdoors.background(p, o, d, pixel, ID, meadow, ("grass", "path"))


def person(canvas, p, c, room):
    """Someone beside the horse, before or behind it: head with a hat, jacket, arms, legs."""
    u, v, t, soft = clutter.board(canvas, p, 3.6 * c.own0 - 1.8, (c.own1 < 0.6) * -4.6 + 2.3, room)
    v = v / (0.9 + 0.2 * c.own2)
    zero = torch.zeros_like(c.own0)
    bone = lambda ax, ay, bx, by, r0, r1: cone(u, v, zero + 1e-9, ax + zero, ay + zero, bx + zero, by + zero, r0, r1)
    apart = 0.06 + 0.10 * c.own3
    legs = torch.minimum(bone(-0.08, 0.9, -apart, 0.05, 0.10, 0.06), bone(0.08, 0.9, apart, 0.05, 0.10, 0.06))
    arms = torch.minimum(bone(-0.2, 1.36, -0.30, 0.85, 0.07, 0.05), bone(0.2, 1.36, 0.30, 0.85, 0.07, 0.05))
    jacket = torch.minimum(bone(0, 0.95, 0, 1.32, 0.15, 0.19), arms)
    skin = torch.minimum(bone(0, 1.45, 0, 1.60, 0.06, 0.10), (u.abs() - 0.30).abs() + (v - 0.80).abs() - 0.05)
    hat = torch.minimum(bone(0, 1.70, 0, 1.72, 0.11, 0.09), bone(-0.15, 1.68, 0.15, 1.68, 0.02, 0.02))
    folds = 0.75 + 0.5 * fbm(u * 4, v * 3)
    blue = torch.stack([0.06 + 0.2 * c.own4, 0.08 + 0.1 * c.own4, 0.25 - 0.15 * c.own4], 1)
    dress = torch.stack([c.own5, c.own6, c.own7], 1) * 0.6
    for shape, albedo in ((legs, blue), (jacket, dress), (skin, color(u, 0.50, 0.32, 0.23)), (hat, dress.flip(1) * 0.4)):
        lit = albedo * (p.sunlight * 0.45 * (1 - 0.5 * step(-0.06, 0.02, shape)).unsqueeze(-2) + p.ambient * 0.55) * folds.unsqueeze(-2)
        canvas.put(lit, step(0.5, -0.5, shape / soft) * (v > 0) * c.has_people, t, "person")
        t = t - 0.01


def challenge(canvas, p, c):
    room = clutter.Room(reach=0.8, ground=("path",), marked=("horse",), belt=(1.0, 1.45))
    person(canvas, p, c, room)
    clutter.add(canvas, p, c, room)
