"""Training of StyleGAN2 (Karras et al. 2020) on images held in memory: non-saturating loss, lazy R1 and path-length
regularization, style mixing, EMA; one or several GPUs (run under torchrun); stops and resumes at any point, with new random numbers.

The images are judged by the StyleGAN2 discriminator, by the projected one (projected.py), or by both, an ensemble as
in Kumari et al. (CVPR 2022). Where the codes that the images were drawn from are known, as those of the built-in scenes
are, the generator first learns to redraw them (paired.py), and the judges come in when it can.
"""

import copy
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from torch import distributed

from .. import paths
from ..checkpoints import load_generator, save_generator
from ..discriminator import Discriminator
from ..stylegan2 import Generator, default_channels
from .gan_settings import Settings
from .losses import discriminator_loss, generator_loss, path_length_penalty, r1_penalty, style_mixing
from .paired import PairedLoss, fill, to_normal, warm_up
from .projected import ProjectedDiscriminator
from .steps import FlatAdam, autocast, average, each_minute, graphed, pace_of, reseed


class Training:
    """The state of a run: networks, optimizers, counters. `images` (M, 3, H, W) uint8, this process' share; `codes`
    (M, K) in [0, 1], the numbers they were drawn from, or None."""

    def __init__(self, images: torch.Tensor, settings: Settings, codes=None):
        s, self.settings, self.images = settings, settings, images
        self.device = images.device
        self.rank = distributed.get_rank() if distributed.is_initialized() else 0
        self.world = distributed.get_world_size() if distributed.is_initialized() else 1
        torch.manual_seed(s.seed)
        channels = default_channels(s.resolution, s.channel_base, s.channel_max)
        self.generator = Generator(s.resolution, s.w_dim, s.w_dim, channels, s.mapping_layers).to(self.device)
        self.judges = []
        if s.judges in ("projected", "both"):
            self.judges.append(ProjectedDiscriminator(s.resolution))
        if s.judges in ("stylegan2", "both"):
            self.judges.append(Discriminator(s.resolution, channels))
        self.judges = torch.nn.ModuleList(self.judges).to(self.device)
        if self.device.type == "cuda":
            self.generator.compute_dtype = torch.bfloat16
            self.generator.to(memory_format=torch.channels_last)
            self.judges.to(memory_format=torch.channels_last)
            for judge in self.judges:
                judge.compute_dtype = torch.bfloat16
        self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)
        lazy_g = s.path_length_every / (s.path_length_every + 1)
        lazy_d = s.r1_every / (s.r1_every + 1)
        self.g_adam = FlatAdam(self.generator.parameters(), s.lr, lazy_g)
        self.d_adam = FlatAdam(self.judges.parameters(), s.lr, lazy_d)
        self.path_mean = torch.zeros([], device=self.device)
        self.real = torch.empty(s.batch, *images.shape[1:], dtype=torch.uint8, device=self.device)
        self.steps, self.warm_steps, self.warm = 0, 0, 0.0  # `warm`: the share of the warm-up that is done
        if codes is not None:
            self.z = to_normal(codes, s.w_dim).to(self.device)
            self.real_z = torch.empty(s.batch, s.w_dim, device=self.device)
            self.paired_loss = PairedLoss().to(self.device)
        else:
            self.z = None
        reseed(s, 0, self.rank)

    @property
    def shown(self) -> int:
        """Images that the judges saw."""
        return self.steps * self.settings.batch * self.world

    def next_real(self):
        index = torch.randint(len(self.images), (self.settings.batch,), device=self.device)
        torch.index_select(self.images, 0, index, out=self.real)
        if self.z is not None:
            torch.index_select(self.z, 0, index, out=self.real_z)

    def real_images(self) -> torch.Tensor:
        x = self.real.float() / 127.5 - 1
        if self.z is not None:
            return x
        flip = torch.rand(x.shape[0], 1, 1, 1, device=x.device) < 0.5
        return torch.where(flip, x.flip(3), x)

    def fakes(self) -> torch.Tensor:
        w = style_mixing(self.generator, self.settings.batch, self.settings.mixing, self.device)
        return self.generator.synthesis(w, noise=self.settings.noise)

    def redrawn(self) -> torch.Tensor:
        """The generator's version of the current real images, from their codes."""
        return self.generator.synthesis(self.generator.mapping(fill(self.real_z)), noise=self.settings.noise)

    def warm_adam(self, size: int) -> FlatAdam:
        """For the warm-up at images of `size`; layers beyond that size have no gradient, and stay."""
        s = self.settings
        for block in self.generator.synthesis_network.blocks():
            block.requires_grad_(block.resolution <= size)
        mapping = list(self.generator.mapping_network.parameters())
        adam = FlatAdam(self.generator.parameters(), s.warm_lr * min(1, 64 / size), beta=0.9, faster=mapping, factor=s.warm_mapping)
        self.generator.requires_grad_(True)
        return adam

    def same_everywhere(self):
        """Process 0's mapping in every process; all else began with the same seed."""
        if distributed.is_initialized():
            for p in self.generator.mapping_network.parameters():
                distributed.broadcast(p.data, 0)

    def d_step(self):
        with torch.no_grad():
            fake = self.fakes()
        with autocast(self.device):
            losses = [discriminator_loss(judge, fake, self.real_images()) for judge in self.judges]
        sum(losses).backward()
        return torch.stack(losses).detach()

    def g_step(self):
        self.judges.requires_grad_(False)
        fake = self.fakes() if self.z is None else self.redrawn()
        with autocast(self.device):
            losses = [generator_loss(judge, fake) for judge in self.judges]
            if self.z is not None:
                losses.append(self.settings.paired * self.paired_loss(fake, self.real_images()))
        sum(losses).backward()
        for p in self.d_adam.parameters:
            p.requires_grad_(True)
        return torch.stack(losses).detach()

    def r1_step(self):
        penalty = r1_penalty(self.judges[-1], self.real_images())
        (penalty * (self.settings.r1 / 2 * self.settings.r1_every)).backward()
        return penalty.detach()

    def path_step(self):
        n = max(self.settings.batch // 4, 1)
        w = style_mixing(self.generator, n, self.settings.mixing, self.device)
        penalty = path_length_penalty(self.generator, w, self.path_mean, self.settings.noise)
        (penalty * (self.settings.path_length * self.settings.path_length_every)).backward()
        return penalty.detach()

    def capture(self):
        """The four steps as graphs. Captured on real data; what that does to the gradients and to the mean of path lengths is undone."""
        self.next_real()
        path_mean = self.path_mean.clone()
        self.run = {name: graphed(getattr(self, name), self.device) for name in ("d_step", "g_step", "path_step")}
        if isinstance(self.judges[-1], Discriminator):
            self.run["r1_step"] = graphed(self.r1_step, self.device)
        self.g_adam.flat.zero_()
        self.d_adam.flat.zero_()
        self.path_mean.copy_(path_mean)

    def step(self) -> dict[str, torch.Tensor]:
        s, log = self.settings, {}
        self.next_real()
        log["d_loss"] = self.run["d_step"]()
        if "r1_step" in self.run and self.steps % s.r1_every == 0:
            log["r1"] = self.run["r1_step"]()
        self.d_adam.step()
        log["g_loss"] = self.run["g_step"]()
        if self.steps % s.path_length_every == 0:
            log["path_length"] = self.run["path_step"]()
        self.g_adam.step()
        self.steps += 1
        self.average()
        return log

    @torch.no_grad()
    def average(self, steps: int = 0):
        """EMA of the weights, its half-life growing with the run up to `ema_images`, and the running mean of w."""
        s = self.settings
        steps = steps or self.steps + self.warm_steps
        average(self.ema, self.generator, s.batch * self.world, steps * s.batch * self.world, s.ema_images)
        if steps % 16 == 0:
            z = torch.randn(512, self.ema.z_dim, device=self.device)
            self.ema.w_avg.lerp_(self.ema.mapping_network(z).mean(0), 0.05)

    def state(self) -> dict:
        return {"generator": self.generator.state_dict(), "ema": self.ema.state_dict(),
                "judges": self.judges.state_dict(), "g_adam": self.g_adam.adam.state_dict(),
                "d_adam": self.d_adam.adam.state_dict(), "path_mean": self.path_mean, "steps": self.steps,
                "warm_steps": self.warm_steps, "warm": self.warm}

    def save(self, out: Path):
        """checkpoint.pt to resume from and generator.safetensors to use; each appears whole or not at all."""
        with paths.atomic_file(out / "checkpoint.pt") as temporary:
            torch.save(self.state(), temporary)
        save_generator(self.ema, out / "generator.safetensors", metadata={"images": self.shown})

    def resume(self, out: Path):
        """Goes on from the checkpoint in `out`, where there is one: weights, optimizers and counters as they were, random numbers that
        are new. Of a part of the warm-up the optimizer begins anew, and so does the judges' pace."""
        path = out / "checkpoint.pt"
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            for name in ("generator", "ema", "judges"):
                getattr(self, name).load_state_dict(state[name])
            self.g_adam.adam.load_state_dict(state["g_adam"])
            self.d_adam.adam.load_state_dict(state["d_adam"])
            self.path_mean.copy_(state["path_mean"])
            self.steps, self.warm_steps, self.warm = state["steps"], state["warm_steps"], state["warm"]
            reseed(self.settings, self.steps + self.warm_steps, self.rank)

    def start_from(self, path: Path | str, warm: float):
        """The weights of a trained generator of the same shape; the warm-up goes on from the share `warm`."""
        state = load_generator(path).state_dict()
        self.generator.load_state_dict(state)
        self.ema.load_state_dict(state)
        self.warm = warm


def train(images: torch.Tensor, out: Path | str, settings: Settings | None = None, seconds: float = float("inf"),
          codes=None, lesson=None, start=None, warm: float = 0.0, report_every: int = 200, on_report=None,
          progress: bool = True) -> Generator:
    """Trains until `settings.images` were shown or `seconds` have passed. Returns the EMA. Ctrl-C saves, and stops with
    KeyboardInterrupt. The warm-up has its share of `seconds` for steps alone; its lesson and set-ups are taken from what the
    judges have.

    images: (M, 3, H, W) uint8 on the device to train on (under torchrun: this process' share); codes
    (M, K) in [0, 1], the numbers each was drawn from, and a `lesson` of what such numbers mean: for a paired warm-up.
    seconds: where none are left, each part that is missing stops at its first report.
    start: the file of a generator to begin with, and the share `warm` of the warm-up that it counts for.
    Writes `out`/checkpoint.pt and generator.safetensors, at a report a minute or more after the last and at the end, settings.json
    and log.jsonl; a second call goes on from there.
    """
    out, settings, seconds = Path(out), settings or Settings(), max(seconds, 1e-3)  # what came before may have taken them all
    out.mkdir(parents=True, exist_ok=True)
    training = Training(images, settings, codes)
    main = training.rank == 0
    save = (lambda: training.save(out)) if main else (lambda: None)
    save_at_times = each_minute(save)

    def record(training, row):
        with open(out / "log.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
        if on_report:
            on_report(training, row)
        save_at_times()

    if start and not (out / "checkpoint.pt").exists():
        training.start_from(start, warm)
    training.resume(out)
    begin = time.monotonic()
    if main:
        (out / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    try:
        if codes is not None and settings.warm_up > 0 and training.warm < 1:
            warm_up(training, lesson, settings.warm_up * seconds, record, save)
            training.g_adam = FlatAdam(training.generator.parameters(), settings.lr, training.g_adam.lazy)
        if codes is None or settings.warm_up < 1:
            compete(training, begin, seconds, record, report_every, progress)
            save()
    except KeyboardInterrupt:
        save()
        raise
    return training.ema


def compete(training: Training, begin: float, seconds: float, record, report_every: int, progress: bool):
    """Generator against judges, for what the warm-up leaves of the images and of the `seconds` since `begin`."""
    from tqdm import tqdm

    s, main = training.settings, training.rank == 0
    before = 0.0 if training.z is None else s.warm_up  # share of the run
    images = (1 - before) * s.images
    training.capture()
    bar = tqdm(total=round(images), initial=training.shown, unit="img", disable=not (main and progress))
    done, pace, state = 0.0, 1.0, torch.zeros(2, device=training.device)  # the share of the run that is done, and the judges' loss
    with bar:
        while training.shown < images and done < 1:
            log = training.step()
            bar.update(s.batch * training.world)
            if training.steps % report_every:
                continue
            state[0] = max(before + training.shown / s.images, (time.monotonic() - begin) / seconds)
            state[1] = log["d_loss"].mean()
            if distributed.is_initialized():
                distributed.broadcast(state, 0)  # the processes slow down and stop at the same step
            done, loss = state.tolist()
            rate, pace = min(1.0, 0.1 + 0.9 * (1 - done) / s.settle), pace_of(pace, loss, s.judge_floor)
            training.g_adam.rate(rate)
            training.d_adam.rate(rate * pace)
            if main:
                row = {k: [round(x, 4) for x in v.flatten().tolist()] for k, v in log.items()}
                record(training, {"images": training.shown, "seconds": round(time.monotonic() - begin, 1), "pace": pace} | row)
