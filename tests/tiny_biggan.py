"""A BigGAN-deep so small that it is instant on a CPU: 32 px, three classes, spaces Z+, F2, F4, attention at 16 px."""

import torch

from samlib.biggan import BigGAN, standing_statistics

NAMES = ["sedan", "van", "truck"]


def tiny_biggan(seed: int = 0, resolution: int = 32) -> BigGAN:
    """Random weights, large enough for z and the class to show; statistics as a trained one has them."""
    torch.manual_seed(seed)
    channels = {4: 16, 8: 16, 16: 8, 32: 8, 64: 8}
    channels = {size: width for size, width in channels.items() if size <= resolution}
    generator = BigGAN(resolution, z_dim=6, class_dim=4, classes=3, channels=channels, attention=16, n_stats=3, names=NAMES)
    with torch.no_grad():
        generator.embeddings.weight.normal_()
        for name, p in generator.named_parameters():
            if name.endswith(("scale.weight", "offset.weight")):
                p.mul_(2)
            if name.endswith("gamma"):
                p.fill_(0.5)
    standing_statistics(generator, batches=4, batch=32)
    return generator.eval().requires_grad_(False)
