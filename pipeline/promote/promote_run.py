"""Register the model of a run, or of the ensemble, in MLflow with a model card, and set the alias `champion`."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.artifacts.ensemble_folder import RUN_NAME
from pipeline.artifacts.folder import list_files
from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params, Tracking
from pipeline.promote.ensemble_card import EnsembleCard
from pipeline.promote.evidence import TEST_SCORES, collect_evidence, has_scores
from pipeline.promote.model_card import END, ModelCard
from pipeline.promote.onnx_export import export_onnx, measure_agreement
from pipeline.promote.package import package_model
from pipeline.promote.serve_command import ALIAS, format_serve_command
from pipeline.tracking.mlflow_run import MlflowRun
from pipeline.tracking.store import get_experiment_id, get_tracking_uri, hide_passwords, open_client, store_errors
from pipeline.tracking.sync import sync_runs
from pipeline.tracking.tags import DATA_FINGERPRINT, RUN_KEY

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "model"


@dataclass(frozen=True)
class RegisteredModel:
    """A version of a model in MLflow's registry that has the alias."""

    name: str
    alias: str
    version: str
    run: str  # name of the run, or `ensemble of` and the names of its members
    is_new: bool  # whether this call registered the version
    serve_command: str  # shell command that serves the model on this machine

    def describe(self) -> str:
        """Describe the model and how to serve it."""
        done = "" if self.is_new else ", already registered"
        return (
            f"models:/{self.name}@{self.alias} is version {self.version}{done}: {self.run}.\n"
            f"To serve it on this machine:\n  {self.serve_command}"
        )


def promote_run(params: Params, run: str) -> RegisteredModel:
    """Register a run's model, set the alias, and write the model cards; do not register a model twice.

    Args:
        params: the content of `params.yaml`.
        run: the name of a run; `best` for the median run of the best setting; `ensemble` for all runs of this
            setting, whose model belongs to the median run in MLflow.

    Raises:
        PipelineError: The run cannot be read, its network cannot be exported, or MLflow does not answer.
    """
    project = Project()
    trained = TrainedRun.load(params, run, project)
    record = trained.record
    uri, name = get_tracking_uri(params.tracking), re.sub(r"[^\w\- ]", "-", params.tracking.experiment)
    command = format_serve_command(name, hide_passwords(uri))
    with store_errors(uri):
        found = _find_version(open_client(uri), name, trained.key)
    if found is None:
        for _ in sync_runs(params, [record.run], project):  # the model belongs to the run in MLflow
            pass
        with tempfile.TemporaryDirectory() as folder:
            onnx, model = Path(folder) / "network.onnx", Path(folder) / ARTIFACT
            validation = project.prepared.select_fold(record.fold).open_split("validation")
            export_onnx(trained, onnx)
            agreement = measure_agreement(trained, onnx, validation)
            package_model(trained, onnx, validation, model)
            evidence = {**collect_evidence(project, trained), "agreement": f"{agreement:.4f}"}
            with store_errors(uri):
                version = _register(uri, params.tracking, name, trained, model, evidence)
    else:
        version = str(found.version)
    with store_errors(uri):
        client = open_client(uri)
        client.set_registered_model_alias(name, ALIAS, version)
        if found is None or has_scores(project, trained):
            _describe(client, params, trained, name, version, hide_passwords(uri))
    return RegisteredModel(name, ALIAS, version, trained.describe(), found is None, command)


def _describe(client: MlflowClient, params: Params, trained: TrainedRun, name: str, version: str, uri: str) -> None:
    """Update the scores of a version, which are tags, and the model cards, unless a user has changed them."""
    project = Project()
    registered = client.get_model_version(name, version)
    evidence = collect_evidence(project, trained)
    for key, text in evidence.items():
        if registered.tags.get(key) != text:
            client.set_model_version_tag(name, version, key, text)
    for key in registered.tags.keys() & set(TEST_SCORES) - evidence.keys():  # another run is now the best of the grid
        client.delete_model_version_tag(name, version, key)
    if "agreement" in registered.tags:
        evidence["agreement"] = registered.tags["agreement"]
    card_type = EnsembleCard if trained.members else ModelCard
    card = card_type(trained, params, project, evidence, name, version, uri)
    if _may_replace(registered.description, text := card.describe_version()):
        client.update_model_version(name, version, text)
    if _may_replace(client.get_registered_model(name).description, text := card.describe_model()):
        client.update_registered_model(name, text)


def _may_replace(old: str | None, new: str) -> bool:
    """Return whether a description differs from the new one and is empty or was written by this command."""
    return old != new and (not old or END in old)


def _find_version(client: MlflowClient, name: str, key: str) -> ModelVersion | None:
    """Find the version of the registered model that has this run key; None if there is none."""
    found = client.search_model_versions(f"name = '{name}'")
    return next((one for one in found if one.tags.get(RUN_KEY) == key), None)


def _register(
    uri: str, tracking: Tracking, name: str, trained: TrainedRun, model: Path, evidence: dict[str, str]
) -> str:
    """Upload the model to its run, and register it as a new version; return the version."""
    from mlflow.exceptions import MlflowException

    client, record = open_client(uri), trained.record
    # The run may also have its own model, and the models of other ensembles.
    artifact = f"{RUN_NAME}-{trained.key[:12]}" if trained.members else ARTIFACT
    stored = MlflowRun.find(client, get_experiment_id(client, uri, tracking.experiment), record.key)
    if stored is None:
        raise PipelineError(
            f"MLflow at {hide_passwords(uri)} no longer has the run {record.run}. Run the same command again to upload "
            "the run."
        )
    stored.upload_files(artifact, list_files(model))
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name,
        source=f"runs:/{stored.run_id}/{artifact}",
        run_id=stored.run_id,
        tags={RUN_KEY: trained.key, DATA_FINGERPRINT: record.data_fingerprint, **evidence},
    )
    return str(made.version)
