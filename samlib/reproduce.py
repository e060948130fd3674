"""All of the paper: every notebook of its figures and tables, run, recorded, listed and shown on one page.

    notebooks/figures, notebooks/tables -> plan -> run each, in processes -> executed notebooks, figures, index.csv, index.html

A notebook whose inputs are those of its last good run is not run again: its text, what samlib does, the weights in data/,
and its parameters. A notebook that fails does not stop the others.
"""

import csv
import html
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from samlib import notebooks, paths
from samlib.kept import code_digest, digest

FOLDERS = ("figures", "tables")
SMALL = {"images": 4, "inverted": 4, "edited": 4, "steps": 100}  # at most: about an hour of a core a category
WITH_CLASSES = ("fig06",)  # wants a BigGAN: a domain that is named is for the others, unless it is asked for by its name


@dataclass(frozen=True)
class Job:
    """One notebook with the parameters that it gets."""

    notebook: Path
    parameters: dict

    @property
    def name(self) -> str:
        """What --only calls it: fig03 of fig03_tradeoff.ipynb."""
        return self.notebook.stem.split("_")[0]

    @property
    def stem(self) -> str:
        """Name of its files: with the domain where one was asked for."""
        domain = self.parameters.get("domain")
        return self.notebook.stem + (f"-{Path(domain).name}" if domain else "")


def paper_notebooks(folder=None) -> list[Path]:
    """The notebooks of figures and tables, in the order of their numbers."""
    folder = Path(folder or paths.NOTEBOOKS)
    found = [path for part in FOLDERS for path in (folder / part).glob("*.ipynb")]

    def order(path):
        number = re.match(r"[a-z]+0*(\d+)", path.stem)
        return FOLDERS.index(path.parent.name), int(number[1]) if number else 99, path.stem

    return sorted(found, key=order)


def plan(profile="quick", only=(), domains=(), folder=None, **parameters) -> list[Job]:
    """The jobs: each notebook once, or once for each of `domains` if it has that parameter.

    The full profile sets what a notebook's own parameter `full` says, the small one the same with no more than SMALL of it, for
    those without a GPU. `parameters` are set where a notebook has them. Where `domains` are named, those WITH_CLASSES have to be in `only`.
    ValueError for a name in `only` that no notebook has.
    """
    every = paper_notebooks(folder)
    names = {Job(path, {}).name for path in every} | {path.stem for path in every}
    if unknown := sorted(set(only) - names):
        raise ValueError(f"no notebook {', '.join(unknown)}; there are {', '.join(Job(path, {}).name for path in every)}")
    jobs = []
    for path in every:
        if only and not {Job(path, {}).name, path.stem} & set(only):
            continue
        if domains and not only and Job(path, {}).name in WITH_CLASSES:
            continue
        known = notebooks.literals_of(path)
        chosen = dict(known.get("full") or {}) if profile in ("full", "small") else {}
        if profile == "small":
            chosen |= {name: min(chosen[name], most) for name, most in SMALL.items() if name in chosen}
        chosen |= {name: value for name, value in {"profile": profile, **parameters}.items() if name in known}
        for domain in domains if "domain" in known and domains else (None,):
            jobs.append(Job(path, chosen | ({"domain": domain} if domain else {})))
    return jobs


def run(jobs, out=None, workers=1, progress=True) -> list[str]:
    """Run what has changed, and write index.csv and index.html -> lines about what failed: notebook, cell and error.

    out  folder for executed notebooks and their states; None: outputs/reproduce.
    """
    out = Path(out or paths.OUTPUTS / "reproduce")
    if workers > 1:  # threads that wait for a core another notebook holds cost more than they give
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    with ThreadPoolExecutor(workers) as pool:  # each notebook is a process of its own
        failed = list(tqdm(pool.map(lambda job: run_one(job, out), jobs), total=len(jobs), desc="notebooks", disable=not progress))
    for folder in {figures_of(job) for job in jobs}:
        write_index(folder)
        write_gallery(folder, out)
    return [line for line in failed if line]


def run_one(job: Job, out: Path) -> str:
    """Run a notebook if its inputs are not those of its last good run -> "" or one line that says what failed."""
    state, inputs = out / f"{job.stem}.json", inputs_of(job)
    if is_done(state, inputs):
        return ""
    state.unlink(missing_ok=True)
    begun = time.time()
    try:
        executed = notebooks.run(job.notebook, out / job.stem, job.parameters, progress=False)
    except (notebooks.NotebookError, ValueError, OSError) as error:
        return " ".join(str(error).split())
    with paths.atomic_file(state) as temporary:
        temporary.write_text(json.dumps({"inputs": inputs, "executed": str(executed.relative_to(out)), "seconds": time.time() - begun}))
    return ""


def is_done(state: Path, inputs: str) -> bool:
    try:
        return json.loads(state.read_text())["inputs"] == inputs
    except (OSError, ValueError, KeyError):
        return False


def inputs_of(job: Job) -> str:
    """Digest of all that decides what a notebook makes: its code and parameters, samlib's code, and the weights of data/."""
    cells = json.loads(job.notebook.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    code = [code_digest(file) for file in sorted(Path(__file__).parent.rglob("*.py"))]
    weights = [f"{file.relative_to(paths.DATA)} {stamp(file)}" for file in sorted(paths.DATA.glob("*/*")) if file.is_file()]
    return digest(*texts, json.dumps(job.parameters, sort_keys=True, default=str), *code, *weights)


def stamp(file: Path, known={}) -> str:  # noqa: B006 (kept on purpose: a file is read once)
    """Digest of a file, which is read again only when its size or time has changed."""
    status = file.stat()
    key = file, status.st_size, status.st_mtime_ns
    if key not in known:
        known[key] = paths.digest(file)
    return known[key]


def figures_of(job: Job) -> Path:
    """Where its notebook writes its figure; see `experiments.record`."""
    return paths.results(job.parameters.get("profile"))


def results(folder: Path) -> list[dict]:
    """The records of a folder, in order, each with its `stem`."""
    found = []
    for file in sorted(folder.glob("*.json")):
        try:
            content = json.loads(file.read_text())
        except ValueError:
            continue
        if isinstance(content, dict) and {"name", "numbers", "parameters"} <= set(content):
            found.append({"stem": file.stem, **content})
    return found


def write_index(folder: Path) -> Path:
    """index.csv: a line for each number of each record: which, where in it, its value, and how it was made."""
    with paths.atomic_file(folder / "index.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("result", "number", "value", "domain", "profile", "seed", "seconds", "device"))
        for row in results(folder):
            about = [row["parameters"].get(name, "") for name in ("domain", "profile", "seed")]
            for name, value in numbers_in(row["numbers"]):
                writer.writerow((row["stem"], name, value, *about, row.get("seconds"), row.get("device")))
    return folder / "index.csv"


def numbers_in(value, prefix=""):
    """(place, number) of all numbers in nested dictionaries and lists; a place is like psnr/W+."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers_in(item, f"{prefix}/{key}" if prefix else str(key))
    elif isinstance(value, int | float):
        yield prefix, value


def write_gallery(folder: Path, out: Path) -> Path:
    """index.html: all figures of a folder on one page, with their parameters, and links to the numbers and notebooks: as executed, but
    in figures/, which is kept where they are not, as they are written."""
    kept, parts = folder == paths.FIGURES, []
    for row in results(folder):
        stem = html.escape(row["stem"])
        picture = f'<a href="{stem}.pdf"><img src="{stem}.png" alt="{stem}"></a>' if (folder / f"{row['stem']}.png").is_file() else ""
        settings = html.escape(", ".join(f"{key}={value}" for key, value in row["parameters"].items()))
        links = [f'<a href="{stem}.json">numbers</a>']
        for notebook in sorted(paths.NOTEBOOKS.glob(f"*/{row['name']}_*.ipynb") if kept else out.glob(f"{row['name']}_*/*.ipynb")):
            text = notebook.stem if kept else notebook.parent.name
            links.append(f'<a href="{html.escape(os.path.relpath(notebook, folder))}">{html.escape(text)}</a>')
        parts.append(f"<section><h2>{stem}</h2>{picture}<p>{settings}; {row.get('seconds')} s on {html.escape(str(row.get('device')))}. "
                     f"{' · '.join(links)}</p></section>")
    style = "body{font:15px sans-serif;max-width:72em;margin:2em auto;padding:0 1em}img{max-width:100%}p{color:#555}"
    with paths.atomic_file(folder / "index.html") as temporary:
        temporary.write_text(f"<!doctype html><meta charset=utf-8><title>Figures and tables</title><style>{style}</style>"
                             f"<h1>Figures and tables</h1>{''.join(parts)}\n")
    return folder / "index.html"
