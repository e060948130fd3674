"""The device that a name means."""

import torch


def pick_device(name=None):
    """A torch.device; None is the GPU where there is one. ValueError for one that this machine does not have."""
    if not name:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        return device
    # RuntimeError: a name, number or backend that torch does not know; AssertionError: torch built without CUDA
    except (RuntimeError, AssertionError):
        raise ValueError(f"no device {str(name)!r} on this machine; cpu always is") from None
