"""Double precision where a sum or an inverse needs it, on every device; and functions compiled for the shapes they meet."""

import functools

import torch


def double(x: torch.Tensor, device=None) -> torch.Tensor:
    """`x` in float64, or in float32 for Apple's MPS, which has no float64; on `device`, None: where it is."""
    device = x.device if device is None else torch.device(device)
    return x.to(widest(device.type)).to(device)  # in this order: MPS would not even take a float64


def widest(kind: str) -> torch.dtype:
    """The widest float of this type of device."""
    return torch.float32 if kind == "mps" else torch.float64


@functools.cache
def fused(function):
    """`function` through torch.compile: its many small operations on large tensors become few. Each shape is compiled anew."""
    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, 64)  # shapes, before it gives up
    return torch.compile(function, dynamic=False)
