"""Run docs/tutorial/notebook.ipynb and store its outputs, so that it can be read without running it.

    make report
    PYTHONPATH=. python docs/generate/notebook.py

Run it in the project's folder. It needs the test dependencies (`make install-test-all`).
"""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "tutorial" / "notebook.ipynb"


def main() -> None:
    """Write the notebook with its outputs, without warnings, times, and texts that a figure or table replaces."""
    os.environ["PYTHONWARNINGS"] = "ignore"
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, record_timing=False, resources=resources).execute()
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for cell in notebook.cells:
        outputs = [output for output in cell.get("outputs", []) if output.get("name") != "stderr"]
        for output in outputs:
            if len(output.get("data", {})) > 1:
                output["data"].pop("text/plain", None)
        if "outputs" in cell:
            cell["outputs"] = outputs
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
