"""Runs the notebooks with parameters, and refuses what papermill and the widgets let pass in silence."""

import ast
import contextlib

import nbformat
import papermill
import psutil
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from samlib import paths


class NotebookError(RuntimeError):
    """A notebook failed; the message is one line and names the notebook, the cell and the error."""


def parameters_of(notebook):
    """{name: default} of the cell tagged `parameters`."""
    return {name: entry["default"] for name, entry in papermill.inspect_notebook(str(notebook)).items()}


def literals_of(notebook):
    """{name: value} of the cell tagged `parameters`, whose right sides are literals."""
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if "parameters" in cell.metadata.get("tags", [])]
    statements = [line for cell in cells for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)]
    return {line.targets[0].id: ast.literal_eval(line.value) for line in statements}


def run(notebook, folder, parameters=None, progress=True):
    """Run a notebook into `folder` -> path of the executed copy.

    Raises ValueError for a parameter it does not have (papermill only warns) and NotebookError where a cell or a
    widget's callback failed. What was executed so far is in `folder` even then.
    """
    parameters = parameters or {}
    known = parameters_of(notebook)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{notebook.name} has no parameter {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    folder.mkdir(parents=True, exist_ok=True)
    executed = folder / notebook.name
    try:
        papermill.execute_notebook(str(notebook), str(executed), parameters, kernel_name="python3",
                                   cwd=str(paths.NOTEBOOKS), progress_bar=progress)
    except PapermillExecutionError as error:
        raise NotebookError(f"{notebook.name}, cell {error.cell_index}: {error.ename}: {error.evalue}; "
                            f"what was run is in {executed}") from None
    except DeadKernelError:
        raise NotebookError(f"{notebook.name}: its kernel was ended, or ran out of memory; what was run is in {executed}") from None
    errors = widget_errors(nbformat.read(executed, as_version=4))
    if errors:
        raise NotebookError(f"{notebook.name}, in a widget: {errors[0]}; what was run is in {executed}")
    return executed


def stop_kernels():
    """End the kernels that this process has started; whoever waits for one gets a NotebookError. Not interrupted: an inversion would
    end early then, and the notebook might go on with it."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # it has ended by itself
            if any("ipykernel" in word for word in child.cmdline()):
                child.kill()


def widget_errors(notebook):
    """Errors that Output widgets of an executed notebook caught, which fail no cell."""
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {}).get("state", {})
    outputs = [output for model in states.values() for output in model.get("state", {}).get("outputs", ())]
    outputs += [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [f"{o['ename']}: {o['evalue']}" for o in outputs if o.get("output_type") == "error"]
