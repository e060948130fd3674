"""How much fits on a GPU at once."""

import torch


def fits(generator, most: int, each: float) -> int:
    """How many images the GPU of `generator` holds at once, at least 1: of 256 px at most `most`, of `each` bytes; of another size
    as many pixels. What PyTorch keeps in reserve counts as free."""
    device, share = generator.w_avg.device, generator.resolution**2 / 256**2
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return max(1, int(min(most, free / each) / share))
