"""How much fits on a GPU at once."""

import torch


def fits(device, most: int, each: float) -> int:
    """How many of `most` images of `each` bytes a CUDA device holds at once, at least 1. What PyTorch keeps in reserve counts as free."""
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, min(most, int(free / each)))
