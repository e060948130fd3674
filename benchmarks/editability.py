"""How far an edit goes by where w+ is: drawn, put together from rows of different codes, inverted, and pulled towards the mean w.

    python benchmarks/editability.py cars red blue --images 4 --steps 80 --spread 1e-4,1e-3 --rate 0.05,0.2

Prints, for challenging scenes inverted in W+ and by SAM at each weight of the second term of Eq. 6 and each rate of w, PSNR and LPIPS,
how far rows of w+ are from the mean w, and of each direction at a strength of 2 how far it goes, as a regressor reads it: 1 is as far as
it promises.
"""

import argparse
import itertools
from dataclasses import replace

import torch

import samlib
from samlib import directions, edit_measures, experiments, metrics
from samlib.arguments import known, positive
from samlib.training.edits import EDITS, change_asked

STRENGTH = 2.0


@torch.inference_mode()
def of_codes(domain, regressor, w_plus, name):
    """The mean change by a direction of the pictures of w_plus (N, L, D) alone."""
    asked, step = change_asked(domain.name, name, regressor.names).to(w_plus).nan_to_num(), STRENGTH * domain.directions[name]

    def read(codes):
        return torch.cat([regressor(domain.generator.synthesis(part, noise="none").clamp(-1, 1)) for part in codes.split(16)])

    return float(directions.progress(read(w_plus + step) - read(w_plus), STRENGTH * asked).mean())


def of_inversion(domain, regressor, inversion, name):
    return float(edit_measures.effect(domain, regressor, inversion, name, STRENGTH)["change"].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("domain", choices=EDITS)
    parser.add_argument("directions", nargs="+")
    parser.add_argument("--images", type=positive, default=4)
    parser.add_argument("--steps", type=positive, default=80)
    for option, of in (("--spread", "weights"), ("--rate", "learning rates of w")):
        parser.add_argument(option, type=lambda text: [float(value) for value in text.split(",")], help=f"{of}; default: the domain's")
    parser.add_argument("--methods", nargs="+", default=["w+", "sam"])
    parser.add_argument("--device")
    a = parser.parse_args()
    known(parser, "direction", a.directions, EDITS[a.domain])
    domain = samlib.load(a.domain, a.device)
    regressor, mean, published = edit_measures.regressor_of(domain), domain.generator.w_avg, domain.weights
    drawn = directions.sample_w(domain.generator, 64, 0)[:, None].expand(-1, domain.generator.num_layers, -1)
    torch.manual_seed(0)
    mixed = torch.stack([row[torch.randperm(len(row))] for row in drawn.unbind(1)], 1)

    def show(label, reach, *of):
        print(f"{label:50}", *(f"{name} {reach(domain, regressor, *of, name):5.2f}" for name in a.directions), flush=True)

    for label, codes in (("drawn codes", drawn), ("rows of different drawn codes", mixed)):
        show(f"{label}, {(codes - mean).norm(dim=2).mean():.0f} from the mean", of_codes, codes)
    x = experiments.inputs(domain, "challenging", a.images).images
    for spread, rate, method in itertools.product(a.spread or [published.spread], a.rate or [None], a.methods):
        domain.weights = replace(published, spread=spread)
        if rate:
            domain.learning_rate = domain.sam_learning_rate = rate
        found = domain.invert(x, method, steps=a.steps, progress=False)
        close = metrics.closeness(found, domain.metric)
        print(f"spread {spread:g}, rate {domain.rate_of(method):g}, {method}: {close['psnr'].mean():.1f} dB, "
              f"LPIPS {close['lpips'].mean():.3f}")
        show("  as inverted", of_inversion, found)
        for share in (1.0, 0.5):
            w_plus = mean + share * (found.w_plus - mean)
            show(f"  its w+ alone, {(w_plus - mean).norm(dim=2).mean():.0f} from the mean", of_codes, w_plus)


if __name__ == "__main__":
    main()
