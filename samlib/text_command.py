"""python -m samlib direction: a new edit direction, from a sentence or from a factor that the domain can measure."""

from pathlib import Path

from samlib import text
from samlib.arguments import device, positive, seed, weight
from samlib.domains import load
from samlib.training.factors import FactorRegressor


def options(command):
    command.add_argument("sentence", nargs="?", help="what an edit shall bring, as \"a red car\" (CLIP: the extra \"text\")")
    command.add_argument("--neutral", metavar="SENTENCE", help="the same without it, as \"a car\": the difference counts")
    command.add_argument("--model", default="ViT-B-32", help="CLIP's architecture, by its name in open_clip")
    command.add_argument("--pretrained", default="laion2b_s34b_b79k", metavar="TAG|FILE", help="its weights: a tag, or a file")
    command.add_argument("--factor", metavar="NAME", help="no sentence, but a factor the domain's regressor reads, as size")
    command.add_argument("--domain", default="cars", help="name, or a folder with a domain.json (default: cars)")
    command.add_argument("--name", help="of the direction (default: the sentence or the factor)")
    command.add_argument("--rows", nargs=2, type=int, metavar=("FIRST", "END"), help="of w+ that may move: those before END")
    command.add_argument("--identity", type=weight, default=1.0, help="weight of the perceptual change; 0: it costs nothing")
    command.add_argument("--steps", type=positive, default=100)
    command.add_argument("--samples", type=positive, default=64, help="codes to learn from")
    command.add_argument("--size", type=positive, default=128, help="of the images while learning (default: 128)")
    command.add_argument("--seed", type=seed, default=0)
    command.add_argument("--device", type=device, help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    command.add_argument("--out", type=Path, required=True, help="file to add it to, .safetensors; a domain's "
                                                                 "directions.safetensors is one")
    command.set_defaults(run=run)


def run(options):
    if (options.sentence is None) == (options.factor is None):
        raise ValueError("direction wants either a sentence or --factor NAME (see python -m samlib direction --help)")
    if options.factor and options.neutral:
        raise ValueError("--neutral goes with a sentence; with --factor there is nothing to compare it with, so leave it out")
    name = text.check_name(options.name or options.sentence or options.factor)
    if options.out.suffix != ".safetensors":
        raise ValueError(f"--out {options.out}: wanted a file that ends in .safetensors")
    domain = load(options.domain, options.device)
    if options.out.exists():
        domain.add_directions(options.out)  # an error now, not after the work, if it is no such file
    score = score_of(options, domain)
    size = min(options.size, domain.generator.resolution)
    direction = text.direction_for(
        domain.generator, score, options.samples, steps=options.steps, rows=options.rows and range(*options.rows), size=size,
        identity=domain.metric if options.identity else None, identity_weight=options.identity, seed=options.seed)
    keep = ("domain", "sentence", "neutral", "model", "pretrained", "factor", "rows", "identity", "steps", "samples", "seed")
    text.add(options.out, name, direction, **{key: getattr(options, key) for key in keep}, size=size)
    rise = text.rise(domain.generator, score, direction, size=size, seed=options.seed + 1)
    print(f"{name}: strength 1 raises the score of {len(rise)} other images by {rise.mean():.2f} standard deviations")
    print(f"written to {options.out}: python -m samlib edit ... --directions {options.out} --direction '{name}=1'")


def score_of(options, domain):
    """images -> (N,): of the sentence, or of the factor."""
    if options.sentence:
        return text.CLIPScore(options.sentence, options.model, options.pretrained, neutral=options.neutral, device=domain.device)
    file = (domain.folder or Path(domain.name)) / "factors.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {domain.name} measures no factors; give a sentence instead")
    regressor = FactorRegressor.load(file, domain.device).requires_grad_(False)
    if options.factor not in regressor.names:
        raise ValueError(f"no factor {options.factor!r} in {domain.name}; there are {', '.join(regressor.names)}")
    index = regressor.names.index(options.factor)
    return lambda images: regressor(images)[:, index]
