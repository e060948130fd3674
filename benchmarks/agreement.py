"""How far two measured error maps of the same image agree, of runs from two starts: more than that no S can know of one of them.

    python benchmarks/agreement.py cars --images 8 --steps 200

Take both maps for the same part that the image decides, and each for an error of its own: then their r is the share of the first
part, and its root the r that the best S would have with either of them.
"""

import argparse
from dataclasses import replace

import torch

import samlib
from samlib import experiments
from samlib.arguments import known, positive
from samlib.metrics import pearson
from samlib.scenes import FACTORS
from samlib.training.measures import distance_maps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("domain", choices=[*FACTORS])
    parser.add_argument("--images", type=positive, default=8, help="challenging scenes, those of Figure 2")
    parser.add_argument("--steps", type=positive, default=200)
    parser.add_argument("--spaces", nargs="+", help="all, unless named")
    a = parser.parse_args()
    domain = samlib.load(a.domain)
    names = [space.name for space in domain.spaces]
    known(parser, "space", a.spaces or (), names)
    x = experiments.inputs(domain, "challenging", a.images).images
    foretold = domain.predict(x)["error_maps"]
    starts = {"the mean w": replace(domain, start=None), "the encoders": domain}
    print(f"{'':6}{'two runs':>10}{'best S':>10}" + "".join(f"{'S, from ' + start:>24}" for start in starts) + f"{'S, mean of both':>18}")
    for name in a.spaces or names:
        maps = []
        for subject in starts.values():
            found = experiments.inverted(subject, x, "w+" if name == names[0] else name, steps=a.steps)
            maps.append(distance_maps(domain.metric, found.images, x)[1].flatten())
        r = float(pearson(*maps))
        seen = [float(pearson(foretold[:, names.index(name)].flatten(), one)) for one in (*maps, torch.stack(maps).mean(0))]
        print(f"{name:6}{r:10.2f}{max(r, 0) ** 0.5:10.2f}{seen[0]:24.2f}{seen[1]:24.2f}{seen[2]:18.2f}", flush=True)


if __name__ == "__main__":
    main()
