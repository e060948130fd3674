"""Double precision where a sum or an inverse needs it, on every device."""

import torch


def double(x: torch.Tensor) -> torch.Tensor:
    """`x` in float64; in float32 on Apple's MPS, which has no float64."""
    return x.float() if x.device.type == "mps" else x.double()
