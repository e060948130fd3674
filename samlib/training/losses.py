"""The losses and regularizers of StyleGAN2's training (Karras et al. 2020), and of the projected discriminator's."""

import torch
import torch.nn.functional as F

from ..discriminator import Discriminator
from ..stylegan2 import Generator
from .projected import ProjectedDiscriminator, augment


def style_mixing(generator: Generator, n: int, probability: float, device) -> torch.Tensor:
    """w+ (n, L, D) of random z; with this probability the last rows, one at least and not all, come from a second z."""
    w, other = generator.mapping(torch.randn(2 * n, generator.z_dim, device=device)).chunk(2)
    rows = torch.arange(generator.num_layers, device=device)
    cut = torch.randint(1, generator.num_layers, (n, 1), device=device)
    mixed = (rows >= cut) & (torch.rand(n, 1, device=device) < probability)
    return torch.where(mixed[:, :, None], other, w)


def generator_loss(judge, fake: torch.Tensor) -> torch.Tensor:
    if isinstance(judge, ProjectedDiscriminator):
        return -judge(augment(fake)).mean()
    return F.softplus(-judge(fake)).mean()


def discriminator_loss(judge, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Hinge for the projected discriminator, as its paper has it; logistic for that of StyleGAN2."""
    if isinstance(judge, ProjectedDiscriminator):
        return F.relu(1 + judge(augment(fake))).mean() + F.relu(1 - judge(augment(real))).mean()
    return F.softplus(judge(fake)).mean() + F.softplus(-judge(real)).mean()


def r1_penalty(judge: Discriminator, real: torch.Tensor) -> torch.Tensor:
    """Squared gradient of the logit on real images (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(judge(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def path_length_penalty(generator: Generator, w: torch.Tensor, mean: torch.Tensor, noise: str = "random") -> torch.Tensor:
    """Squared distance of |J_w^T y| to its running `mean`, which is updated in place (Karras et al. 2020, Eq. 4)."""
    image = generator.synthesis(w, noise=noise)
    y = torch.randn_like(image) / image[0, 0].numel() ** 0.5
    (gradient,) = torch.autograd.grad((image * y).sum(), w, create_graph=True)
    lengths = gradient.square().sum(2).mean(1).sqrt()
    mean.lerp_(lengths.detach().mean(), 0.01)
    return (lengths - mean).square().mean()
