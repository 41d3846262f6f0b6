"""The Python interface for notebooks: its public names, its tables, predictions for arrays, and the tutorial."""

from __future__ import annotations

import inspect
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

import pipeline
from pipeline.artifacts.project import METRICS
from pipeline.errors import PipelineError
from pipeline.notebook.ensemble_results import EnsembleResults
from pipeline.notebook.project_results import ProjectResults
from pipeline.notebook.run_results import RunResults
from pipeline.notebook.segmentation import Segmentation
from tests.conftest import ROOT, TRAINED
from tests.optional import import_or_skip

TUTORIAL = ROOT / "docs/tutorial/notebook.ipynb"


@pytest.fixture(scope="module")
def results(trained: Path) -> ProjectResults:
    return pipeline.open(trained)


@pytest.mark.parametrize("name", ["unet-0.01-7", 0, None])
def test_unknown_run_is_refused_with_the_known_names(results: ProjectResults, name: Any) -> None:
    with pytest.raises(PipelineError, match=rf"The grid has no run '{name}'; .*{TRAINED}"):
        results.run(name)


def list_public_names(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_public_names_are_as_documented() -> None:
    assert pipeline.__all__ == ["open"]
    assert list_public_names(ProjectResults) == {
        *("best", "runs", "settings", "curves", "findings", "baseline_loss", "run", "plot_curves", "plot_settings"),
    }
    assert list_public_names(RunResults) == {
        *("parameters", "verdict", "evidence", "history", "images", "scores", "predict"),
    }
    assert list_public_names(EnsembleResults) == {"members", "temperature", "scores", "images", "predict"}
    names = set(Segmentation.__annotations__) | list_public_names(Segmentation)
    assert names == {"labels", "probabilities", "classes", "class_names"}
    guide = (ROOT / "docs/how-to/notebooks.md").read_text(encoding="utf-8")
    for kind in (ProjectResults, RunResults, EnsembleResults):
        assert all(f"`{name}" in guide for name in list_public_names(kind))


@pytest.mark.parametrize("kind", [ProjectResults, RunResults, EnsembleResults, Segmentation])
def test_every_public_attribute_is_typed(kind: type) -> None:
    for name in list_public_names(kind):
        member = inspect.getattr_static(kind, name)
        function = getattr(member, "fget", None) or getattr(member, "func", member)
        if inspect.isfunction(function):
            assert "return" in function.__annotations__, name
    assert (Path(pipeline.__file__).parent / "py.typed").exists()


def test_tables_have_the_values_of_the_files(results: ProjectResults, trained: Path) -> None:
    pd.testing.assert_frame_equal(results.settings, pd.read_csv(trained / "comparison/settings.csv"))
    runs = pd.read_csv(trained / "comparison/runs.csv")
    assert results.runs["val_loss"].tolist() == runs["val_loss"].tolist()
    assert len(results.curves) == 2 * 2  # epochs, splits
    assert f'"val_loss": {results.best["val_loss"]}' in (trained / METRICS).read_text(encoding="utf-8")
    run = results.run()
    assert run.name == TRAINED
    assert run.parameters["train"]["epochs"] == len(run.history) == 2
    validation = run.scores["validation"]
    assert validation is not None
    assert validation.loss == results.best["val_loss"]
    assert set(run.images["split"]) == {"train", "validation", "test", "showcase"}


def test_prediction_of_a_prepared_image_equals_that_of_the_evaluation(results: ProjectResults, trained: Path) -> None:
    run = results.run()
    example = next((trained / "evaluation" / TRAINED / "examples").glob("validation-*.png"))
    index = int(example.stem.removeprefix("validation-"))
    image = np.load(trained / "data/prepared/validation/images.npy")[index]
    with Image.open(example) as mask:
        assert (run.predict(image).labels == np.asarray(mask)).all()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    image=arrays.arrays(
        np.uint8,
        st.tuples(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 3])),
        elements=st.integers(0, 255),
    )
)
def test_prediction_has_the_size_of_the_image(image: np.ndarray, results: ProjectResults) -> None:
    found = results.run().predict(image)
    assert found.labels.shape == image.shape[:2]
    assert found.probabilities.shape == (len(found.class_names), *image.shape[:2])
    assert np.allclose(found.probabilities.sum(axis=0), 1, atol=1e-4)
    assert (found.labels == found.probabilities.argmax(axis=0)).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8)), "Multiply values of 0 to 1 by 255"),
        (np.zeros((8, 8), np.int64), "int64"),
        (np.zeros((8, 8, 4), np.uint8), "4 channels"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"\(2, 8, 8, 3\)"),
        (np.zeros((0, 8), np.uint8), r"\(0, 8, 1\)"),
        (np.array("text"), r"the shape \(\)"),
    ],
)
def test_array_that_is_no_image_is_an_error(results: ProjectResults, image: np.ndarray, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        results.run().predict(image)


def test_results_show_themselves(results: ProjectResults) -> None:
    assert "unet" in results._repr_html_()
    assert TRAINED in results.run()._repr_html_()
    segmentation = results.run().predict(np.zeros((20, 30, 3), np.uint8))
    for shown in (results.plot_curves(), results.plot_settings(), segmentation):
        with Image.open(io.BytesIO(shown._repr_png_())) as image:
            image.load()
    assert repr(results).endswith("1 runs>") or repr(results).endswith("1 run>")


def test_missing_results_are_named(results: ProjectResults, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"did you mean unet-0\.01-0\?"):
        results.run("unet-0.01-1")
    with pytest.raises(PipelineError, match=r"params\.yaml is missing"):
        pipeline.open(tmp_path)


def test_project_can_be_opened_from_another_folder(
    trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pipeline.open(str(trained)).run().predict(np.zeros((9, 9), np.uint8)).labels.shape == (9, 9)


def test_tutorial_runs_without_errors(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = import_or_skip("nbclient"), import_or_skip("ipykernel")
    project = tmp_path / "project"
    shutil.copytree(trained, project)
    notebook = import_or_skip("nbformat").read(TUTORIAL, as_version=4)
    folder = project / TUTORIAL.relative_to(ROOT).parent
    folder.mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    assert count_pictures(notebook) >= 3


def count_pictures(notebook: Any) -> int:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_stored_outputs_of_the_tutorial_can_be_read_by_everyone() -> None:
    notebook = import_or_skip("nbformat").read(TUTORIAL, as_version=4)
    assert count_pictures(notebook) >= 3
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell["outputs"] for cell in code)
    assert {output.output_type for cell in code for output in cell["outputs"]} == {"execute_result", "display_data"}
    texts = [
        text for cell in code for output in cell["outputs"] for kind, text in output.data.items() if "text" in kind
    ]
    assert str(ROOT) not in "".join(texts)
