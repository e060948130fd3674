"""Faces: their factors, the light they stand in, the camera and the blurred background.

The head's shape is in face_head.py, what is painted on it in face_paint.py, how light falls on it in face_skin.py, and what challenging
pictures add in face_clutter.py. Lengths are in decimetres.
"""
import torch

from .face_clutter import KINDS, challenge, screen  # noqa: F401 (part of the category)
from .face_head import SHAPE, bounds, distance  # noqa: F401 (part of the category)
from .face_skin import CLASSES, ID, SHADING, shade  # noqa: F401
from .tracing import Params, color, mix, step
from .world import Canvas

# name: (lowest, highest); every one can be read off the picture
FACTORS = {
    "pose": (-0.65, 0.65),           # radians the face is turned from the camera
    "nod": (-0.20, 0.22),            # radians the camera stands above the face
    "roll": (-0.14, 0.14),           # radians the head is tilted
    "glasses": (0.0, 1.0),           # none, or thin to thick frames; half of all faces wear none
    "smile": (0.0, 1.0),             # serious to laughing
    "brows": (0.0, 1.0),             # thin to thick eyebrows
    "age": (0.0, 1.0),
    "beard": (0.0, 1.0),
    "skin": (0.0, 1.0),              # dark to light
    "redness": (0.0, 1.0),
    "hair_length": (0.0, 1.0),
    "hair_volume": (0.0, 1.0),
    "fringe": (0.0, 1.0),
    "hair_light": (0.0, 1.0),
    "hair_red": (0.0, 1.0),
    "width": (0.92, 1.08),
    "jaw": (0.0, 1.0),               # narrow to square
    "nose": (0.0, 1.0),
    "eyes": (0.0, 1.0),
    "lips": (0.0, 1.0),
    "sun": (-1.2, 1.2),              # where the light stands, radians to the side of the camera
    "elevation": (0.15, 1.0),
    "warmth": (0.0, 1.0),
    "contrast": (0.0, 1.0),          # soft to strong light
    "red": (0.0, 1.0), "green": (0.0, 1.0), "blue": (0.0, 1.0),      # of the background
    "shirt_light": (0.0, 1.0),
    "distance": (0.93, 1.08),
}
BLOBS = 5


def sample(u):
    """Factors (N,) by name of ordinary scenes, from uniform numbers u; and nothing of its own."""
    f = {name: u(*span) for name, span in FACTORS.items() if name not in ("red", "green", "blue")}
    f["glasses"] = ((f["glasses"] - 0.5) / 0.5).clamp(min=0)
    f["beard"] = f["beard"] ** 1.5 * (1 - 0.9 * f["hair_length"])
    f["fringe"] = f["fringe"] ** 2.5
    f["hair_light"] = f["hair_light"] * (0.25 + 0.75 * step(0.2, 0.8, f["skin"]))    # fair hair on fair skin, mostly
    hue, strong, value = 2 * torch.pi * u(), 0.4 * u() ** 2, u(0.12, 0.85)
    f.update({name: (value * (1 + strong * torch.cos(hue - 2.094 * k))).clamp(0, 1) for k, name in enumerate(("red", "green", "blue"))})
    return f, {}


def _hue(u):
    """A colour (N, 3) as displayed, greyish more often than not."""
    a, b, c = u(0.1, 0.8), u(-0.16, 0.16), u(-0.16, 0.16)
    return torch.stack([a + b, a - 0.3 * b + 0.2 * c, a - c], 1).clamp(0.03, 0.95)


def settings(u, f, own):
    """All that is random about an ordinary scene: Params (N, 1) in float64 on the CPU."""
    f = {k: v[:, None] for k, v in f.items()}
    v = lambda low=0.0, high=1.0: u(low, high)[:, None]
    p = Params(pose=f["pose"], sun_side=f["sun"], size=torch.ones_like(f["pose"]))
    for part in (_features(f, v), _posture(f, v), _hair(f, v), _colors(f, u, v), _view(f, v)):
        p.update(part)
    p.update(_light(f, p))
    return p


def _features(f, v):
    """Measures of the face; a smile narrows the eyes, lifts and widens the mouth, and opens it when it becomes a laugh."""
    smile, eyes, old, laugh = f["smile"], f["eyes"], step(0.1, 1.0, f["age"]), step(0.2, 1.0, f["smile"])
    p = dict(old=old, smile=smile, width=f["width"], jaw=0.84 - 0.42 * f["jaw"] - 0.10 * laugh - 0.15 * old)
    p["chin"] = v(0.78, 0.84) + 0.03 * f["jaw"] + 0.015 * laugh
    p.update(nose=0.62 + 0.42 * f["nose"] + 0.10 * old, nose_wide=0.12 * v(0.85, 1.25) + 0.014 * smile)
    p.update(eye_wide=0.148 + 0.032 * eyes, eye_up=(0.056 + 0.026 * eyes) * (1 - 0.25 * laugh - 0.15 * old),
             eye_low=0.036 + 0.014 * eyes - 0.016 * smile, brow=f["brows"], brow_low=0.03 * v(-1, 1) + 0.02 * old)
    p.update(lip=0.55 + 0.75 * f["lips"] - 0.2 * old, mouth=0.235 + 0.02 * f["lips"] + 0.065 * smile, lift=0.12 * smile + 0.022,
             gap=0.125 * laugh)
    p.update(cheek=0.035 + 0.05 * smile + 0.02 * v(-1, 1), beard=f["beard"])
    thick = f["glasses"]
    p.update(frame=0.011 + 0.015 * thick - 0.5 * step(0.04, 0.0, thick), solid=step(0.02, 0.30, thick), glare=v(0.0, 0.25))
    return p


def _posture(f, v):
    """How the head is tilted, how body and gaze follow the face."""
    turn, nod, gaze = f["pose"] * 0.55 + v(-0.2, 0.2), f["nod"] * 0.7, v(-0.12, 0.12)
    return dict(roll_c=torch.cos(f["roll"]), roll_s=torch.sin(f["roll"]), turn_c=torch.cos(turn), turn_s=torch.sin(turn),
                nod_c=torch.cos(nod), nod_s=torch.sin(nod), gaze_z=torch.sin(f["pose"] * 0.85) + gaze,
                gaze_y=torch.sin(f["nod"] * 0.8) - 0.02, neck=0.40 + 0.08 * f["jaw"], shoulder=v(0.85, 1.1))


def _hair(f, v):
    """Short hair is thick on top; long hair everywhere, and falls down to the shoulders. The old lose some over the temples."""
    long, volume = f["hair_length"], f["hair_volume"]
    return dict(hair=0.04 + 0.13 * volume * (0.35 + 0.65 * long), top=0.20 * volume * (1 - 0.7 * long),
                fall=0.35 - 2.3 * step(0.25, 1.05, long),
                flare=0.60 + 0.16 * step(0.28, 0.55, long) + 0.05 * v(), fringe=-0.12 + 0.42 * f["fringe"], part=v(-0.4, 0.4),
                recede=0.10 + 0.16 * v() + 0.15 * step(0.25, 1.0, f["age"]) * (1 - long), wave=v())


def _between(a, b, t):
    """From colour a to colour b by equal steps to the eye."""
    return torch.exp(torch.lerp(torch.log(a), torch.log(b), t))


def _colors(f, u, v):
    """Colours (N, 3, 1) in linear light: of skin, hair, eyes, lips, clothes and frames."""
    rgb = lambda r, g, b: color(f["pose"], r, g, b)
    part = lambda value: value[..., None]
    light = part(f["skin"])
    skin = _between(rgb(0.105, 0.058, 0.038), rgb(0.48, 0.335, 0.265), light) * torch.exp(rgb(0.0, 0.03, -0.06) * part(v(-1, 1)))
    red, fair = part(f["hair_red"]), part(f["hair_light"])
    brown = torch.lerp(rgb(0.085, 0.055, 0.036), rgb(0.12, 0.045, 0.018), red)
    blond = torch.lerp(rgb(0.36, 0.28, 0.19), rgb(0.30, 0.13, 0.055), red)
    hair = _between(_between(rgb(0.012, 0.009, 0.008), brown, (fair * 2).clamp(max=1)), blond, (fair * 2 - 1).clamp(min=0))
    grey = part(step(0.5, 1.0, f["age"]) * 0.9)
    brow = torch.lerp(hair * 0.5, rgb(0.16, 0.155, 0.15), grey * 0.6)
    iris = torch.lerp(rgb(0.06, 0.025, 0.010), torch.lerp(rgb(0.10, 0.13, 0.05), rgb(0.12, 0.20, 0.30), part(v())), part(v() * f["skin"]))
    rouge = rgb(0.50, 0.13, 0.12) * (0.35 + 0.65 * light)
    lip = torch.lerp(skin * rgb(0.95, 0.62, 0.62), rouge, part(0.15 + 0.6 * v() * step(0.2, 0.6, f["hair_length"])))
    shirt = part(0.04 + 0.9 * f["shirt_light"]) * torch.lerp(torch.ones_like(skin), part(_hue(u)) / 0.45, 0.7)
    return dict(skin=skin, redness=f["redness"], freckles=v() ** 2 * step(0.3, 0.7, f["skin"]), brow_color=brow, iris=iris, lip_color=lip,
                hair_color=torch.lerp(hair, rgb(0.27, 0.267, 0.265), grey), shirt=shirt.clamp(0.01, 1.0) ** 2.2 * 0.8,
                jacket=part(_hue(u)) ** 2.2 * 0.5, lapel=v(0.25, 1.3),
                frame_color=torch.lerp(rgb(0.015, 0.014, 0.014), rgb(0.14, 0.06, 0.025), part(v())))


def _view(f, v):
    """Camera, and the discs of light in the background."""
    b, e, away = f["pose"], f["nod"], 13.0 * f["distance"]
    side, up = v(-0.08, 0.08), v(-0.10, 0.06)
    p = dict(bearing=b, away=away, camera_x=away * torch.cos(b) * torch.cos(e), camera_z=away * torch.sin(b) * torch.cos(e),
             camera_y=away * torch.sin(e) - 0.1, look_x=-torch.sin(b) * side, look_z=torch.cos(b) * side, look_y=up - 0.01,
             tangent=torch.full_like(b, 1.52 / 13.0), exposure=v(0.9, 1.12))
    for k in range(BLOBS):
        p.update({f"blob_u{k}": ((k + 0.5) / BLOBS * 2 - 1) * 1.1 + v(-0.4, 0.4), f"blob_v{k}": v(-0.7, 1.0), f"blob_r{k}": v(0.12, 0.6),
                  f"blob_light{k}": v(-0.25, 1.0)})
    p.update(horizon=v(-0.8, 0.6), fade=v(-0.6, 0.6), warm_low=v(-0.4, 0.4))
    return p


def _light(f, p):
    """A lamp or the sun beside the camera, and what comes from all around, coloured by the background."""
    angle, e, warm, hard = f["pose"] + f["sun"], f["elevation"], f["warmth"][..., None], f["contrast"][..., None]
    c = lambda r, g, b: color(f["pose"], r, g, b)
    wall = torch.stack([f["red"], f["green"], f["blue"]], 1) ** 2.2
    fill = torch.lerp(c(0.60, 0.64, 0.70), c(0.66, 0.60, 0.55), warm) * (1.2 - 0.58 * hard) * (0.75 + 0.5 * wall)
    return dict(sun_x=torch.cos(angle) * torch.cos(e), sun_y=torch.sin(e), sun_z=torch.sin(angle) * torch.cos(e),
                sunlight=torch.lerp(c(0.96, 1.0, 1.06), c(1.09, 0.94, 0.79), warm) * (1.3 + 0.9 * hard), ambient=fill,
                bounce=fill * c(0.62, 0.55, 0.50), wall=wall * 0.8 + 0.02)


def background(p, o, d, pixel):
    """An out-of-focus room or garden: a gradient, a soft horizon, discs of light."""
    u, v = screen(o, d, p)
    light = p.wall * (1 + 0.5 * p.fade * v + 0.25 * p.fade * u).unsqueeze(-2)
    low = step(0.5, -0.5, v - p.horizon - 0.15 * u)
    tone = torch.stack([1 + p.warm_low, torch.ones_like(p.warm_low), 1 - p.warm_low], 1)
    light = mix(light, light * 0.45 * tone, low)
    for k in range(BLOBS):
        r = ((u - p[f"blob_u{k}"]) ** 2 + (v - p[f"blob_v{k}"]) ** 2 + 1e-9).sqrt() / p[f"blob_r{k}"]
        light = light * (1 + p[f"blob_light{k}"] * step(1.25, 0.6, r)).unsqueeze(-2)
    return Canvas(o, d, light, torch.full_like(u, 1e4), torch.zeros_like(u, dtype=torch.long), pixel, ID), None
