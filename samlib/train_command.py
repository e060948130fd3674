"""python -m samlib train: a domain of one's own from a folder of images, or a built-in category."""

import os
import sys
from pathlib import Path

from samlib.arguments import positive

OF_IMAGES = ("generator", "shown", "size", "metric", "segmenter", "steps", "fit", "skip_unreadable")


def options(command):
    command.add_argument("out", nargs="?", type=Path, metavar="OUT", help="folder of the domain; a second call goes on there")
    command.add_argument("--out", dest="out_option", type=Path, metavar="OUT", help="the same")
    command.add_argument("--images", type=Path, metavar="FOLDER", help="images of any size, some of which are held out")
    command.add_argument("--category", help="train this built-in category on its scenes instead")
    command.add_argument("--stages", nargs="+", help="of the category's training (default: all)")
    command.add_argument("--generator", type=Path, metavar="FILE", help="checkpoint (default: one is trained from the images)")
    command.add_argument("--shown", type=positive, help="images to show to a generator that is trained, counted each time")
    command.add_argument("--size", type=positive, help="side of its images, a power of two")
    command.add_argument("--metric", help="st-lpips-vgg (the default), st-lpips-alex, lpips-vgg or lpips-alex")
    command.add_argument("--segmenter", help="unsupervised (the default), deeplab, ade20k, coco or faces")
    command.add_argument("--steps", type=positive, help="steps of each inversion, in training and later")
    command.add_argument("--fit", choices=("crop", "whole"), help="the central square of an image, or the whole of it")
    command.add_argument("--skip-unreadable", action="store_true", help="leave out files that are no images, and say so")
    command.add_argument("--profile", choices=("full", "quick"), default="full", help="quick: a try, in a minute on a CPU")
    command.add_argument("--device", help="cpu, cuda, cuda:1, ... (default: the GPU if there is one)")
    command.set_defaults(run=run)


def run(options):
    from samlib.training import category, own  # no other command needs them

    out = options.out or options.out_option
    if out is None or (options.images is None) == (options.category is None):
        raise ValueError("train wants OUT and either --images FOLDER or --category NAME (see samlib train --help)")
    if options.out and options.out_option:
        raise ValueError(f"train got two places for the domain, {options.out} and {options.out_option}; want one")
    if options.images and options.stages:
        raise ValueError("--stages are those of a --category; with --images all run, and what is there is not made again")
    if options.category and (ignored := [name for name in OF_IMAGES if getattr(options, name)]):
        raise ValueError(f"--{ignored[0].replace('_', '-')} goes with --images; a --category has its own settings (see "
                         "python -m samlib.training.category --help)")
    if os.path.lexists(out) and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; a folder is wanted")
    try:
        if options.category:
            category.train(options.category, out, options.stages or tuple(category.STAGES), options.profile, options.device)
        else:
            own.train(out, options.images, options.generator, options.profile, skip_unreadable=options.skip_unreadable,
                      device=options.device, **own.from_options(options.profile, options))
    except KeyboardInterrupt:
        print(f"samlib: stopped; what is done is kept in {out}, and the same command goes on from there", file=sys.stderr)
        sys.exit(130)
    whole = (out / "domain.json").is_file()  # not so after some stages of a category
    print(f"written to {out}" + (f": python -m samlib invert PHOTO --domain {out} --out FOLDER" if whole else ""))
