"""The optimization-based inversion of Sec. 3.3: phi = {w+, delta_f} of every image is found by gradient descent.

    masks, start -> phi -> image (Eq. 3-4, in the generator) -> objective (Eq. 5-8, or 9-10) -> Adam -> Inversion

For BigGAN-deep (Sec. 6.3), z+ stands where w+ does; the class, which its code carries too, stays what it is.

All images of a batch are optimized at once, and none knows of the others: losses are summed over images, never
averaged, and Adam treats every number by itself.
"""

import math
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from .images import check_valid
from .inversion import Inversion
from .objective import Weights, WStatistics, f_loss, latent_prior, perceptual, reconstruction_loss, total
from .precision import fused

DELTA_RATE = 0.05  # of the feature changes, as published


def optimize(
    generator,
    images: Tensor,
    masks: dict[str, Tensor],
    metric,
    *,
    steps: int = 500,
    weights: Weights = Weights(),  # noqa: B008 (frozen)
    start: Tensor | None = None,
    start_deltas: dict[str, Tensor] | None = None,
    shared_w: bool = False,
    noise: str = "none",
    learning_rate: float = 0.05,
    delta_learning_rate: float | Mapping[str, float] | None = None,
    loss_size: int | None = None,
    valid: Tensor | None = None,
    statistics: WStatistics | None = None,
    precision: torch.dtype | None = None,
    compiled: bool = False,
    callback=None,
    callback_every: int = 10,
    seed: int = 0,
    progress: bool = True,
) -> Inversion:
    """Invert `images` (N, 3, R, R) in [-1, 1], R the generator's resolution, each with its own masks.

    masks         space name -> m_l (N, 1, h, w), from `layer_map.masks`; {} inverts in W+ alone, and ones in one
                  space in that single space. Only the spaces that some mask uses get a delta_f.
    metric        perceptual distance (`perceptual.Metric`); may be None where `weights.lpips` is 0.
    start         w+ (N, L, D) or (1, L, D) to start from, as an encoder predicts it; None: the mean w. A BigGAN starts at
                  z = 0 and the class that it was conditioned on or that its `classify` finds.
    start_deltas  space name -> delta_f (N, C, h, w) or (1, C, h, w) to start from; those left out start from 0.
    shared_w      one w for all rows: inversion in W.
    noise         "none" or "const", for the generator.
    learning_rate of w; delta_learning_rate: of all delta_f, or space name -> that of its delta_f; None, or left out: that of w.
    loss_size     side of the images that the loss compares; None: that of `Reconstruction`.
    valid         (N, 1, R, R), 1 where an image is and 0 where it was padded: what is there costs nothing, and the
                  images of both are compared with grey (0) in its place; None: everything counts.
    statistics    of w, for Eq. 6; None: sampled with `seed` (nothing else here is random).
    precision     torch.bfloat16 runs image and metric under autocast; None: the dtype of the weights.
    compiled      compile image formation and metric, once for each shape: two minutes, after which a step takes a third (CUDA).
    callback      called as callback(step, images) every `callback_every` steps, for a preview.

    Ctrl-C, or a KeyboardInterrupt from the callback, ends the loop early and what has been reached is returned.
    """
    _check(generator, images, masks, start, start_deltas, weights, metric, noise, valid)
    # What was made in inference mode cannot be trained with; copies made outside of it can.
    with torch.inference_mode(False), torch.enable_grad(), _frozen(generator, metric):
        device = generator.w_avg.device
        images = images.to(device, copy=True)
        masks = {name: m.to(device, copy=True) for name, m in masks.items() if m.any()}
        generator = with_classes(generator, images) if start is None else generator
        phi = Phi(generator, len(images), masks, start, start_deltas, shared_w, noise, compiled)
        prior = latent_prior(generator, weights, statistics, seed)
        reconstruction = Reconstruction(images, weights, metric, valid, loss_size, compiled)

        def objective(t):
            """x_hat and the terms of Eq. 5-7, at the share t in (0, 1) of the run."""
            with torch.autocast(device.type, precision) if precision else nullcontext():
                x_hat = phi.form()
                terms = reconstruction(x_hat, t)
            return x_hat, terms | prior(phi.rows) | f_loss(phi.deltas, weights)

        losses = descend(phi, objective, weights, steps, learning_rate, delta_learning_rate, callback, callback_every, progress)
        return phi.inversion(images, losses)


class Phi:
    """phi = {w+, delta_f} of Eq. 8: the variables, and the images that they form."""

    def __init__(self, generator, n, masks, start=None, start_deltas=None, shared_w=False, noise="none", compiled=False):
        """See `optimize`; `masks` holds only the spaces that are used."""
        device, rows = generator.w_avg.device, generator.num_layers
        start = generator.w_avg.unflatten(-1, (1, -1)) if start is None else start
        code = start.to(device).expand(n, rows, -1).clone()
        w, self.fixed = code.tensor_split([generator.spaces[0].channels], 2)
        self.w = w.mean(1, keepdim=True) if shared_w else w.contiguous()
        self.deltas = {}
        for space in generator.spaces:
            if space.name in masks:
                zero = generator.w_avg.new_zeros(n, space.channels, space.resolution, space.resolution)
                self.deltas[space.name] = (start_deltas or {}).get(space.name, zero).to(device).expand_as(zero).clone()
        if unused := {*(start_deltas or {})} - {*self.deltas}:
            raise ValueError(f"start_deltas has {', '.join(sorted(unused))}, which no mask uses; leave it out")
        for variable in (self.w, *self.deltas.values()):
            variable.requires_grad_()
        self.generator, self.masks, self.noise = generator, masks, noise
        self.formed = fused(formed) if compiled else formed

    @property
    def rows(self) -> Tensor:
        """w+ or z+ (N, L, D), the part of the code that is found."""
        return self.w.expand(-1, self.generator.num_layers, -1)

    @property
    def w_plus(self) -> Tensor:
        """The whole code (N, L, D): w+, or z+ with the embedding of the class behind each row."""
        return torch.cat([self.rows, self.fixed], 2) if self.fixed.shape[2] else self.rows

    def form(self) -> Tensor:
        """x_hat (N, 3, H, W) of Eq. 3-4, clamped to [-1, 1]."""
        return self.formed(self.generator, self.w_plus.contiguous(), self.deltas, self.masks, self.noise)

    @torch.no_grad()
    def inversion(self, inputs: Tensor, losses: dict[str, Tensor]) -> Inversion:
        """The record of what has been reached."""
        return Inversion(
            w_plus=self.w_plus.clone(),
            deltas={name: delta.detach() for name, delta in self.deltas.items()},
            masks=self.masks,
            images=formed(self.generator, self.w_plus, self.deltas, self.masks, self.noise),  # in full precision, and so not as compiled
            inputs=inputs,
            losses=losses,
            spaces=tuple(space.name for space in self.generator.spaces),
            noise=self.noise,
        )


def descend(phi, objective, weights, steps, rate, delta_rates, callback, callback_every, progress) -> dict[str, Tensor]:
    """Adam on phi, each variable at its rate (see `optimize`). Returns name of a term -> (steps done, N), on the CPU."""
    delta_rates = rate if delta_rates is None else delta_rates
    rate_of = delta_rates if isinstance(delta_rates, Mapping) else dict.fromkeys(phi.deltas, delta_rates)
    groups = [{"params": [phi.w], "rate": rate}]
    groups += [{"params": [delta], "rate": rate_of.get(name, rate)} for name, delta in phi.deltas.items()]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.999), fused=phi.w.is_cuda)
    history = []
    try:
        for step in tqdm(range(steps), desc="inverting", disable=not progress):
            t = (step + 0.5) / steps
            for group in adam.param_groups:
                group["lr"] = group["rate"] * schedule(t)
            x_hat, terms = objective(t)
            adam.zero_grad()
            total(terms, weights).sum().backward()
            adam.step()
            history.append({name: term.detach() for name, term in terms.items()})
            if callback and step % callback_every == 0:
                callback(step, x_hat.detach())
    except KeyboardInterrupt:
        pass  # what has been reached is the result
    return {name: torch.stack([terms[name] for terms in history]).cpu() for name in (history[0] if history else ())}


def schedule(t: float, ramp_up: float = 0.05, ramp_down: float = 0.25) -> float:
    """Factor of the learning rate at the share t in (0, 1) of the run: linear up, level, cosine down (Karras et al.
    2020, Appendix D)."""
    down = 0.5 - 0.5 * math.cos(math.pi * min(1, (1 - t) / ramp_down))
    return down * min(1, t / ramp_up)


def with_classes(generator, images: Tensor):
    """A BigGAN that knows no class yet, conditioned on those that its `classify` finds; any other generator as it is."""
    if getattr(generator, "given", True) is not None:
        return generator
    if generator.classify is None:
        raise ValueError("no classes: give generator.conditioned(classes), a start that has them, or set generator.classify")
    with torch.no_grad():
        return generator.conditioned(generator.classify(images))


def formed(generator, w_plus: Tensor, deltas: dict, masks: dict, noise: str) -> Tensor:
    """x_hat (N, 3, H, W) of Eq. 3-4, clamped to [-1, 1]."""
    return Clamp.apply(generator.synthesis(w_plus, deltas, masks, noise))


class Clamp(torch.autograd.Function):
    """x.clamp(-1, 1), with the gradient that leads what is outside back inside; that of torch is 0 there, and a pixel that
    F10 has once driven out would stay white."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        further = ((x > 1) & (gradient < 0)) | ((x < -1) & (gradient > 0))
        return gradient.masked_fill(further, 0)


class Reconstruction:
    """L_rec (Eq. 5) of what is formed against `images` (N, 3, R, R), during a run.

    l2 is taken at R, LPIPS at half of it and, in the last FINE of the run, in which the rates fall, at R; nothing at more than
    256, as published, which of 512 px on is the only size. At half size alone LPIPS does not see noise of single pixels, and
    F10 can make it; at R all along a run costs about twice as much.
    valid (N, 1, R, R): see `optimize`. size: the only size, instead.
    """

    FINE = 0.25

    def __init__(self, images: Tensor, weights: Weights, metric=None, valid=None, size: int | None = None, compiled: bool = False):
        self.metric, self.distance = metric, fused(perceptual) if compiled else perceptual
        self.weights = {"l2": replace(weights, lpips=0.0), "lpips": replace(weights, l2=0.0)}
        self.valid = None if valid is None or (valid == 1).all() else valid.to(images, copy=True)
        side = images.shape[-1]
        coarse, fine = (size, size) if size else (min(side // 2, 256), min(side, 256))
        self.sizes = {"l2": (fine, fine), "lpips": (coarse, fine)}
        self.shares = {s: None if self.valid is None else at_size(self.valid, s) for s in {coarse, fine}}
        self.x = {s: seen(images, s, self.valid, self.shares[s]) for s in {coarse, fine}}
        with torch.no_grad():
            self.features = {s: metric.features(x) for s, x in self.x.items()} if weights.lpips else {}

    def __call__(self, x_hat: Tensor, t: float) -> dict[str, Tensor]:
        """The terms of Eq. 5 for x_hat (N, 3, R, R) at the share t of the run."""
        terms = {}
        for term, sizes in self.sizes.items():
            s = sizes[t > 1 - self.FINE]
            terms |= reconstruction_loss(self.x[s], seen(x_hat, s, self.valid, self.shares[s]), self.weights[term], self.metric,
                                         self.features.get(s), self.shares[s], self.distance)
        return terms


def at_size(images: Tensor, size: int) -> Tensor:
    """`images` area-resized to (N, 3, size, size), the size at which the loss compares them."""
    return images if images.shape[-1] == size else F.interpolate(images, (size, size), mode="area")


def seen(images: Tensor, size: int, valid: Tensor | None = None, shares: Tensor | None = None) -> Tensor:
    """What the loss sees of `images`, at its size: the mean of what is valid in a pixel, and 0 where nothing is.

    valid (N, 1, R, R); shares: the same area-resized to `size`. None: everything is valid."""
    if valid is None:
        return at_size(images, size)
    return at_size(images * valid, size) / shares.clamp(min=1e-6)  # 0 / 1e-6 where nothing is


@contextmanager
def _frozen(*modules):
    """No gradients for the weights meanwhile: only phi is trained, and a step costs a third less."""
    modules = [module for module in modules if isinstance(module, torch.nn.Module)]
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    try:
        for p in trained:
            p.requires_grad_(False)
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def _check(generator, images, masks, start, start_deltas, weights, metric, noise, valid):
    wanted = (3, generator.resolution, generator.resolution)
    if tuple(images.shape[1:]) != wanted:
        raise ValueError(f"images have shape {tuple(images.shape)}; want (N, {', '.join(map(str, wanted))})")
    rows = (generator.num_layers, generator.w_dim)
    if start is not None and tuple(start.shape) not in ((1, *rows), (len(images), *rows)):
        raise ValueError(f"start has shape {tuple(start.shape)}; want ({len(images)}, {rows[0]}, {rows[1]})")
    for name, mask in masks.items():
        if mask.ndim != 4 or tuple(mask.shape[:2]) != (len(images), 1):
            raise ValueError(f"the mask of {name} has shape {tuple(mask.shape)}; want ({len(images)}, 1, h, w)")
    if names := {*masks} - {space.name for space in generator.spaces if not space.is_latent}:
        raise ValueError(f"masks of {', '.join(sorted(names))}: no such feature space in this generator")
    shapes = {space.name: (space.channels, space.resolution, space.resolution) for space in generator.spaces}
    for name, delta in (start_deltas or {}).items():
        if name in masks and tuple(delta.shape) not in ((1, *shapes[name]), (len(images), *shapes[name])):
            raise ValueError(f"start_deltas of {name} has shape {tuple(delta.shape)}; want {(len(images), *shapes[name])}")
    if weights.lpips and metric is None:
        raise ValueError("a weight for LPIPS but no metric; give one, or weights with lpips=0")
    check_valid(valid, images)
    given = getattr(generator, "given", None)
    if start is None and given is not None and len(given) not in (1, len(images)):
        raise ValueError(f"{len(given)} classes for {len(images)} images; want one, or one for each")
    if noise not in ("none", "const"):
        raise ValueError(f"noise {noise!r}; want 'none' or 'const', so that an inversion can be formed again")
