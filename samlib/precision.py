"""Double precision where a sum or an inverse needs it, on every device."""

import torch


def double(x: torch.Tensor, device=None) -> torch.Tensor:
    """`x` in float64, or in float32 for Apple's MPS, which has no float64; on `device`, None: where it is."""
    device = x.device if device is None else torch.device(device)
    return x.to(widest(device.type)).to(device)  # in this order: MPS would not even take a float64


def widest(kind: str) -> torch.dtype:
    """The widest float of this type of device."""
    return torch.float32 if kind == "mps" else torch.float64
