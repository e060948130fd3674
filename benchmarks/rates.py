"""How close inversions get by the rate of the feature changes: for choosing `delta_learning_rate` in a domain.json.

    python benchmarks/rates.py cats F10 --rates 0.006,0.05 --images 2 --steps 100

Prints how far the features of each space deviate over generated images, a tenth of which is a rate to begin with, then PSNR and
LPIPS of challenging scenes, or of the photographs in a folder, inverted in one space at each rate.
"""

import argparse
from unittest import mock

import torch

import samlib
from samlib import experiments, features, metrics


@torch.inference_mode()
def deviations(generator, count=32):
    """Space -> the standard deviation over `count` generated images, the mean over the numbers of its features."""
    found = {}

    def read(space, x, deltas, masks):
        if space is not None:
            found[space.name] = float(x.float().std(0).mean())
        return x

    z = torch.randn(count, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(generator.w_avg)
    classes = {"classes": torch.arange(count, device=z.device) % generator.config["classes"]} if generator.spaces[0].name == "Z+" else {}
    with mock.patch.object(features, "add_change", read):
        generator.synthesis(generator.mapping(z, **classes), noise="none")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("domain")
    parser.add_argument("space")
    parser.add_argument("--rates", type=lambda text: [float(rate) for rate in text.split(",")], default=[0.05])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--kind", default="challenging")
    parser.add_argument("--start", help="an encoder to begin at, or mean for the mean w (default: where the domain does)")
    parser.add_argument("--device")
    options = parser.parse_args()
    domain = samlib.load(options.domain, options.device)
    print("features deviate by", ", ".join(f"{name} {value:.2g}" for name, value in deviations(domain.generator).items()), flush=True)
    domain.start = {None: domain.start, "mean": None}.get(options.start, options.start)
    x = experiments.inputs(domain, options.kind, options.images).images
    for rate in options.rates:
        domain.delta_learning_rate = rate
        close = metrics.closeness(domain.invert(x, options.space, steps=options.steps, progress=False), domain.metric)
        print(f"rate {rate:g}: {close['psnr'].mean():.1f} dB, LPIPS {close['lpips'].mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
