"""What it costs an image to be formed by weights of its own, and these to get their gradient, as in PTI's tuning.

    python benchmarks/tuning.py [--domain cars] [--device cuda] [--images 50] [--repeats 5] [--compiled]

With its convolutions in groups, as PyTorch does it by itself, and as products of matrices (`baselines.AsProducts`); with --compiled each
compiled, too, which takes some minutes. Two images a row, as in the tuning with locality; on a GPU in 16 bits. The runs take turns:
medians, and the medians of the ratios of neighbours.
"""

import argparse
from contextlib import nullcontext
from unittest import mock

import torch
from inversion import in_turns

import samlib
from samlib import baselines, kept
from samlib.precision import fused
from samlib.scenes import FACTORS


def forming(domain, count, products, compiled):
    """A function that forms 2 images by each of `count` copies of the weights, and takes the gradient of all."""
    generator, precision = domain.generator, kept.precision_of(domain)
    weights = {name: weight.detach().repeat(count, *[1] * weight.ndim).requires_grad_()
               for name, weight in generator.synthesis_network.named_parameters()}
    w_plus = generator.w_avg.expand(count, 2, generator.num_layers, -1).contiguous()
    form = fused(baselines.form_each) if compiled else baselines.form_each

    def run():
        by_itself = mock.patch.object(baselines, "AsProducts", nullcontext)
        with torch.autocast(domain.device.type, precision) if precision else nullcontext():
            with baselines.AsProducts() if products else by_itself:
                images = form(generator, weights, w_plus, "none")
        images.square().mean().backward()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--domain", default="cars", choices=[*FACTORS])
    parser.add_argument("--device", default=None)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="compiled, too")
    a = parser.parse_args()
    domain = samlib.load(a.domain, a.device)
    for compiled in (False, True)[:1 + a.compiled]:
        ways = [forming(domain, a.images, products, compiled) for products in (True, False)]
        products, groups, ratio = in_turns(*ways, a.repeats)
        print(f"{'compiled' if compiled else 'not compiled'}: as products {1e3 * products / a.images:.2f} ms an image, in groups "
              f"{1e3 * groups / a.images:.2f} ms; the first over the second {ratio:.2f} times", flush=True)


if __name__ == "__main__":
    main()
