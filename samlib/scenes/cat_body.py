"""The shape of a cat, sitting to lying: its distance field and its pose.

Cat frame: x where the chest points, y up, z to its side, decimetres; the floor is y = 0. It is the frame of the world as well.
The body is a union of rounded parts with filled creases: torso, neck, thighs, legs, paws and tail, mirrored in z = 0. The head has a
frame of its own, turned by yaw, pitch and roll, in units of half its width; `posture` moves the joints from lying (0) to sitting (1).
"""
import torch

from .tracing import smin

HEAD = 0.64             # half the width of the head
SHAPE = ("hip_x", "hip_y", "spine_x", "spine_y", "spine_i", "chest_x", "chest_y", "neck_x", "neck_y", "neck_i",
         "elbow_x", "elbow_y", "fore_x", "fore_y", "fore_i", "paw_x", "thigh_x", "thigh_y", "foot_low", "foot_high", "step",
         "tail_x", "tail_c", "tail_s", "tail_ac", "tail_as", "head_x", "head_y", "eye_size", "ear_size", "round", "fluff",
         "r00", "r01", "r02", "r10", "r11", "r12", "r20", "r21", "r22")


def _limb(x, y, ax, ay, bx, by, inverse):
    """Distance squared in the plane from a segment, and the place along it in [0, 1]."""
    x, y = x - ax, y - ay
    h = ((x * bx + y * by) * inverse).clamp(0, 1)
    x, y = x - h * bx, y - h * by
    return x * x + y * y, h


def tail(x, y, z, p):
    """Distance to the tail, an arc on the floor (Quilez' capped torus)."""
    x = x - p.tail_x
    a, b = x * p.tail_c + z * p.tail_s, (x * p.tail_s - z * p.tail_c).abs()
    ring = torch.where(p.tail_ac * b > p.tail_as * a, b * p.tail_as + a * p.tail_ac, (a * a + b * b).sqrt())
    height = y - 0.15
    return (a * a + b * b + height * height + 1.44 - 2.4 * ring).clamp(min=0).sqrt() - 0.15     # 1.2: radius of the arc


def trunk(x, y, az, p):
    """Distance to torso, neck and thighs."""
    side = az * az
    flat, h = _limb(x, y, p.hip_x, p.hip_y, p.spine_x, p.spine_y, p.spine_i)
    torso = (flat + side).sqrt() - 0.62 + h * (0.22 - 0.08 * h - p.fluff)
    flat, h = _limb(x, y, p.chest_x, p.chest_y, p.neck_x, p.neck_y, p.neck_i)
    neck = (flat + side).sqrt() - 0.47 + 0.08 * h - p.fluff
    a, b, c = (x - p.thigh_x) * 1.5, (y - p.thigh_y) * 1.75, (az - 0.38) * 2.7
    thigh = ((a * a + b * b + c * c).sqrt() - 1) * 0.42
    return smin(smin(torso, thigh, 0.15), neck, 0.35)


def legs(x, y, az, z, p):
    """Distance to forelegs, hind feet and paws."""
    x = x - p.step * z
    flat, h = _limb(x, y, p.elbow_x, p.elbow_y, p.fore_x, p.fore_y, p.fore_i)
    c = az - 0.32 + 0.08 * h
    fore = (flat + c * c).sqrt() - 0.205 + 0.075 * h
    a, b, c = x - p.paw_x, (y - 0.12) * 1.5, (az - 0.24) * 1.1
    paw = ((a * a + b * b + c * c).sqrt() - 0.20) * 0.75
    a, b, c = x - torch.minimum(torch.maximum(x, p.foot_low), p.foot_high), (y - 0.11) * 1.1, az - 0.56
    foot = (a * a + b * b + c * c).sqrt() - 0.15
    return smin(fore, torch.minimum(paw, foot), 0.08)


def face(x, y, z, p):
    """Place in the head's frame: forward, up, side, in half head widths."""
    x, y, z = (x - p.head_x) * (1 / HEAD), (y - p.head_y) * (1 / HEAD), z * (1 / HEAD)
    return p.r00 * x + p.r01 * y + p.r02 * z, p.r10 * x + p.r11 * y + p.r12 * z, p.r20 * x + p.r21 * y + p.r22 * z


def ear(x, y, az, p):
    """Distance to the ears, hollow in front, and the distance to the hollow (head frame)."""
    x, y, s = x + 0.15, y - 0.42, az - 0.50
    t, s = 0.927 * y + 0.375 * s, 0.927 * s - 0.375 * y             # tilted outwards by 22 degrees
    f, s = 0.88 * x + 0.475 * s, 0.88 * s - 0.475 * x               # and facing a little aside
    wide = 0.46 - (0.30 + 0.13 * t) * t / p.ear_size
    back, front = f * 1.45, (f - 0.17) * 1.15
    outer = (s * s + back * back).sqrt() - wide
    inner = (s * s + front * front).sqrt() - wide + 0.07
    return torch.maximum(torch.maximum(outer, -inner) * 0.62, -0.35 - t), inner


def eye(x, y, az, p):
    """Distance to the eyeballs (head frame)."""
    x, y, az = x - 0.58, y - 0.06, az - 0.40
    return (x * x + y * y + az * az).sqrt() - 0.165 - 0.10 * p.eye_size


def head(x, y, az, p):
    """Distance to the head without ears and eyes (head frame)."""
    b = y - 0.10
    c = az * (1.10 - 0.18 * p.round)
    skull = ((x * x * 1.25 + b * b * 1.40 + c * c * 1.22).sqrt() - 1) * 0.85
    a, b, c = x - 0.10, y + 0.27, az - 0.44
    cheek = (a * a + b * b * 1.2 + c * c).sqrt() - 0.40 - 0.14 * p.round
    a, b, c = x - 0.62, y + 0.36, az * 0.85
    muzzle = (a * a * 0.8 + b * b * 1.3 + c * c).sqrt() - 0.36
    a, b, c = (x - 0.84) * 1.2, (y + 0.40) * 1.1, az - 0.16
    pad = (a * a + b * b + c * c).sqrt() - 0.21
    flat, _ = _limb(x, y, 0.55, 0.30, 0.42, -0.46, 2.577)
    nose = (flat + az * az).sqrt() - 0.13
    a, b = x - 0.72, y + 0.60
    chin = (a * a + b * b + az * az * 0.8).sqrt() - 0.17
    skull = smin(smin(skull, cheek, 0.30), nose, 0.22)
    return smin(smin(skull, muzzle, 0.20), torch.minimum(pad, chin), 0.10)


def distance(x, y, z, p):
    """Distance (world units, slightly short of the true one) from points to the cat; all arguments (M,)."""
    az = z.abs()
    body = smin(trunk(x, y, az, p), legs(x, y, az, z, p), 0.10)
    body = torch.minimum(body, tail(x, y, z, p))
    hx, hy, hz = face(x, y, z, p)
    hz = hz.abs()
    skull = smin(head(hx, hy, hz, p), ear(hx, hy, hz, p)[0], 0.10)
    skull = torch.minimum(skull, eye(hx, hy, hz, p))
    return smin(body, skull * HEAD, 0.08) * 0.9


def bounds(p):
    """Corners of a box that holds the cat, ((low), (high)), each three tensors like p.head_x."""
    top = p.head_y + HEAD * (1.2 + 0.55 * p.ear_size)
    front = torch.maximum(torch.maximum(p.head_x + 1.5 * HEAD, p.paw_x + 0.35), p.chest_x + 0.6)
    right = torch.where(p.tail_s < 0, torch.full_like(top, 0.98), torch.full_like(top, 1.4))     # wider where the tail is
    return (p.tail_x - 1.37, 0 * top, right - 2.38), (front, top, right)


def shape(f):
    """Joints of the cat from its factors; all (N, 1)."""
    s, p = f["posture"], {}
    at = lambda lying, sitting: lying + (sitting - lying) * s
    p["hip_x"], p["hip_y"] = at(-1.20, -0.78), at(0.60, 0.64)
    p["spine_x"], p["spine_y"] = at(1.75, 1.02), at(-0.06, 1.06)
    p["neck_x"], p["neck_y"] = at(0.42, 0.26), at(0.58, 0.74)
    p["elbow_x"], p["elbow_y"] = at(0.62, 0.46), at(0.20, 1.25)
    p["fore_x"], p["fore_y"] = at(0.62, 0.20), at(-0.09, -1.06)
    for part in ("spine", "neck", "fore"):
        p[part + "_i"] = 1 / (p[part + "_x"] ** 2 + p[part + "_y"] ** 2)
    p["thigh_x"], p["thigh_y"] = at(-0.80, -0.42), at(0.50, 0.56)
    p["foot_low"], p["foot_high"] = at(-0.75, -0.35), at(-0.20, 0.42)
    p["chest_x"], p["chest_y"], p["paw_x"] = p["hip_x"] + p["spine_x"], p["hip_y"] + p["spine_y"], p["elbow_x"] + p["fore_x"] + 0.10
    p["head_x"], p["head_y"] = p["chest_x"] + p["neck_x"] + 0.16, p["chest_y"] + p["neck_y"] + 0.18
    p["tail_x"] = at(-0.62, -0.30)
    half = 1.15 * f["tail"].abs()
    middle = torch.pi - half * torch.sign(f["tail"])
    p.update(tail_c=torch.cos(middle), tail_s=torch.sin(middle), tail_ac=torch.cos(half), tail_as=torch.sin(half))
    yaw, pitch, roll = f["yaw"], f["head_pitch"], f["head_tilt"]
    zero = torch.zeros_like(yaw)
    forward = (torch.cos(yaw) * torch.cos(pitch), torch.sin(pitch), torch.sin(yaw) * torch.cos(pitch))
    side = (-torch.sin(yaw), zero, torch.cos(yaw))
    up = torch.linalg.cross(torch.stack(side), torch.stack(forward), dim=0)
    c, t = torch.cos(roll), torch.sin(roll)
    rows = forward, [c * u - t * v for u, v in zip(up, side)], [c * v + t * u for u, v in zip(up, side)]
    p.update({f"r{i}{j}": rows[i][j] for i in range(3) for j in range(3)})
    return p
