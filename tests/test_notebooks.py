"""What holds for every notebook without running it, and the runner on small ones named for their fault."""

import ast
import os
import re
import threading

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from samlib import notebooks, paths

SHIPPED = sorted(path for path in paths.NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
every_notebook = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert paths.NOTEBOOKS / "quickstart.ipynb" in SHIPPED


@every_notebook
def test_it_is_valid_and_was_stripped(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3" and "widgets" not in notebook.metadata
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code_cells(notebook))


@every_notebook
def test_it_opens_with_what_it_shows_reads_and_writes(path):
    opening = read(path).cells[0]
    assert opening.cell_type == "markdown" and opening.source.startswith("# ")
    assert all(f"**{word}**" in opening.source for word in ("Shows", "Reads", "Writes"))


@every_notebook
def test_its_parameters_are_one_cell_of_literals(path):
    tagged = [cell for cell in code_cells(read(path)) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for statement in ast.parse(tagged[0].source).body:
        assert isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)
        ast.literal_eval(statement.value)  # raises for anything that is derived


@every_notebook
def test_its_cells_are_short_and_it_ends_in_an_assertion(path):
    cells = code_cells(read(path))
    assert max(len(cell.source.splitlines()) for cell in cells if "parameters" not in cell.metadata.get("tags", [])) <= 12
    assert any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cells[-1].source)))


@every_notebook
def test_it_names_no_place_on_one_machine(path):
    source = "\n".join(cell.source for cell in read(path).cells)
    assert not re.search(r"""["'](/|~|[A-Za-z]:\\)""", source)  # a string that begins as an absolute path does


def make(folder, *sources):
    cells = [new_code_cell("steps = 3\nname = 'a'", metadata={"tags": ["parameters"]}), *map(new_code_cell, sources)]
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    path = folder / "made.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_run_sets_parameters(tmp_path):
    executed = notebooks.run(make(tmp_path, "print(name * steps)"), tmp_path / "out", {"steps": 2}, progress=False)
    assert executed == tmp_path / "out" / "made.ipynb"
    assert code_cells(read(executed))[-1].outputs[0].text == "aa\n"


def test_run_refuses_a_parameter_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="no parameter stpes; it has name, steps"):
        notebooks.run(make(tmp_path), tmp_path / "out", {"stpes": 2})
    assert not (tmp_path / "out").exists()


def test_run_names_the_cell_that_failed_and_keeps_what_was_run(tmp_path):
    with pytest.raises(notebooks.NotebookError, match="made.ipynb, cell .*: AssertionError: too far"):
        notebooks.run(make(tmp_path, "assert steps < 3, 'too far'"), tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "made.ipynb").is_file()


def test_run_finds_the_error_that_a_widget_swallowed(tmp_path):
    swallowing = "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    1 / 0\nout"
    with pytest.raises(notebooks.NotebookError, match="in a widget: ZeroDivisionError"):
        notebooks.run(make(tmp_path, swallowing), tmp_path / "out", progress=False)


def test_the_command_refuses_it_in_one_line(capsys):
    from samlib.__main__ import main

    assert main(["demo", "-p", "stpes=2"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "no parameter stpes" in err


def test_a_kernel_that_is_ended_is_one_line(tmp_path):
    begun = tmp_path / "begun"
    os.mkfifo(begun)  # whoever opens one end waits for the other

    def end():
        begun.open().close()
        notebooks.stop_kernels()

    threading.Thread(target=end, daemon=True).start()
    waits = f"import threading\nopen({str(begun)!r}, 'w').close()\nthreading.Event().wait()"
    with pytest.raises(notebooks.NotebookError, match="made.ipynb: its kernel was ended"):
        notebooks.run(make(tmp_path, waits), tmp_path / "out", progress=False)
