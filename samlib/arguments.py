"""Types of the command line's arguments: text -> value, or an error that argparse prints."""

import argparse
import ast
import math
from pathlib import Path

MOST = 10**9  # of steps, images, pixels: more is a slip of the hand, and overflows somewhere within


def positive(text):
    if not (text.isascii() and text.isdecimal() and text.strip("0")):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    digits = text.lstrip("0")
    if len(digits) > len(str(MOST)) or int(digits) > MOST:  # of thousands of digits Python makes no number
        raise argparse.ArgumentTypeError(f"{digits[:20]!r} is too large; want at most {MOST:,}")
    return int(digits)


def seed(text):
    if not text.isdecimal() or len(text) > 19 or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is no seed; want a whole number from 0 to 2^63 - 1")
    return int(text)


def weight(text):
    try:
        value = number(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no weight; want a number, 0 or more")
    return value


def device(text):
    """What `devices.pick_device` takes; it knows those of torch, one of which holds no numbers at all."""
    if text.split(":")[0] == "meta":
        raise argparse.ArgumentTypeError(f"{text!r} computes nothing; want cpu, cuda, cuda:1, ...")
    return text


def file(text):
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return Path(text)


def names(text):
    return [name for name in text.split(",") if name]


def strength(text):
    """"size=2" -> ("size", 2.0)"""
    name, _, value = text.rpartition("=")
    try:
        if not name:
            raise ValueError("no name")
        return name, number(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=STRENGTH, as in size=2") from None


def parameter(text):
    """"steps=20" -> ("steps", 20); what is no Python literal is text."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, as in steps=20")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def known(parser, kind, asked, there):
    """An error of the command line where something that was asked for is not there."""
    if unknown := [name for name in asked if name not in there]:
        parser.error(f"no {kind} {', '.join(unknown)}; there are {', '.join(there)}")


def number(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number to work with")
    return value
