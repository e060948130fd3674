"""Cars: their factors, the scenes they stand in, the camera. What they look like is in car_body.py."""
import torch

from . import clutter, outdoors
from .car_body import CLASSES, FRONT, ID, REAR, SHADING, SHAPE, bounds, distance, shade  # noqa: F401 (part of the category)
from .tracing import Params
from .world import weather

# name: (lowest, highest); every one can be read off the picture. Those in brackets below are computed from others.
FACTORS = {
    "size": (0.82, 1.18),            # scale of the whole car
    "pose": (-1.0, 1.0),             # sine of the camera's bearing: which side is seen, how much of it
    "front": (-1.0, 1.0),            # cosine of the bearing: 1 the car's face, -1 its tail
    "red": (0.0, 1.0), "green": (0.0, 1.0), "blue": (0.0, 1.0),    # paint, as displayed
    "lightness": (0.0, 1.0),         # mean of the three
    "wheel_type": (0.0, 1.0),        # thin spokes to a full disc
    "wheel_size": (0.29, 0.40),      # radius of the tyre
    "cabin": (0.40, 0.78),           # height of the roof above the waist line
    "bonnet": (0.70, 1.35),          # length of the bonnet
    "tail": (0.0, 1.0),              # saloon with a boot to van with an upright rear
    "trees": (0.0, 1.0),             # from none to six full-grown
    "buildings": (0.0, 1.0),
    "hills": (0.1, 1.0),
    "road": (3.2, 7.0),              # half its width: the wider, the less grass
    "camera_height": (0.9, 2.3),
    "distance": (0.95, 1.08),        # of the camera, as a multiple of the usual one
    "sun": (-1.3, 1.3),              # where the sun stands, radians from behind the camera
    "elevation": (0.40, 1.10),       # of the sun, radians
    "clouds": (0.0, 1.0),
    "haze": (0.0, 1.0),
    "warmth": (0.0, 1.0),            # noon white to evening gold
}

KINDS = clutter.KINDS                  # of additions in challenging scenes


def paint(kind, hue, strength, value):
    """Display colours (N, 3) from four uniform numbers (N,): a third of all cars are white, silver, grey or black."""
    grey = kind < 0.30
    wheel = torch.stack([(1 - ((hue * 6 - s).remainder(6) - 3).abs() / 3 * 1.5 + 0.5).clamp(0, 1) for s in (3.0, 5.0, 1.0)], -1)
    wheel = 1 - wheel
    saturation = torch.where(grey, 0.04 * strength, 0.45 + 0.42 * strength)[:, None]
    top = torch.where(grey, 0.08 + 0.84 * value, 0.35 + 0.55 * value)[:, None]
    return top * (1 - saturation * (1 - wheel.clamp(0, 1)))


def sample(u):
    """Factors (N,) of ordinary scenes, and what else those were computed from, by uniform numbers u: function of a range -> (N,)."""
    f = {name: u(*span) for name, span in FACTORS.items() if name not in ("pose", "front", "red", "green", "blue", "lightness")}
    bearing = torch.pi * u() ** 1.15
    bearing = torch.where(u() < 0.5, bearing, -bearing)
    rgb = paint(u(), u(), u(), u())
    f.update(pose=torch.sin(bearing), front=torch.cos(bearing), red=rgb[:, 0], green=rgb[:, 1], blue=rgb[:, 2], lightness=rgb.mean(1))
    return {name: f[name] for name in FACTORS}, {"bearing": bearing[:, None], "paint": (rgb ** 2.2)[:, :, None]}


def settings(u, factors, own):
    """All there is to know about the scenes of those factors, more of it drawn from u: Params (N, 1)."""
    p = Params({name: value[:, None] for name, value in factors.items()})
    p.update(own, spokes=(5 + (u() * 5).floor())[:, None], turn=u(0, 6.28)[:, None])
    p.update({k: u(0, 16)[:, None] for k in ("skyline", "cloud_x", "cloud_z")})
    p.update(half=p.road, lane=u(-0.4, 0.4)[:, None], divider=u(1.7, 2.4)[:, None] * (2 * (u() < 0.5) - 1)[:, None],
             markings=u(0.3, 0.9)[:, None], pavement=(u() ** 2 * 2.4)[:, None], conifer=(u() < 0.25)[:, None].double(),
             bay=u(2.2, 3.4)[:, None])
    grey, warm = u(0.065, 0.135), u(0.94, 1.06)
    p["asphalt"] = p["ground"] = torch.stack([grey * warm, grey, grey / warm], 1)[..., None]
    grey = u(0.20, 0.36)
    p["paving"] = torch.stack([grey * 1.03, grey, grey * 0.94], 1)[..., None]
    p.update(outdoors.greens(u))
    p.update(outdoors.grove(u))
    p.update(outdoors.town(u))
    p.update(outdoors.framing(u))
    p.update(shape(p))
    camera(p)
    outdoors.far_trees_first(p)
    p.update(weather(p))
    return p


def camera(p):
    """Where the camera stands, in place: so far away, and zoomed so, that the car fills the usual share of the picture."""
    sine, cosine = torch.sin(p.bearing), torch.cos(p.bearing)
    extent = 4.35 * sine.abs() + 1.85 * cosine.abs()
    usual = 5.6 + 0.95 * extent
    fill = 0.69 - 0.13 * cosine.abs() ** 4 + 0.28 * (sine * cosine) ** 2
    p["tangent"] = extent / (2 * fill * usual)
    outdoors.orbit(p, usual * p.distance, 0.75)


def shape(f):
    """Derived measures of the car from its factors; all (N, 1)."""
    p = {}
    waist = 0.86 + 1.1 * (f["wheel_size"] - 0.33)
    tail, cabin, bonnet = f["tail"], f["cabin"], f["bonnet"]
    p["waist"], p["clearance"] = waist, 0.16 + 1.1 * (f["wheel_size"] - 0.29)
    p["cowl"] = FRONT - bonnet - 0.12
    p["rake"] = 1.75 - 0.9 * (cabin - 0.40) / 0.38 - 0.35 * (1.0 - (bonnet - 0.7) / 0.65)
    p["heel"] = -1.42 - 0.62 * tail
    p["slope"] = 1.35 - 1.15 * tail
    p["axle_front"] = torch.full_like(waist, FRONT - 0.78)
    p["axle_rear"] = torch.full_like(waist, REAR + 0.80)
    p["nose_y"] = waist - 0.16
    p["lamp_tall"] = 0.06 + 0.10 * tail
    p["fall"] = torch.ones_like(waist)  # how far the waist line drops behind the cabin
    return p


def background(p, o, d, pixel):
    return outdoors.background(p, o, d, pixel, ID)


def challenge(canvas, p, c):
    clutter.add(canvas, p, c, clutter.Room(marked=("car",), belt=(0.42, 0.80)))
