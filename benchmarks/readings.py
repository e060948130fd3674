"""How much of a difference between two scenes the regressor reads, factor by factor, of each kind of scenes; and how far it errs.

    python benchmarks/readings.py cars --images 48
    python benchmarks/readings.py van              # a class of biggan-scenes, by the regressor of that

Edits are measured by what it reads, on challenging scenes: what it does not see there does not count.
"""

import argparse

import torch

from samlib import paths
from samlib.arguments import positive
from samlib.scenes import FACTORS, classes
from samlib.training.category import scenes
from samlib.training.factors import FactorRegressor, evaluate_factors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=[*FACTORS, *classes.names()])
    parser.add_argument("--images", type=positive, default=48, help="of each kind")
    parser.add_argument("--seed", type=int, default=951, help="of the scenes; 0 to 4 were trained and tested on")
    a = parser.parse_args()
    domain, size = (a.name, 256) if a.name in FACTORS else ("biggan-scenes", 128)
    regressor, found = FactorRegressor.load(paths.DATA / domain / "factors.safetensors"), {}
    for kind in ("ordinary", "challenging"):
        images, _, factors = scenes(a.name, range(a.images), size, a.seed, torch.device("cpu"), kind == "challenging")
        found[kind] = evaluate_factors(regressor, images, factors), {name: factors[name].std(correction=0) for name in regressor.names}
    print(f"{'':14}" + "".join(f"{kind:>26}" for kind in found), "   slope, and error in deviations of what it learnt from")
    for name, unit in zip(regressor.names, regressor.std.tolist()):
        errors = [(1 - row["r_squared"][name]) ** 0.5 * float(std[name]) / unit for row, std in found.values()]
        print(f"{name:14}" + "".join(f"{row['slope'][name]:17.2f} {error:8.2f}" for (row, _), error in zip(found.values(), errors)))


if __name__ == "__main__":
    main()
