"""How much of a difference between two scenes the regressor of a category reads, factor by factor, of each kind of scenes.

    python benchmarks/readings.py cars --images 48

Edits are measured by what it reads, on challenging scenes: what it does not see there does not count.
"""

import argparse

import torch

from samlib import paths
from samlib.scenes import SEGMENTS, render
from samlib.training.factors import FactorRegressor, evaluate_factors


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("category", choices=list(SEGMENTS))
    parser.add_argument("--images", type=int, default=48, help="of each kind")
    parser.add_argument("--seed", type=int, default=951, help="of the scenes; 0 to 4 were trained and tested on")
    a = parser.parse_args()
    regressor, found = FactorRegressor.load(paths.DATA / a.category / "factors.safetensors"), {}
    for kind in ("ordinary", "challenging"):
        parts = [render(a.category, a.seed, range(i, min(i + 16, a.images)), 256, kind == "challenging") for i in range(0, a.images, 16)]
        factors = {name: torch.cat([part.factors[name] for part in parts]) for name in regressor.names}
        found[kind] = evaluate_factors(regressor, torch.cat([part.images for part in parts]), factors)
    print(f"{'':14}" + "".join(f"{kind:>26}" for kind in found))
    for name in regressor.names:
        print(f"{name:14}" + "".join(f"{row['slope'][name]:14.2f} (R2 {row['r_squared'][name]:5.2f})" for row in found.values()))


if __name__ == "__main__":
    main()
