"""RESULTS.md: every claim of the paper beside the numbers of this project's runs, written from JSON files alone.

    figures/*.json (full runs), else figures/small/, else figures/quick/; figures/training/*.json -> RESULTS.md

What is claimed and how it is judged is in `claims.CLAIMS`. A claim that no run has numbers for is listed as not run.
"""

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from samlib import claims, paths

HEAD = """# The paper's claims, and what was found here

Written by `python -m samlib results` from JSON files alone: not to be changed by hand. A row is one claim of the paper
(Parmar et al., CVPR 2022) in one category, with the paper's number if it prints one, the number here, the run that it comes from, and
the verdict.

- The paper's generators are those of LSUN and FFHQ. Those here were trained on rendered scenes, and are measured on scenes that hold what
  they hardly ever saw. So the order of methods, spaces and settings is compared, not the values. LPIPS here is ST-LPIPS.
- **full**: the notebook's full profile, in `figures/`, of as many images as the row says (1,000 are meant for Table 1 and Figure 7).
  **training**: measured when the networks were trained, in `figures/training/`. SAM and edits of the cats
  had l2 weigh 1 there, which weighs 5 now, the published rate of 0.05 for the changes of features, a start at the mean w, and a regressor
  that had learnt from ordinary scenes alone.
- All other runs have the rates of domain.json for the changes of features and begin at the closest encoder; the inversions that S
  learnt from did not.
- How far an edit goes is read by a regressor of both kinds of scenes. On challenging ones it sees 0.5 to 0.97 of a difference between
  two factors that edits are about (figures/training/*.md), of the mane 0.2.
- Table 3 is measured on drawn codes. Of inversions of challenging scenes fewer edits work in a feature space: Figure 3 counts them.
- W, the Gaussian prior and PTI begin at the mean w, as their papers have it; W+ and SAM at the closer of two encoders.
- **small run**: what the full profile does, on a few images and with fewer steps, on a CPU, in `figures/small/`. Some evidence.
- **quick run only**: neither is there. A quick run is of one to three images. It shows that the claim can be judged, and is weak
  evidence for it or against it. Its files are in `figures/quick/`, brought there from `outputs/figures/` when this page was written.
- `python -m samlib reproduce --profile full`, `--profile small` or `make reproduce` (quick) makes the files.
- **not run**: no run has the numbers. Nothing is assumed.
- Where a claim does not agree, a number leads to the reason below the table, as it was found for the weights of that run.
- `trees` of the horses adds trees, and the paper's edit takes them away. So it has a strength of -2 in Figures 3, 5, 10 and 11, and of
  2 in the numbers of Figure 8 and of the training.
"""


@dataclass(frozen=True)
class Run:
    """What a JSON file says: its numbers, and how they were made."""

    numbers: dict
    profile: str  # "full", "small", "quick", "training"
    setting: str  # images and steps
    file: str  # from the root
    weights: str = ""  # the first digits of the generator's digest, where the file has it


@dataclass(frozen=True)
class Row:
    """One claim in one category, judged; `agrees` is None where no run has the numbers."""

    claim: claims.Claim
    domain: str
    ours: str = ""
    agrees: bool | None = None
    run: Run | None = None
    note: str = ""  # why it does not agree, or what is missing


def find(of: str, domain: str, figures: Path) -> Run | None:
    """The run that a claim is judged by: `of` is the name of a record ("fig03"), or "training:" and a part of that file."""
    if of.startswith("training:"):
        content = read(file := figures / "training" / f"{domain}.json") or {}
        part, *inner = of.removeprefix("training:").split("/")
        how = numbers = content.get(part)
        for key in inner:
            numbers = (numbers or {}).get(key)
        known = weights_of(content.get("digests"), domain)
        return Run(numbers, "training", setting(how), f"figures/training/{file.name}", known) if numbers else None
    for place, folder in (("figures", figures), ("figures/small", figures / "small"), ("figures/quick", figures / "quick")):
        for file in records(folder, of, domain):
            content = read(file) or {"numbers": {}}
            if numbers := content["numbers"].get(domain, content["numbers"] if domain in file.stem else None):
                how, known = content["parameters"], weights_of(content.get("digests"), domain)
                return Run(numbers, how.get("profile", "quick"), setting(how), f"{place}/{file.name}", known)
    return None


def records(folder: Path, of: str, domain: str) -> list[Path]:
    """Where a folder has the record `of`: that of the domain alone, or that of several."""
    return [folder / f"{of}-{domain}.json", folder / f"{of}.json"]


def keep_quick(outputs: Path, figures: Path) -> None:
    """Bring the records of quick runs from `outputs` to figures/quick/, as far as a claim is judged by them for want of a full or
    small run, and are newer than what is there; what is there and judges nothing goes."""
    folder, judging = figures / "quick", set()
    for claim in claims.CLAIMS:
        for domain in claim.domains:
            run = find(claim.of, domain, figures)
            if claim.of.startswith("training:") or run and run.profile != "quick":
                continue
            judging |= {file.name for file in records(folder, claim.of, domain)}
    for file in [*outputs.glob("*.json")]:
        there = folder / file.name
        if there.is_file() and there.stat().st_mtime >= file.stat().st_mtime:
            continue
        if file.name in judging and (read(file) or {}).get("parameters", {}).get("profile") == "quick":
            with paths.atomic_file(there) as temporary:
                shutil.copyfile(file, temporary)
    for file in [*folder.glob("*.json")]:
        if file.name not in judging:
            file.unlink()


def read(file: Path) -> dict | None:
    """A JSON file without its nulls, numbers that there were not; None where there is no file."""
    if not file.is_file():
        return None
    try:
        return without_nulls(json.loads(file.read_text()))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}; make it again") from None


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value if item is not None] if isinstance(value, list) else value


def setting(how: dict) -> str:
    """Such as "64 images, 100 steps"; which methods had fewer images; and of what kind these were, if no challenging scenes."""
    how = ({"images": 1} if "first" in how else {}) | how
    counts = [key for key in ("images", "inverted", "edited", "steps") if key in how]
    found = [f"{how[key]} {key.removesuffix('s') if how[key] == 1 else key}" for key in counts]
    found += [f"{count} of {method}" for method, count in how.get("few", {}).items()]
    if how.get("kind", "challenging") != "challenging":
        found.append(how["kind"])
    return ", ".join(found)


def weights_of(digests: dict | None, domain: str) -> str:
    return (digests or {}).get(domain, {}).get("generator", "")[:8]


def judge(claim: claims.Claim, domain: str, run: Run | None) -> Row:
    """A number that the check asks for and the run has not makes it "not run", with the name of the number."""
    if run is None:
        return Row(claim, domain)
    try:
        ours, agrees = claim.check(run.numbers, domain)
    except KeyError as missing:
        return Row(claim, domain, run=run, note=f"the run lacks {missing.args[0]}")
    reasons = [claim.why[key] for key in (f"{domain} {run.profile} {run.weights}", "always") if key in claim.why]
    return Row(claim, domain, ours, agrees, run, "" if agrees else (reasons or ["not known"])[0])


def rows(figures: Path | None = None) -> list[Row]:
    """All claims in all their categories."""
    figures = Path(figures or paths.FIGURES)
    return [judge(claim, domain, find(claim.of, domain, figures)) for claim in claims.CLAIMS for domain in claim.domains]


def verdict(row: Row, reasons: list[str]) -> str:
    """`reasons`: those of the page, in the order of their numbers."""
    if row.agrees is None:
        return f"not run: {row.note}" if row.note else "not run"
    only = {"quick": " (quick run only)", "small": " (small run)"}.get(row.run.profile, "")
    return f"agrees{only}" if row.agrees else f"**does not agree**{only}, [{reasons.index(row.note) + 1}](#why)"


def line(cells) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def reasons_of(found: list[Row]) -> list[str]:
    """Why claims do not agree, each reason once, in the order of the table."""
    return list(dict.fromkeys(row.note for row in found if row.agrees is False))


def against(found: list[Row]) -> list[str]:
    """The claims that do not agree, a line each, with the categories in which they do not."""
    reasons, lines = reasons_of(found), []
    for claim in dict.fromkeys(row.claim for row in found if row.agrees is False):
        where = [f"{row.domain} [{reasons.index(row.note) + 1}](#why)" for row in found if row.claim is claim and row.agrees is False]
        lines.append(f"- {claim.where}: {claim.says} Not so in {', '.join(where)}.")
    return ["## What does not agree", "", *(lines or ["Nothing."])]


def table(found: list[Row]) -> list[str]:
    """A line for each row; the categories of a claim in which nothing was run share one."""
    reasons = reasons_of(found)
    lines = [line(("where", "claim", "category", "paper", "here", "run", "verdict")), "|---" * 7 + "|"]
    for claim in dict.fromkeys(row.claim for row in found):
        cells, missing = [], [row.domain for row in found if row.claim is claim and row.run is None]
        for row in found:
            if row.claim is claim and row.run is not None:
                run = ", ".join(filter(None, (row.run.profile, row.run.setting))) + f"; `{row.run.file}`"
                cells.append((row.domain, claim.quoted(row.domain), row.ours or "-", run, verdict(row, reasons)))
        if missing:
            quoted = {claim.quoted(domain) for domain in missing}
            paper = quoted.pop() if len(quoted) == 1 else "; ".join(f"{domain}: {claim.quoted(domain)}" for domain in missing)
            cells.append((", ".join(missing), paper, "-", "-", "not run"))
        lines += [line(((claim.where, claim.says) if i == 0 else ("", "")) + row) for i, row in enumerate(cells)]
    return lines


def summary(found: list[Row]) -> list[str]:
    """How many claims agree, by the kind of run."""
    count = Counter((row.run.profile if row.run else "", row.agrees) for row in found)
    kinds = [("full", "full runs"), ("training", "training"), ("small", "small runs"), ("quick", "quick run only")]
    lines = [line(("judged by", "agree", "do not agree")), "|---" * 3 + "|"]
    lines += [line((text, count[kind, True], count[kind, False])) for kind, text in kinds]
    missing = sum(row.agrees is None for row in found)
    return [*lines, "", f"Not run: {missing} of {len(found)} pairs of a claim and a category."]


def page(found: list[Row]) -> str:
    why = [f"{i}. {reason[:1].upper()}{reason[1:]}." for i, reason in enumerate(reasons_of(found), 1)]
    return "\n".join([HEAD, *summary(found), "", *against(found), "", "## Every claim", "", *table(found), "", "## Why", "", *why, ""])


def options(command):
    command.add_argument("--out", type=Path, default=paths.ROOT / "RESULTS.md", metavar="FILE", help="default: RESULTS.md at the root")
    command.set_defaults(run=run)


def run(options):
    keep_quick(paths.OUTPUTS / "figures", paths.FIGURES)
    found = rows()
    with paths.atomic_file(options.out) as temporary:
        temporary.write_text(page(found))
    print(*summary(found), f"written to {options.out}", sep="\n")
