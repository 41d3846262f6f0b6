"""Addresses of runs on an MLflow server."""

from __future__ import annotations

from pipeline.params import Tracking
from pipeline.tracking.store import answering, is_server, open_client, shown, tracking_uri
from pipeline.tracking.tags import RUN_KEY


def run_address(tracking: Tracking, key: str) -> str | None:
    """The page of the run with this key; None where MLflow is no server, or does not have the run.

    Raises `PipelineError` where the server does not answer.
    """
    uri = tracking_uri(tracking)
    if not is_server(uri):
        return None
    with answering(uri):
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        if experiment is None:
            return None
        condition = f"tags.`{RUN_KEY}` = '{key}'"
        found = client.search_runs([experiment.experiment_id], condition, order_by=["attributes.start_time DESC"])
    if not found:
        return None
    return f"{shown(uri).rstrip('/')}/#/experiments/{experiment.experiment_id}/runs/{found[0].info.run_id}"
