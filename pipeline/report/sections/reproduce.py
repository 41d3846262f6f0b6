"""Commands, parameters and files to reproduce the numbers; optionally date, durations and versions."""

from __future__ import annotations

import contextlib
import platform
import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.evaluation_folder import EvaluationFolder
from pipeline.artifacts.prepared_data import PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.flatten import flatten_parameters
from pipeline.params.merge_conflict import find_conflict
from pipeline.report.notices import Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.tracking.tags import DIRTY, UNKNOWN, read_git_commit
from pipeline.wording import join_words


@dataclass(frozen=True)
class Reproduce:
    """Commands, parameters and files to reproduce the numbers."""

    commands: tuple[tuple[str, str], ...]  # command, and its effect
    identity: tuple[tuple[str, str], ...]  # name and value of hashes that identify the data and the run
    parameters: tuple[tuple[str, str], ...]  # dotted name and value
    sources: tuple[tuple[str, str], ...]  # section of the page, and the files that its numbers come from
    provenance: tuple[tuple[str, str, str], ...]  # name, value and address of a link; empty by default
    run: str  # the run with these parameters
    problems: tuple[Notice, ...]


UNKNOWN_TIMES = f"unknown: DVC restores runs without {RunFolder.TIMING}"
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


def build_reproduce(params: Params, context: PageContext, *, provenance: bool) -> Reproduce:
    """Build the commands, and the parameters and hashes that identify the data and the leading run.

    With `provenance`, dates, durations and versions are included, which can differ between identical runs.
    """
    project, selection = context.project, context.selection
    run = context.leading_run or selection.rows[0].run
    problems: list[Notice] = []
    identity: list[tuple[str, str]] = []
    key = ""
    parameters: list[tuple[str, str]] = []
    with collect_problem(problems, "The fingerprint of the data is unknown"):
        identity.append(("data fingerprint", context.dataset.fingerprint))
    with collect_problem(problems, f"The parameters of {run} are unknown"):
        record = context.project.run(run).record
        key = record.key
        identity.append((f"run key of {run}", key))
        parameters = [
            ("precision", record.precision),
            ("trainable_parameters", f"{record.trainable_parameters:,}"),
            *((name, value) for name, value in flatten_parameters(record.cell) if name != "train.precision"),
        ]
    identity += _describe_weights(context)
    identity += _read_hashes(project, run)
    return Reproduce(
        commands=_build_commands(params, context, run),
        identity=tuple(identity),
        parameters=tuple(parameters),
        sources=tuple((name, _prefix_paths(project.root, files)) for name, files in SOURCES)
        if selection.origin
        else SOURCES,
        provenance=_collect_provenance(params, context, run, key) if provenance else (),
        run=run,
        problems=tuple(problems),
    )


def _build_commands(params: Params, context: PageContext, run: str) -> tuple[tuple[str, str], ...]:
    project, origin = context.project, context.selection.origin
    browse = (project.make_command("ui"), "opens MLflow, to browse and compare all runs")
    if origin:
        again = f"pipeline report --runs {shlex.quote(origin)}"
        return ((again, "renders this page again, from the current runs in MLflow"), browse)
    return (
        (_build_report_command(params, project), "updates everything that is out of date, then this page"),
        (project.shell_command("pipeline report --runs best"), "renders this page for the best run only"),
        (project.shell_command(f"dvc repro train@{run}"), "trains this run if it is out of date"),
        browse,
    )


def _prefix_paths(folder: Path, files: str) -> str:
    return re.sub(r"(?=(?:comparison|runs|evaluation)/)", f"{folder}/", files)


def _build_report_command(params: Params, project: Project) -> str:
    # The path of a study's data outside the project was given on the command line, and is not published.
    test = params.data.external_test if isinstance(params.data, CompositesData) else None
    paths = [params.data.path, *([test.path] if test else [])]
    is_outside = project.study and any(Path(path).is_absolute() for path in paths)
    return project.make_command("report") + (" DATA=folder" if is_outside else "")


def _describe_weights(context: PageContext) -> list[tuple[str, str]]:
    """Describe the weights that each variant started from, leaving out records that cannot be read."""
    found: dict[str, str] = {}
    for row in context.selection.rows:
        with contextlib.suppress(PipelineError):
            if weights := context.project.run(row.run).record.weights:
                found.setdefault(f"initial weights of {row.variant}", weights.describe())
    return list(found.items())


def _read_hashes(project: Project, run: str) -> list[tuple[str, str]]:
    """Read DVC's MD5 hashes of the prepared data and of the run, if `dvc.lock` has them.

    The text is searched, because parsing a file with the entries of 1,000 runs takes half a minute.
    """
    try:
        lock = (project.root / "dvc.lock").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    if find_conflict(lock):
        return []
    found = []
    for stage, path in (("prepare", PREPARED), (f"train@{run}", RUNS / run)):
        output = rf"(?: {{4}}.*\n)*? {{4}}- path: {re.escape(path.as_posix())}\n(?: {{6}}.*\n)*? {{6}}md5: (\S+)\n"
        if match := re.search(rf"^  {re.escape(stage)}:\n{output}", lock, re.MULTILINE):
            found.append((f"DVC’s hash of {path}", match[1]))
    return found


def _collect_provenance(params: Params, context: PageContext, run: str, key: str) -> tuple[tuple[str, str, str], ...]:
    """Collect the date, git commit, durations, versions and the address of a run in MLflow."""
    project, names = context.project, context.selection.names
    timings = [timing for name in names if (timing := project.run(name).read_timing())]
    return (
        ("rendered", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), ""),
        ("git commit", _describe_commit(project.root), ""),
        ("trained for", _describe_durations([timing.seconds for timing in timings], len(names)), ""),
        ("processor", join_words(sorted({timing.processor for timing in timings})) or UNKNOWN_TIMES, ""),
        ("torch", join_words(sorted({timing.torch for timing in timings})) or UNKNOWN_TIMES, ""),
        ("Python", platform.python_version(), ""),
        ("MLflow", *_locate_in_mlflow(params, run, key, project)),
    )


def _locate_in_mlflow(params: Params, run: str, key: str, project: Project) -> tuple[str, str]:
    """Return where a run is in MLflow, in words, and the address of its page on the server (empty without a server)."""
    from pipeline.tracking.search import find_run_url

    try:
        address = find_run_url(params.tracking, key)
    except PipelineError as error:
        return str(error), ""
    where = run if address else project.make_command("ui")
    return f"{where}, experiment {params.tracking.experiment}", address or ""


def _describe_durations(seconds: list[float], count: int) -> str:
    if not seconds:
        return UNKNOWN_TIMES
    known = "" if len(seconds) == count else f" ({len(seconds)} of {count} runs)"
    each = f"{min(seconds):.0f} to {max(seconds):.0f} s per run, {sum(seconds) / 60:.1f} min in total"
    return each + known


def _describe_commit(root: Path) -> str:
    found = read_git_commit(root)
    if found == UNKNOWN:
        return "none: not a git repository"
    commit = found.removesuffix(DIRTY)
    return commit if commit == found else f"{commit}, with uncommitted changes"
