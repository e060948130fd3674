"""Types of the command line's arguments: text -> value, or an error that argparse prints."""

import argparse
import ast
import math
from pathlib import Path


def positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def file(text):
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return Path(text)


def names(text):
    return [name for name in text.split(",") if name]


def strength(text):
    """"size=2" -> ("size", 2.0)"""
    name, _, value = text.partition("=")
    try:
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
