"""The files of a domain's folder: its description, domain.json, checked before anything is built of it, and what to say of a
file that is not there."""

import json
import reprlib
from dataclasses import fields

from samlib import encode as encoders
from samlib import paths
from samlib.objective import Weights


def _number(value) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30  # not so for nan


def _rate(value) -> bool:
    return _number(value) and value > 0


def _rates(value) -> bool:
    return all(map(_rate, value.values())) if type(value) is dict else _rate(value)


def _strengths(value) -> bool:
    rows = value.values() if type(value) is dict else [None]
    return all(type(row) is list and len(row) in (2, 3) and all(map(_number, row)) and row[0] < row[1] and row[0] <= row[-1] <= row[1]
               for row in rows)


def _left(value) -> bool:
    rows = value.values() if type(value) is dict else [None]
    return all(type(row) is dict and all(map(_number, row.values())) for row in rows)


def _text(value) -> bool:
    return type(value) is str


def _texts(value) -> bool:
    return type(value) is list and len(value) > 0 and all(map(_text, value))


TERMS = tuple(field.name for field in fields(Weights))
# setting -> what tells whether a value fits, and the same in words. Others, as a record of what it was made from, may stand there.
SETTINGS = {
    "tau": (_number, "a number"),
    "encoder_tau": (_number, "a number"),
    "steps": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "learning_rate": (_rate, "a number above 0"),
    "sam_learning_rate": (_rate, "a number above 0"),
    "delta_learning_rate": (_rates, "a number above 0, or {space: number}"),
    "metric": (_text, "a name"),
    "segmenter": (_text, "a name"),
    "start": (lambda value: value is None or _text(value) or _texts(value), "the name of an encoder, or a list of such names"),
    "aspect": (lambda value: type(value) is list and len(value) == 2 and all(type(one) is int and one > 0 for one in value),
               "[width, height], whole numbers above 0"),
    "view": (lambda value: type(value) is int and value > 0, "a whole number above 0"),
    "strengths": (_strengths, "{direction: [low, high]}, low below high, or [low, high, meant]"),
    "left": (_left, "{direction: {space: share}}"),
    "weights": (lambda value: type(value) is dict and set(value) <= set(TERMS) and all(map(_number, value.values())),
                f"numbers for some of {', '.join(TERMS)}"),
}


def read_description(folder) -> dict:
    """The settings in domain.json. ValueError, in one line that names the file, for what is no such description."""
    path = folder / "domain.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: no description of a domain ({error}); want JSON") from None
    if type(settings) is not dict:
        raise ValueError(f"{path}: no description of a domain but {reprlib.repr(settings)}; want {{setting: value}}")
    for name, (fits, wanted) in SETTINGS.items():
        if name in settings and not fits(settings[name]):
            raise ValueError(f"{path}: {name} is {reprlib.repr(settings[name])}; want {wanted}")
    return settings


def file_of(folder, part):
    return folder / f"{part}.safetensors"


def missing(folder, part) -> str:
    """Which file is not there, and the command that makes it."""
    stage = "gan" if part == "generator" else "encoders" if part in encoders.ENCODERS else part
    if folder.name == "biggan-scenes":
        command = f"samlib.training.biggan_domain {stage} --out {folder}"
    elif folder.parent == paths.DATA:
        command = f"samlib.training.category {folder.name} {stage} --out {folder}"
    else:
        command = f"samlib train {folder} --images FOLDER"
    return f"{file_of(folder, part)} is missing: fetch it, or train it with `python -m {command}`"
