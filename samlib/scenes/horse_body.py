"""A horse's distance field.

Horse frame: x forward, y up, z to the side nearer to the camera, metres, for `size` 1 (1.6 at the withers); the origin is on the ground
under the middle. Trunk: ellipsoids melted together. Neck, head and tail: one bent cone each. Legs: chains of four cones, of which only
the one in a point's own quarter (fore or hind, near or far) is measured.
"""
import torch

from .tracing import smax, smin

MIDDLE = 0.22                                   # the frame's origin stands this far behind the world's, so that the horse is in the middle
LEGS = ("near_fore", "far_fore", "near_hind", "far_hind")
JOINTS = ("knee_x", "knee_y", "ankle_x", "ankle_y", "toe_x", "toe_y")
NECK = 0.74                                     # its length
SHAPE = ("size", "side", "turn", "belly", "neck_cos", "neck_sin", "arch", "poll_x", "poll_y", "head_cos", "head_sin", "mane",
         "tail_x", "tail_y", "tail_bend", "tail_full", "sway", "saddle") + tuple(f"{leg}_{joint}" for leg in LEGS for joint in JOINTS)


def ellipsoid(x, y, z, a, b, c):
    """Distance to an ellipsoid about the origin (first order)."""
    x, y, z = x / a, y / b, z / c
    k = (x * x + y * y + z * z).sqrt()
    x, y, z = x / a, y / b, z / c
    return k * (k - 1) * torch.rsqrt(x * x + y * y + z * z + 1e-9)


def cone(x, y, zz, ax, ay, bx, by, r0, r1):
    """Distance to a round cone in the plane z = 0 from (ax, ay), radius r0, to (bx, by), radius r1; zz: z squared."""
    x, y, bx, by = x - ax, y - ay, bx - ax, by - ay
    h = ((x * bx + y * by) / (bx * bx + by * by)).clamp(0, 1)
    x, y = x - h * bx, y - h * by
    return (x * x + y * y + zz).sqrt() - (r0 + (r1 - r0) * h)


def trunk(x, y, z, az, p):
    """Barrel, croup, chest, withers, and the muscles of thigh and shoulder."""
    flat = z / 0.80
    barrel = cone(x, y + 0.02 * p.belly, flat * flat, 0.32, 1.235, -0.40, 1.295, 0.345 + 0.02 * p.belly, 0.270 + 0.02 * p.belly)
    croup = ellipsoid(x + 0.53, y - 1.285, z, 0.36, 0.285, 0.265)
    chest = ellipsoid(x - 0.54, y - 1.21, z, 0.27, 0.335, 0.215)
    withers = ellipsoid(x - 0.36, y - 1.46, z, 0.34, 0.135, 0.085)
    fore = x > 0
    pick = lambda a, b: torch.where(fore, a, b)
    lean = x + pick(-0.52, 0.62) + pick(0.30, -0.12) * (y - 1.12)
    muscle = ellipsoid(lean, y - 1.10, az - 0.15, pick(0.17, 0.235), 0.33, pick(0.085, 0.125))
    body = smin(smin(barrel, croup, 0.14), smin(chest, withers, 0.12), 0.14)
    return smin(body, muscle, 0.055)


def neck(x, y, z, p):
    """The neck: distance, place along it 0..1, height over its axis, radius there."""
    x, y = x - 0.54, y - 1.325
    a, q = x * p.neck_cos + y * p.neck_sin, y * p.neck_cos - x * p.neck_sin
    h = (a / NECK).clamp(0, 1)
    q = q - p.arch * 4 * h * (1 - h)
    e = a - h * NECK
    t = 1 - h
    r = 0.112 + 0.055 * t + 0.095 * t * t * t
    z = z / (0.56 + 0.06 * t)
    return (e * e + q * q + z * z).sqrt() - r, h, q, r


def head(x, y, z, az, p):
    """Head and ears: distances, and the head's own frame (a towards the nose, b towards the forehead)."""
    x, y = x - p.poll_x, y - p.poll_y
    a, b = x * p.head_cos + y * p.head_sin, y * p.head_cos - x * p.head_sin
    h = ((a - 0.03) / 0.50).clamp(0, 1)
    e = a - 0.03 - h * 0.50
    t = 1 - h
    r = 0.060 + 0.062 * t - 0.018 * 4 * h * t
    c = b + 0.012 - 0.016 * t
    flat = z / (0.78 + 0.08 * t)
    face = (e * e + c * c + flat * flat).sqrt() - r
    jowl = ellipsoid(a - 0.13, b + 0.065, z, 0.125, 0.105, 0.078)
    muzzle = ellipsoid(a - 0.530, b + 0.014, z, 0.080, 0.074, 0.060)
    skull = smin(smin(face, jowl, 0.05), muzzle, 0.05)
    ea, eb, ez = a + 0.005, b - 0.085, az - 0.052
    f = ((-0.55 * ea + 0.80 * eb + 0.24 * ez) / 0.155).clamp(0, 1)
    ea, eb, ez = ea + f * 0.085, eb - f * 0.124, ez - f * 0.037
    ears = (ea * ea + eb * eb + ez * ez).sqrt() - 0.036 * (1 - f) * (0.72 + 1.6 * f) - 0.006
    return skull, ears, a, b


def tail(x, y, z, p):
    """The tail: distance and place along it 0..1."""
    x, y = x + 0.80, y - 1.40
    long = torch.rsqrt(p.tail_x * p.tail_x + p.tail_y * p.tail_y)
    c, s = p.tail_x * long, p.tail_y * long
    a, q = x * c + y * s, y * c - x * s
    h = (a * long).clamp(0, 1)
    q = q + p.tail_bend * 4 * h * (1 - h)
    z = z - p.sway * h * h
    e = a - h / long
    r = 0.036 + (0.03 + 0.055 * p.tail_full) * 4 * h * (1 - h) * (0.5 + h)
    return (e * e + q * q + z * z).sqrt() - r * (1 - 0.65 * h * h * h), h


def leg(x, y, z, p):
    """The leg of the point's quarter: distances to limb and hoof (the latter also tells where hair ends)."""
    fore, near = x > -0.06, z > 0
    of = lambda name, joint: getattr(p, f"{name}_{joint}")
    knee_x, knee_y, ankle_x, ankle_y, toe_x, toe_y = (
        torch.where(fore, torch.where(near, of("near_fore", joint), of("far_fore", joint)),
                    torch.where(near, of("near_hind", joint), of("far_hind", joint))) for joint in JOINTS)
    pick = lambda a, b: torch.where(fore, a, b)
    zz = z.abs() - 0.105 - 0.04 * y
    zz = zz * zz
    upper = cone(x, y, zz, pick(0.43, -0.52), 1.01, knee_x, knee_y, pick(0.115, 0.150), 0.054)
    cannon = cone(x, y, zz, knee_x, knee_y, ankle_x, ankle_y, 0.045, 0.037)
    pastern = cone(x, y, zz, ankle_x, ankle_y, toe_x, toe_y, 0.045, 0.040)
    limb = torch.minimum(smin(upper, cannon, 0.035), pastern)
    dx, dy = toe_x - ankle_x, toe_y - ankle_y
    hoof = cone(x, y, zz, ankle_x + 0.62 * dx, ankle_y + 0.62 * dy, toe_x, toe_y, 0.047, 0.066)
    sole = ((x - toe_x) * dx + (y - toe_y) * dy) * torch.rsqrt(dx * dx + dy * dy)
    return limb, smax(hoof, sole - 0.02, 0.012)


def saddle(x, y, az, body, p):
    """Saddle and the blanket under it: a thicker skin on the trunk (distance `body`), growing with p.saddle; and where it is leather."""
    grown = p.saddle
    dx = x - 0.13
    top = ((y - 1.36) / 0.14).clamp(0, 1)
    rise = 0.034 + top * (0.012 + 1.7 * dx * dx)                    # pommel and cantle
    flap = (dx - 0.05 * (1 - top)).abs() - (0.155 + 0.085 * top) * grown
    leather = smax(smax(body - rise, flap, 0.03), 1.56 - 0.42 * grown - y, 0.05)
    pad = smax(smax(body - 0.020, dx.abs() - 0.35 * grown, 0.02), 1.56 - 0.47 * grown - y - 0.1 * dx * dx, 0.05)
    return leather + 0.1 * (grown < 0.05), pad + 0.1 * (grown < 0.05)


def parts(x, y, z, p):
    """Distances in the horse frame: trunk, neck, mane, skull, ears, tail, limb, hoof, leather, pad; and the frames of neck and head."""
    az = z.abs()
    bent = z - p.turn * (x - 0.45).clamp(min=0) ** 2
    body = trunk(x, y, z, az, p)
    gullet, h, q, r = neck(x, y, bent, p)
    skull, ears, a, b = head(x, y, bent, bent.abs(), p)
    strand = 0.74 * h - 0.8 * q * p.neck_sin / p.neck_cos            # hair hangs down, whatever the neck does
    wave = torch.sin(36 * strand)                                    # its cube has three times as many locks
    hang = 0.05 + 0.20 * p.mane * (0.55 + 1.8 * h * (1 - h)) + (0.006 + 0.035 * p.mane) * wave * (2.2 * wave * wave - 0.6)
    hair = smax(gullet - 0.024, torch.maximum(r * 0.96 - hang - q, 0.04 - h), 0.02)
    dock, along = tail(x, y, z, p)
    limb, hoof = leg(x, y, z, p)
    leather, pad = saddle(x, y, az, body, p)
    return dict(body=body, neck=gullet, mane=hair, skull=skull, ears=ears, tail=dock, limb=limb, hoof=hoof, leather=leather, pad=pad,
                h=h, strand=strand, q=q, r=r, a=a, b=b, along=along)


def to_frame(x, y, z, p):
    """World coordinates in the horse frame."""
    return x / p.size + MIDDLE, y / p.size, z / p.size * p.side


def distance(x, y, z, p):
    """Distance (world units, short of the true one) from points to the horse; all arguments (M,)."""
    x, y, z = to_frame(x, y, z, p)
    d = parts(x, y, z, p)
    quarter = torch.maximum(torch.minimum(z.abs() + 0.09, (x + 0.06).abs() + 0.12), (x + 0.05).abs() - 0.95)   # the other legs are further
    front = torch.minimum(smin(d["neck"], d["skull"], 0.06), d["ears"])
    coat = smin(smin(d["body"], front, 0.10), d["limb"], 0.05)
    hair = torch.minimum(torch.minimum(d["mane"], d["tail"]), torch.minimum(d["leather"], d["pad"]))
    return torch.minimum(torch.minimum(coat, hair), torch.minimum(d["hoof"], quarter)) * (0.85 * p.size)


def bounds(p):
    """Corners of a box that holds the horse, ((low), (high)), each three tensors like p.size."""
    nose_x = p.poll_x + 0.62 * p.head_cos
    wide = 0.40 + p.turn.abs() * (nose_x - 0.45).clamp(min=0) ** 2
    tip = torch.minimum(-0.80 + p.tail_x, torch.full_like(p.size, -0.95)) - 0.14
    front = torch.maximum(torch.maximum(nose_x, p.poll_x) + 0.12, torch.full_like(p.size, 0.95))
    high = torch.maximum(p.poll_y + 0.26, torch.full_like(p.size, 1.68))
    return ((tip - MIDDLE) * p.size, 0 * p.size, -wide * p.size), ((front - MIDDLE) * p.size, high * p.size, wide * p.size)
