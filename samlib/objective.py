"""The training objective of Sec. 3.3, Eq. 5-8, and that of BigGAN-deep of Sec. 6.3, Eq. 9-10, term by term.

Each equation is a function that returns its terms by name, unweighted, one value (N,) for each image; `total` (Eq. 8)
weighs and adds them. A term whose weight is 0 is not computed. Nothing is summed over images, so that n images
optimized together are n images optimized alone.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .precision import double


@dataclass(frozen=True)
class Weights:
    """The weight of each term of the objective; 0 leaves the term out. Defaults: the published implementation.

    The paper writes one lambda_W for both terms of Eq. 6; the published weights differ, so there are two.
    `spread_power` is the power of the norm in the second term of Eq. 6: 1 as published, 2 as printed in the paper.
    """

    l2: float = 1.0
    lpips: float = 1.0  # lambda_LPIPS
    gaussian: float = 1e-8  # lambda_W, first term of Eq. 6; of BigGAN lambda_Z, of Eq. 9
    spread: float = 1e-3  # lambda_W or lambda_Z, second term of Eq. 6 or 9
    feature: float = 5.0  # lambda_F
    spread_power: int = 1


def perceptual(metric, features, x_hat, valid=None) -> torch.Tensor:
    """L_LPIPS (N,) of x_hat (N, 3, H, W) from an image whose `metric.features` are known."""
    return metric.distance(features, metric.features(x_hat), **({} if valid is None else {"valid": valid}))


def reconstruction_loss(x, x_hat, weights: Weights, metric=None, features=None, valid=None, distance=perceptual) -> dict[str, torch.Tensor]:
    """Eq. 5:  L_rec = l2(x, x_hat) + lambda_LPIPS L_LPIPS(x, x_hat).

    x, x_hat (N, 3, H, W); l2 is the mean square. `features` are `metric.features(x)`, if they are known already.
    valid (N, 1, H, W) in [0, 1], above 0 somewhere: the share of each pixel that counts, None: all of it. Both means are
    then over what counts, and both images, `features` too, must hold the same where nothing does, as 0.
    distance: `perceptual`, or the same compiled.
    """
    terms = {}
    if weights.l2:
        error = (x - x_hat).square()
        terms["l2"] = error.mean((1, 2, 3)) if valid is None else (error.mean(1, True) * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3))
    if weights.lpips:
        features = metric.features(x) if features is None else features
        terms["lpips"] = distance(metric, features, x_hat, valid)
    return terms


def w_loss(w_plus, weights: Weights, statistics: "WStatistics | None" = None) -> dict[str, torch.Tensor]:
    """Eq. 6:  L_W = sum_n (w_hat_n - mu)^T Sigma (w_hat_n - mu)  +  sum_n ||w_n - w_0||^2,   w_hat = LeakyReLU(w, 5).

    w_plus (N, L, D), `statistics` of w_hat. Sigma is the inverse covariance, which makes the first term a squared
    Mahalanobis distance (Wulff and Torralba 2020, the paper's [59]). The norm is squared if `spread_power` is 2.
    """
    terms = {}
    if weights.gaussian:
        v = convert(w_plus) - statistics.mean
        terms["gaussian"] = ((v @ statistics.inverse_covariance) * v).sum((1, 2)).to(w_plus.dtype)
    return terms | _spread(w_plus, weights)


def z_loss(z_plus, weights: Weights, statistics: "WStatistics | None" = None) -> dict[str, torch.Tensor]:
    """Eq. 9:  L_Z = sum_n (z_n - mu)^T Sigma (z_n - mu)  +  sum_n ||z_n - z_0||^2.

    z_plus (N, L, D). Sigma is the inverse covariance, as in Eq. 6. z is drawn from N(0, I), so the mean and covariance of
    ever more samples tend to 0 and I: without `statistics` these are taken, and the first term is the sum of squares.
    """
    terms = {}
    if weights.gaussian and statistics is None:
        terms["gaussian"] = z_plus.square().sum((1, 2))
    elif weights.gaussian:
        v = double(z_plus) - statistics.mean
        terms["gaussian"] = ((v @ statistics.inverse_covariance) * v).sum((1, 2)).to(z_plus.dtype)
    return terms | _spread(z_plus, weights)


def _spread(code, weights):
    """The second term of Eq. 6 and 9."""
    if not weights.spread:
        return {}
    norms = torch.linalg.vector_norm(code - code[:, :1], dim=2)
    return {"spread": norms.pow(weights.spread_power).sum(1)}


LATENT_LOSSES = {"W+": w_loss, "Z+": z_loss}  # by the name of a generator's latent space


def latent_prior(generator, weights: Weights, statistics=None, seed: int = 0):
    """L_W or L_Z of this generator, as a function code (N, L, D) -> terms. The W of StyleGAN2 is measured if no
    `statistics` are given; a row of BigGAN's code is the part that varies, without its class."""
    loss = LATENT_LOSSES[generator.spaces[0].name]
    if weights.gaussian and statistics is None and loss is w_loss:
        statistics = WStatistics.sample(generator, seed=seed)
    statistics = statistics and statistics.to(generator.w_avg.device)
    return lambda code: loss(code, weights, statistics)


def f_loss(deltas: dict[str, torch.Tensor], weights: Weights) -> dict[str, torch.Tensor]:
    """Eq. 7:  L_F = sum_l ||delta_f_l||^2, as the mean square of each delta_f_l (N, C, h, w), so that the weight does
    not depend on the size of a feature map. No deltas, no term."""
    if not weights.feature or not deltas:
        return {}
    return {"feature": sum(delta.square().mean((1, 2, 3)) for delta in deltas.values())}


def total(terms: dict[str, torch.Tensor], weights: Weights) -> torch.Tensor:
    """Eq. 8:  L_rec + lambda_W L_W + lambda_F L_F  (N,), from the terms of Eq. 5-7; with those of Eq. 9 it is Eq. 10."""
    if not terms:
        raise ValueError("no term of the objective is left to minimize; give at least one a weight other than 0")
    return sum(getattr(weights, name) * term for name, term in terms.items())


def convert(w: torch.Tensor) -> torch.Tensor:
    """w_hat of Eq. 6: undoes the last LeakyReLU(0.2) of the mapping network, after which w is close to Gaussian."""
    return F.leaky_relu(double(w), 5.0)


@dataclass(frozen=True)
class WStatistics:
    """mu (D,) and the inverse of the covariance Sigma (D, D) of Eq. 6, both of w_hat and in double precision."""

    mean: torch.Tensor
    inverse_covariance: torch.Tensor

    @classmethod
    @torch.no_grad()  # and not inference_mode: autograd saves these numbers
    def sample(cls, generator, n=5000, seed=0, mean="converted", batch=1000) -> "WStatistics":
        """From n seeded draws of w. mean "converted": of the w_hat (the paper); "published": w_hat of the mean w.

        The draws are made on the CPU, so that they are the same for every device.
        """
        if mean not in ("converted", "published"):
            raise ValueError(f"mean {mean!r}; want 'converted' or 'published'")
        device = generator.w_avg.device
        z = torch.randn(n, generator.z_dim, generator=torch.Generator().manual_seed(seed))
        w = torch.cat([generator.mapping(part.to(generator.w_avg))[:, 0].cpu() for part in z.split(batch)])
        w_hat = convert(w)
        mu = w_hat.mean(0) if mean == "converted" else convert(double(w).mean(0))
        return cls(mu, torch.linalg.pinv(w_hat.t().cov(), hermitian=True)).to(device)

    def to(self, device) -> "WStatistics":
        """A copy on `device`."""
        return WStatistics(*(double(x.clone(), device) for x in (self.mean, self.inverse_covariance)))
