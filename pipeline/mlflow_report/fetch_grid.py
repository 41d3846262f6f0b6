"""Fetch runs from MLflow into a folder, and compare them like the runs of the grid."""

from __future__ import annotations

import hashlib
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.analysis.measurement import describe_measurement, list_measurement_changes
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.project import CACHE, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.compare.compare_runs import compare
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.flatten import flatten_parameters
from pipeline.params.run_config import read_run_config
from pipeline.tracking.fetch import FetchedRun, fetch_runs
from pipeline.tracking.search import MAX_NAMED, read_ids
from pipeline.wording import join_names, join_words, pluralize

DOWNLOADS = CACHE / "mlflow"
MAX_CHANGES = 3  # parameters that a sentence names
MAX_AUTHOR = 40  # characters of an author's name in a folder name, which has at most 255 bytes


@dataclass(frozen=True)
class FetchedGrid:
    """Runs from MLflow and their comparison, in a folder like a project's."""

    folder: Path
    runs: tuple[str, ...]  # names, with the author if there are several
    skipped: tuple[str, ...]  # sentences on skipped runs


def fetch_grid(params: Params, query: str, project: Project) -> FetchedGrid:
    """Fetch runs from MLflow that were trained on the prepared data of `project`, and compare them.

    Raises:
        PipelineError: No run can be fetched, or a run requested by id was trained on different data or cannot be
            compared with the others.
    """
    fingerprint = project.prepared.dataset.fingerprint
    runs, skipped = fetch_runs(params.tracking, query, project.root / DOWNLOADS, fingerprint, _check_files)
    comparable, others = _select_comparable(runs)
    if others and read_ids(query):
        named = "; ".join(f"{join_names(names, MAX_NAMED)} ({difference})" for difference, names in others.items())
        raise PipelineError(
            f"These runs cannot be averaged or compared with the others: {named}. Leave out their ids, or those of the "
            "others."
        )
    skipped += tuple(
        f"{pluralize(len(names), 'run was', 'runs were')} skipped, because newer runs differ ({difference}): "
        f"{join_names(names, MAX_NAMED)}."
        for difference, names in others.items()
    )
    fetched = _add_authors(comparable)
    digest = hashlib.sha256("".join(sorted(one.record.run + one.record.key for one in fetched)).encode()).hexdigest()
    compared = Project(project.root / DOWNLOADS / f"compared-{digest[:12]}")
    shutil.rmtree(compared.root, ignore_errors=True)
    for one in fetched:
        _link_run(one, compared.run(one.record.run))
        _link(compared.evaluation(one.record.run).path, one.evaluation)
    _link(compared.prepared.path, project.prepared.path)
    compare(params, compared, [read_run_config(one.record, one.run) for one in fetched])
    return FetchedGrid(compared.root, tuple(one.record.run for one in fetched), skipped)


def _select_comparable(fetched: list[FetchedRun]) -> tuple[list[FetchedRun], dict[str, list[str]]]:
    """Leave out the runs that differ from later ones of the list in what must be equal.

    The seeds of a setting must have equal parameters, and the metrics of all runs must be measured in the same way.

    Returns:
        The runs that are left, and the names of the others by the difference.
    """
    parameters: dict[tuple[str, str, float], dict[str, str]] = {}  # by author, variant and learning rate
    measured: dict[str, str] = {}
    kept, others = [], dict[str, list[str]]()
    for one in reversed(fetched):
        cell, evaluation = read_run_config(one.record, one.run), EvaluationFolder(one.evaluation).metrics
        # The number of threads changes only the last digits.
        own = dict(
            flatten_parameters(
                cell.model_dump(mode="json", exclude={"seed": True, "fold": True, "train": {"num_threads"}})
            )
        )
        setting = one.author, cell.variant, cell.learning_rate
        expected = parameters.get(setting, own)
        measurement = describe_measurement(evaluation.distances, evaluation.objects, one.record.fold)
        changes = [(name, own.get(name, "not set"), expected.get(name, "not set")) for name in {**expected, **own}]
        changes += list_measurement_changes(measurement, measured)
        differences = [f"{name} is {value} instead of {other}" for name, value, other in changes if value != other]
        if differences:
            names = others.setdefault(join_words(differences, MAX_CHANGES), [])
            names.append(f"{one.record.run} of {one.author}")
        else:
            parameters[setting] = own
            measured |= measurement
            kept.append(one)
    return kept[::-1], others


def _add_authors(fetched: list[FetchedRun]) -> list[FetchedRun]:
    """Append the author to the variant of each run if there are several authors, because their variants may differ."""
    if len({one.author for one in fetched}) < 2:
        return fetched
    renamed = []
    for one in fetched:
        cell = {**one.record.cell, "variant": f"{one.record.cell['variant']}@{_sanitize(one.author)}"}
        name = read_run_config(replace(one.record, cell=cell), one.run).name
        renamed.append(replace(one, record=replace(one.record, run=name, cell=cell)))
    return renamed


def _sanitize(author: str) -> str:
    """Convert an author's name for use in a folder name; add a hash if characters had to be replaced."""
    plain = re.sub(r"[^\w.-]+", "_", author)[:MAX_AUTHOR]
    return plain if plain == author else f"{plain}-{hashlib.sha256(author.encode()).hexdigest()[:4]}"


def _check_files(fetched: FetchedRun) -> None:
    """Check the files of a run that the comparison needs.

    Raises:
        PipelineError: A file is missing, broken, or from another version.
    """
    read_run_config(fetched.record, fetched.run)
    history = RunFolder(fetched.run).history
    if len(history) < fetched.record.epochs:
        raise PipelineError(
            f"{fetched.run / RunFolder.HISTORY} has {len(history)} epochs, but {RunFolder.RECORD} has "
            f"{fetched.record.epochs}."
        )
    if fetched.record.status != "diverged":
        EvaluationFolder(fetched.evaluation).read_per_image()


def _link_run(one: FetchedRun, run: RunFolder) -> None:
    """Link the files of a run into a folder, and write its record with the name that the page shows."""
    for file in one.run.iterdir():
        _link(run.path / file.name, file)
    (run.path / run.RECORD).unlink()
    run.write_json(run.RECORD, one.record)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target.resolve())
