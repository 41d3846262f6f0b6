"""How to make the same numbers again."""

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
from pipeline.report import view, wording
from pipeline.report.live import LiveFact, live_facts
from pipeline.report.material import Material
from pipeline.report.selection import Chosen, leading


@dataclass(frozen=True)
class Command:
    """A command and what it does."""

    line: str
    effect: str


@dataclass(frozen=True)
class Reproduce:
    """How to make the numbers again."""

    commands: tuple[Command, ...]
    identity: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]  # sections, and the files that their numbers stand in
    live: tuple[LiveFact, ...]  # what differs though the numbers are the same; none on the grid's own page
    run: str
    problems: tuple[view.Card, ...]


_RUN, _SCORED = runs.RUNS / "<run>", runs.EVALUATION / "<run>"
SOURCES = (
    ("Findings", f"{runs.COMPARISON / runs.FINDINGS}"),
    ("Loss curves", f"{runs.COMPARISON / runs.CURVES}, out of {_RUN / runs.HISTORY}"),
    ("The grid, all runs, test", f"{runs.COMPARISON / runs.SUMMARY}, out of {_SCORED / runs.METRICS}"),
    ("Where it memorises", f"{runs.COMPARISON / runs.PARTS}, {_SCORED / runs.CALIBRATION}"),
    ("Examples", f"{_SCORED / runs.PER_IMAGE}, {_SCORED / runs.EXAMPLES}, {_RUN / runs.SHOWCASE_MASKS}"),
    ("The data", f"{runs.PREPARED / runs.SAMPLES}, {runs.PREPARED / runs.SURVEY}, {runs.PREPARED / runs.REJECTED}"),
)


def reproduce(params: Params, material: Material, chosen: Chosen, *, live: bool) -> Reproduce:
    """The commands, and what identifies the data and the best run; with `live`, what differs from time to time too."""
    here = material.root
    run = leading(material.summary, chosen) or chosen.rows[0].run
    problems = []
    identity: list[tuple[str, str]] = []
    key = ""
    parameters: list[tuple[str, str]] = []
    try:
        identity.append(("data fingerprint", material.data.fingerprint))
    except PipelineError as error:
        problems.append(view.Card.of("The data’s fingerprint is not known", error))
    try:
        record = material.record(run)
        key = record.key
        identity.append((f"run key of {run}", key))
        parameters = [
            ("precision", record.precision),
            ("trainable_parameters", wording.whole(record.trainable_parameters)),
            *wording.parameters(record.cell),
        ]
    except PipelineError as error:
        problems.append(view.Card.of(f"The parameters of {run} are not known", error))
    identity += [*_hashes(here, run)]
    return Reproduce(
        commands=_commands(params, here, run, chosen),
        identity=tuple(identity),
        parameters=tuple(parameters),
        sources=tuple((name, _below(here, files)) for name, files in SOURCES) if chosen.origin else SOURCES,
        live=live_facts(params, chosen, run, key, here) if live else (),
        run=run,
        problems=tuple(problems),
    )


def _commands(params: Params, here: Path, run: str, chosen: Chosen) -> tuple[Command, ...]:
    browse = Command(make("ui", here), "all runs in MLflow, to browse and compare")
    if chosen.origin:
        again = f"pipeline report --runs {shlex.quote(chosen.origin)}"
        return (Command(again, "this page, of what MLflow has by then"), browse)
    return (
        Command(_make_report(params, here), "everything that is not up to date, then this page"),
        Command(inside(here, "pipeline report --runs best"), "this page for the grid’s best run alone"),
        Command(inside(here, f"dvc repro train@{run}"), "this run, from the same data and parameters"),
        browse,
    )


def _below(folder: Path, files: str) -> str:
    return re.sub(r"(?=(?:comparison|runs|evaluation)/)", f"{folder}/", files)


def _make_report(params: Params, here: Path) -> str:
    # A study's data outside the project was named on the command line; whose folder it is does not belong on a page.
    test = params.data.test if isinstance(params.data, CompositesData) else None
    paths = [params.data.path, *([test.path] if test else [])]
    elsewhere = study_name(here) and any(Path(path).is_absolute() for path in paths)
    return make("report", here) + (" DATA=folder" if elsewhere else "")


def _hashes(root: Path, run: str) -> list[tuple[str, str]]:
    """DVC's MD5 of the prepared data and of the run, as far as it has recorded them."""
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
