"""A head: its distance field.

Frame: x forward, y up, z to the side (negative: the picture's right, seen from the front), decimetres, the middle between the pupils
at y = 0, the ears at x = 0. A skull and a lower face are blended, then raised and hollowed by hills; the openings of eyes and mouth are
cut a few millimetres deep. Hair is the skull once more, thicker behind the hairline, and a column that falls behind it.
"""
import torch

from .tracing import smax, smin, step

SHAPE = ("width", "jaw", "chin", "nose", "nose_wide", "eye_wide", "eye_up", "eye_low", "brow_low", "lip", "mouth", "lift",
         "gap", "cheek", "roll_c", "roll_s", "turn_c", "turn_s", "nod_c", "nod_s", "neck", "shoulder", "hair", "top", "fall",
         "flare", "fringe", "part", "recede", "frame")
EYE_X, EYE_Z, EYE = 0.70, 0.315, 0.128


def hill(a, b=None):
    """A round hill of height 1, nearly a Gaussian: a and b in units of its width; without b a ridge."""
    square = a * a if b is None else a * a + b * b
    return (1 - 0.4 * square).clamp(min=0) ** 2


def fold(z):
    """|z|, but smooth: the halves of the face meet without a crease."""
    return (z * z + 0.0012).sqrt()


def ball(a, b, c):
    return (a * a + b * b + c * c).sqrt()


def local(x, y, z, p):
    """The head's own frame, tilted by its roll: front, up, side."""
    return x, p.roll_c * y + p.roll_s * z, p.roll_c * z - p.roll_s * y


def lids(y, az, p):
    """Heights over the edge of the upper and under that of the lower lid; both negative in the opening."""
    u = (az - EYE_Z) / p.eye_wide
    arc = (1 - u * u).clamp(min=0)
    tilt = y - 0.12 * (az - EYE_Z)
    end = (u.abs() - 1) * p.eye_wide
    bend = 0.18 * u
    return torch.maximum(tilt - p.eye_up * arc * (1 - bend), end), torch.maximum(-p.eye_low * arc * (1 + bend) - tilt, end)


def mouth(y, az, p):
    """Height over the line between the lips, half the width of their slit, height over its nearer edge, and a taper to the corners."""
    w = az / p.mouth
    taper = (1 - w * w).clamp(min=0)
    v = y + 0.675 - p.lift * (az * az * 6 - 0.15)
    half = 0.5 * p.gap * taper
    return v, half, (v + 0.5 * half).abs() - half, taper


def skull(x, y, az):
    a, b, c = az / 0.735, (y - 0.30) / 0.84, (x + 0.02) / 0.97
    return ((a * a + b * b + c * c).sqrt() - 1) * 0.78


def skin(x, y, az, p):
    """Distance to the face with closed eyes and lips, less the skull."""
    t = y + 0.30
    low = t.clamp(max=0)
    e, c, g = az * (1 + p.jaw * low * low) / 0.63, (x - 0.28) / 0.60, t / p.chin
    g = g * g
    d = ((e * e + c * c + g * g).sqrt() - 1) * 0.56
    ridge = 0.048 * hill((y + 0.66) / 0.19) + 0.080 * hill((y + 1.00) / 0.12) - 0.045 * hill((y + 0.865) / 0.06)
    d = d - hill(az / 0.20) * ridge                                                      # around the mouth, chin, the hollow between
    return d


def relief(y, az, p):
    """Height of brow and cheeks over the hollow of the eyes."""
    brow = 0.036 * hill((az - 0.24) / 0.20, (y - 0.20 + p.brow_low) / 0.085)
    socket = 0.066 * hill((az - 0.22) / 0.16, (y - 0.02) / 0.11)
    cheek = p.cheek * hill((az - 0.44) / 0.19, (y + 0.22) / 0.17)
    return brow - socket + cheek


def nose(x, y, az, p):
    h = ((0.12 - y) / 0.49).clamp(0, 1)
    g = h * h
    bridge = ball(az * (0.138 / p.nose_wide), x - 0.885 - p.nose * h * (0.12 + 0.085 * h), y - 0.12 + 0.49 * h) - 0.056 - 0.042 * g
    wing = (ball(az - p.nose_wide, (y + 0.39) * 1.15, (x - 0.955 - 0.04 * p.nose) * 0.8) - 0.066) * 0.9
    return smin(bridge, wing, 0.06)


def face(x, y, az, bone, p):
    """Distance to face, lids, lips and teeth, and to the eyeballs."""
    d = smin(bone, skin(x, y, az, p), 0.25) - relief(y, az, p)
    d = smin(d, nose(x, y, az, p), 0.14)
    eye = ball(x - EYE_X, y, az - EYE_Z) - EYE
    d = smin(d, eye - 0.018, 0.07)
    upper, lower = lids(y, az, p)
    v, half, slit, taper = mouth(y, az, p)
    tall = p.lip * (0.030 + 0.045 * taper)
    d = d - 0.032 * p.lip * taper.sqrt() * hill((slit - 0.45 * tall) / tall) * (x > 0.6)
    cut = torch.minimum(torch.maximum(upper, lower), torch.maximum(slit + 0.003, az - p.mouth))
    return torch.minimum(smax(d, -cut, 0.02), d + 0.045), eye


def ear(x, y, az):
    a = az - 0.695 + 0.40 * (x + 0.05)
    b, c = (y + 0.12 + 0.2 * x) * (0.58 - 0.12 * y), x + 0.09
    return smax((b * b + c * c).sqrt() - 0.16, a.abs() - 0.030, 0.05)


def torso(x, y, z, p):
    """Distance to neck and shoulders, and the height over the neckline; in a frame turned against the head."""
    y, x = y + 0.6, x + 0.1
    x, z = p.turn_c * x + p.turn_s * z, p.turn_c * z - p.turn_s * x
    x, y = p.nod_c * x - p.nod_s * y, p.nod_c * y + p.nod_s * x
    az = z.abs()
    lean = x - 0.12 * y
    neck = torch.maximum((az * az + lean * lean).sqrt() - p.neck, y - 0.25)
    h = ((az - 0.15) / 1.25).clamp(0, 1)
    across, rise, deep = az - 0.15 - 1.25 * p.shoulder * h, (y + 1.16 + 0.32 * h).clamp(min=0), (x + 0.05) * 0.75
    line = y + 0.66 + 0.30 * x - 0.25 * az
    return smin(neck, ball(across, rise, deep) - 0.42, 0.35), line


def mane(x, y, z, bone, p):
    """Distance to the hair; bone: to the skull. p.hair: its thickness; p.fall: how far down it reaches."""
    az = z.abs()
    front = x - y - 0.30 + p.recede * hill((az - 0.48) / 0.24, (y - 0.50) / 0.30)      # behind this hair grows
    parting = hill((z - p.part) / 0.30)
    strand = torch.sin(z * (38 + 9 * y) + 9 * x + 5 * parting)
    depth = p.fringe * (1 - parting) + 0.04 * strand - front
    thick = (p.hair + p.top * (y - 0.2).clamp(min=0)) * (depth.clamp(min=0) / (depth + 0.8).clamp(min=0.8) * 1.4)
    cap = torch.maximum(bone + 0.02 - (0.032 + 0.006 * strand) * step(-0.04, 0.14, depth) - thick, -0.40 - y)
    a, c = az / (p.flare + 0.5 * p.hair), (x + 0.12) / 0.80
    column = ((a * a + c * c).sqrt() - 1) * 0.6 - 0.006 * strand
    column = smax(smax(column, x - 0.24 - 0.1 * y, 0.15), torch.maximum(p.fall - y, y - 0.45), 0.12)
    return smin(cap, column, 0.12)


def glasses(x, y, az, p):
    """Distance to the frame, and within the plane of the lenses to their rims: rounded squares, a bridge, and arms to the ears."""
    bend = x - 0.965 + 0.25 * az * az
    a, b = (az - 0.325).abs() - 0.12, (y + 0.035).abs() - 0.07
    ring = (a.clamp(min=0) ** 2 + b.clamp(min=0) ** 2).sqrt() + torch.maximum(a, b).clamp(max=0) - 0.11
    flat = torch.minimum(ring.abs(), torch.maximum((y - 0.03).abs(), az - 0.11))
    arm = torch.maximum(torch.maximum((az - 0.70 + 0.12 * x * x).abs(), (y - 0.03).abs()), (x - 0.40).abs() - 0.50)
    return torch.minimum((flat * flat + bend * bend).sqrt(), arm + 0.004) - p.frame, ring


def parts(x, y, z, p):
    """Distances to face, eyeballs, ears, neck with shoulders, hair, frame, and height over the neckline; (M,) each."""
    z = z / p.width
    body, line = torso(x, y, z, p)
    x, y, z = local(x, y, z, p)
    az = fold(z)
    bone = skull(x, y, az)
    front, eye = face(x, y, az, bone, p)
    return front, eye, ear(x, y, az), body, mane(x, y, z, bone, p), glasses(x, y, az, p)[0], line


def distance(x, y, z, p):
    """Distance (decimetres, slightly short of the true one) from points to the head; all arguments (M,)."""
    front, eye, lobe, body, hair, frame, line = parts(x, y, z, p)
    d = smin(smin(front, lobe, 0.05), body - 0.25 * (-line).clamp(0, 0.08), 0.06)
    return torch.minimum(torch.minimum(torch.minimum(d, eye), hair), frame) * 0.9


def bounds(p):
    """Corners of a box that holds what can be seen of head and shoulders, each three tensors like p.width."""
    one = torch.ones_like(p.width)
    return (-1.3 * one, -2.2 * one, -1.8 * one), (1.3 * one, 1.5 * one, 1.8 * one)
