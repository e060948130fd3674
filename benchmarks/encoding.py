"""How long an image takes to encode: python benchmarks/encoding.py [--domain cars] [--images 1] [--threads 2] [--repeats 5]

Encoders that the domain does not have yet run with random weights, which takes as long. Wall and processor time of an image, its
share of --images at once, each the least of the repeats, which other work on the machine disturbs least.
"""

import argparse
import time

import torch

import samlib
from samlib import encode, scenes
from samlib.arguments import positive
from samlib.devices import pick_device
from samlib.scenes import FACTORS


def least(run, repeats, device):
    """(wall, processor) seconds of run(), after one call to warm up."""
    rows = []
    for _ in range(repeats + 1):
        begin = time.perf_counter(), time.process_time()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        rows.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return [min(column) for column in zip(*rows[1:])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--domain", default="cars", choices=[*FACTORS])
    parser.add_argument("--images", type=positive, default=1, help="at once")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    domain = samlib.load(options.domain, pick_device(options.device))
    random = []
    for name, kind in encode.ENCODERS.items():
        if not encode.find(name, domain.folder).is_file():
            extra = [name.removeprefix("restyle-")] if kind is encode.ReStyle else []
            domain.encoders[name] = kind.of(domain.generator, *extra).eval().requires_grad_(False).to(domain.device)
            random.append(name)
    size = domain.generator.resolution
    x = scenes.render(domain.name, seed=0, indices=range(options.images), size=size, challenging=True).images.to(domain.device)
    every = torch.arange(size, device=domain.device).mul(len(domain.spaces)).div(size, rounding_mode="floor").expand(len(x), size, size)
    rows = {"S": lambda: domain.predictor(x), "segmenter, not tidied": lambda: domain.segmenter.segmenter(x),
            "segmenter": lambda: domain.segmenter(x), "layer maps": lambda: domain.predict(x),
            "sam-encoder, a map of all spaces": lambda: domain.invert(x, "sam-encoder", layer_map=every)}
    rows |= {name: lambda name=name: domain.invert(x, name) for name in encode.ENCODERS}
    print(f"{options.domain}, {size} px, {len(x)} images, {options.threads} threads, {domain.device}; "
          f"random weights: {', '.join(random) or 'none'}")
    for name, run in rows.items():
        wall, processor = least(run, options.repeats, domain.device)
        print(f"{name:32} {1e3 * wall / len(x):7.1f} ms   (processor {1e3 * processor / len(x):7.1f} ms)", flush=True)


if __name__ == "__main__":
    torch.inference_mode()(main)()
