"""What every step of a generator's training needs: CUDA graphs, an Adam whose gradients are one vector, a checkpoint now and then."""

import time

import torch
from torch import distributed


def graphed(step, device):
    """On CUDA: `step`, captured once as a graph, so that replays cost no launches. Elsewhere `step` itself."""
    if device.type != "cuda":
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()

    def replay():
        graph.replay()
        return out

    return replay


def autocast(device):
    """16 bits on CUDA. Without the cache of weights, which a captured graph would not fill again."""
    return torch.autocast(device.type, torch.bfloat16, device.type == "cuda", cache_enabled=False)


@torch.no_grad()
def average(ema, network, batch: int, shown: int, half_life: int):
    """Moves the EMA of the weights after a step of `batch` images; its half-life is a twentieth of all `shown`, up to `half_life`."""
    keep = 0.5 ** (batch / min(half_life, max(shown, 1) * 0.05))
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - keep)


def pace_of(pace: float, loss: float, floor: float) -> float:
    """The judges' share of their learning rate. Judges that have won teach nothing, and the generator covers less and
    less: below the floor the share is halved, above twice the floor doubled, up to 1."""
    return max(pace / 2, 1 / 64) if loss < floor else min(pace * 2, 1.0) if loss > 2 * floor else pace


def each_minute(save, seconds: float = 60):
    """What to call at every report, so that `save` is called at the first of them after each minute."""
    saved = time.monotonic()

    def call():
        nonlocal saved
        if time.monotonic() - saved > seconds:
            save()
            saved = time.monotonic()

    return call


def reseed(settings, steps: int, rank: int):
    """Random numbers of the process `rank` from here on. Their state is not in the checkpoint: a run that goes on after so many `steps`
    draws others than it did at its start, instead of the same ones again."""
    torch.manual_seed(steps * 1_000_000 + settings.seed * 1000 + rank + 1)


class FlatAdam:
    """Adam over one flat gradient, which several GPUs average in a single call."""

    def __init__(self, parameters, lr: float, lazy: float = 1.0, beta: float = 0.0, faster: tuple = (), factor: float = 1.0):
        """`lazy`: regularized every k steps means lr and betas to the power k / (k + 1) (Karras et al. 2020, App. B).
        `faster`: parameters whose rate is `factor` times as high."""
        self.parameters = [p for p in parameters if p.requires_grad]
        self.lr, self.lazy = lr * lazy, lazy
        first = self.parameters[0]
        self.flat = torch.zeros(sum(p.numel() for p in self.parameters), device=first.device)
        start, chosen = 0, {id(p) for p in faster}
        for p in self.parameters:
            p.grad = self.flat[start:].as_strided(p.shape, p.stride())
            start += p.numel()
        groups = [{"params": [p for p in self.parameters if (id(p) in chosen) == fast], "factor": factor if fast else 1.0}
                  for fast in (False, True)]
        self.adam = torch.optim.Adam([g for g in groups if g["params"]], lr=self.lr, betas=(beta, 0.99**lazy), eps=1e-8,
                                     fused=first.is_cuda)

    def rate(self, share: float):
        """Sets the learning rate to this share of the one it began with."""
        for group in self.adam.param_groups:
            group["lr"] = self.lr * share * group["factor"]

    def step(self):
        if distributed.is_initialized():
            distributed.all_reduce(self.flat, op=distributed.ReduceOp.AVG)
        self.flat.nan_to_num_(0.0, 1e5, -1e5)
        self.adam.step()
        self.flat.zero_()
