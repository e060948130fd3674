"""All of the paper: every notebook of its figures and tables, run, recorded, listed and shown on one page.

    notebooks/figures, notebooks/tables -> plan -> run each, in processes -> executed notebooks, figures, index.csv, index.html

A notebook whose inputs are those of its last good run is not run again, if its record is there: its text, what samlib does, the
weights in data/, and its parameters, with the files of a folder that is one of them. A notebook that fails does not stop the others.
"""

import csv
import html
import json
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor, wait
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
        """Name of its files: with the domain where one was asked for, and of a folder a digest, for others may have its name."""
        domain = self.parameters.get("domain")
        whose = f"-{digest(os.path.abspath(domain))[:8]}" if domain and is_folder(domain) else ""
        return self.notebook.stem + (f"-{Path(domain).name}{whose}" if domain else "")


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
    Ctrl-C ends the notebooks that run, and is passed on, with what is kept, once both files are written.
    """
    out = Path(out or paths.OUTPUTS / "reproduce")
    if workers > 1:  # threads that wait for a core another notebook holds cost more than they give
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))
    folders = sorted({figures_of(job) for job in jobs})
    try:
        with ThreadPoolExecutor(workers) as pool:  # each notebook is a process of its own
            runs = [pool.submit(run_one, job, out) for job in jobs]
            try:
                failed = [one.result() for one in tqdm(runs, desc="notebooks", disable=not progress)]
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                while wait(begun := [one for one in runs if not one.cancelled()], timeout=0.1).not_done:
                    notebooks.stop_kernels()  # once more each time: a notebook that had begun may start its kernel only now
                good = sum(not one.exception() and not one.result() for one in begun)
                raise KeyboardInterrupt(f"stopped; {good} of {len(jobs)} notebooks are finished and kept, their figures and a page of them "
                                        f"in {', '.join(map(str, folders))}; the same command goes on from there") from None
    finally:
        for folder in folders:
            write_index(folder)
            write_gallery(folder, out)
    return [line for line in failed if line]


def run_one(job: Job, out: Path) -> str:
    """Run a notebook if its inputs are not those of its last good run -> "" or one line that says what failed."""
    state, inputs, record = out / f"{job.stem}.json", inputs_of(job), record_of(job)
    if is_done(state, inputs, record.parent):
        return ""
    state.unlink(missing_ok=True)
    begun, before = time.time(), version(record)
    try:
        executed = notebooks.run(job.notebook, out / job.stem, job.parameters, progress=False)
    except (notebooks.NotebookError, ValueError, OSError) as error:
        return " ".join(str(error).split())
    written = {"record": record.name if version(record) not in (None, before) else None}  # there are notebooks that record nothing
    with paths.atomic_file(state) as temporary:
        temporary.write_text(json.dumps({"inputs": inputs, "executed": str(executed.relative_to(out)), "seconds": time.time() - begun}
                                        | written))
    return ""


def is_done(state: Path, inputs: str, folder: Path) -> bool:
    """Whether the last good run had these inputs, and the record that it wrote to `folder`, if it did, is still there."""
    try:
        last = json.loads(state.read_text())
        return last["inputs"] == inputs and (last["record"] is None or (folder / last["record"]).is_file())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def record_of(job: Job) -> Path:
    """Where its notebook writes its numbers, if it does; see `experiments.record`."""
    domain = job.parameters.get("domain", notebooks.literals_of(job.notebook).get("domain"))
    return figures_of(job) / (f"{job.name}-{Path(domain).name}.json" if domain else f"{job.name}.json")


def version(file: Path):
    """What changes whenever a file is written, even with the same in it; None of one that is not there."""
    status = file.stat() if file.is_file() else None
    return status and (status.st_ino, status.st_mtime_ns)


def is_folder(name) -> bool:
    """Whether this names a folder by its path: names of domains, and of kinds of scenes, are no paths."""
    return str(name) != Path(name).name


def inputs_of(job: Job) -> str:
    """Digest of all that decides what a notebook makes: its code and parameters, samlib's code, the weights of data/, and the files
    of the folders among its parameters: of a domain, and of photographs."""
    cells = json.loads(job.notebook.read_text())["cells"]
    texts = ["".join(cell["source"]) for cell in cells]
    code = [code_digest(file) for file in sorted(Path(__file__).parent.rglob("*.py"))]
    weights = [f"{file.relative_to(paths.DATA)} {stamp(file)}" for file in sorted(paths.DATA.glob("*/*")) if file.is_file()]
    named = [Path(job.parameters[name]) for name in ("domain", "kind") if is_folder(job.parameters.get(name) or "")]
    given = [f"{file} {stamp(file)}" for folder in named for file in sorted(folder.glob("*")) if file.is_file()]
    return digest(*texts, json.dumps(job.parameters, sort_keys=True, default=str), *code, *weights, *given)


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
    """index.html: all figures and tables of a folder on one page, with their parameters, and links to the numbers and notebooks: as
    executed, but in figures/, which is kept where they are not, as they are written."""
    kept = folder.is_relative_to(paths.FIGURES)
    parts = [section(row, folder, out, kept) for row in results(folder)]
    style = ("body{font:15px sans-serif;max-width:72em;margin:2em auto;padding:0 1em}img{max-width:100%}p,details{color:#555}"
             "table{border-collapse:collapse}th,td{padding:.2em .8em;border-bottom:1px solid #ddd;text-align:left}")
    with paths.atomic_file(folder / "index.html") as temporary:
        temporary.write_text(f"<!doctype html><meta charset=utf-8><title>Figures and tables</title><style>{style}</style>"
                             f"<h1>Figures and tables</h1>{''.join(parts)}\n")
    return folder / "index.html"


def section(row: dict, folder: Path, out: Path, kept: bool) -> str:
    """One record of the gallery: its title, its figure or, where there is none, its numbers as a table, and how it was made."""
    stem, sources = html.escape(row["stem"]), sorted(paths.NOTEBOOKS.glob(f"*/{row['name']}_*.ipynb"))
    heading = title_of(sources[0]) if sources else row["stem"]
    about = row["stem"].removeprefix(row["name"]).removeprefix("-")
    links = [f'<a href="{stem}.json">numbers</a>']
    for notebook in sources if kept else sorted(out.glob(f"{row['name']}_*/*.ipynb")):
        text = notebook.stem if kept else notebook.parent.name
        links.append(f'<a href="{html.escape(os.path.relpath(notebook, folder))}">{html.escape(text)}</a>')
    picture = f'<a href="{stem}.pdf"><img src="{stem}.png" alt="{stem}"></a>'
    shown = picture if (folder / f"{row['stem']}.png").is_file() else table_of(row["numbers"])
    settings = html.escape(", ".join(f"{key}={value}" for key, value in row["parameters"].items()))
    how = f"{row.get('seconds')} s on {html.escape(str(row.get('device')))}, less what was on disk already"
    how += "; " + html.escape(row["note"]) if row.get("note") else ""
    return (f"<section><h2>{html.escape(heading)}{f' ({html.escape(about)})' if about else ''}</h2>{shown}<p>{' · '.join(links)}</p>"
            f"<details><summary>how</summary>{settings}; {how}</details></section>")


def title_of(notebook: Path) -> str:
    """The first line of a notebook, which is its heading."""
    return "".join(json.loads(notebook.read_text())["cells"][0]["source"]).splitlines()[0].lstrip("# ")


def table_of(numbers) -> str:
    """The first rows of single values in nested dictionaries, as a table in HTML; "" where there are none."""
    if not isinstance(numbers, dict):
        return ""
    rows = {name: row for name, row in numbers.items() if isinstance(row, dict)
            and not any(isinstance(value, dict | list) for value in row.values())}
    if not rows or len(rows) < len(numbers):
        return next(filter(None, map(table_of, numbers.values())), "")
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = "".join(f"<th>{html.escape(column)}</th>" for column in ("", *columns))
    cells = ([name, *(format(value, ".4g") if isinstance(value, float) else str(value) for value in (row.get(one, "") for one in columns))]
             for name, row in rows.items())
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in cells)
    return f"<table><tr>{head}</tr>{body}</table>"
