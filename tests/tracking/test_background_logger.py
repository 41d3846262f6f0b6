"""A run that is logged in a background thread: only the end of the block waits for the store."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.params import Tracking
from pipeline.runtime.shutdown import check_signals, defer_signals, is_stopping
from pipeline.tracking import background_logger
from pipeline.tracking.background_logger import log_in_background
from pipeline.tracking.mirror import Mirror
from pipeline.tracking.store import open_client, tracking_uri

RUN: dict[str, Any] = {"name": "unet-0.001-0", "key": "ab" * 32, "parameters": {"variant": "unet"}, "tags": {}}


def test_a_store_that_does_not_answer_holds_no_epoch(
    project: Path, tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, open_mirror = threading.Event(), Mirror.open

    def late(*run: Any, **named: Any) -> Mirror:
        assert answers.wait(60)
        return open_mirror(*run, **named)

    monkeypatch.setattr(Mirror, "open", late)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with log_in_background(tracking, **RUN) as mirror:
        for epoch in (1, 2, 3):
            mirror.log_epoch(epoch, {"train_loss": 1 / epoch}, epoch)
        mirror.set_tags({"status": "finished"})
        mirror.log_folder(tmp_path / "run", "run")
        assert not answers.is_set()  # all three epochs are over
        answers.set()
    client = open_client(tracking_uri(tracking))
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    points = client.get_metric_history(run.info.run_id, "train_loss")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")
    assert [item.path for item in client.list_artifacts(run.info.run_id, "run")] == ["run/run.json"]


@pytest.mark.parametrize(
    ("raised", "status"),
    [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "KILLED")],
)
def test_how_the_block_ends_is_how_the_run_ends(
    project: Path, tracking: Tracking, raised: type[BaseException] | None, status: str
) -> None:
    try:
        with log_in_background(tracking, **RUN):
            if raised:
                raise raised
    except BaseException as error:
        assert raised is not None
        assert isinstance(error, raised)
    client = open_client(tracking_uri(tracking))
    experiment = client.get_experiment_by_name(tracking.experiment)
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == [status]


def test_a_mistake_of_ours_is_not_lost_in_the_thread(
    project: Path, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(Mirror, "log_values", mistaken)
    monkeypatch.setattr(Mirror, "log_epoch", mistaken)
    with pytest.raises(TypeError, match="a mistake"), log_in_background(tracking, **RUN) as mirror:
        mirror.log_epoch(1, {}, 1)


def _train_until_signal(tracking: Tracking, ended: Any) -> None:
    """Receive SIGTERM while the store does not answer and points are waiting."""
    answers = threading.Event()
    log_epoch = Mirror.log_epoch

    def hang(self: Mirror, epoch: int, *values: Any) -> None:
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            assert answers.wait(60)
        log_epoch(self, epoch, *values)

    Mirror.log_epoch = hang  # type: ignore[method-assign]
    background_logger.END_SECONDS = 1
    defer_signals()
    with log_in_background(tracking, **RUN, when_ended=ended.set) as logger:
        for epoch in (1, 2, 3):
            logger.log_epoch(epoch, {"train_loss": 1 / epoch}, epoch)
        while not is_stopping():
            time.sleep(0.05)
        check_signals()


def test_signal_bounds_the_wait_for_a_store_that_hangs(project: Path, tracking: Tracking) -> None:
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    process = context.Process(target=_train_until_signal, args=(tracking, ended))
    process.start()
    process.join()
    assert process.exitcode == 128 + signal.SIGTERM
    assert not ended.is_set()  # so that the next start marks the run as KILLED
