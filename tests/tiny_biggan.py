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


def package_state(generator) -> dict:
    """Its tensors as pytorch-pretrained-biggan keeps them: weight_orig, weight_u, weight_v for each that spectral norm is on."""
    state = {}
    for name, tensor in generator.state_dict().items():
        if name.endswith(".weight") and tensor.ndim > 1 and name != "embeddings.weight":
            matrix = tensor.flatten(1)
            u = torch.nn.functional.normalize(torch.ones(len(matrix)), dim=0)
            v = matrix.t() @ u
            state |= {f"{name}_orig": tensor * 3, f"{name}_u": u, f"{name}_v": v / v.square().sum()}
        else:
            state[name] = tensor
    return state
