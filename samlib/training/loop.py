"""The one training loop of the small networks (S, segmenter, factor regressor), and how their images are varied.

The whole data set lies on the device, images as uint8, so that a batch is one indexing; there are no workers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm


def default_device(device=None) -> torch.device:
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def as_float(images: Tensor) -> Tensor:
    """uint8 (N, 3, H, W) -> floats in [-1, 1]; floats stay as they are."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def as_uint8(images: Tensor) -> Tensor:
    """Floats (N, 3, H, W) in [-1, 1] -> uint8; uint8 stays as it is."""
    return images if images.dtype == torch.uint8 else ((images.clamp(-1, 1) + 1) * 127.5).round().byte()


def one_cycle(t: float) -> float:
    """Share of the learning rate at t in [0, 1]: up over the first tenth, then down to 0 along a cosine."""
    return t / 0.1 if t < 0.1 else 0.5 * (1 + math.cos(math.pi * (t - 0.1) / 0.9))


def poly(t: float) -> float:
    """The "poly" schedule of DeepLab."""
    return (1 - t) ** 0.9


def adamw(parameters, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """One fused kernel a step where there is one. parameters: tensors, or groups of them as torch.optim takes them."""
    parameters = list(parameters)
    first = parameters[0]["params"][0] if isinstance(parameters[0], dict) else parameters[0]
    return torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=first.is_cuda)


def autocast(device: torch.device):
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def fit(model, loss, count: int, *, steps, batch, optimizer, schedule=one_cycle, seed=0, progress=True, label=""):
    """Minimize `loss(index, random)`, a scalar of the rows `index` (batch,) of a data set of `count`.

    `random` is the torch.Generator, on the model's device, that augmentations draw from. Gradients are clipped to norm
    1, the model is left in evaluation mode, and the loss of each step comes back as a tensor (steps,). A shorter curve
    stays with the model as `model.trained`, which `weights.save` writes into its file.
    """
    device = next(model.parameters()).device
    random = torch.Generator(device).manual_seed(seed)
    batch = min(batch, count)
    epochs = [torch.randperm(count, generator=random, device=device) for _ in range(-(-steps * batch // count))]
    order = torch.cat(epochs)[: steps * batch].reshape(steps, batch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule((step + 0.5) / (steps + 1)))
    model.train().to(memory_format=torch.channels_last)
    torch.manual_seed(seed)  # dropout
    history = []
    bar = tqdm(order, desc=label, disable=not progress)
    for step, index in enumerate(bar):
        with autocast(device):
            value = loss(index, random)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        history.append(value.detach())
        if step % 50 == 0:  # reading a number waits for the device
            bar.set_postfix(loss=f"{float(history[-1]):.4f}")
    model.eval()
    history = torch.stack(history).float().cpu()
    model.trained = {"steps": steps, "loss": thinned(history)}
    return history


def thinned(history: Tensor, most: int = 200) -> list[float]:
    """The means of `most` equal parts of a curve (steps,), or all of it where it is no longer than that."""
    parts = history.tensor_split(most) if len(history) > most else history.split(1)
    return [round(float(part.mean()), 5) for part in parts]


@torch.inference_mode()
def predict(model, images: Tensor, batch: int = 32) -> Tensor:
    """`model` of many images, uint8 or float, batch by batch on its device; the results on the CPU."""
    device = next(model.parameters()).device
    return torch.cat([model(as_float(chunk.to(device))).cpu() for chunk in images.split(batch)])


def uniform(random: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return torch.rand(shape, generator=random, device=random.device) * (high - low) + low


def flip(random: torch.Generator, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Mirror half of the rows, the same rows in each tensor (N, ..., W)."""
    chosen = uniform(random, 0, 1, len(tensors[0])) < 0.5
    return tuple(torch.where(chosen.view(-1, *[1] * (t.ndim - 1)), t.flip(-1), t) for t in tensors)


def shift(random: torch.Generator, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Move each row of tensors (N, C, H, W) by up to 0.075 of the side and scale it by 0.91 to 1.18, the same in each tensor; mirrored
    where the border was."""
    theta = tensors[0].new_zeros(len(tensors[0]), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(random, 0.85, 1.1, len(theta))
    theta[:, :, 2] = uniform(random, -0.15, 0.15, len(theta), 2)
    with torch.autocast(theta.device.type, enabled=False):  # 16 bits place a pixel no better than to a pixel
        grids = [F.affine_grid(theta, t.shape, align_corners=False) for t in tensors]
        return tuple(F.grid_sample(t, g, padding_mode="reflection", align_corners=False) for t, g in zip(tensors, grids))


def smooth(images: Tensor, sigma: float = 1.5) -> Tensor:
    """Gaussian blur, depthwise and separable. (N, 3, H, W) -> same."""
    at = torch.arange(-4, 5, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(images.shape[1], 1, 1, -1)
    with torch.autocast(images.device.type, enabled=False):
        images = F.conv2d(F.pad(images, (4, 4, 0, 0), mode="reflect"), kernel, groups=images.shape[1])
        return F.conv2d(F.pad(images, (0, 0, 4, 4), mode="reflect"), kernel.transpose(2, 3), groups=images.shape[1])


def blur(random: torch.Generator, images: Tensor, strength: float) -> Tensor:
    """Soften, or a little sharpen, each image by an amount of its own."""
    amount = uniform(random, -0.3, 1, len(images), 1, 1, 1) * strength
    return images + amount * (smooth(images) - images)


def photometric(random: torch.Generator, images: Tensor, strength: float) -> Tensor:
    """Vary light, contrast, colour and gamma, soften or sharpen, and add noise; every image by amounts of its own."""
    n, s = len(images), strength
    images = blur(random, images, min(1.0, s))
    unit = ((images + 1) / 2).clamp(1e-3, 1) ** torch.exp(uniform(random, -0.5 * s, 0.5 * s, n, 1, 1, 1))
    grey = unit.mean(1, keepdim=True)
    unit = grey + (unit - grey) * uniform(random, 1 - 0.8 * s, 1 + 0.5 * s, n, 1, 1, 1)
    middle = unit.mean((1, 2, 3), keepdim=True)
    unit = middle + (unit - middle) * uniform(random, 1 - 0.5 * s, 1 + 0.4 * s, n, 1, 1, 1)
    unit = unit * uniform(random, 1 - 0.3 * s, 1 + 0.3 * s, n, 3, 1, 1)
    unit = unit + uniform(random, -0.15 * s, 0.15 * s, n, 1, 1, 1)
    noise = torch.randn(unit.shape, generator=random, device=random.device)
    unit = unit + noise * uniform(random, 0, 0.06 * s, n, 1, 1, 1)
    return (unit * 2 - 1).clamp(-1, 1)
