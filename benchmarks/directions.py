"""How far each direction of Table 3 moves its factor, and how much the others, by strength, on drawn codes.

    python benchmarks/directions.py cars --images 64

In standard deviations of the data, as the regressor of the category reads them. Wanted at some strength: 1 or more, and the other
factors less than half as much in the mean.
"""

import argparse

import torch

import samlib
from samlib.arguments import positive
from samlib.directions import effect, read, sample_w
from samlib.edit_measures import regressor_of
from samlib.published import TABLE3
from samlib.scenes import FACTORS
from samlib.training.edits import change_asked

STRENGTHS = (-4, -3, -2, -1, 1, 2, 3, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("domain", choices=[*FACTORS])
    parser.add_argument("--images", type=positive, default=64, help="codes")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--device")
    a = parser.parse_args()
    domain = samlib.load(a.domain, a.device)
    regressor, w = regressor_of(domain), sample_w(domain.generator, a.images, a.seed)
    before = read(domain.generator, regressor, w)
    print(f"{'own; others':16}" + "".join(f"{strength:+14d}" for strength in STRENGTHS))
    for name in TABLE3[a.domain]:
        asked = change_asked(a.domain, name, regressor.names).to(w)
        way, others = asked.nan_to_num() / asked.nan_to_num().norm(), asked == 0
        changes = [effect(domain.generator, regressor, w, domain.directions[name], strength, before) for strength in STRENGTHS]
        found = [(float(change @ way), float(change[others].abs().mean())) for change in changes]
        reached = any(abs(own) >= 1 and rest < abs(own) / 2 for own, rest in found)
        print(f"{name:16}" + "".join(f"{own:+7.2f};{rest:6.2f}" for own, rest in found) + ("" if reached else "   not reached"), flush=True)


if __name__ == "__main__":
    torch.inference_mode()(main)()
