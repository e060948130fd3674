"""Pivotal tuning (PTI), the baseline that changes the generator instead of using its feature spaces.

Roich et al., "Pivotal Tuning for Latent-based Editing of Real Images", ACM TOG 2022. Steps, rates and weights are those
of its published code. The other baselines are calls of `optimize` (w, w+, gaussian, hybrid-e4e) or of `encode` (e4e, ReStyle).

    image -> pivot w -> the synthesis network is tuned until the pivot forms the image -> Inversion
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode
from tqdm.auto import tqdm

from . import memory
from .inversion import Inversion
from .objective import Weights, perceptual
from .optimize import Clamp, Reconstruction, at_size, optimize
from .precision import fused

PIVOT_STEPS, TUNING_STEPS = 450, 350  # as published
TUNED = 0.8e9  # bytes that tuning to an image of 256 px takes: 50 of them took 38 GB of an H200, compiled 28


@dataclass(frozen=True)
class Locality:
    """PTI's locality regularization (its Sec. 3.3): near the pivot, the tuned generator shall form what it formed before.

    l2, lpips  weights of the two distances; 0 and 0 leaves it out. distance: from the pivot at which they are measured, in
               units of the mean distance of w from its mean; published: 30, a length in the W of its own generators.
    """

    l2: float = 0.1
    lpips: float = 0.1
    distance: float = 1.0

    def near(self, generator, pivot: Tensor, random: torch.Generator) -> Tensor:
        """A random w+ at the distance from each pivot (n, L, D), of the same shape."""
        z = torch.randn(64, generator.z_dim, generator=random).to(pivot)
        w = generator.mapping(z)
        alpha = self.distance * (w[:, 0] - generator.w_avg).norm(dim=1).mean()
        step = w[:1] - pivot
        return pivot + alpha * step / step[:, :1].norm(dim=2, keepdim=True).clamp(min=1e-8)

    def loss(self, before: Tensor, after: Tensor, metric, distance=perceptual) -> Tensor:
        """(n,), of what the generator formed there (n, 3, H, W) and what the tuned one forms; 0 where they are equal."""
        value = self.l2 * (after - before).square().mean((1, 2, 3))
        if self.lpips:
            value = value + self.lpips * distance(metric, metric.features(before), after)
        return value


def pti(generator, images: Tensor, masks: dict, metric, *, steps: int = PIVOT_STEPS, tuning_steps: int | None = None,
        tuning_rate: float = 3e-4, tuning_l2: float = 1.0, locality: Locality = Locality(),  # noqa: B008 (frozen)
        seed: int = 0, progress: bool = True, valid: Tensor | None = None, precision: torch.dtype | None = None, compiled: bool = False,
        **options) -> Inversion:
    """Invert images (N, 3, R, R) in [-1, 1], each with a generator of its own, which `Inversion.tuned` holds.

    masks         {}: PTI knows W alone.
    steps         of the search for the pivot, which is `optimize` in W with `options`.
    tuning_steps  of the tuning; None: 350 where the pivot has 450, as published, and in proportion.
    tuning_rate   of Adam.
    tuning_l2     weight of l2 beside the 1 of LPIPS; 1 as published. The built-in domains have 5 in all their objectives: with it here,
                  too, PTI gains PSNR (figures/training/cars.md).
    valid, precision, compiled: see `optimize`.
    The history of l2 and lpips is that of the pivot, then that of the tuning. Ctrl-C ends all that is left to do.
    """
    if any(mask.any() for mask in masks.values()):
        raise ValueError("PTI inverts in W alone; leave the masks of feature spaces out")
    options["shared_w"] = True
    pivot = optimize(generator, images, {}, metric, steps=steps, seed=seed, valid=valid, progress=progress,
                     precision=precision, compiled=compiled, **options)
    stopped = max(map(len, pivot.losses.values()), default=0) < steps
    left = count = 0 if stopped else tuning_steps_for(steps) if tuning_steps is None else tuning_steps
    bar, runs, some = tqdm(total=count * len(pivot), desc="tuning", disable=not progress or not count), [], together(generator)
    with torch.inference_mode(False), torch.enable_grad():
        for i in range(0, len(pivot), some):
            part = pivot[i:i + some]
            whole = len(part) == min(some, len(pivot))  # a remainder is of another shape, which is not worth compiling
            runs.append(tune(generator, part, metric, left, tuning_rate, tuning_l2, locality, seed, options.get("loss_size"),
                             None if valid is None else valid[i:i + some], precision, bar, compiled and whole))
            left = count if len(runs[-1][1]["l2"]) == count else 0  # stopped: the other images keep the generator as it is
    bar.close()
    done = min(len(history["l2"]) for _, history in runs)
    losses = {name: torch.cat([pivot.losses[name], *([torch.cat([h[name][:done] for _, h in runs], 1)] if done else [])])
              if name in ("l2", "lpips") else history for name, history in pivot.losses.items()}
    tuned = {name: torch.cat([changes[name] for changes, _ in runs]) for name in runs[0][0]}
    found = replace(pivot, tuned=tuned, losses=losses)
    with torch.no_grad():  # by what the record holds, so that whoever forms it again gets the same
        formed = [g.synthesis(found.w_plus[part], noise=found.noise).clamp(-1, 1) for g, part in found.generators(generator)]
    return replace(found, images=torch.cat(formed))


def tuning_steps_for(steps: int) -> int:
    """How many belong to a pivot of `steps`, in the proportion of the published ones."""
    return round(steps * TUNING_STEPS / PIVOT_STEPS)


def together(generator) -> int:
    """How many images are tuned at once: one on a CPU; on a GPU 50 of 256 px, or as many pixels, and no more than its memory holds."""
    return memory.fits(generator, 50, TUNED) if generator.w_avg.is_cuda else 1


def tune(generator, pivot: Inversion, metric, steps, rate, l2, locality, seed, size, valid=None, precision=None, bar=None, compiled=False):
    """Fine-tune a copy of the synthesis network to each image -> (name of a weight -> its changes (n, ...) in 16 bits, losses
    (steps, n)).

    size: of the loss, None: that of `Reconstruction`; what shall stay as it is, is compared at the first of these.
    Ctrl-C ends it early with what has been reached."""
    old = {name: weight.detach() for name, weight in generator.synthesis_network.named_parameters()}
    weights = {name: weight.repeat(len(pivot), *[1] * weight.ndim).requires_grad_() for name, weight in old.items()}
    reconstruction = Reconstruction(pivot.inputs.clone(), Weights(), metric, valid, size, compiled)
    w_plus, keeps = pivot.w_plus.clone(), bool(locality.l2 or locality.lpips)
    coarse, form = reconstruction.sizes["lpips"][0], fused(form_each) if compiled else form_each
    adam = torch.optim.Adam(weights.values(), rate, fused=w_plus.is_cuda)
    random = torch.Generator().manual_seed(seed)
    history = {"l2": [], "lpips": []}
    try:
        for step in range(steps):
            with torch.autocast(w_plus.device.type, precision) if precision else nullcontext():
                codes = [w_plus]
                if keeps:
                    with torch.no_grad():
                        codes.append(locality.near(generator, w_plus, random))
                        before = at_size(generator.synthesis(codes[1], noise=pivot.noise).clamp(-1, 1), coarse)
                x = form(generator, weights, torch.stack(codes, 1), pivot.noise)
                terms = reconstruction(Clamp.apply(x[:, 0]), (step + 0.5) / steps)
                loss = l2 * terms["l2"] + terms["lpips"]
                if keeps:
                    loss = loss + locality.loss(before, at_size(x[:, 1].clamp(-1, 1), coarse), metric, reconstruction.distance)
            adam.zero_grad()
            loss.sum().backward()  # no image knows of another
            adam.step()
            for name, values in history.items():
                values.append(terms[name].detach())
            if bar is not None:
                bar.update(len(pivot))
    except KeyboardInterrupt:
        pass
    changes = {name: (weight.detach() - old[name]).half() for name, weight in weights.items()}
    return changes, {name: torch.stack(values).cpu() if values else torch.zeros(0, len(pivot)) for name, values in history.items()}


class Synthesis(torch.nn.Module):
    """The call `synthesis` of a generator as a module's own, which is what torch.func calls with other weights."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, w_plus: Tensor, noise: str) -> Tensor:
        return self.generator.synthesis(w_plus, noise=noise)


def form_each(generator, weights: dict[str, Tensor], w_plus: Tensor, noise: str) -> Tensor:
    """Images (n, k, 3, R, R) of w+ (n, k, L, D), those of each row by weights of their own: name of a weight of the synthesis
    network -> (n, ...)."""
    network = Synthesis(generator)

    def one(weights, w_plus):
        named = {f"generator.synthesis_network.{name}": weight for name, weight in weights.items()}
        return torch.func.functional_call(network, named, (w_plus, noise))

    with AsProducts() if w_plus.is_cuda else nullcontext():
        return torch.vmap(one)(weights, w_plus)


class AsProducts(TorchFunctionMode):
    """Inside, a convolution is a product of matrices: its weights by the patches of its input, one beside the other.

    With weights for every image a batch of convolutions is a convolution in groups. Products were as fast on a GPU, and three times as
    fast compiled; groups compiled were not tried (figures/training/cars.md). On a CPU products are slower.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.conv2d:
            return self.convolved(*args, **kwargs)
        if function is torch.conv_transpose2d:
            return self.upsampled(*args, **kwargs)
        return function(*args, **kwargs)

    @staticmethod
    def convolved(x: Tensor, weight: Tensor, padding: int) -> Tensor:
        """x (k, I, H, W) with weight (O, I, s, s), s odd and the padding s // 2 -> (k, O, H, W)."""
        x = cast_for_product(x)
        patches = F.unfold(x, weight.shape[2], padding=padding) if padding else x.flatten(2)
        return (weight.flatten(1).to(x) @ patches).unflatten(2, x.shape[2:])

    @staticmethod
    def upsampled(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        """x (k, I, H, W) with weight (I, O, 6, 6), stride 2 and padding 2 -> (k, O, 2H, 2W).

        A pixel of the result sees 3 x 3 of the input, by every second weight: which ones, is that of its place among the four that
        an input pixel becomes. So it is four convolutions, whose results are shuffled.
        """
        x, (i, o) = cast_for_product(x), weight.shape[:2]
        four = weight.view(i, o, 3, 2, 3, 2).flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(4 * o, 9 * i)
        formed = four.to(x) @ F.unfold(x, 3, padding=padding // 2)
        return F.pixel_shuffle(formed.unflatten(2, x.shape[2:]), stride)


def cast_for_product(x: Tensor) -> Tensor:
    """In the type in which autocast would multiply it, so that its patches, nine times as many, have it too."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x
