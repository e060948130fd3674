"""python -m samlib: invert a photograph, edit it, list the domains, run the demonstration."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # pictures go to files, so no window system is asked for

import torch  # noqa: E402

from samlib import figures, official, paths, report, results, text_command, train_command  # noqa: E402
from samlib.arguments import device, names, number, parameter, positive, seed, strength  # noqa: E402
from samlib.domains import domains, load  # noqa: E402
from samlib.images import WRITE_FORMATS, read_image, write_image  # noqa: E402
from samlib.inversion import Inversion  # noqa: E402
from samlib.methods import steps_in_all  # noqa: E402

OWN = ("input.png", "inversion.png", "layer_map.png", "segments.png", "error_maps.png", "inversion.safetensors", "edited.png")  # in --out
AGAIN = ("method", "tau", "steps", "fit", "seed")  # options of an inversion, which say nothing of one that is there


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
    invert.add_argument("photo", type=Path)
    inversion_options(invert)
    invert.add_argument("--out", type=Path, required=True, help="folder for the results")
    invert.set_defaults(run=run_invert)

    edit = commands.add_parser("edit", help="edit an inversion, or a photograph, which is inverted first")
    edit.add_argument("source", type=Path, metavar="INVERSION|PHOTO")
    edit.add_argument("--direction", nargs="+", action="extend", required=True, metavar="NAME=STRENGTH", type=strength)
    edit.add_argument("--directions", type=Path, metavar="FILE", help="more of them, as `python -m samlib direction` writes them")
    inversion_options(edit)
    edit.add_argument("--out", type=Path, required=True, help="picture to write (.png, .jpg, .webp), or a folder")
    edit.set_defaults(run=run_edit)

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


def inversion_options(command):
    command.add_argument("--domain", help="name, or a folder with a domain.json (default: cars, or the inversion's own)")
    command.add_argument("--method", help="sam (the default), sam-encoder, w, w+, F4, ... (see `python -m samlib domains`)")
    command.add_argument("--tau", type=number, help="error that a segment's space may have (default: the domain's)")
    command.add_argument("--steps", type=positive, help="steps of the optimization (default: the domain's)")
    command.add_argument("--fit", choices=("crop", "whole"), help="the central square of the photo, or the whole of it, "
                         "then padded (default: crop; whole where the domain's images are no squares)")
    command.add_argument("--seed", type=seed, help="of the optimization (default: 0)")
    command.add_argument("--device", type=device, help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")


def run_invert(options):
    with paths.atomic_folder(options.out, own_files(options.out, options.photo)) as folder:
        domain, inversion = invert_photo(options, options.photo)
        write_inversion(folder, domain, inversion)
    print(*report.describe(domain, inversion), f"written to {options.out}", sep="\n")


def run_edit(options):
    strengths = dict(options.direction)
    if twice := [name for name, count in Counter(name for name, _ in options.direction).items() if count > 1]:
        raise ValueError(f"--direction {', '.join(twice)}: given more than once; want one strength for each")
    if not options.out.suffix:
        with paths.atomic_folder(options.out, own_files(options.out, options.source)) as folder:
            domain, inversion = inversion_of(options, strengths)
            write_inversion(folder, domain, inversion)
            write_image(folder / "edited.png", domain.edit(inversion, strengths))
    else:
        check_picture(options.out)
        domain, inversion = inversion_of(options, strengths)
        edited = domain.edit(inversion, strengths)
        try:
            write_image(options.out, edited)
        except OSError as error:
            raise OSError(f"--out {options.out}: {error.strerror or error}; want a place where a picture can be written") from None
    for name in [name for name in strengths if name in domain.directions]:  # a class has none: its direction is made for each image
        print(f"{name} reaches {report.reached_share(domain, inversion, name):.0%} of the image")
    print(f"written to {options.out}")


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

    asked = [named(domain) for domain in options.domain]
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
        parameters["domain"] = named(str(parameters["domain"]))
    folder = Path(parameters.get("out") or paths.OUTPUTS / "quickstart")
    try:
        executed = notebooks.run(paths.NOTEBOOKS / "quickstart.ipynb", folder, parameters)
    except notebooks.NotebookError as error:
        sys.exit(f"samlib: {error}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; what was made so far is in {folder}") from None
    print(f"The executed notebook: {executed}", "Its pictures:", sep="\n")
    print(*(f"    {picture}" for picture in sorted(folder.glob("*.png"))), sep="\n")


def inversion_of(options, directions):
    """The domain, and the inversion that a file holds, or that of the photograph it is."""
    if options.source.suffix != ".safetensors":
        return invert_photo(options, options.source, directions)
    inversion = Inversion.load(options.source)
    if idle := [f"--{name}" for name in AGAIN if getattr(options, name) is not None]:
        raise ValueError(f"{', '.join(idle)}: {options.source} has been inverted already; leave it out, or give the photo instead")
    if options.domain and inversion.domain and not same_domain(options.domain, inversion.domain):
        raise ValueError(f"--domain {options.domain}: {options.source} is of {inversion.domain}, and its code means nothing to "
                         "another generator; leave --domain out")
    domain = domain_of(options, inversion.domain)
    check_directions(domain, directions)
    return domain, inversion


def invert_photo(options, photo, directions=()):
    """The domain, and the inversion of a photograph. All names are checked before anything long begins."""
    domain = domain_of(options, "cars")
    check_directions(domain, directions)
    image = read_image(photo, domain.generator.resolution, options.fit or ("whole" if domain.aspect else "crop"))
    steps, method = options.steps or domain.steps, options.method or "sam"
    inversion = domain.invert(image, method, tau=options.tau, steps=steps, seed=options.seed or 0)
    wanted = steps_in_all(method, steps)
    done = max((len(history) for history in inversion.losses.values()), default=0)  # PTI tunes by some of them, after the others
    if done < wanted:
        print(f"stopped after {done} of {wanted} steps; this is the early result")
    return domain, inversion


def domain_of(options, default):
    domain = load(options.domain or default, options.device)
    if getattr(options, "directions", None):
        domain.add_directions(options.directions)
    return domain


def named(domain):
    """A domain's name as every process understands it: of a folder the whole path. ValueError, with what there is, for none."""
    if domain in domains() or domain in official.OFFICIAL:
        return domain
    if not Path(domain, "domain.json").is_file():
        raise ValueError(f"no domain {domain!r}: there are {', '.join(domains()) or 'none'}, the official "
                         f"{', '.join(official.OFFICIAL)}, or give a folder that has a domain.json")
    return str(Path(domain).resolve())


def same_domain(asked, own):
    """Whether the domain that is asked for is an inversion's own, by its folder; one that has moved keeps its name."""
    def place(name):
        return (paths.DATA / name if name in domains() else Path(name)).resolve()

    return place(asked) == place(own) or (place(asked).name == place(own).name and not place(own).is_dir())


def check_picture(out):
    """An error before the work where no picture can be written to `out` after it."""
    if out.suffix.lower() not in WRITE_FORMATS:
        raise ValueError(f"--out {out}: a picture ends in {', '.join(WRITE_FORMATS)}; a folder has no suffix")
    if out.is_dir():
        raise IsADirectoryError(f"--out {out}: is a folder; want the name of a picture, or a folder without a suffix")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise NotADirectoryError(f"--out {out}: {parent} is a file; want a folder there")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise PermissionError(f"--out {out}: no permission to write to {parent}; want a place where a picture can be written")


def own_files(out, source):
    """The names of the files that the commands write to `out`, without that of the file which is read."""
    return [name for name in OWN if (out / name).resolve() != source.resolve()]


def check_directions(domain, names):
    there = [*domain.directions, *classes_of(domain)]
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(f"no direction {', '.join(unknown)} in {domain.name}; it has {', '.join(there) or 'none'}")


def classes_of(domain):
    """The names of a BigGAN's classes, each of which `Domain.edit` takes as a direction."""
    return getattr(domain.generator, "names", None) or ()


def write_inversion(folder, domain, inversion):
    inversion.save(folder / "inversion.safetensors")
    write_image(folder / "input.png", inversion.inputs)
    write_image(folder / "inversion.png", inversion.images)
    figures.save(figures.show_layer_map(inversion.layer_map, domain.spaces), folder / "layer_map.png")
    if inversion.segments is not None:
        classes = getattr(domain.segmenter, "classes", None)
        figures.save(figures.show_segments(inversion.segments, classes=classes), folder / "segments.png")
    if inversion.error_maps is not None:
        figures.save(figures.show_error_maps(inversion.error_maps[0], domain.spaces), folder / "error_maps.png")


if __name__ == "__main__":
    sys.exit(main())
