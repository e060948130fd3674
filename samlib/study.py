"""A study of preferences (Table 2): pairs of pictures whose sides are drawn, answers in a CSV file, and their analysis.

    plan -> Study (state, no browser needed) -> Page (widgets) -> answers.csv -> preferences

The rater sees the input and two pictures, and not which method made which. `preferences` says how often SAM was chosen.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets
import torch

from samlib.images import to_png
from samlib.studio import square

COLUMNS = ("rater", "task", "baseline", "image", "sam_side", "chosen")
TASKS = ("inversion", "editing")
SIDES = ("left", "right")


@dataclass(frozen=True)
class Pair:
    """One question: an image, by its place, inverted or edited by SAM and by a baseline, SAM on the left or the right."""

    task: str
    baseline: str
    image: int
    sam_side: str


def plan(images: int, baselines, tasks=TASKS, seed: int = 0, repeats: int = 1) -> list[Pair]:
    """Every image for every baseline and task, `repeats` times, in an order and with sides that `seed` decides.

    Each rater gets a seed of their own. The paper: 500 images, 3 raters for each pair.
    """
    random = torch.Generator().manual_seed(seed)
    questions = [(task, baseline, i) for _ in range(repeats) for task in tasks for baseline in baselines for i in range(images)]
    order = torch.randperm(len(questions), generator=random).tolist()
    left = torch.rand(len(questions), generator=random) < 0.5
    return [Pair(*questions[k], "left" if left[k] else "right") for k in order]


class Study:
    """The questions of one rater and the file of answers; what is in the file already is not asked again.

    pictures  function (task, method, image) -> (1, 3, H, W) in [-1, 1]; method "input" is the picture to compare with.
    """

    def __init__(self, pairs, pictures, path, rater="1"):
        self.pictures, self.path, self.rater = pictures, Path(path), str(rater)
        if not self.rater:  # an answer of nobody is no whole answer; see `read`
            raise ValueError("the rater is ''; want a name or a number")
        answered = [(row["task"], row["baseline"], row["image"]) for row in read(self.path) if row["rater"] == self.rater]
        self.left = []
        for pair in pairs:
            key = (pair.task, pair.baseline, pair.image)
            if key in answered:
                answered.remove(key)
            else:
                self.left.append(pair)
        self.count = len(pairs)

    @property
    def pair(self) -> Pair | None:
        """The question; None when all are answered."""
        return self.left[0] if self.left else None

    def shown(self) -> dict[str, torch.Tensor]:
        """The three pictures of the question: input, left, right."""
        pair = self.pair
        methods = {"left": "sam", "right": pair.baseline} if pair.sam_side == "left" else {"left": pair.baseline, "right": "sam"}
        return {name: self.pictures(pair.task, methods.get(name, "input"), pair.image) for name in ("input", "left", "right")}

    def answer(self, side: str) -> None:
        """Write down which side was chosen, at once, and go on."""
        if side not in SIDES:
            raise ValueError(f"the answer {side!r}; want 'left' or 'right'")
        if self.pair is None:
            raise ValueError("every question has been answered; analyse the file, or take another rater")
        pair = self.pair
        self.path.parent.mkdir(parents=True, exist_ok=True)
        there = self.path.read_bytes() if self.path.is_file() else b""
        with open(self.path, "a", newline="") as file:
            rows = csv.writer(file)
            if not there:
                rows.writerow(COLUMNS)
            elif not there.endswith(b"\n"):  # an editor left it out
                file.write("\r\n")
            rows.writerow((self.rater, pair.task, pair.baseline, pair.image, pair.sam_side, side))
        self.left.pop(0)  # not before it is written: on a full disk the question stays


def read(path) -> list[dict]:
    """The answers in a file; [] if there is none. ValueError for a file of other columns, and for a row that is no whole answer."""
    if not Path(path).is_file():
        return []
    with open(path, newline="") as file:
        rows = csv.DictReader(file)
        try:
            if tuple(rows.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path} has the columns {', '.join(rows.fieldnames or ())}; want {', '.join(COLUMNS)}")
            return [_checked(row, f"{path}, line {rows.line_num}") for row in rows]
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num}: no row of a table ({error}); correct it, or remove the line") from None


def _checked(row, place) -> dict:
    """One answer, its image a number; ValueError, which says where, for half a row, or for what no question has."""
    fits = {"task": lambda text: text in TASKS, "image": lambda text: text.isascii() and text.isdecimal() and len(text) < 10,
            "sam_side": lambda text: text in SIDES, "chosen": lambda text: text in SIDES}
    for name in COLUMNS:
        if not row[name] or not fits.get(name, bool)(row[name]):
            raise ValueError(f"{place}: {name} is {row[name] or 'missing'}; correct it, or remove the line, and it is asked again")
    if None in row:
        raise ValueError(f"{place}: more than {len(COLUMNS)} columns; correct it, or remove the line, and it is asked again")
    return {**row, "image": int(row["image"])}


def preferences(rows, samples: int = 2000, seed: int = 0) -> dict:
    """(task, baseline) -> {"share", "low", "high", "answers"}: how often SAM was chosen, with a 95 % bootstrap interval.

    Images are drawn with replacement, each with all its answers, since answers to one image are no independent ones.
    """
    random, found = torch.Generator().manual_seed(seed), {}
    for task, baseline in dict.fromkeys((row["task"], row["baseline"]) for row in rows):
        own = [row for row in rows if (row["task"], row["baseline"]) == (task, baseline)]
        place = {image: i for i, image in enumerate(sorted({row["image"] for row in own}))}
        sam, all_ = torch.zeros(len(place)), torch.zeros(len(place))
        for row in own:
            all_[place[row["image"]]] += 1
            sam[place[row["image"]]] += row["chosen"] == row["sam_side"]
        drawn = torch.randint(len(place), (samples, len(place)), generator=random)
        shares = sam[drawn].sum(1) / all_[drawn].sum(1)
        low, high = shares.quantile(torch.tensor([0.025, 0.975])).tolist()
        found[task, baseline] = {"share": float(sam.sum() / all_.sum()), "low": low, "high": high, "answers": len(own)}
    return found


class Page(widgets.VBox):
    """The widgets around a Study. Buttons, or the keys f (left) and j (right) while the cursor is in the field."""

    KEYS = {"f": "left", "j": "right"}

    def __init__(self, study, side=256):
        self.study, self.note = study, widgets.HTML()
        self.pictures = {name: square(side) for name in ("input", "left", "right")}
        self.buttons = {name: widgets.Button(description=f"{name} ({key})") for key, name in self.KEYS.items()}
        self.field = widgets.Text(placeholder="click here, then f or j", continuous_update=True, layout=widgets.Layout(width="16em"))
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.choose(name))
        self.field.observe(self._typed, "value")
        super().__init__([self.note, widgets.HBox([*self.pictures.values()]), widgets.HBox([*self.buttons.values(), self.field])])
        self.show()

    def choose(self, side):
        if self.study.pair is not None:
            self.study.answer(side)
        self.show()

    def show(self):
        """The question that is next, or thanks."""
        done = self.study.pair is None
        for control in (*self.buttons.values(), self.field):
            control.disabled = done
        if done:
            self.note.value = "<b>All questions are answered. Thank you.</b>"
            return
        for name, picture in self.study.shown().items():
            self.pictures[name].value = to_png(picture)
        asked = {"inversion": "Which is closer to the first picture, and looks real?",
                 "editing": "Which looks more real, and still shows what the first picture does?"}[self.study.pair.task]
        self.note.value = f"<b>{self.study.count - len(self.study.left) + 1} of {self.study.count}.</b> {asked}"

    def _typed(self, change):
        for key in change["new"].lower():
            if key in self.KEYS:
                self.choose(self.KEYS[key])
        if change["new"]:
            self.field.value = ""
