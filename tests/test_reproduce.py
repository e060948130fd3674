"""Reproduce on tiny notebooks: what is planned, run, reported, not run twice, listed and shown."""

import csv
import json
import os
import re
import signal
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from samlib import experiments, notebooks, paths, reproduce
from samlib.__main__ import main

KERNEL = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}


def make(path, *sources, parameters="profile = 'quick'\ndomain = 'cars'\nsteps = 3\nfull = {'steps': 9}"):
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    return path


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """Two figures and a table; their results go to folders of their own."""
    monkeypatch.setattr(paths, "OUTPUTS", tmp_path / "outputs")
    monkeypatch.setattr(paths, "FIGURES", tmp_path / "printed")
    root = tmp_path / "notebooks"
    make(root / "figures" / "fig02_second.ipynb", "assert steps < 9, 'too many'")
    make(root / "figures" / "fig10_tenth.ipynb", "print(steps)")
    make(root / "tables" / "table1_first.ipynb", "1", parameters="profile = 'quick'\nseed = 0")
    return root


def test_the_shipped_notebooks_are_found_in_order():
    names = [path.stem.split("_")[0] for path in reproduce.paper_notebooks()]
    assert {"fig03", "fig04", "fig09"} <= set(names) and names.index("fig03") < names.index("fig09")


def test_the_plan_sets_what_a_notebook_has(folder):
    assert [job.name for job in reproduce.plan(folder=folder)] == ["fig02", "fig10", "table1"]
    full = reproduce.plan("full", ["fig10", "table1"], ["cars", "cats"], folder, steps=None)
    assert [job.parameters.get("domain") for job in full] == ["cars", "cats", None]
    assert full[0].parameters["profile"] == "full" and full[2].parameters == {"profile": "full"}
    assert reproduce.plan("full", ["fig10_tenth"], folder=folder)[0].parameters == {"steps": 9, "profile": "full"}
    with pytest.raises(ValueError, match="no notebook fig3; there are fig02, fig10, table1"):
        reproduce.plan(only=["fig3"], folder=folder)


def test_a_domain_that_is_named_is_not_for_the_figure_that_wants_a_biggan():
    assert "fig06" in {job.name for job in reproduce.plan()}
    assert "fig06" not in {job.name for job in reproduce.plan(domains=["cars"])}
    assert [job.parameters["domain"] for job in reproduce.plan("full", ["fig06"], ["imagenet-256"])] == ["imagenet-256"]


def test_the_small_profile_is_the_full_one_with_fewer_images_and_steps(folder):
    full = {"images": 900, "steps": 50, "methods": ["w", "sam"]}
    make(folder / "figures" / "fig10_tenth.ipynb", "1", parameters=f"profile = 'quick'\nimages = 1\nfull = {full}")
    (job,) = reproduce.plan("small", ["fig10"], folder=folder)
    assert job.parameters == {"profile": "small", "images": reproduce.SMALL["images"], "steps": 50, "methods": ["w", "sam"]}
    assert reproduce.figures_of(job) == paths.FIGURES / "small"


def test_a_failure_is_reported_and_the_others_run_once(folder, tmp_path, monkeypatch):
    real, ran = notebooks.run, []
    monkeypatch.setattr(notebooks, "run", lambda path, *a, **k: ran.append(path.stem) or real(path, *a, **k))
    jobs, out = reproduce.plan("full", ["fig02", "fig10"], folder=folder), tmp_path / "out"
    failed = reproduce.run(jobs, out, progress=False)
    assert len(failed) == 1 and "fig02_second.ipynb, cell" in failed[0] and "too many" in failed[0]
    assert (out / "fig10_tenth" / "fig10_tenth.ipynb").is_file()
    assert len(reproduce.run(jobs, out, progress=False)) == 1 and ran == ["fig02_second", "fig10_tenth", "fig02_second"]


def test_notebooks_side_by_side_share_the_cores(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(reproduce.os, "cpu_count", lambda: 6)
    monkeypatch.setattr(notebooks, "run", lambda path, out, *a, **k: seen.append(os.environ["OMP_NUM_THREADS"]) or out / path.name)
    for given in (None, "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", given or "0")
        if not given:
            monkeypatch.delenv("OMP_NUM_THREADS")
        assert reproduce.run(reproduce.plan(only=["fig10"], folder=folder), tmp_path / str(given), workers=2, progress=False) == []
    assert seen == ["3", "5"]  # what the user has set stays


def test_what_decides_a_result_decides_whether_it_is_made_again(folder):
    path = folder / "figures" / "fig10_tenth.ipynb"
    first = reproduce.inputs_of(reproduce.Job(path, {}))
    assert first == reproduce.inputs_of(reproduce.Job(path, {}))
    assert first != reproduce.inputs_of(reproduce.Job(path, {"steps": 4}))
    make(path, "print(steps + 1)")
    assert first != reproduce.inputs_of(reproduce.Job(path, {}))


def test_numbers_are_listed_and_figures_shown(tmp_path):
    numbers, parameters = {"psnr": {"W+": 16.0, "F4": [1, 2]}, "note": "x"}, {"domain": "cars", "seed": 4, "odd": "<b>"}
    made = experiments.record("fig03", numbers, parameters, folder=tmp_path)
    made.write_text(json.dumps(json.loads(made.read_text()) | {"note": "drawn apart, <i>by hand</i>"}))
    (tmp_path / "other.json").write_text("[1]")
    (tmp_path / "fig03-cars.png").touch()
    rows = list(csv.DictReader(open(reproduce.write_index(tmp_path))))
    assert [(row["result"], row["number"], float(row["value"])) for row in rows] == [
        ("fig03-cars", "psnr/W+", 16.0), ("fig03-cars", "psnr/F4/0", 1.0), ("fig03-cars", "psnr/F4/1", 2.0)]
    assert rows[0]["domain"] == "cars" and rows[0]["seed"] == "4"
    (tmp_path / "out" / "fig03_tradeoff").mkdir(parents=True)
    (tmp_path / "out" / "fig03_tradeoff" / "fig03_tradeoff.ipynb").touch()
    page = reproduce.write_gallery(tmp_path, tmp_path / "out").read_text()
    assert 'src="fig03-cars.png"' in page and "out/fig03_tradeoff/fig03_tradeoff.ipynb" in page and "<b>" not in page
    assert "drawn apart, &lt;i&gt;by hand" in page


def test_the_gallery_that_is_kept_leads_to_what_is_kept_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "FIGURES", tmp_path)
    experiments.record("fig03", {"psnr": 1.0}, {"domain": "cars"}, folder=tmp_path)
    (tmp_path / "out" / "fig03_tradeoff-cars").mkdir(parents=True)
    (tmp_path / "out" / "fig03_tradeoff-cars" / "fig03_tradeoff.ipynb").touch()
    page = reproduce.write_gallery(tmp_path, tmp_path / "out").read_text()
    links = [link for link in re.findall('href="([^"]+)"', page) if link.endswith(".ipynb")]
    assert [(tmp_path / link).resolve() for link in links] == [paths.NOTEBOOKS / "figures" / "fig03_tradeoff.ipynb"]


def test_every_link_and_picture_of_the_kept_gallery_is_there():
    page = (paths.FIGURES / "index.html").read_text()
    assert [link for link in re.findall('(?:href|src)="([^"]+)"', page) if not (paths.FIGURES / link).is_file()] == []


def test_the_command_takes_photographs(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    make(folder / "figures" / "fig10_tenth.ipynb", "print(kind, first)", parameters="kind = 'challenging'\nfirst = 11")
    assert main(["reproduce", "--only", "fig10,table1", "--images", str(tmp_path)]) == 0  # table1 has no such parameters here
    executed = nbformat.read(paths.OUTPUTS / "reproduce" / "fig10_tenth" / "fig10_tenth.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == f"{tmp_path.resolve()} 0\n"
    assert main(["reproduce", "--images", str(tmp_path / "none")]) == 2 and "is no folder" in capsys.readouterr().err


def test_the_command(folder, monkeypatch, capsys):
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    assert main(["reproduce", "--only", "fig10,table1"]) == 0
    assert "2 notebooks" in capsys.readouterr().out
    assert json.loads((paths.OUTPUTS / "reproduce" / "fig10_tenth.json").read_text())["executed"] == "fig10_tenth/fig10_tenth.ipynb"
    assert main(["reproduce", "--only", "fig99"]) == 2 and "no notebook fig99" in capsys.readouterr().err
    make(folder / "figures" / "fig10_tenth.ipynb", "1 / 0")
    with pytest.raises(SystemExit, match="samlib: fig10_tenth.ipynb, cell .*ZeroDivisionError"):
        main(["reproduce", "--only", "fig10"])


def test_folders_of_one_name_have_files_of_their_own():
    stems = [reproduce.Job(paths.NOTEBOOKS / "fig03_x.ipynb", {"domain": domain}).stem for domain in ("cars", "/a/cars", "/b/cars")]
    assert stems[0] == "fig03_x-cars" and len({*stems}) == 3 and all(stem.startswith("fig03_x-cars-") for stem in stems[1:])


@pytest.mark.parametrize("name", ["domain", "kind"])
def test_what_is_in_a_folder_that_is_named_decides_too(name, folder, tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    (given / "a.png").write_text("one")
    job = reproduce.Job(folder / "figures" / "fig10_tenth.ipynb", {name: str(given)})
    first = reproduce.inputs_of(job)
    (given / "a.png").write_text("other")
    second = reproduce.inputs_of(job)
    (given / "b.png").write_text("more")
    assert len({first, second, reproduce.inputs_of(job)}) == 3


def test_a_record_that_is_gone_is_made_again(folder, tmp_path, monkeypatch):
    ran = []

    def record(path, out, *arguments, **options):
        ran.append(path.stem)
        if "fig10" in path.stem:  # the table writes none
            experiments.record("fig10", {"psnr": 1.0}, {"domain": "cars", "profile": "quick"})
        return out / path.name

    monkeypatch.setattr(notebooks, "run", record)
    jobs = reproduce.plan(only=["fig10", "table1"], folder=folder)
    for _ in range(2):
        assert reproduce.run(jobs, tmp_path / "out", progress=False) == [] and ran == ["fig10_tenth", "table1_first"]
    (paths.OUTPUTS / "figures" / "fig10-cars.json").unlink()
    assert reproduce.run(jobs, tmp_path / "out", progress=False) == [] and ran == ["fig10_tenth", "table1_first", "fig10_tenth"]


def test_the_command_takes_a_domain_s_folder_from_where_it_is_called(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    seen = []
    monkeypatch.setattr(notebooks, "run", lambda path, out, parameters, **k: seen.append(parameters["domain"]) or out / path.name)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "domain.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "--only", "fig10", "--domain", "own,cars,lsun-cars"]) == 0
    assert seen == [str(tmp_path / "own"), "cars", "lsun-cars"]
    assert main(["reproduce", "--only", "fig10", "--domain", "cats,dogs"]) == 2 and len(seen) == 3
    assert "no domain 'dogs'" in capsys.readouterr().err


def test_ctrl_c_says_what_is_kept(folder, tmp_path, monkeypatch, capsys):
    ended, ran = threading.Event(), []

    def fake(path, out, *arguments, **options):
        ran.append(path.stem)
        if len(ran) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            assert ended.wait(30)
            raise notebooks.NotebookError("its kernel was ended")
        return out / path.name

    monkeypatch.setattr(notebooks, "run", fake)
    monkeypatch.setattr(notebooks, "stop_kernels", ended.set)
    monkeypatch.setattr(paths, "NOTEBOOKS", folder)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background would have it ignored
    try:
        assert main(["reproduce"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert ran == ["fig02_second", "fig10_tenth"] and "1 of 3 notebooks are finished and kept" in capsys.readouterr().err
    assert (paths.OUTPUTS / "figures" / "index.html").is_file() and (paths.OUTPUTS / "figures" / "index.csv").is_file()
    assert (paths.OUTPUTS / "reproduce" / "fig02_second.json").is_file()


def test_a_record_without_a_figure_shows_its_first_rows_as_a_table():
    numbers = {"cars": {"metric": "x", "methods": {"w+": {"psnr": 21.76194, "<b>": 1000}, "pti": {"psnr": 20.0}}, "more": {"a": {"b": 1}}}}
    assert reproduce.table_of(numbers) == (
        "<table><tr><th></th><th>psnr</th><th>&lt;b&gt;</th></tr><tr><td>w+</td><td>21.76</td><td>1000</td></tr>"
        "<tr><td>pti</td><td>20</td><td></td></tr></table>")
    assert reproduce.table_of({"psnr": [1, 2], "lead": 3.0}) == reproduce.table_of([1]) == ""
