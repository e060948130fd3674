"""The latent discriminator of e4e (Tov et al., SIGGRAPH 2021, Sec. 4.1; after Nitzan et al. 2020): it tells the w of the
mapping network from those of an encoder, and so keeps each row of w+ where the generator's edits work."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LatentJudge(nn.Module):
    """w (M, D) -> logits (M,): large for what the mapping network makes. Non-saturating loss, R1."""

    def __init__(self, generator, scale: float, hidden: int = 256, learning_rate: float = 2e-4, gamma: float = 10.0):
        super().__init__()
        self.generator, self.scale, self.gamma = [generator], scale, gamma  # in a list: it is no part of this module
        self.layers = nn.Sequential(nn.Linear(generator.w_dim, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden),
                                    nn.LeakyReLU(0.2), nn.Linear(hidden, 1)).to(generator.w_avg.device)
        self.adam = torch.optim.Adam(self.parameters(), learning_rate, betas=(0.0, 0.99))

    def forward(self, w: Tensor) -> Tensor:
        return self.layers((w - self.generator[0].w_avg) / self.scale)[:, 0]

    def loss(self, w_plus: Tensor) -> Tensor:
        """What the encoder minimizes: the rows of w+ (N, L, D) shall pass for w."""
        with torch.autocast(w_plus.device.type, enabled=False):
            return F.softplus(-self(w_plus.float().flatten(0, 1))).mean()

    def update(self, w_plus: Tensor, random: torch.Generator) -> Tensor:
        """One step of its own, on the rows of w+ and as many samples."""
        with torch.enable_grad(), torch.autocast(w_plus.device.type, enabled=False):
            fake = w_plus.detach().float().flatten(0, 1)
            real = sample_w(self.generator[0], len(fake), random).requires_grad_()
            logits = self(real)
            slope, = torch.autograd.grad(logits.sum(), real, create_graph=True)
            loss = F.softplus(-logits).mean() + F.softplus(self(fake)).mean()
            loss = loss + 0.5 * self.gamma * (slope * self.scale).square().sum(1).mean()  # in units of the deviation of w
            self.adam.zero_grad()
            loss.backward()
            self.adam.step()
        return loss.detach()


@torch.no_grad()
def sample_w(generator, count: int, random: torch.Generator) -> Tensor:
    """w (count, D) of random z, drawn on the device of `random`."""
    z = torch.randn(count, generator.z_dim, generator=random, device=random.device)
    with torch.autocast(random.device.type, enabled=False):
        return generator.mapping(z)[:, 0]
