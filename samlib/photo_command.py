"""`python -m samlib invert` and `edit`: a photograph, or an inversion of one, and what is written of it."""

import os
from collections import Counter
from pathlib import Path

from samlib import figures, paths, report
from samlib.arguments import device, number, positive, seed, strength
from samlib.domains import domains, load
from samlib.images import WRITE_FORMATS, read_image, write_image
from samlib.inversion import Inversion
from samlib.methods import steps_in_all

OWN = ("input.png", "inversion.png", "layer_map.png", "segments.png", "error_maps.png", "inversion.safetensors", "edited.png")  # in --out
AGAIN = ("method", "tau", "steps", "fit", "seed")  # options of an inversion, which say nothing of one that is there


def invert_options(command):
    command.add_argument("photo", type=Path)
    inversion_options(command)
    command.add_argument("--out", type=Path, required=True, help="folder for the results")
    command.set_defaults(run=run_invert)


def edit_options(command):
    command.add_argument("source", type=Path, metavar="INVERSION|PHOTO")
    command.add_argument("--direction", nargs="+", action="extend", required=True, metavar="NAME=STRENGTH", type=strength)
    command.add_argument("--directions", type=Path, metavar="FILE", help="more of them, as `python -m samlib direction` writes them")
    inversion_options(command)
    command.add_argument("--out", type=Path, required=True, help="picture to write (.png, .jpg, .webp), or a folder")
    command.set_defaults(run=run_edit)


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
