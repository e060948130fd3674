"""python -m samlib: invert a photograph, edit it, list the domains, run the demonstration."""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, so no window system is asked for

import torch  # noqa: E402

from samlib import official, paths, photo_command, results, text_command, train_command  # noqa: E402
from samlib.arguments import device, names, parameter, positive  # noqa: E402
from samlib.domains import domains, known, load  # noqa: E402
from samlib.photo_command import classes_of  # noqa: E402


class Parser(argparse.ArgumentParser):
    """One line on stderr for a wrong call, too."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {' '.join(message.split())} (see {self.prog} --help)\n")


def main(arguments=None):
    """Run a command -> its exit code: 0; 2 for bad input, after one line on stderr and with nothing written; 130: Ctrl-C;
    141, without a word: whoever read what is printed has gone, as `head` does."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "" in arguments:  # as from a variable of the shell that has no value; a path would be the folder one is in
        parser().error("an argument is empty")
    options = parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more, at its end
        return 141
    except (ValueError, OSError, ImportError) as error:  # the last: an extra that is not installed
        print(f"samlib: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        reason = (" ".join(str(error).split()) or "no more to be had")[:150]
        print(f"samlib: not enough memory ({reason}); want fewer images at a time, or smaller ones, or --device cpu", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"samlib: {stop or 'stopped; nothing was written'}", file=sys.stderr)
        return 130


def parser():
    top = Parser(prog="python -m samlib", description="Spatially-adaptive multilayer GAN inversion and editing.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    invert = commands.add_parser("invert", help="invert a photograph: layer map, inversion, and the maps behind them")
    photo_command.invert_options(invert)

    edit = commands.add_parser("edit", help="edit an inversion, or a photograph, which is inverted first")
    photo_command.edit_options(edit)

    direction = commands.add_parser("direction", help="a new edit direction, from a sentence or a factor that is measured")
    text_command.options(direction)

    listing = commands.add_parser("domains", help="what there is: domains, their spaces, directions and methods")
    listing.set_defaults(run=run_domains)

    train = commands.add_parser("train", help="a domain of your own from a folder of images, or a built-in category")
    train_command.options(train)

    conversion = commands.add_parser("convert", help="a checkpoint of anyone's as safetensors: generator, encoder or predictor")
    conversion.add_argument("source", type=Path, metavar="IN", help="official pickle, .pt, or safetensors; read as data, never run")
    conversion.add_argument("target", type=Path, metavar="OUT", help="file to write, .safetensors")
    conversion.add_argument("--part", choices=("generator", "encoder", "predictor"),
                            help="of a file with more than one network (default: the encoder of an e4e or pSp file)")
    conversion.add_argument("--half", action="store_true", help="matrices in 16 bits: half the size, images within about 1e-3")
    conversion.set_defaults(run=run_convert)

    paper = commands.add_parser("reproduce", help="run the notebooks of the paper's figures and tables")
    paper.add_argument("--profile", choices=("quick", "small", "full"), default="quick",
                       help="full: on GPUs, into figures/; small: its methods on a few images, into figures/small/")
    paper.add_argument("--only", type=names, default=[], metavar="NAME,...", help="such as fig03,table1 (default: all)")
    paper.add_argument("--domain", type=names, default=[], metavar="NAME,...", help="run each for these domains")
    paper.add_argument("--images", type=Path, metavar="FOLDER", help="photographs instead of rendered scenes, from the first on")
    paper.add_argument("--jobs", type=positive, default=1, help="how many at a time")
    paper.add_argument("--device", type=device, help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    paper.set_defaults(run=run_reproduce)

    page = commands.add_parser("results", help="write RESULTS.md: the paper's claims beside the numbers of the runs")
    results.options(page)

    demo = commands.add_parser("demo", help="run notebooks/quickstart.ipynb")
    demo.add_argument("-p", "--parameter", nargs="+", action="extend", default=[], metavar="NAME=VALUE", type=parameter)
    demo.set_defaults(run=run_demo)
    return top


def run_domains(options):
    for name in domains():
        domain = load(name, "cpu")
        ranges = {direction: domain.range_of(direction) for direction in domain.directions}
        print(f"{name}: {domain.generator.resolution} px, spaces {' '.join(s.name for s in domain.spaces)}, tau {domain.tau:g}")
        print("    methods:", ", ".join(domain.methods))
        print("    directions:", ", ".join(f"{direction} ({low:g} to {high:g})" for direction, (low, high) in ranges.items()))
        if classes_of(domain):
            print("    classes, directions too (0 to 1):", ", ".join(classes_of(domain)))
    for name, facts in official.OFFICIAL.items():
        files = official.status(name)
        width, height = facts["aspect"] or (facts["size"],) * 2
        print(f"{name}: official, {width} x {height} px, tau {facts['tau']:g}; files in {paths.weights() / name}")
        here = sum(files[direction][2] == "here" for direction in facts["directions"])
        print("    " + ", ".join(f"{part} {files[part][2]}" for part in official.PARTS)
              + f", {here} of {len(facts['directions'])} published directions here" * bool(facts["directions"]))


def run_convert(options):
    from samlib.convert import convert

    part = convert(options.source, options.target, options.part, options.half)
    print(f"{part} written to {options.target} ({options.target.stat().st_size / 1e6:.1f} MB)")


def run_reproduce(options):
    from samlib import reproduce

    asked = [known(domain) for domain in options.domain]
    settings = {"device": options.device} if options.device else {}
    if options.images:
        if not options.images.is_dir():
            raise ValueError(f"--images {options.images} is no folder; name one that holds photographs")
        settings |= {"kind": str(options.images.resolve()), "first": 0}
    jobs = reproduce.plan(options.profile, options.only, asked, **settings)
    failed = reproduce.run(jobs, workers=options.jobs)
    print(f"{len(jobs)} notebooks, {len(failed)} failed; figures, numbers and a page of them: {reproduce.figures_of(jobs[0])}")
    if failed:
        sys.exit("\n".join(f"samlib: {line}" for line in failed))


def run_demo(options):
    from samlib import notebooks

    parameters = dict(options.parameter)
    for name in ("photo", "out"):  # the notebook runs in a folder of its own
        if parameters.get(name):
            parameters[name] = str(Path(str(parameters[name])).absolute())
    if parameters.get("photo") and not Path(parameters["photo"]).is_file():
        raise FileNotFoundError(f"-p photo={parameters['photo']}: no such file; want a PNG, JPEG or WebP file")
    if "domain" in parameters:
        parameters["domain"] = known(str(parameters["domain"]))
    folder = Path(parameters.get("out") or paths.OUTPUTS / "quickstart")
    try:
        executed = notebooks.run(paths.NOTEBOOKS / "quickstart.ipynb", folder, parameters)
    except notebooks.NotebookError as error:
        sys.exit(f"samlib: {error}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; what was made so far is in {folder}") from None
    print(f"The executed notebook: {executed}", "Its pictures:", sep="\n")
    print(*(f"    {picture}" for picture in sorted(folder.glob("*.png"))), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
