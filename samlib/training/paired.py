"""Learning to redraw: where every image comes with the random numbers it was drawn from, the generator can be shown which
image belongs to which z. That teaches a small network the whole distribution, its layout above all, in minutes; a
discriminator alone needs days for it. The judges of gan.py then only have to make it look real.

First the mapping learns what the numbers mean, so that w holds places, angles and colours; then the synthesis learns
to draw them, at 16 pixels first and at full size last.
"""

import time

import torch
import torch.nn.functional as F
from torch import distributed, nn

from ..perceptual import Metric
from .steps import autocast, graphed

STAGES = {16: 0.05, 32: 0.12, 64: 0.25, 128: 0.45}  # size -> the share of the warm-up at which it ends; then the full size


def to_normal(codes: torch.Tensor, z_dim: int) -> torch.Tensor:
    """Uniform numbers (N, K) in [0, 1] -> z (N, z_dim) ~ N(0, I) by the normal quantile; NaN in the entries left free."""
    if codes.ndim != 2 or codes.shape[1] > z_dim:
        raise ValueError(f"codes of shape {tuple(codes.shape)}; want (N, K) with K at most the {z_dim} entries of z")
    z = torch.special.ndtri(codes.double().clamp(1e-4, 1 - 1e-4)).float()
    return F.pad(z, (0, z_dim - codes.shape[1]), value=float("nan"))


def fill(z: torch.Tensor) -> torch.Tensor:
    """Normal numbers for the entries that are free."""
    return torch.where(z.isnan(), torch.randn_like(z), z)


def teach_mapping(mapping: nn.Module, z: torch.Tensor, meaning: torch.Tensor, steps: int = 4000, batch: int = 2048,
                  lr: float = 3.0) -> float:
    """Trains z -> w so that a linear layer reads `meaning` (N, M) off w; the last loss, in shares of the variance.

    lr is that high because the mapping scales its stored weights by 0.01, and Adam's steps with them.
    """
    meaning = meaning.to(z)
    spread = meaning.std(0)
    meaning = ((meaning - meaning.mean(0)) / spread)[:, spread > 1e-6]
    read = nn.Linear(mapping.w_avg.shape[0], meaning.shape[1]).to(z.device)
    groups = [{"params": mapping.parameters()}, {"params": read.parameters()}]
    adam = torch.optim.Adam(groups, lr=lr, betas=(0.9, 0.99), fused=z.is_cuda)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, [lr, lr * 1e-3], total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        index = torch.randint(len(z), (batch,), device=z.device)
        loss = F.mse_loss(read(mapping(fill(z[index]))), meaning[index])
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return float(loss.detach())


class PairedLoss(nn.Module):
    """L1 and, from 64 px on, L1 at an eighth of the size, where a wrong colour or place costs more than blur, and the
    perceptual distance: images (N, 3, R, R) twice -> scalar. Above `whole` px the distance is that of half of the images at
    half size, and of a crop of the other half at full size, which costs a quarter."""

    def __init__(self, metric: str = "st-lpips-vgg", whole: int = 128):
        super().__init__()
        self.whole = whole
        self.metric = Metric(metric).to(memory_format=torch.channels_last)

    def forward(self, drawn: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        if real.shape[-1] < 64:
            return F.l1_loss(drawn, real)
        views = drawn, real
        if real.shape[-1] > self.whole:
            half, some = real.shape[-1] // 2, (len(real) + 1) // 2
            rows, columns = (torch.randint(half + 1, (1,), device=real.device) + torch.arange(half, device=real.device)
                             for _ in range(2))
            views = [torch.cat([F.avg_pool2d(x[:some], 2), x[some:].index_select(2, rows).index_select(3, columns)])
                     for x in views]
        with torch.no_grad():
            wanted = self.metric.features(views[1])
        plain = F.l1_loss(drawn, real) + F.l1_loss(F.avg_pool2d(drawn, 8), F.avg_pool2d(real, 8))
        return plain + self.metric.distance(self.metric.features(views[0]), wanted).mean()


class Redraw:
    """One stage of the warm-up: the generator's image of `size` from the code of each real image, as one step."""

    def __init__(self, training, size: int, batch: int):
        self.training, self.size = training, size
        images = training.images
        self.real = images if size == images.shape[-1] else _smaller(images, size)
        self.batch = torch.zeros(batch, dtype=torch.long, device=images.device)

    def __call__(self):
        t = self.training
        real = self.real[self.batch].float() / 127.5 - 1
        w = t.generator.mapping(fill(t.z[self.batch]))
        drawn = t.generator.synthesis(w, noise=t.settings.noise, size=self.size)
        with autocast(t.device):
            loss = t.paired_loss(drawn, real)
        loss.backward()
        return loss.detach()

    def next(self):
        torch.randint(len(self.real), self.batch.shape, out=self.batch)


def _smaller(images, size):
    factor = images.shape[-1] // size
    return torch.cat([F.avg_pool2d(part.float(), factor).round().byte() for part in images.split(512)])


def _set_up(training, size: int, batch: int):
    """What a stage needs, and the seconds that this took: 10 to 20 on CUDA, where the fastest kernels are looked for."""
    begin = time.monotonic()
    redraw, adam = Redraw(training, size, batch), training.warm_adam(size)
    redraw.next()
    step = graphed(redraw, training.device)
    adam.flat.zero_()
    return redraw, adam, step, time.monotonic() - begin


def warm_up(training, lesson, seconds: float, on_report=None, save=None, report_every: int = 100):
    """The warm-up of a gan.Training, in `seconds` of steps or in its share of the images, whichever is over first; where
    part of it is done (`training.warm`), the rest. Without the lesson if that is over.

    The lesson, setting up each size, and saving at its end come on top of `seconds`, so that they starve no size.
    lesson: numbers (M, K) and what they mean (M, J), of as many scenes as wanted, drawn or not; None: no lesson.
    `save` is called at the end of each size; `training.warm` goes on with every report, for whoever saves in between.
    """
    s, begin, earlier = training.settings, time.monotonic(), training.warm
    report = on_report if training.rank == 0 and on_report else lambda *_: None
    if not earlier and lesson is not None:
        z = to_normal(lesson[0], training.z.shape[1]).to(training.device)
        loss = teach_mapping(training.generator.mapping_network, z, lesson[1], s.lesson)
        training.same_everywhere()
        report(training, {"mapping": loss, "seconds": round(time.monotonic() - begin, 1)})
    done, shown, total, spent = torch.full([], earlier, device=training.device), 0, s.warm_up * s.images, 0.0
    for size in [*(size for size in STAGES if size < s.resolution), s.resolution]:
        end = 1.0 if size == s.resolution else STAGES[size]
        if done >= end:
            continue
        batch = s.batch * min(s.resolution // size, 4)
        redraw, adam, step, setup = _set_up(training, size, batch)
        start, first, clock = float(done), training.warm_steps, time.monotonic() - spent
        while done < end:
            t = (float(done) - start) / (end - start)
            for _ in range(report_every):
                adam.rate(min(1.0, (training.warm_steps - first + 1) / 100) * (1 - t * 0.9))
                redraw.next()
                loss = step()
                adam.step()
                training.warm_steps += 1
                training.average(training.warm_steps)
            loss = float(loss)  # waits for the steps
            shown, spent = shown + report_every * batch * training.world, time.monotonic() - clock
            done.fill_(earlier + max(shown / total, spent / seconds))
            if distributed.is_initialized():
                distributed.broadcast(done, 0)
            training.warm = min(float(done), 1.0)
            report(training, {"size": size, "warm_up": shown, "seconds": round(time.monotonic() - begin, 1),
                              "setup": round(setup, 1), "loss": loss})
        if save:
            save()
