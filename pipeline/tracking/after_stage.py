"""Sends what a stage made to MLflow after it succeeded; a store that fails costs one warning and never the stage."""

from __future__ import annotations

import contextlib
import logging
import textwrap
import time
from collections.abc import Callable, Generator
from pathlib import Path

from pipeline.params import Params
from pipeline.tracking.mlflow_run import Sent
from pipeline.tracking.store import shown, store_is_missing, tracking_uri
from pipeline.tracking.sync import attach_report, track_comparison

logger = logging.getLogger("pipeline.tracking")

BUDGET_SECONDS = 60  # after which the rest is left to `pipeline track`
_REASON_LENGTH = 500  # characters


def send_comparison(params: Params, root: Path = Path()) -> None:
    """Send verdicts, the mark of the best run, and the grid's own run, if the project has a store."""
    _send(params, lambda: track_comparison(params, root))


def send_report(params: Params, root: Path = Path()) -> None:
    """Attach the report to the grid's run, if there is one."""
    _send(params, lambda: attach_report(params, root))


def _send(params: Params, send: Callable[[], Generator[Sent, None, None]]) -> None:
    uri = tracking_uri(params.tracking)
    if store_is_missing(uri):
        return
    begun = time.monotonic()
    try:
        with contextlib.closing(send()) as sending:
            for _ in sending:
                if time.monotonic() - begun > BUDGET_SECONDS:
                    logger.warning(
                        "MLflow at %s took over %d s. The stage is done; `pipeline track` sends the rest.",
                        shown(uri),
                        BUDGET_SECONDS,
                    )
                    return
    # MLflow's exceptions, a database driver's, the disk's: the files are complete, whatever it is.
    except Exception as error:
        reason = textwrap.shorten(shown(str(error)), _REASON_LENGTH, placeholder=" …")
        logger.warning("%s The stage is done; `pipeline track` sends to MLflow what is missing there.", reason)
        logger.debug("What was raised:", exc_info=True)
