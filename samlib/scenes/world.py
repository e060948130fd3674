"""The world around a subject: sky and clouds, hills, ground with a road, buildings, trees, haze.

Nothing here is sphere-traced: the ground is a plane, a building a box, a tree a board that faces the camera and is shaded like a
cluster of balls. `Canvas` holds what the rays have met so far: light (N, 3, P), distance t (N, P) and segment (N, P).
"""
from dataclasses import dataclass

import torch

from .noise import cell, fbm
from .tracing import Params, box, color, mix, step

TREES, BUILDINGS = 6, 3


@dataclass
class Canvas:
    o: tuple            # camera (N, 1) x 3
    d: tuple            # ray directions (N, P) x 3
    light: torch.Tensor
    t: torch.Tensor
    segment: torch.Tensor
    pixel: torch.Tensor  # (N, 1) angle between neighbouring rays' pixels: what is finer than t * pixel must fade
    ids: dict           # name of a segment -> its number

    def put(self, light, cover, t, name):
        """Lay something of colour light (N, 3, P) over the picture where cover (N, P) in [0, 1] and t is nearer."""
        cover = cover * (t < self.t)
        self.light = mix(self.light, light, cover)
        solid = cover > 0.5
        self.t = torch.where(solid, t, self.t)
        self.segment = torch.where(solid, torch.full_like(self.segment, self.ids[name]), self.segment)

    def at(self, *names):
        """Where the picture shows one of those segments, (N, P) bool; a category need not have them all."""
        return sum((self.segment == self.ids.get(name, -1) for name in names), torch.zeros_like(self.segment, dtype=torch.bool))


def weather(u):
    """Sun, sky and haze colours from the factors in u (a Params): warmth, clouds, haze, sun, elevation, and the camera's bearing."""
    angle = u.bearing + torch.pi + u.sun                          # the sun stands behind the camera, `sun` radians to a side
    e = u.elevation
    w, c = u.warmth[:, None], u.clouds[:, None] ** 2
    white = color(u.warmth, 1.0, 0.97, 0.92)
    sun = torch.lerp(white, color(white, 1.0, 0.72, 0.42), w) * (3.4 - 2.2 * c)
    zenith = torch.lerp(color(white, 0.10, 0.29, 0.75), color(white, 0.26, 0.36, 0.62), w)
    zenith = torch.lerp(zenith, color(white, 0.60, 0.64, 0.70), c * 0.75)
    horizon = torch.lerp(color(white, 0.58, 0.75, 0.95), color(white, 0.95, 0.76, 0.58), w)
    horizon = torch.lerp(horizon, color(white, 0.82, 0.84, 0.87), c * 0.7)
    return Params(sun_x=torch.cos(angle) * torch.cos(e), sun_y=torch.sin(e), sun_z=torch.sin(angle) * torch.cos(e),
                  sunlight=sun, zenith=zenith * 0.9, horizon=horizon * 0.95, ambient=(zenith * 0.55 + horizon * 0.45) * 0.8)


def sky(x, y, z, p):
    """Sky light without clouds from direction (x, y, z): a gradient and the glow about the sun."""
    height = y.clamp(min=0)
    light = mix(p.horizon, p.zenith, 1 - (1 - height).clamp(min=0) ** 5)
    glow = (x * p.sun_x + y * p.sun_y + z * p.sun_z).clamp(0, 1)
    return light + p.sunlight * (0.06 * glow ** 8 + 0.10 * glow ** 64).unsqueeze(-2)


def surroundings(x, y, z, p):
    """What a shiny surface mirrors from direction (x, y, z): ground, a soft dark skyline, sky."""
    ground = p.ground * (0.35 * p.sunlight * p.sun_y.unsqueeze(-2) + 0.6 * p.ambient)
    skyline = p.foliage * (0.22 * p.sunlight + 0.5 * p.ambient)
    ragged = 0.10 + 0.10 * fbm(x * 3 + p.skyline, z * 3)
    light = mix(skyline, sky(x, y, z, p), step(-0.06, 0.06, y - ragged))
    return mix(ground, light, step(-0.05, 0.03, y))


def backdrop(p, o, d, pixel, ids):
    """Sky with clouds, far hills and a near tree line."""
    x, y, z = d
    light = sky(x, y, z, p)
    plane = 1 / (y.clamp(min=0) + 0.12)
    noise = fbm(x * plane * 0.8 + p.cloud_x, z * plane * 0.8 + p.cloud_z)
    cover = step(0.68, 0.93, noise + 0.50 * p.clouds) * step(0.0, 0.22, y)
    lit = p.sunlight * 0.22 + p.ambient * 0.75
    light = mix(light, torch.lerp(lit, p.horizon, 0.25) * (1.12 - 0.35 * step(0.5, 1.0, noise)).unsqueeze(-2), cover * 0.85)
    canvas = Canvas(o, d, light, torch.full_like(x, 1e4), torch.full_like(x, ids["sky"], dtype=torch.long), pixel, ids)
    flat = torch.rsqrt((x * x + z * z).clamp(min=1e-6))
    level, ax, az = y * flat, x * flat, z * flat
    edge = 1.5 * pixel
    for distance, height, seed, rate, tint, mist in ((2500.0, 0.16, 0.0, 1.6, 0.6, 0.75), (300.0, 0.09, 7.0, 5.0, 1.0, 0.30)):
        ridge = height * p.hills * (0.15 + fbm(ax * rate + p.skyline + seed, az * rate + seed))
        if distance < 1000:                                        # the near line is a wood: rough crowns
            ridge = ridge + 0.022 * p.hills * fbm(ax * 22 + p.skyline, az * 22)
        texture = fbm(ax * 30 + seed, level * 45 + seed)
        shade = (0.75 + 0.5 * texture) * (0.30 + 0.75 * step(-0.02, 1.0, level / ridge.clamp(min=1e-3)))
        green = p.foliage * tint * (0.45 * p.sunlight * p.sun_y.unsqueeze(-2) + 0.55 * p.ambient)
        hill = torch.lerp(green * shade.unsqueeze(-2), p.horizon * 0.9, (mist + 0.5 * p.haze).clamp(max=0.9).unsqueeze(-2))
        cover = step(0, 1, (ridge - level) / edge * 0.5 + 0.5) * (y > -0.02)
        canvas.put(hill, cover, torch.full_like(x, distance), "hill")
    return canvas


def ground(canvas, p):
    """Road with markings, kerb, pavement and grass on the plane y = 0; returns its hits t, x, z, each (N, P), for shadows."""
    (ox, oy, oz), (dx, dy, dz) = canvas.o, canvas.d
    below = dy < -1e-3
    t = torch.where(below, oy / (-dy).clamp(min=1e-3), torch.full_like(dy, 2e3))
    x, z = ox + t * dx, oz + t * dz
    foot = canvas.pixel * t                                        # size of a pixel on the ground, across and in depth
    deep = foot / (-dy).clamp(min=0.02)
    blur = foot + (deep - foot) * dz.abs()
    fade = 1 / (1 + 6 * blur)
    across = z - p.lane
    big, fine = fbm(x * 0.23 + p.skyline, z * 0.23), fbm(x * 2.7, z * 2.7 + p.skyline)
    asphalt = p.asphalt * (0.80 + 0.28 * big + (0.30 * fade * (fine - 0.5))).unsqueeze(-2)
    worn = 0.06 * torch.exp(-((across.abs() - 0.9) / 0.35) ** 2)    # tyre tracks
    asphalt = asphalt * (1 - worn).unsqueeze(-2)
    dash = step(-0.5, 0.5, (1.5 - ((x + p.skyline * 7).remainder(7) - 3.5).abs()) / (deep + 0.04))
    line = lambda at, wide: step(-0.5, 0.5, (wide - (across - at).abs()) / (blur + 0.02)) * (wide / (blur + wide)).clamp(max=1)
    paint = torch.maximum(line(p.divider, 0.07) * dash, torch.maximum(line(p.half - 0.35, 0.06), line(0.35 - p.half, 0.06)))
    light = mix(asphalt, color(x, 0.74, 0.73, 0.70), paint * p.markings * (0.55 + 0.5 * fine))
    edge = across.abs() - p.half
    inside = lambda a: step(-0.5, 0.5, (edge - a) / (blur + 0.02))
    slab = 0.92 + 0.10 * big + 0.12 * fade * (fine - 0.5)
    light = mix(light, p.paving * 1.15 * slab.unsqueeze(-2), inside(0.0))
    light = mix(light, p.paving * 0.88 * slab.unsqueeze(-2), inside(0.16))
    blades = fbm(x * 1.1 + 3, z * 1.1)
    turf = p.turf * (0.62 + 0.45 * big + 0.45 * (blades - 0.5) * fade + 0.25 * (fine - 0.5) * fade).unsqueeze(-2)
    grass = inside(0.16 + p.pavement)
    light = mix(light, turf, grass)
    canvas.put(light, below.to(light.dtype), t, "road")
    canvas.segment = torch.where(below & (grass > 0.5), torch.full_like(canvas.segment, canvas.ids["grass"]), canvas.segment)
    return t, x, z, below


def place(p, slot, kind, gap):
    """Where the thing in a slot stands (x, z), each (N, 1), and whether there is room; along a ray of the view, off the road.

    The slot's ray leaves the camera at a side angle; the thing stands at its depth, or further out where the road ends.
    """
    side, depth = p[f"{kind}_side{slot}"], p[f"{kind}_depth{slot}"]
    fx, fz = -torch.cos(p.bearing), -torch.sin(p.bearing)
    k = side * p.tangent * 1.15
    x, z = fx - fz * k, fz + fx * k                                # direction: forward + k right, right = (-fz, fx)
    need = p.half + p.pavement + gap
    out = torch.where(z > 0, need + p.lane - p.camera_z, p.camera_z - p.lane + need) / z.abs().clamp(min=1e-3)
    far = torch.maximum(p.away + depth, out)
    return p.camera_x + x * far, p.camera_z + z * far, (far < 75).to(x.dtype)


def buildings(canvas, p):
    """Boxes with rows of windows, parallel to the road."""
    for k in range(BUILDINGS):
        grown = (p.buildings * BUILDINGS - k).clamp(0, 1)
        wide, deep = p[f"building_wide{k}"], 5.0
        x, z, room = place(p, k, "building", 3.5)
        high = p[f"building_high{k}"] * (0.4 + 0.6 * grown) * room * (grown > 0.02)
        zc = z + torch.sign(z) * deep
        low, top = (x - wide, -torch.ones_like(x), zc - deep), (x + wide, high, zc + deep)
        near, far = box(canvas.o, canvas.d, low, top)
        hit = (far > near) & (near > p.away * 0.6) & (high > 0.3)
        if not bool(hit.any()):
            continue
        hx, hy, hz = (o + near * d for o, d in zip(canvas.o, canvas.d))
        front = ((hz - zc).abs() > deep - 1e-2).to(hx.dtype)       # a face along the road; otherwise a gable end
        roof = (hy > high - 1e-2).to(hx.dtype)
        along = torch.where(front > 0.5, hx - x, hz - zc)
        facing = torch.where(front > 0.5, torch.sign(hz - zc) * p.sun_z, torch.sign(hx - x) * p.sun_x).clamp(min=0)
        soft = canvas.pixel * near * 1.2 + 0.05
        a, b = (along / p.bay).remainder(1) - 0.5, (hy / 3.0).remainder(1) - 0.52
        pane = step(-0.5, 0.5, (0.27 - a.abs()) * p.bay / soft) * step(-0.5, 0.5, (0.26 - b.abs()) * 3 / soft)
        pane = pane * ((hy / 3).ceil() * 3 < high - 0.1) * (1 - roof)
        wall = p[f"wall{k}"] * (0.86 + 0.2 * fbm(along * 0.4 + k, hy * 0.4)).unsqueeze(-2)
        wall = wall * (1 - 0.25 * step(-0.3, 0.3, hy - high + 0.5) * (1 - roof)).unsqueeze(-2)
        shine = p.horizon * 0.28 + p.zenith * 0.10
        bright = p.sunlight * (0.55 * facing + 0.5 * roof * p.sun_y).unsqueeze(-2) + p.ambient * (
            0.45 + 0.25 * (hy / 12).clamp(0, 1)
        ).unsqueeze(-2)
        face = mix(wall * bright, shine * (0.65 + 0.5 * cell(along / p.bay + 40, hy / 3 + 9 * k)).unsqueeze(-2), pane * 0.6)
        canvas.put(face, hit.to(hx.dtype), near, "building")


def trees(canvas, p, grain):
    """Boards that face the camera: trunk and crown, the outline and the shading broken up by noise `grain` (N, P)."""
    (ox, oy, oz), (dx, dy, dz) = canvas.o, canvas.d
    fx, fz = -torch.cos(p.bearing), -torch.sin(p.bearing)
    depth = (dx * fx + dz * fz).clamp(min=1e-3)
    sx, sz = p.sun_x * -fz + p.sun_z * fx, -(p.sun_x * fx + p.sun_z * fz)     # the sun in the board's frame: right and towards us
    for k in range(TREES):
        grown = (p.trees * TREES - p[f"tree_rank{k}"]).clamp(0, 1)
        x, z, room = place(p, k, "tree", 1.0)
        tall = p[f"tree_tall{k}"] * (0.35 + 0.65 * grown) * room * (grown > 0.02)
        away = (x - ox) * fx + (z - oz) * fz
        t = away / depth
        u = (ox + t * dx - x) * -fz + (oz + t * dz - z) * fx
        v = oy + t * dy
        soft = canvas.pixel * t
        size = tall.clamp(min=0.1)
        trunk = step(-0.5, 0.5, ((0.022 * size + 0.05) * (1.3 - 0.5 * v / size) - (u + 0.03 * v * (grain - 0.5)).abs()) / soft) \
            * (v > 0) * (v < 0.6 * size) * (tall > 0.2)
        round_light = 0.45 + 0.5 * (u / (0.025 * size + 0.05) * sx).clamp(-1, 1)
        bark = color(x, 0.16, 0.12, 0.09) * (p.sunlight * (0.5 * round_light).unsqueeze(-2) + p.ambient * 0.5)
        canvas.put(bark, trunk, t, "tree")
        middle, half_high = 0.63 * size, 0.38 * size
        wide = p[f"tree_wide{k}"] * size * (1 - p.conifer * 0.75 * ((v - middle) / half_high * 0.5 + 0.5).clamp(0, 1))
        a, b = u / wide, (v - middle) / half_high
        lump = fbm(u * 0.55 + 3 * k + p.skyline, v * 0.55 + k)
        radius = a * a + b * b
        inside = 1 - radius - 3 * (radius - 1).clamp(min=0) + 1.5 * (lump - 0.5) + 0.7 * (grain - 0.5)
        crown = step(-0.08, 0.16, inside) * (tall > 0.2) * (v > 0.15 * size)
        bulge = inside.clamp(0, 1).sqrt()
        lit = (0.40 + 0.40 * (a * sx + b * p.sun_y + bulge * sz) + 1.1 * (lump - 0.5) + 0.8 * (grain - 0.5)).clamp(0.05, 1.3)
        leaf = p.foliage * p[f"tree_tint{k}"].unsqueeze(-1)
        leaves = leaf * (p.sunlight * (0.75 * lit).unsqueeze(-2) + p.ambient * (0.25 + 0.35 * (b * 0.5 + 0.5).clamp(0, 1)).unsqueeze(-2))
        canvas.put(leaves, crown, t - 0.05, "tree")


def tree_shadows(p, x, z):
    """Share of sunlight left (N, P) on ground points by the trees: soft ellipses thrown away from the sun."""
    light = torch.ones_like(x)
    reach = 1 / p.sun_y.clamp(min=0.3)
    for k in range(TREES):
        grown = (p.trees * TREES - p[f"tree_rank{k}"]).clamp(0, 1) * p[f"tree_tall{k}"]
        tx, tz, room = place(p, k, "tree", 1.0)
        wide = (p[f"tree_wide{k}"] * grown).clamp(min=0.05)
        cx, cz = tx - p.sun_x * reach * 0.55 * grown, tz - p.sun_z * reach * 0.55 * grown
        far = ((x - cx) ** 2 + (z - cz) ** 2).sqrt() / wide
        light = light * (1 - 0.75 * room * (grown > 0.1) * (1 - step(0.6, 1.25, far)))
        near = ((x - tx) ** 2 + (z - tz) ** 2).sqrt()
        light = light * (1 - 0.6 * room * (grown > 0.1) * (1 - step(0.1, 0.9, near)))
    return light


def haze(canvas, p):
    """Fade with distance towards the light of the horizon."""
    amount = (
        (1 - torch.exp(-canvas.t * (0.001 + 0.007 * p.haze)))
        * (canvas.segment != canvas.ids["sky"])
        * (canvas.segment != canvas.ids["hill"])
    )
    canvas.light = mix(canvas.light, p.horizon * 0.92, amount)
