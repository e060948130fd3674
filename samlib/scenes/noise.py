"""Noise that is the same on every device: a table of random numbers, made once on the CPU, and looked up.

No formula here depends on how a device rounds a sine or a large product: the table is made by NumPy from a fixed seed and
read with bilinear interpolation, so CPU and CUDA agree to rounding, and a whole sum of octaves costs one look-up.
"""
import functools
import zlib

import numpy as np
import torch

SIDE = 512          # texels along a side of the table; a power of two, so that wrapping is a bit mask
CELL = 32           # texels to one cell of the coarsest octave: fbm(u, v) varies on the scale of u, v = 1


def _value_noise(cells, rng):
    """One octave (SIDE, SIDE), periodic: `cells` x `cells` random values, joined by smoothsteps."""
    values = rng.random((cells, cells))
    position = np.arange(SIDE) * cells / SIDE
    low = position.astype(int)
    part = position - low
    part = part * part * (3 - 2 * part)
    rows = values[low] * (1 - part[:, None]) + values[(low + 1) % cells] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, (low + 1) % cells] * part


@functools.lru_cache(maxsize=8)
def _table(device, dtype):
    """The table (SIDE * SIDE,): four octaves, mean 0.5, nearly all of it inside [0, 1]."""
    rng = np.random.Generator(np.random.Philox(key=2022))
    cells = SIDE // CELL
    total = sum(_value_noise(cells * 2 ** k, rng) * 0.55 ** k for k in range(4))
    total = 0.5 + 0.2 * (total - total.mean()) / total.std()
    return torch.tensor(total.clip(0, 1).ravel(), dtype=dtype, device=device)


@functools.lru_cache(maxsize=8)
def _cells(device, dtype):
    rng = np.random.Generator(np.random.Philox(key=2023))
    return torch.tensor(rng.random(SIDE * SIDE), dtype=dtype, device=device)


def fbm(u, v):
    """Smooth noise in [0, 1] with detail down to 1/8 of a unit; u, v: tensors of one shape. Period: SIDE / CELL = 16 units."""
    table = _table(str(u.device), u.dtype)
    u, v = u * CELL, v * CELL
    u0, v0 = u.floor(), v.floor()
    fu, fv = u - u0, v - v0
    u0, v0 = u0.long() & (SIDE - 1), v0.long() & (SIDE - 1)
    u1, v1 = (u0 + 1) & (SIDE - 1), ((v0 + 1) & (SIDE - 1)) * SIDE
    v0 = v0 * SIDE
    low = torch.lerp(table[v0 + u0], table[v0 + u1], fu)
    high = torch.lerp(table[v1 + u0], table[v1 + u1], fu)
    return torch.lerp(low, high, fv)


def cell(u, v):
    """A random number in [0, 1) for each whole cell (floor u, floor v)."""
    table = _cells(str(u.device), u.dtype)
    return table[(v.floor().long() & (SIDE - 1)) * SIDE + (u.floor().long() & (SIDE - 1))]


def uniforms(count, category, seed, indices, stream=0):
    """(N, count) uniform numbers in [0, 1), float64: row i depends on (category, seed, indices[i], stream) alone."""
    name = zlib.crc32(category.encode())
    return np.stack([np.random.Generator(np.random.Philox(np.random.SeedSequence((name, seed, int(i), stream)))).random(count)
                     for i in indices]) if len(indices) else np.zeros((0, count))
