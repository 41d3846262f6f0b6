"""References to a registered model, and the command that serves it."""

from __future__ import annotations

import shlex

ALIAS = "champion"  # the alias in MLflow's own examples


def format_model_uri(name: str, version: str | None = None) -> str:
    """Format the URI of a version of a registered model, or of the champion if `version` is None."""
    return f"models:/{name}@{ALIAS}" if version is None else f"models:/{name}/{version}"


def format_serve_command(name: str, uri: str, version: str | None = None) -> str:
    """Format the command that serves a model of the registry at `uri`, quoted for a shell."""
    return (
        f"MLFLOW_TRACKING_URI={shlex.quote(uri)} mlflow models serve -m {shlex.quote(format_model_uri(name, version))} "
        "--env-manager local -h 127.0.0.1 -p 5001"
    )
