"""Commands, parameters and files to reproduce the numbers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.file import read_sections
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


_RUN, _EVALUATED = RUNS / "<run>", EVALUATION / "<run>"
SOURCES = (
    ("Findings", f"{COMPARISON / Comparison.FINDINGS}"),
    ("Loss curves", f"{COMPARISON / Comparison.CURVES}, from {_RUN / RunFolder.HISTORY}"),
    ("Results, runs, test scores", f"{COMPARISON / Comparison.SUMMARY}, from {_EVALUATED / EvaluationFolder.METRICS}"),
    ("Gap", f"{COMPARISON / Comparison.GAP_PARTS}, {_EVALUATED / EvaluationFolder.CALIBRATION}"),
    (
        "Examples",
        f"{_EVALUATED / EvaluationFolder.PER_IMAGE}, {_EVALUATED / EvaluationFolder.EXAMPLES}, "
        f"{_RUN / RunFolder.SHOWCASE_MASKS}",
    ),
    (
        "The data",
        f"{PREPARED / PreparedData.SAMPLES}, {PREPARED / PreparedData.STATS}, {PREPARED / PreparedData.SKIPPED}",
    ),
)


def build_reproduce(params: Params, context: ReportContext, selection: RunSelection, *, provenance: bool) -> Reproduce:
    """Build the commands, and what identifies the data and the leading run.

    Args:
        params: The parameters of the project.
        context: The files.
        selection: The runs of the page.
        provenance: Whether to add facts that differ between identical runs.
    """
    project = context.project
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
    identity += [*_read_hashes(project, run)]
    return Reproduce(
        commands=_build_commands(params, project, run, selection),
        identity=tuple(identity),
        parameters=tuple(parameters),
        sources=tuple((name, _prefix_paths(project.root, files)) for name, files in SOURCES)
        if selection.origin
        else SOURCES,
        provenance=collect_provenance(params, selection, run, key, project) if provenance else (),
        run=run,
        problems=tuple(problems),
    )


def _build_commands(params: Params, project: Project, run: str, selection: RunSelection) -> tuple[Command, ...]:
    browse = Command(project.make_command("ui"), "browse and compare all runs in MLflow")
    if selection.origin:
        again = f"pipeline report --runs {shlex.quote(selection.origin)}"
        return (Command(again, "this page, from the current runs in MLflow"), browse)
    return (
        Command(_build_report_command(params, project), "everything that is out of date, then this page"),
        Command(project.shell_command("pipeline report --runs best"), "this page for the best run only"),
        Command(project.shell_command(f"dvc repro train@{run}"), "this run, from the same data and parameters"),
        browse,
    )


def _prefix_paths(folder: Path, files: str) -> str:
    return re.sub(r"(?=(?:comparison|runs|evaluation)/)", f"{folder}/", files)


def _build_report_command(params: Params, project: Project) -> str:
    # A study's data outside the project was named on the command line; its path is private.
    test = params.data.external_test if isinstance(params.data, CompositesData) else None
    paths = [params.data.path, *([test.path] if test else [])]
    is_outside = project.study and any(Path(path).is_absolute() for path in paths)
    return project.make_command("report") + (" DATA=folder" if is_outside else "")


def _read_hashes(project: Project, run: str) -> list[tuple[str, str]]:
    """Read DVC's MD5 of the prepared data and of the run, if recorded."""
    try:
        stages = read_sections(project.root / "dvc.lock")["stages"]
    except (PipelineError, KeyError):
        return []
    found = []
    for stage, path in (("prepare", PREPARED), (f"train@{run}", RUNS / run)):
        outs = stages.get(stage, {}).get("outs", [])
        md5 = next((out.get("md5") for out in outs if out.get("path") == str(path)), None)
        found += [(f"DVC’s hash of {path}", str(md5))] if md5 else []
    return found
