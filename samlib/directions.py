"""Edit directions (Sec. 3.4, 6.4): unsupervised ones by PCA in W (GANSpace, Härkönen et al. 2020) and supervised ones
that move a measured factor of the image and leave the others where they are.

A direction is a tensor (L, w_dim), added to w+; rows that do not belong to the edit are 0.
"""

import torch

from .precision import double


def to_rows(direction: torch.Tensor, rows: range | list[int], num_layers: int) -> torch.Tensor:
    """A direction (w_dim,) in W -> (L, w_dim), non-zero in `rows` only."""
    out = direction.new_zeros(num_layers, direction.shape[-1])
    out[list(rows)] = direction
    return out


@torch.inference_mode()
def sample_w(generator, samples: int, seed: int = 0) -> torch.Tensor:
    """(samples, w_dim) codes of random z, the same for a seed on every device."""
    z = torch.randn(samples, generator.z_dim, generator=torch.Generator().manual_seed(seed))
    return generator.mapping(z.to(generator.w_avg))[:, 0]


@torch.inference_mode()
def pca(generator, count: int = 10, samples: int = 10_000, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` principal directions of W (count, w_dim), each scaled to one standard deviation, and those (count,).

    The sign of each is fixed by its largest entry, so that a slider means the same on every machine.
    """
    w = double(sample_w(generator, samples, seed))
    _, singular, components = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    deviations = singular[:count] / (len(w) - 1) ** 0.5
    components = components[:count]
    largest = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = components * largest.sign() * deviations[:, None]
    return components.to(generator.w_avg), deviations.to(generator.w_avg)


def supervised(w: torch.Tensor, factors: torch.Tensor, ridge: float = 1e-3) -> torch.Tensor:
    """Directions in W that move one factor by one of its standard deviations and, to first order, no other.

    w (N, w_dim) and the factors (N, K) read off their images; returns (K, w_dim). With the linear fit
    factors ~ w A and the covariance C of w, row k is the most probable step d (least Mahalanobis norm) for which
    A^T d = e_k: the k-th column of C A (A^T C A)^-1.
    """
    w, factors = double(w), double(factors)
    w = w - w.mean(0)
    factors = (factors - factors.mean(0)) / factors.std(0)
    cov = w.T @ w / (len(w) - 1)
    eye = torch.eye(len(cov), dtype=cov.dtype, device=cov.device)
    fit = torch.linalg.solve(cov + ridge * cov.diagonal().mean() * eye, w.T @ factors / (len(w) - 1))
    response = cov @ fit
    return torch.linalg.solve(fit.T @ response, response.T).float()


@torch.inference_mode()
def read(generator, regressor, w: torch.Tensor, step=0.0, batch: int = 32) -> torch.Tensor:
    """Factors (N, K) that `regressor` reads off the images of w (N, w_dim), with `step` (L, w_dim) added to each row of w+."""
    return torch.cat([regressor(generator.synthesis(part[:, None].expand(-1, generator.num_layers, -1) + step, noise="none")
                                .clamp(-1, 1)) for part in w.split(batch)])


@torch.inference_mode()
def effect(generator, regressor, w: torch.Tensor, direction: torch.Tensor, strength: float = 1.0, before=None) -> torch.Tensor:
    """Mean change (K,) of the factors read by `regressor` (standardized) when `direction` (L, w_dim) is added.

    w (N, w_dim): the codes to edit; `regressor`: images -> (N, K) in units of the data's standard deviation; before: what
    `read` gives without the direction, where that is known.
    """
    before = read(generator, regressor, w) if before is None else before
    return (read(generator, regressor, w, strength * direction) - before).mean(0)


def progress(change: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """How far changes (..., K) go along the change asked for (K,): 0 not at all, 1 as far as asked."""
    return change @ asked / asked.square().sum()


def choose_rows(generator, regressor, w: torch.Tensor, direction: torch.Tensor, asked: torch.Tensor,
                strength: float = 2.0) -> range:
    """The rows of w+ that an edit needs: of the ranges between spaces that keep at least 70 % of the progress of all rows,
    the shortest whose ratio of `progress` to the mean change of the other factors is within a tenth of the best.

    direction (w_dim,); asked (K,): the change of each factor that is wanted; NaN for those that may do as they please.
    """
    count, wanted, others = generator.num_layers, asked.nan_to_num(), asked == 0
    cuts = sorted({0, 2, *(s.layer for s in generator.spaces), count})
    ranges = [range(count), *(range(a, b) for i, a in enumerate(cuts) for b in cuts[i + 1:])]
    before = read(generator, regressor, w)
    changes = [effect(generator, regressor, w, to_rows(direction, rows, count), strength, before) for rows in ranges]
    moved = [float(progress(change, wanted)) for change in changes]
    scores = [m / (float(change[others].abs().sum()) / max(int(others.sum()), 1) + 0.05) if m >= 0.7 * moved[0] else 0.0
              for m, change in zip(moved, changes)]
    return min((rows for rows, score in zip(ranges, scores) if score >= 0.9 * max(scores)), key=len)


def allowed_in(generator, regressor, w: torch.Tensor, direction: torch.Tensor, asked: torch.Tensor, strength: float = 2.0,
               before=None, spaces=None) -> dict[str, float]:
    """A row of Table 3, measured: for each space, the share of the edit's progress that is left when only the rows act
    that come after the space. direction (L, w_dim); asked (K,) as for `choose_rows`; before: see `effect`; spaces: names of
    those to measure, the latent one among them; None: all."""
    wanted, shares = asked.nan_to_num(), {}
    before = read(generator, regressor, w) if before is None else before
    for space in (one for one in generator.spaces if spaces is None or one.name in spaces):
        late = direction.clone()
        late[:space.layer] = 0
        found = effect(generator, regressor, w, late, strength, before) if late.any() else torch.zeros_like(before[0])
        shares[space.name] = float(progress(found, wanted))
    first = shares[generator.spaces[0].name]
    return {name: share / first if first else 0.0 for name, share in shares.items()}
