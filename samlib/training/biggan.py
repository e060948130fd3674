"""Training of BigGAN-deep (Brock et al., ICLR 2019) on images of several classes held in memory: hinge loss, EMA, its own
discriminator or the projected one; one or several GPUs (run under torchrun); stops and resumes at any point, with new random
numbers.

Where the codes that the images were drawn from are known, as those of the built-in scenes are, the generator first
learns from pairs, as in paired.py: what the codes mean, in the features of 8 px, then to redraw each image from its z, at
16 px first and at full size last. Many small images, `sketches`, keep it from learning the scenes by heart meanwhile: the
loss on some that are held out is in the log. Unlike the paper's, this small generator has no spectral norm of its own; the
discriminator has.
"""

import copy
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import distributed, nn

from .. import paths
from ..biggan import BigGAN, initialize, standing_statistics
from ..checkpoints import load_generator, save_generator
from .biggan_lesson import teach
from .biggan_settings import Data, Settings
from .paired import PairedLoss, fill
from .projected import ProjectedDiscriminator, augment
from .projection import ProjectionDiscriminator
from .steps import FlatAdam, autocast, average, each_minute, graphed, reseed

STAGES = {16: 0.25, 32: 0.45, 64: 0.7}  # size -> the share of the part on pairs at which it ends; then the full size
NETWORKS, COUNTERS = ("generator", "ema", "judge", "sketch"), ("steps", "shown", "work", "done", "phase", "taught")  # of a checkpoint


class Training:
    """The state of a run: networks, optimizers, counters. `done`: the share of the run that is over. sketches: see `train`."""

    def __init__(self, data: Data, settings: Settings, sketches: Data | None = None):
        s, self.settings, self.data, self.device = settings, settings, data, data.images.device
        self.sketches = data if sketches is None else sketches
        self.rank = distributed.get_rank() if distributed.is_initialized() else 0
        self.world = distributed.get_world_size() if distributed.is_initialized() else 1
        torch.manual_seed(s.seed)
        channels, count = s.channels(), len(data.names)
        self.generator = BigGAN(s.resolution, s.z_dim, s.class_dim, count, channels, s.attention, 11, names=data.names)
        initialize(self.generator)
        projected = s.judge == "projected"
        self.judge = ProjectedDiscriminator(s.resolution, classes=count) if projected else ProjectionDiscriminator(channels, count)
        for network in (self.generator, self.judge):
            network.to(self.device, memory_format=torch.channels_last).train()
        self.ema = copy.deepcopy(self.generator).requires_grad_(False)
        self.sizes = {size: end for size, end in STAGES.items() if size < s.resolution} | {s.resolution: 1.0}
        # From the features of a size to colours, while the layers behind it are not trained.
        small = (size for size in self.sizes if size < s.resolution)
        self.sketch = nn.ModuleDict({str(size): nn.Conv2d(channels[size], 3, 1) for size in small}).to(self.device)
        self.paired_loss = PairedLoss(s.metric, whole=64).to(self.device) if data.z is not None else None
        self.steps, self.shown, self.work, self.done, self.phase, self.taught = 0, 0, 0.0, 0.0, None, False
        reseed(s, 0, self.rank)

    def next_real(self):
        index = torch.randint(len(self.source.images) - self.source.held, (len(self.real),), device=self.device)
        self.real.copy_(self.source.images[index])
        self.real_c.copy_(self.one_hot(self.source.labels[index]))
        if self.source.z is not None:
            self.real_z.copy_(self.source.z[index])

    def one_hot(self, labels: torch.Tensor) -> torch.Tensor:
        return (labels[:, None] == torch.arange(len(self.data.names), device=self.device)).float()

    def draw(self, z: torch.Tensor, c: torch.Tensor, size: int | None = None) -> torch.Tensor:
        """The generator's images of z and one-hot classes; of `size`, what `sketch` makes of its features."""
        code = self.generator.mapping(z, classes=c)
        with autocast(self.device):
            if size in (None, self.settings.resolution):
                return self.generator.synthesis(code).float()
            return self.sketch[str(size)](F.relu(self.generator.generator(code, 1.0, stop=size))).tanh().float()

    def pairs(self, drawn: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """The loss of paired.py between what was drawn and real images (uint8), at the size of the first."""
        real = real.float() / 127.5 - 1
        with autocast(self.device):
            return self.paired_loss(drawn, F.avg_pool2d(real, real.shape[-1] // drawn.shape[-1]))

    def paired_step(self):
        loss = self.pairs(self.draw(fill(self.real_z), self.real_c, self.phase), self.real)
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def held_out(self) -> dict[str, float]:
        """The loss on pairs of the scenes that are never shown, and their `layout`."""
        real, z, labels = (x[-self.source.held :] for x in (self.source.images, self.source.z, self.source.labels))
        self.generator.eval()  # by the running statistics
        drawn = self.draw(fill(z), self.one_hot(labels), self.settings.resolution if self.phase == "judge" else self.phase)
        self.generator.train()
        return {"held_out": float(self.pairs(drawn, real)), "held_out_layout": float(layout(drawn, real))}

    def judged(self, *images):
        """The judge's logits of each of some batches, with the classes of the current real images."""
        if self.settings.judge == "projected":
            return [self.judge(augment(x), self.real_c) for x in images]
        return self.judge(torch.cat(images), self.real_c.repeat(len(images), 1)).chunk(len(images))

    def d_step(self):
        with torch.no_grad():
            fake = self.draw(torch.randn_like(self.real_z), self.real_c)
        with autocast(self.device):
            on_fake, on_real = self.judged(fake, self.real.float() / 127.5 - 1)
        loss = F.relu(1 + on_fake).mean() + F.relu(1 - on_real).mean()
        loss.backward()
        return loss.detach()

    def g_step(self):
        """The judge sees images of the scenes' z and, behind them, of new z, as it does in d_step; pairs are of the first."""
        self.judge.requires_grad_(False)
        scenes = 0 if self.data.z is None else round((1 - self.settings.new) * len(self.real_z))
        drawn = self.draw(torch.cat([fill(self.real_z[:scenes]), torch.randn_like(self.real_z[scenes:])]), self.real_c)
        with autocast(self.device):
            losses = [-self.judged(drawn)[0].mean()]
        if scenes:
            losses.append(self.settings.paired * self.pairs(drawn[:scenes], self.real[:scenes]))
            losses.append(self.settings.layout * layout(drawn[:scenes], self.real[:scenes]))
        sum(losses).backward()
        for p in self.adams["d_step"].parameters:  # the features of the projected judge stay frozen
            p.requires_grad_(True)
        return torch.stack(losses).detach()

    def next_phase(self) -> tuple[int | str, float]:
        """The phase at this point of the run, the size at which pairs are redrawn or "judge", and the share of it that is over."""
        start, pairs = 0.0, self.settings.warm_up if self.data.z is not None else 0.0
        for size, share in self.sizes.items():
            if self.done < share * pairs:
                return size, (self.done - start) / (share * pairs - start)
            start = share * pairs
        return "judge", (self.done - pairs) / max(1 - pairs, 1e-9)

    def enter(self, phase: int | str):
        """Buffers, optimizers and, on CUDA, captured steps of a phase; the gradients of capturing are dropped."""
        s, self.phase, self.since = self.settings, phase, self.steps
        small = phase != "judge" and phase <= self.sketches.images.shape[-1]
        self.source = self.sketches if small else self.data
        batch = s.batch * (1 if phase == "judge" else min(s.resolution // phase, 4))
        self.real = torch.empty(batch, *self.source.images.shape[1:], dtype=torch.uint8, device=self.device)
        self.real_c = torch.zeros(batch, len(self.data.names), device=self.device)
        self.real_z = torch.zeros(batch, s.z_dim, device=self.device)
        self.next_real()
        if phase != "judge":
            self.adams = {"paired_step": FlatAdam([*self.generator.parameters(), *self.sketch.parameters()], s.warm_lr, beta=0.9)}
        else:
            self.adams = {"d_step": FlatAdam(self.judge.parameters(), s.lr_d), "g_step": FlatAdam(self.generator.parameters(), s.lr_g)}
        self.run = {name: graphed(getattr(self, name), self.device) for name in self.adams}
        for adam in self.adams.values():
            adam.flat.zero_()

    def step(self) -> dict[str, torch.Tensor]:
        self.next_real()
        log = {}
        for name, adam in self.adams.items():
            log[name] = self.run[name]()
            adam.step()
        shown = len(self.real) * self.world
        self.steps, self.shown = self.steps + 1, self.shown + shown
        self.work += shown * (1.0 if self.phase == "judge" else self.phase / self.settings.resolution)
        average(self.ema, self.generator, shown, self.shown, self.settings.ema_images)
        return log

    def checkpoint(self, out: Path):
        """checkpoint.pt to resume from; it appears whole or not at all."""
        adams = {name: adam.adam.state_dict() for name, adam in getattr(self, "adams", {}).items()}
        networks = {name: getattr(self, name).state_dict() for name in NETWORKS}
        counters = {name: getattr(self, name) for name in COUNTERS}
        with paths.atomic_file(out / "checkpoint.pt") as temporary:
            torch.save({**networks, **counters, "adams": adams}, temporary)

    def save(self, out: Path):
        """The checkpoint, and generator.safetensors to use, whose statistics take as long as some steps."""
        self.checkpoint(out)
        standing_statistics(self.ema, self.settings.statistics, batch=min(self.settings.batch, 64))
        save_generator(self.ema, out / "generator.safetensors", metadata={"images": self.shown})

    def resume(self, out: Path, start=None):
        """Goes on from the checkpoint in `out`, or from the file `start` of a generator, where there is one. From a checkpoint on weights,
        optimizers and counters are as they were, random numbers are new, and the rates of the phase rise again."""
        if start and not (out / "checkpoint.pt").exists():
            self.generator.load_state_dict(load_generator(start).state_dict())
            self.ema.load_state_dict(self.generator.state_dict())
            self.taught = True
        if (out / "checkpoint.pt").exists():
            state = torch.load(out / "checkpoint.pt", map_location=self.device, weights_only=True)
            for name in NETWORKS:
                getattr(self, name).load_state_dict(state[name])
            for name in COUNTERS:
                setattr(self, name, state[name])
            reseed(self.settings, self.steps, self.rank)
            if state["phase"]:
                self.enter(state["phase"])
                for name, adam in self.adams.items():
                    adam.adam.load_state_dict(state["adams"][name])


def train(data: Data, out: Path | str, settings: Settings = Settings(), seconds: float = float("inf"), sketches=None,  # noqa: B008
          done: float | None = None, start=None, report_every: int = 200, on_report=None, progress: bool = True) -> BigGAN:
    """Trains until `settings.images` were shown or `seconds` have passed. Returns the EMA. Ctrl-C saves, and stops with
    KeyboardInterrupt.

    Writes `out`/checkpoint.pt, at a report a minute or more after the last and at the end, generator.safetensors, settings.json and
    log.jsonl; a second call goes on from there.
    sketches: Data of more scenes, of the same classes and on the same device, at 16 or 32 px, with z: pairs up to their size are of
    them, and where they have a meaning, the lesson is (see `teach`); None: `data` is all there is.
    done: the share of the run that counts as over at its start, instead of what the checkpoint says; so a run that was finished
    can go on, for the rest of the images, or another `seconds`.
    start: the file of a generator of the same shape to begin with, past the lesson, where there is no checkpoint.
    """
    from tqdm import tqdm

    out, s = Path(out), settings
    out.mkdir(parents=True, exist_ok=True)
    training = Training(data, s, sketches)
    training.resume(out, start)
    if done is not None:
        training.done, training.work = done, done * s.images
    main, begin, earlier, seconds = training.rank == 0, time.monotonic(), training.done, max(seconds, 1e-3)
    checkpoint_at_times = each_minute(lambda: training.checkpoint(out))
    if main:
        (out / "settings.json").write_text(json.dumps(asdict(s), indent=1))
    bar = tqdm(total=s.images, initial=round(training.work), unit="img", disable=not (main and progress))
    try:
        if training.sketches.meaning is not None and not training.taught:
            report(training, out, dict(zip(("lesson", "held_out"), teach(training, training.sketches))), begin, on_report)
            training.taught = True
        while training.done < 1:
            phase, over = training.next_phase()
            if phase != training.phase:
                if main and phase == "judge" and training.steps:
                    training.save(out)  # what pairs alone have reached
                training.enter(phase)
            set_rates(training, over)
            log = training.step()
            bar.update(round(training.work) - bar.n)
            if training.steps % report_every == 0 or training.work >= s.images:
                share = earlier + (1 - earlier) * (time.monotonic() - begin) / seconds
                training.done = agreed(training, min(max(training.work / s.images, share), 1.0))
                report(training, out, {k: [round(x, 4) for x in v.flatten().tolist()] for k, v in log.items()}, begin, on_report)
                if main:
                    checkpoint_at_times()
    except KeyboardInterrupt:
        if main:
            training.save(out)
        raise
    bar.close()
    if main:
        training.save(out)
    return training.ema.eval()


def layout(drawn: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """L1 between what was drawn and real images (uint8), both at 16 px, where there is no texture: the judge may choose that
    freely. At 128 px the loss on pairs has it too, in which it weighs as much as the rest."""
    return F.l1_loss(*(F.adaptive_avg_pool2d(x, 16) for x in (drawn, real.float() / 127.5 - 1)))


def agreed(training: Training, share: float) -> float:
    """Process 0's share, so that all change and stop at the same step."""
    if not distributed.is_initialized():
        return share
    share = torch.full([], share, device=training.device, dtype=torch.float64)
    distributed.broadcast(share, 0)
    return float(share)


def set_rates(training: Training, over: float):
    """Learning rates where this share of the phase is over: on pairs up, then down to a tenth, and the lower the larger the size, as
    batches are smaller there and layers that know the layout must not lose it; with the judge down at the run's end, and the
    generator's up at first, as the judge knows nothing yet."""
    s, since = training.settings, training.steps - training.since + 1
    if training.phase == "judge":
        rate = min(1.0, 0.1 + 0.9 * (1 - training.done) / s.settle)
    else:
        rate = min(1.0, since / 100) * (1 - 0.9 * over) * (min(training.sizes) / training.phase) ** 0.5
    for name, adam in training.adams.items():
        adam.rate(rate * (min(1.0, since / 500) if name == "g_step" else 1.0))


def report(training: Training, out: Path, row: dict, begin: float, on_report):
    if training.rank:
        return
    row = {"images": training.shown, "seconds": round(time.monotonic() - begin, 1), "phase": training.phase} | row
    if training.phase and training.source.held:
        row |= {name: round(loss, 4) for name, loss in training.held_out().items()}
    with open(out / "log.jsonl", "a") as file:
        file.write(json.dumps(row) + "\n")
    if on_report:
        on_report(training, row)
