"""The training objective of Sec. 3.3, Eq. 5-8, term by term.

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
    gaussian: float = 1e-8  # lambda_W, first term of Eq. 6
    spread: float = 1e-3  # lambda_W, second term of Eq. 6
    feature: float = 5.0  # lambda_F
    spread_power: int = 1


def reconstruction_loss(x, x_hat, weights: Weights, metric=None, features=None, valid=None) -> dict[str, torch.Tensor]:
    """Eq. 5:  L_rec = l2(x, x_hat) + lambda_LPIPS L_LPIPS(x, x_hat).

    x, x_hat (N, 3, H, W); l2 is the mean square. `features` are `metric.features(x)`, if they are known already.
    valid (N, 1, H, W) in [0, 1], above 0 somewhere: the share of each pixel that counts, None: all of it. Both means are
    then over what counts, and both images, `features` too, must hold the same where nothing does, as 0.
    """
    terms, masked = {}, {} if valid is None else {"valid": valid}
    if weights.l2:
        error = (x - x_hat).square()
        terms["l2"] = error.mean((1, 2, 3)) if valid is None else (error.mean(1, True) * valid).sum((1, 2, 3)) / valid.sum((1, 2, 3))
    if weights.lpips:
        features = metric.features(x) if features is None else features
        terms["lpips"] = metric.distance(features, metric.features(x_hat), **masked)
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
    if weights.spread:
        norms = torch.linalg.vector_norm(w_plus - w_plus[:, :1], dim=2)
        terms["spread"] = norms.pow(weights.spread_power).sum(1)
    return terms


def f_loss(deltas: dict[str, torch.Tensor], weights: Weights) -> dict[str, torch.Tensor]:
    """Eq. 7:  L_F = sum_l ||delta_f_l||^2, as the mean square of each delta_f_l (N, C, h, w), so that the weight does
    not depend on the size of a feature map. No deltas, no term."""
    if not weights.feature or not deltas:
        return {}
    return {"feature": sum(delta.square().mean((1, 2, 3)) for delta in deltas.values())}


def total(terms: dict[str, torch.Tensor], weights: Weights) -> torch.Tensor:
    """Eq. 8:  L_rec + lambda_W L_W + lambda_F L_F  (N,), from the terms of Eq. 5-7."""
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
        w = torch.cat([generator.mapping(part.to(device))[:, 0].cpu() for part in z.split(batch)])
        w_hat = convert(w)
        mu = w_hat.mean(0) if mean == "converted" else convert(double(w).mean(0))
        return cls(mu, torch.linalg.pinv(w_hat.t().cov(), hermitian=True)).to(device)

    def to(self, device) -> "WStatistics":
        """A copy on `device`."""
        return WStatistics(*(double(x.to(device, copy=True)) for x in (self.mean, self.inverse_covariance)))
