"""Commands, parameters and files to reproduce the numbers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.file import read_sections
from pipeline.project import inside, make, study_name
from pipeline.report.context import ReportContext
from pipeline.report.formatting import flatten_parameters, format_count
from pipeline.report.provenance import ProvenanceFact, collect_provenance
from pipeline.report.run_selection import RunSelection, find_leading_run
from pipeline.report.view_models import Notice


@dataclass(frozen=True)
class Command:
    """A command and its effect."""

    line: str
    effect: str


@dataclass(frozen=True)
class Reproduce:
    """How to reproduce the numbers."""

    commands: tuple[Command, ...]
    identity: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]  # section, and the files of its numbers
    provenance: tuple[ProvenanceFact, ...]  # facts that differ between identical runs; empty by default
    run: str
    problems: tuple[Notice, ...]


_RUN, _SCORED = runs.RUNS / "<run>", runs.EVALUATION / "<run>"
SOURCES = (
    ("Findings", f"{runs.COMPARISON / runs.FINDINGS}"),
    ("Loss curves", f"{runs.COMPARISON / runs.CURVES}, from {_RUN / runs.HISTORY}"),
    ("Results, runs, test scores", f"{runs.COMPARISON / runs.SUMMARY}, from {_SCORED / runs.METRICS}"),
    ("Gap", f"{runs.COMPARISON / runs.PARTS}, {_SCORED / runs.CALIBRATION}"),
    ("Examples", f"{_SCORED / runs.PER_IMAGE}, {_SCORED / runs.EXAMPLES}, {_RUN / runs.SHOWCASE_MASKS}"),
    ("The data", f"{runs.PREPARED / runs.SAMPLES}, {runs.PREPARED / runs.SURVEY}, {runs.PREPARED / runs.REJECTED}"),
)


def build_reproduce(params: Params, context: ReportContext, selection: RunSelection, *, provenance: bool) -> Reproduce:
    """Build the commands, and what identifies the data and the leading run.

    Args:
        params: The parameters of the project.
        context: The files.
        selection: The runs of the page.
        provenance: Whether to add facts that differ between identical runs.
    """
    root = context.project.root
    run = find_leading_run(context.summary, selection) or selection.rows[0].run
    problems = []
    identity: list[tuple[str, str]] = []
    key = ""
    parameters: list[tuple[str, str]] = []
    try:
        identity.append(("data fingerprint", context.dataset.fingerprint))
    except PipelineError as error:
        problems.append(Notice.from_error("The fingerprint of the data is unknown", error))
    try:
        record = context.project.run(run).record
        key = record.key
        identity.append((f"run key of {run}", key))
        parameters = [
            ("precision", record.precision),
            ("trainable_parameters", format_count(record.trainable_parameters)),
            *flatten_parameters(record.cell),
        ]
    except PipelineError as error:
        problems.append(Notice.from_error(f"The parameters of {run} are unknown", error))
    identity += [*_read_hashes(root, run)]
    return Reproduce(
        commands=_build_commands(params, root, run, selection),
        identity=tuple(identity),
        parameters=tuple(parameters),
        sources=tuple((name, _prefix_paths(root, files)) for name, files in SOURCES) if selection.origin else SOURCES,
        provenance=collect_provenance(params, selection, run, key, root) if provenance else (),
        run=run,
        problems=tuple(problems),
    )


def _build_commands(params: Params, root: Path, run: str, selection: RunSelection) -> tuple[Command, ...]:
    browse = Command(make("ui", root), "browse and compare all runs in MLflow")
    if selection.origin:
        again = f"pipeline report --runs {shlex.quote(selection.origin)}"
        return (Command(again, "this page, from the current runs in MLflow"), browse)
    return (
        Command(_build_report_command(params, root), "everything that is out of date, then this page"),
        Command(inside(root, "pipeline report --runs best"), "this page for the best run only"),
        Command(inside(root, f"dvc repro train@{run}"), "this run, from the same data and parameters"),
        browse,
    )


def _prefix_paths(folder: Path, files: str) -> str:
    return re.sub(r"(?=(?:comparison|runs|evaluation)/)", f"{folder}/", files)


def _build_report_command(params: Params, root: Path) -> str:
    # A study's data outside the project was named on the command line; its path is private.
    test = params.data.test if isinstance(params.data, CompositesData) else None
    paths = [params.data.path, *([test.path] if test else [])]
    is_outside = study_name(root) and any(Path(path).is_absolute() for path in paths)
    return make("report", root) + (" DATA=folder" if is_outside else "")


def _read_hashes(root: Path, run: str) -> list[tuple[str, str]]:
    """Read DVC's MD5 of the prepared data and of the run, if recorded."""
    try:
        stages = read_sections(root / "dvc.lock")["stages"]
    except (PipelineError, KeyError):
        return []
    found = []
    for stage, path in (("prepare", runs.PREPARED), (f"train@{run}", runs.RUNS / run)):
        outs = stages.get(stage, {}).get("outs", [])
        md5 = next((out.get("md5") for out in outs if out.get("path") == str(path)), None)
        found += [(f"DVC’s hash of {path}", str(md5))] if md5 else []
    return found
