"""Registers a run's model in MLflow under an alias, with what speaks for it."""

from __future__ import annotations

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import runs
from pipeline.comparison import Summary
from pipeline.data.prepared import open_split
from pipeline.errors import PipelineError
from pipeline.params import Params, Tracking
from pipeline.predict.predictor import Predictor
from pipeline.promote.export import agreement, export_onnx
from pipeline.promote.packed import pack
from pipeline.runs import RunRecord
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.run_metrics import list_files
from pipeline.tracking.store import get_experiment_id, hide_passwords, open_client, store_errors, tracking_uri
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import DATA_FINGERPRINT, RUN_KEY, format_beats_baseline, format_missed_classes

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"  # MLflow's own example of one
ARTIFACT = "model"


@dataclass(frozen=True)
class Promoted:
    """A model in MLflow's registry."""

    run: str
    name: str
    version: str
    uri: str  # of MLflow, fit for a terminal
    is_new: bool

    def sentences(self) -> str:
        """What to do with it."""
        done = f"is version {self.version}" if self.is_new else f"is version {self.version}, which was there"
        return (
            f"models:/{self.name}@{ALIAS} {done}: {self.run}.\nTo serve it on this machine:\n"
            f"  MLFLOW_TRACKING_URI={shlex.quote(self.uri)} mlflow models serve "
            f"-m {shlex.quote(f'models:/{self.name}@{ALIAS}')} "
            "--env-manager local -h 127.0.0.1 -p 5001"
        )


def promote(params: Params, run: str, root: Path = Path()) -> Promoted:
    """Register a run's model; one that is registered already only gets the alias.

    Args:
        params: the whole of `params.yaml`.
        run: the run's name, `best` for the one that validation chose.
        root: the project's folder, or a study's.

    Raises:
        PipelineError: The run cannot be had, its network cannot be exported, or MLflow does not answer.
    """
    predictor = Predictor.of_run(params, run, root)
    record = RunRecord.read(root / runs.RUNS / predictor.run)
    uri, name = tracking_uri(params.tracking), re.sub(r"[^\w\- ]", "-", params.tracking.experiment)
    with store_errors(uri):
        version = _registered(open_client(uri), name, record.key)
    is_new = version is None
    if version is None:
        for _ in sync_runs(params, [predictor.run], root):  # or the model would have no run to belong to
            pass
        with tempfile.TemporaryDirectory() as folder:
            onnx, model = Path(folder) / "network.onnx", Path(folder) / ARTIFACT
            validation = open_split("validation", root / runs.PREPARED)
            export_onnx(predictor, onnx)
            alike = agreement(predictor, onnx, validation)
            pack(predictor, onnx, validation, model)
            evidence = {**_evidence(root, predictor.run), "agreement": f"{alike:.4f}"}
            with store_errors(uri):
                version = _register(uri, params.tracking, name, record, model, evidence)
    with store_errors(uri):
        open_client(uri).set_registered_model_alias(name, ALIAS, version)
    return Promoted(predictor.run, name, version, hide_passwords(uri), is_new)


def _registered(client: MlflowClient, name: str, key: str) -> str | None:
    """The version that was made of this very training."""
    found = client.search_model_versions(f"name = '{name}'")
    return next((str(one.version) for one in found if one.tags.get(RUN_KEY) == key), None)


def _register(uri: str, tracking: Tracking, name: str, record: RunRecord, model: Path, evidence: dict[str, str]) -> str:
    from mlflow.exceptions import MlflowException

    client = open_client(uri)
    stored = MlflowRun.find(client, get_experiment_id(client, uri, tracking.experiment), record.key)
    if stored is None:
        raise PipelineError(f"MLflow at {hide_passwords(uri)} lost {record.run} just now. Run the same command again.")
    stored.upload_files(ARTIFACT, list_files(model))
    try:
        client.create_registered_model(name, description="What `pipeline promote` took into use.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source=f"runs:/{stored.run_id}/{ARTIFACT}",
        run_id=stored.run_id,
        tags={RUN_KEY: record.key, DATA_FINGERPRINT: record.data_fingerprint, **evidence},
        description=_description(record.run, evidence),
    )
    return str(made.version)


def _evidence(root: Path, run: str) -> dict[str, str]:
    """What speaks for a run: its row in the comparison, and its test where it is the one that validation chose."""
    summary = Summary.read(root / runs.COMPARISON)
    row = next((row for row in summary.runs if row.run == run), None)
    if row is None:
        return {"run": run}
    numbers = {
        "val_loss": row.val_loss,
        "gap": row.gap,
        "val_mean_iou": row.val_mean_iou,
        "val_foreground_iou": row.val_foreground_iou,
        "val_object_iou": row.val_object_iou,
    }
    if summary.best and summary.best.run == run and summary.best.test:
        numbers |= {"test_loss": summary.best.test.loss, "test_mean_iou": summary.best.test.mean_iou}
    found = {name: f"{value:.4f}" for name, value in numbers.items() if value is not None}
    if row.judgement is None:
        return {"run": run, **found}
    judged = {
        "verdict": row.judgement.verdict,
        "beats_baseline": format_beats_baseline(row.judgement.beats_baseline),
        "missed_classes": format_missed_classes(row.missed_classes),
    }
    return {"run": run, **judged, **found}


def _description(run: str, evidence: dict[str, str]) -> str:
    """The evidence as a table in Markdown."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in evidence.items())
    return (
        f"The model of {run}, exported to ONNX.\n\n| | |\n|---|---|\n{rows}\n\n*agreement*: share of "
        "validation's pixels that the exported network sorts as the trained one did."
    )
