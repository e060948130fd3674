"""What the parts of an inversion and of an edit cost on a domain, in seconds and as ratios.

    python benchmarks/inversion.py [--domain cars] [--device cpu] [--batch 4] [--repeats 3] [--processor]

Medians, on challenging scenes of the built-in cars. Where two ways are compared, their runs take turns and the ratio is the
median of the ratios of neighbours, so that what else the machine does touches both.
Wanted on two CPU cores: a generator pass in at most 0.15 s, 100 optimization steps on one image in at most 60 s; anywhere: a
step of a batch costs an image no more than 1.1 times a step alone, and an edit in one batched pass at most 0.6 times one
pass for each space.
"""

import argparse
import statistics
import time

import torch

import samlib
from samlib import layer_map as maps
from samlib import scenes
from samlib.edit import edit
from samlib.objective import WStatistics
from samlib.optimize import optimize
from samlib.scenes import FACTORS

CLOCK = time.perf_counter
PASS, HUNDRED_STEPS, BATCH_RATIO, EDIT_RATIO = 0.15, 60, 1.1, 0.6


def seconds(function):
    """How long one call takes."""
    start = now()
    function()
    return now() - start


def now():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return CLOCK()


def median(function, repeats):
    function()  # the first call is not like the others
    return statistics.median(seconds(function) for _ in range(repeats))


def in_turns(one, other, repeats, cost=seconds):
    """Median cost of either, and the median of one / other."""
    cost(one), cost(other)  # the first calls are not like the others
    pairs = [(cost(one), cost(other)) for _ in range(repeats)]
    return *map(statistics.median, zip(*pairs)), statistics.median(a / b for a, b in pairs)


def stepping(domain, images, layer_map):
    """A function that makes ten steps of the optimization and gives the time at which each ended."""
    masks, statistics_of_w = maps.masks(layer_map, domain.spaces), WStatistics.sample(domain.generator)

    def run(steps=10):
        times = []
        optimize(domain.generator, images, masks, domain.metric, weights=domain.weights, learning_rate=domain.learning_rate,
                 delta_learning_rate=domain.delta_learning_rate, statistics=statistics_of_w, steps=steps, progress=False,
                 callback=lambda *_: times.append(now()), callback_every=1)
        return times

    return run


def one_step(run):
    """Mean seconds between one step and the next: those at the end of a run, with LPIPS at full size, take longer."""
    times = run()
    return (times[-1] - times[0]) / (len(times) - 1)


def late_over_early(run):
    """How much longer a step takes at the end of a run, where LPIPS is at full size, of ten the last two."""
    times = run()
    return (times[-1] - times[-3]) / 2 / ((times[-4] - times[0]) / (len(times) - 4))


def bands(domain, count):
    """A layer map in which every space has an equal part of the image, (count, R, R)."""
    size = domain.generator.resolution
    row = torch.arange(size, device=domain.device) * len(domain.spaces) // size
    return row.view(1, -1, 1).expand(count, size, size)


def space_by_space(domain, inversion, strengths):
    """An edit with one pass for each space, which changes the segments of that space alone."""
    images = inversion.images
    for index in range(len(domain.spaces)):
        region = inversion.layer_map == index
        edited = edit(domain.generator, inversion, domain.directions, strengths, region.float())
        images = torch.where(region[:, None], edited, images)
    return images


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--domain", default="cars", choices=[*FACTORS])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--processor", action="store_true", help="processor time of all threads, for a machine that is busy")
    a = parser.parse_args()
    global CLOCK
    CLOCK = time.process_time if a.processor else CLOCK
    domain = samlib.load(a.domain, a.device)
    images = scenes.render("cars", seed=3, indices=range(a.batch), size=domain.generator.resolution, challenging=True).images
    images, layer_map, failed = images.to(domain.device), bands(domain, a.batch), []

    def say(name, value, unit, wanted=None):
        print(f"{name:58} {value:7.3f} {unit}" + (f"   wanted: at most {wanted}" if wanted else ""), flush=True)
        if wanted and value > wanted:
            failed.append(name)

    on_cpu = domain.device.type == "cpu"
    w_plus = domain.generator.w_avg.expand(1, domain.generator.num_layers, -1)
    with torch.inference_mode():
        single = median(lambda: domain.generator.synthesis(w_plus, noise="none"), a.repeats)
        say("generator pass, one image", single, "s", PASS if on_cpu else None)
        predicted = median(lambda: domain.predict(images[:1]), a.repeats)
    say("layer map predicted, one image", predicted, "s")
    say("  over a generator pass", predicted / single, "times")

    together, alone, ratio = in_turns(stepping(domain, images, layer_map), stepping(domain, images[:1], layer_map[:1]), a.repeats,
                                      one_step)
    say("optimization, 100 steps, one image", 100 * alone, "s", HUNDRED_STEPS if on_cpu else None)
    say("  one step over a generator pass", alone / single, "times")
    steps = stepping(domain, images[:1], layer_map[:1])
    say("  a step of its last quarter over one before", statistics.median(late_over_early(steps) for _ in range(a.repeats)), "times")
    say(f"  one step of {a.batch} images, for each of them", together / a.batch, "s")
    say("  that over a step alone", ratio / a.batch, "times", BATCH_RATIO)

    inversion = domain.invert(images[:1], layer_map=layer_map[0], steps=2, progress=False)
    strengths = {next(iter(domain.directions)): 2.0}
    batched, apart, ratio = in_turns(lambda: domain.edit(inversion, strengths), lambda: space_by_space(domain, inversion, strengths),
                                     a.repeats)
    say("edit, one batched pass", batched, "s")
    say("edit, one pass for each space", apart, "s")
    say("  the first over the second", ratio, "times", EDIT_RATIO)
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
