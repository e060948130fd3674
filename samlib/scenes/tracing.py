"""What every category shares: parameters, camera, sphere tracing, soft shadows, film.

Shapes: N images, P rays an image, M rays of any images in a flat list. Coordinates are separate tensors x, y, z (y is up,
the ground is y = 0, lengths in metres). A colour is (..., 3, P). Parameters are (N, 1), a colour parameter (N, 3, 1).
"""
import torch


class Params(dict):
    """Parameters of a batch by name, also as attributes: (N, 1) numbers and (N, 3, 1) colours; flat after `take`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to(self, device, dtype):
        return Params({k: v.to(device, dtype) for k, v in self.items()})

    def take(self, image, names):
        """Those parameters for a flat list of rays; image: (M,) long, the image of each. Numbers (M,), colours (3, M)."""
        return Params({k: self[k][:, 0][image] if self[k].dim() == 2 else self[k][:, :, 0][image].T for k in names})

    def rows(self, index):
        return Params({k: v[index] for k, v in self.items()})


def mix(a, b, m):
    """Colour a where m = 0, b where m = 1; a, b: (..., 3, P), m: (..., P)."""
    return torch.lerp(a, b, m.unsqueeze(-2))


def step(low, high, x):
    """Smoothstep: 0 below low, 1 above high."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def smax(a, b, k):
    """Maximum with the crease rounded over a distance k (polynomial): an intersection of bodies with a fillet."""
    h = (k - (a - b).abs()).clamp(min=0)
    return torch.maximum(a, b) + h * h * (0.25 / k)


def smin(a, b, k):
    """Minimum with the crease filled over a distance k: a union of bodies."""
    h = (k - (a - b).abs()).clamp(min=0)
    return torch.minimum(a, b) - h * h * (0.25 / k)


def color(like, *rgb):
    """A constant colour (3, 1) of the device and type of `like`."""
    return torch.tensor(rgb, device=like.device, dtype=like.dtype)[:, None]


def stack(*rgb):
    return torch.stack(torch.broadcast_tensors(*rgb), -2)


def camera(p, size):
    """Rays of a pinhole camera through a size x size picture. Returns unit directions (x, y, z), each (N, P), P = size^2.

    The camera stands at (camera_x, camera_y, camera_z) and looks at (look_x, look_y, look_z); `tangent` is that of half its angle.
    """
    forward = torch.stack([p.look_x - p.camera_x, p.look_y - p.camera_y, p.look_z - p.camera_z])
    forward = forward / forward.norm(dim=0)
    flat = (forward[0] ** 2 + forward[2] ** 2).sqrt()
    right = torch.stack([-forward[2] / flat, torch.zeros_like(flat), forward[0] / flat])
    up = torch.linalg.cross(right, forward, dim=0)
    at = (torch.arange(size, device=p.tangent.device, dtype=p.tangent.dtype) + 0.5) * (2 / size) - 1
    v, u = torch.meshgrid(-at, at, indexing="ij")
    u, v = u.reshape(1, -1) * p.tangent, v.reshape(1, -1) * p.tangent
    x, y, z = (forward[i] + u * right[i] + v * up[i] for i in range(3))
    scale = torch.rsqrt(x * x + y * y + z * z)
    return x * scale, y * scale, z * scale


def box(o, d, low, high):
    """Entry and exit distance of rays through a box; o, d, low, high: triples of tensors. A miss has exit < entry."""
    near = far = None
    for a, b, l, h in zip(o, d, low, high):
        inverse = 1 / torch.where(b.abs() < 1e-6, torch.full_like(b, 1e-6), b)
        t0, t1 = (l - a) * inverse, (h - a) * inverse
        t0, t1 = torch.minimum(t0, t1), torch.maximum(t0, t1)
        near = t0 if near is None else torch.maximum(near, t0)
        far = t1 if far is None else torch.minimum(far, t1)
    return near, far


def trace(distance, o, d, p, near, far, steps=64, every=8):
    """Sphere tracing of M rays from `near` to `far` (M,). Returns t (M,), infinite where nothing was hit.

    distance(x, y, z, p) is called with rays still under way; those that arrived or left are dropped `every` few steps.
    """
    t, result = near.clone(), torch.full_like(near, float("inf"))
    alive = torch.arange(near.numel(), device=near.device)
    (ox, oy, oz), (dx, dy, dz) = o, d
    for i in range(steps):
        gap = distance(ox + t * dx, oy + t * dy, oz + t * dz, p)
        t = t + gap * (gap.abs() > 4e-4)                            # a ray that arrived stays where it is
        if i % every == every - 1 or i == steps - 1:
            hit = (gap.abs() < (1.5e-3 if i < steps - 1 else 0.02)) & (t < far)
            result[alive[hit]] = t[hit]
            keep = torch.nonzero((~hit) & (t < far))[:, 0]
            if keep.numel() == 0:
                break
            ox, oy, oz, dx, dy, dz, t, far, alive = (v[keep] for v in (ox, oy, oz, dx, dy, dz, t, far, alive))
            p = Params({k: v[..., keep] for k, v in p.items()})
    return result


def shadow(distance, o, d, p, near, far, steps=26, softness=14.0):
    """Share of sunlight (M,) in [0, 1] that reaches points o along d (sun direction): min of softness * gap / t."""
    t, light = near.clamp(min=0.02), torch.ones_like(near)
    (ox, oy, oz), (dx, dy, dz) = o, d
    for _ in range(steps):
        gap = distance(ox + t * dx, oy + t * dy, oz + t * dz, p)
        light = torch.where(t < far, torch.minimum(light, 0.5 + 0.5 * softness * gap / t.clamp(min=0.3)), light)
        t = t + gap.clamp(0.04, 0.4)
    light = light.clamp(0, 1)
    return light * light * (3 - 2 * light)


def normal(distance, x, y, z, p, e=4e-3):
    """Unit normals by four evaluations at the corners of a tetrahedron."""
    a, b = distance(x + e, y - e, z - e, p), distance(x - e, y - e, z + e, p)
    c, d = distance(x - e, y + e, z - e, p), distance(x + e, y + e, z + e, p)
    nx, ny, nz = a - b - c + d, c + d - a - b, b - a - c + d
    scale = torch.rsqrt((nx * nx + ny * ny + nz * nz).clamp(min=1e-20))
    return nx * scale, ny * scale, nz * scale


def film(light):
    """Linear light to display values in [0, 1]: a filmic curve (Narkowicz's fit of ACES), then gamma 2.2; 0.8 sets mid grey."""
    light = 0.8 * light.clamp(min=0)
    curve = light * (2.51 * light + 0.03) / (light * (2.43 * light + 0.59) + 0.14)
    return curve.clamp(1e-6, 1) ** (1 / 2.2)


def shrink(values, size, samples):
    """Mean over the samples x samples rays of a pixel: (N, 3, P) -> (N, 3, size, size)."""
    n, c, _ = values.shape
    return values.reshape(n, c, size, samples, size, samples).mean((3, 5))


def majority(ids, size, samples):
    """The id most rays of a pixel agree on (the first of them where they tie): (N, P) -> (N, size, size)."""
    n = ids.shape[0]
    ids = ids.reshape(n, size, samples, size, samples).permute(0, 1, 3, 2, 4).reshape(n, size, size, -1)
    votes = sum((ids == ids[..., k:k + 1]).to(torch.int8) for k in range(ids.shape[-1]))
    return ids.gather(-1, votes.argmax(-1, keepdim=True))[..., 0]
