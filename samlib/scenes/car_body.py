"""A car's distance field and its materials.

Car frame: x forward, y up, z to the side, metres, for `size` 1; the whole car is scaled by `size` about the ground under its middle.
The body is an intersection of curved panels with filleted edges, the cabin another one on top, the wheel arches are cut out of both.
"""
import torch

from .noise import fbm
from .tracing import color, mix, smax, smin, stack, step
from .world import surroundings

FRONT, REAR, HALF_WIDTH = 2.16, -2.16, 0.88

CLASSES = ("sky", "tree", "building", "hill", "grass", "road", "car", "window", "wheel", "fence", "shrub", "pole", "sign", "object")
ID = {name: i for i, name in enumerate(CLASSES)}

SHAPE = ("size", "waist", "fall", "cowl", "rake", "heel", "slope", "cabin", "clearance", "axle_front", "axle_rear", "wheel_size")
SHADING = SHAPE + ("paint", "nose_y", "lamp_tall", "tail", "wheel_type", "spokes", "turn", "skyline", "sun_x", "sun_y", "sun_z",
                   "sunlight", "ambient", "horizon", "zenith", "ground", "foliage")


def profile(x, y, az, p):
    """The cabin's panels as signed distances: windscreen, rear window, roof, side; shared by the shape and by the glass."""
    up = y - p.waist
    screen = (x - p.cowl + p.rake * up) * torch.rsqrt(1 + p.rake * p.rake) + 0.10 * az * az
    back = (p.heel - x + p.slope * up) * torch.rsqrt(1 + p.slope * p.slope) + 0.07 * az * az
    middle = x - 0.5 * (p.cowl + p.heel)
    roof = up - p.cabin + 0.028 * middle * middle + 0.05 * az * az
    side = (az - 0.80 + 0.26 * up) * 0.967 + 0.012 * middle * middle
    return screen, back, roof, side


def axle(x, p):
    """Distance along the car from the nearer axle."""
    return x - torch.where(x > 0.5 * (p.axle_front + p.axle_rear), p.axle_front, p.axle_rear)


def wheel(x, y, az, p):
    r = (x * x + (y - p.wheel_size) ** 2).sqrt()
    a, b = r - p.wheel_size + 0.045, (az - 0.755).abs() - 0.065
    return smax(a, b, 0.03).clamp(max=0) + (a.clamp(min=0) ** 2 + b.clamp(min=0) ** 2 + 1e-12).sqrt() - 0.045, r


def body(x, y, az, p):
    """Distance to the sheet metal and glass (car frame)."""
    ahead, behind = (x - p.cowl).clamp(min=0), (p.heel - x).clamp(min=0)
    ratio = ahead / (FRONT - p.cowl)
    top = y - (p.waist - 0.07 * ratio - 0.11 * ratio * ratio - p.fall * (0.02 * behind + 0.10 * behind * behind)) + 0.07 * az * az
    middle = y - 0.52
    nose = x - FRONT + 0.20 * az * az + 0.32 * middle * middle
    rump = REAR - x + 0.13 * az * az + 0.22 * middle * middle
    reach = axle(x, p)
    arch = (reach * reach + (y - p.wheel_size) ** 2).sqrt() - p.wheel_size
    flare = 0.028 * (1 - (arch - 0.06).abs() * 5).clamp(min=0)
    crease = 0.018 * (1 - ((y - p.waist + 0.20) * 9).abs()).clamp(min=0)
    side = az - HALF_WIDTH + 0.022 * x * x * 0.5 + 0.20 * (middle - 0.05) ** 2 - flare - crease
    floor = p.clearance + 0.12 * (x.abs() - 1.5).clamp(min=0) - y
    lower = smax(smax(smax(nose, rump, 0.10), side, 0.16), smax(top, floor, 0.05), 0.09)
    screen, back, roof, flank = profile(x, y, az, p)
    upper = smax(smax(smax(screen, back, 0.05), flank, 0.10), roof, 0.14)
    upper = torch.maximum(upper, p.waist - 0.25 - y)
    return smax(smin(lower, upper, 0.05), -torch.maximum(arch - 0.055, 0.50 - az), 0.03)


def mirror(x, y, az, p):
    a, b, c = (x - p.cowl + 0.42) / 0.075, (y - p.waist - 0.09) / 0.065, (az - 0.93) / 0.115
    return ((a * a + b * b + c * c + 1e-9).sqrt() - 1) * 0.065


def distance(x, y, z, p):
    """Distance (world units, slightly short of the true one) from points to the car; all arguments (M,)."""
    x, y, az = x / p.size, y / p.size, z.abs() / p.size
    tyre, _ = wheel(axle(x, p), y, az, p)
    return torch.minimum(torch.minimum(body(x, y, az, p), tyre), mirror(x, y, az, p)) * (0.85 * p.size)


def bounds(p):
    """Corners of a box that holds the car, ((low), (high)), each three tensors like p.size."""
    one = p.size
    return (-2.22 * one, 0 * one, -1.08 * one), (2.22 * one, (p.waist + p.cabin + 0.03) * one, 1.08 * one)


def _bar(value, half, soft):
    """1 where |value| < half, with an edge `soft` wide."""
    return step(-0.5, 0.5, (half - value.abs()) / soft)


def _rim(x, y, p, r, soft):
    """Wheel face: brightness (M,) of metal 0..1 and of gaps; spokes widen with wheel_type until they close to a disc."""
    inner = 0.70 * p.wheel_size
    rho = r / inner
    angle = torch.atan2(y - p.wheel_size, x + 1e-9) + p.turn
    sector = (angle * p.spokes / (2 * torch.pi)).remainder(1) - 0.5
    width = 0.10 + 0.42 * p.wheel_type                              # half a spoke, as a share of its sector
    taper = width * (1.15 - 0.35 * rho * (1 - p.wheel_type))
    arc = sector.abs() * 2 * torch.pi * rho.clamp(min=0.15) / p.spokes
    spoke = step(-0.5, 0.5, (taper * 2 * torch.pi * 0.6 / p.spokes * 1.6 - arc) * inner / soft)
    metal = torch.maximum(torch.maximum(spoke, step(-0.5, 0.5, (0.24 - rho) * inner / soft)), step(-0.5, 0.5, (rho - 0.88) * inner / soft))
    bolt = _bar(rho - 0.15, 0.035, 0.05) * 0.35
    return metal, metal * (0.75 + 0.25 * rho) - bolt, rho


def surface(x, y, z, n, p, soft):
    """What the car is made of at M points (car frame). Returns albedo (3, M), gloss (M,), metal (M,), own light (3, M), segment (M,).

    soft: (M,) size of a pixel there, by which thin lines are widened and edges blurred.
    """
    az = z.abs()
    screen, back, roof, side = profile(x, y, az, p)
    up = y - p.waist
    like = p.size
    albedo = p.paint.expand(3, x.numel()).clone()
    gloss, metal = torch.ones_like(x), torch.zeros_like(x)
    dark = color(like, 0.018, 0.018, 0.02)

    # bumpers, sills, grille, plates and lights are painted on the panels
    facing = (n[0] > 0.45).to(x.dtype)
    tailing = (n[0] < -0.45).to(x.dtype)
    sill = step(-0.5, 0.5, (p.clearance + 0.10 - y) / (soft + 0.01))
    albedo = mix(albedo, dark * 2, sill)
    intake = facing * _bar(y - p.clearance - 0.16, 0.065, soft + 0.01) * _bar(az, 0.52, soft + 0.02)
    grille = facing * _bar(y - p.nose_y + 0.10, 0.065, soft + 0.01) * _bar(az, 0.36, soft + 0.02)
    slats = 0.5 + 0.5 * _bar(((y - p.nose_y) / 0.05).remainder(1) - 0.5, 0.25, 0.3)
    albedo = mix(albedo, dark, torch.maximum(intake, grille * (0.6 + 0.4 * slats)))
    albedo = mix(albedo, color(like, 0.55, 0.56, 0.58), facing * _bar(_box2(y - p.nose_y + 0.10, az, 0.075, 0.37), 0.012, soft + 0.004))
    plate = torch.maximum(facing * _bar(y - p.clearance - 0.22, 0.055, soft), tailing * _bar(y - p.waist + 0.30, 0.055, soft)) * _bar(
        az, 0.26, soft
    )
    marks = (
        _bar((z * 11).remainder(1) - 0.5, 0.28, 0.2)
        * _bar((y - torch.where(x > 0, p.clearance + 0.22, p.waist - 0.30)), 0.028, 0.02)
        * _bar(az, 0.22, 0.01)
    )
    albedo = mix(albedo, color(like, 0.75, 0.75, 0.72), plate)
    albedo = mix(albedo, dark * 3, plate * marks * 0.8)
    slant = 0.10 * (az - 0.62)
    lamp = (
        step(-0.5, 0.5, (0.40 - (FRONT - x)) / (soft + 0.01))
        * _bar(y - p.nose_y + 0.085 - slant, 0.065, soft + 0.008)
        * step(-0.5, 0.5, (az - 0.46) / (soft + 0.01))
    )
    albedo = mix(albedo, color(like, 0.80, 0.84, 0.88) * (0.55 + 0.45 * _bar(az - 0.62, 0.07, 0.06)), lamp)
    rear = (
        step(-0.5, 0.5, (0.26 - (x - REAR)) / (soft + 0.01))
        * _bar(y - p.waist + 0.22, p.lamp_tall, soft + 0.01)
        * step(-0.5, 0.5, (az - 0.50) / (soft + 0.01))
    )
    albedo = mix(albedo, color(like, 0.50, 0.015, 0.02), rear)
    glow = color(like, 0.10, 0.002, 0.004) * rear

    # door gaps, handles, the seam of bonnet and boot
    flank = step(0.5, 0.7, n[2].abs()) * step(-0.5, 0.5, (y - p.clearance - 0.12) / 0.02)
    mid = 0.5 * (p.cowl + p.heel) + 0.05
    gap = sum(
        _bar(x - at, 0.006, soft + 0.004) * 0.006 / (soft * 0.5 + 0.006) for at in (p.cowl - 0.12, mid, p.heel.clamp(max=-0.85) + 0.12)
    )
    gap = gap.clamp(0, 1) * flank * (up < 0.02) * step(0.0, 0.03, (x - p.axle_rear).abs() - p.wheel_size * 0.6)
    albedo = mix(albedo, dark, gap * 0.8)
    handle = (
        flank
        * _bar(up + 0.13, 0.016, soft + 0.006)
        * torch.maximum(_bar(x - mid - 0.16, 0.09, soft), _bar(x - p.heel.clamp(max=-0.85) - 0.30, 0.09, soft))
    )
    albedo = mix(albedo, albedo * 0.35 + 0.12, handle * 0.8)

    # glass: on the cabin, near exactly one of the panels, away from the seams to the others; black pillars between the side windows
    inset = 0.055
    others = torch.maximum(torch.maximum(torch.minimum(screen, back), torch.minimum(torch.maximum(screen, back), side)), roof)
    pillar = torch.maximum(_bar(x - mid, 0.035, soft), _bar(x - p.heel.clamp(max=-0.85) - 0.10, 0.03, soft) * p.tail) * (side > -0.04)
    pane = step(-0.5, 0.5, (-others - inset) / (soft + 0.004)) * step(-0.5, 0.5, (up - 0.055) / (soft + 0.004))
    frame = step(-0.5, 0.5, (-others - inset + 0.025) / (soft + 0.004)) * step(-0.5, 0.5, (up - 0.035) / (soft + 0.004))
    albedo = mix(albedo, dark, frame)
    glass = pane * (1 - pillar)
    seat = fbm(x * 1.3 + p.skyline, y * 1.6) * step(0.45, 0.1, up / p.cabin)
    inside = stack(0.012 + 0.03 * seat, 0.014 + 0.03 * seat, 0.017 + 0.03 * seat)
    albedo = mix(albedo, inside, glass)
    segment = torch.where(glass > 0.5, ID["window"], ID["car"])

    # wheels and the hollow they stand in
    reach = axle(x, p)
    tyre, r = wheel(reach, y, az, p)
    is_wheel = tyre < body(x, y, az, p)
    bright, shade, rho = _rim(reach, y, p, r, soft + 0.003)
    outer = (az > 0.76) & is_wheel
    rubber = color(like, 0.022, 0.022, 0.024) * (1 + 0.5 * _bar(rho - 1.22, 0.03, 0.04))
    rim = mix(dark * 0.7, color(like, 0.58, 0.59, 0.61) * shade, bright)
    face = step(-0.5, 0.5, (1.0 - rho) * 0.7 * p.wheel_size / (soft + 0.003)) * outer
    tyres = mix(rubber.expand_as(albedo), rim, face)
    albedo = torch.where(is_wheel, tyres, albedo)
    metal = torch.where(is_wheel, face * bright * 0.35, metal)
    gloss = torch.where(is_wheel, face * bright * 0.8, gloss * (1 - 0.85 * sill) * (1 - gap))
    hollow = (~is_wheel) & (r < p.wheel_size + 0.05) & (az < 0.80) & (up < -0.1)
    albedo = torch.where(hollow | (n[1] < -0.7), dark * 0.6, albedo)
    gloss = torch.where(hollow, torch.zeros_like(gloss), gloss)
    segment = torch.where(is_wheel, ID["wheel"], segment)
    return albedo, gloss, metal, glow, segment, glass * ~is_wheel, torch.maximum(lamp, rear) * ~is_wheel


def _box2(a, b, half_a, half_b):
    """Signed distance in the plane to a rectangle."""
    return torch.maximum(a.abs() - half_a, b.abs() - half_b)


def shade(x, y, z, n, d, p, light, soft):
    """Light (3, M) and segment (M,) of car points in the world, seen along d; light: share of sun (M,); n: normals."""
    s = p.size
    albedo, gloss, metal, glow, segment, glass, lamp = surface(x / s, y / s, z / s, n, p, soft / s)
    sun = (n[0] * p.sun_x + n[1] * p.sun_y + n[2] * p.sun_z)
    facing = -(n[0] * d[0] + n[1] * d[1] + n[2] * d[2])
    rx, ry, rz = (a + 2 * facing * b for a, b in zip(d, n))
    fresnel = (1 - facing.clamp(0, 1)) ** 5
    near = step(0.0, 0.55, y / s)                                   # the ground close by takes light from what is low
    open_sky = (0.5 + 0.5 * n[1]) * (0.35 + 0.65 * near)
    bounce = (0.5 - 0.5 * n[1]) * 0.35 * (0.3 + 0.7 * near)
    ground = p.ground * (0.45 * p.sunlight * p.sun_y + p.ambient * 0.6)
    diffuse = albedo * (p.sunlight * (sun.clamp(min=0) * light * 0.85) + p.ambient * open_sky + ground * bounce * 2)
    mirror_light = surroundings(rx, ry, rz, p) * (0.45 + 0.55 * near)
    reflect = gloss * torch.where(glass > 0.5, 0.10 + 0.80 * fresnel, 0.045 + 0.55 * fresnel) + metal * 0.5 + 0.1 * lamp
    spot = (rx * p.sun_x + ry * p.sun_y + rz * p.sun_z).clamp(0, 1)
    highlight = light * gloss * (2.2 * spot ** 180 + 0.16 * spot ** 14 * (1 - glass)) * (sun > 0)
    result = torch.lerp(diffuse, mirror_light, reflect.clamp(0, 0.95)) + p.sunlight * highlight + glow * p.ambient
    return result, segment
