"""Render the page on the data: what must be fixed, what to check, the classes, the prepared size, and the splits."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from pipeline.artifacts.prepared_data import SPLITS
from pipeline.artifacts.project import DATA_CHECK, Project
from pipeline.atomic_io import write_text
from pipeline.data_check.check_folder import DataCheck
from pipeline.data_check.class_sheets import ClassSheet, choose_class_images, show_class
from pipeline.data_check.duplicates import MAX_PAIRS, ImagePair, render_pairs
from pipeline.data_check.facts import Fact, list_facts, list_largest_groups
from pipeline.data_check.problems import Problems, build_problems
from pipeline.data_check.samples import render_samples, tabulate_valid
from pipeline.data_check.size_loss import SizeLoss, describe_size_loss
from pipeline.data_check.suspects import SuspectImages, find_suspects, show_suspects
from pipeline.params.data import Data
from pipeline.params.file import PARAMS_FILE
from pipeline.prepare.source import SourceData
from pipeline.report.render_html import render_html
from pipeline.report.sections.data_card import SplitOverview, build_split_overview
from pipeline.report.sections.data_files import SkippedFiles, describe_skipped
from pipeline.wording import escape_unprintable, join_words, pluralize

TEMPLATE = "data_check.html"
MAX_NOTICES = 40


@dataclass(frozen=True)
class Checks:
    """What only the owner of the data can judge."""

    notices: tuple[str, ...]
    more: str = ""  # number of further notices; empty if there are none
    pairs: tuple[ImagePair, ...] = ()  # near-duplicates that may be kept
    pairs_text: str = ""
    suspects: tuple[SuspectImages, ...] = ()
    skipped: SkippedFiles | None = None


@dataclass(frozen=True)
class SplitTable:
    """Counts of the splits, and their largest groups."""

    overview: SplitOverview
    folds: str  # number of images in each fold; empty without cross-validation
    groups: tuple[tuple[str, str, int, str], ...]  # factor, name, number of images, and splits
    groups_title: str


@dataclass(frozen=True)
class DataPage:
    """The content of the page. Without valid samples, it has only problems and notices."""

    title: str
    result: str
    facts: tuple[Fact, ...]
    problems: Problems | None
    checks: Checks
    steps: tuple[tuple[str, str], ...]  # command, and what it does
    classes: tuple[ClassSheet, ...] = ()
    size: SizeLoss | None = None
    splits: SplitTable | None = None
    is_stretched: bool = False  # whether the contrast of an image is increased


def write_data_page(check: DataCheck, project: Project, out: Path | None = None) -> Path:
    """Write the page on a folder, which may have errors.

    Args:
        check: The check of the folder.
        project: The project with the templates.
        out: The file to write; `reports/data-check.html` by default.

    Returns:
        The path of the page.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    path = out or project.root / DATA_CHECK
    html = render_html(TEMPLATE, build_page(check, project), project)
    # Names of files may contain bytes that are not UTF-8, which Python represents as surrogates.
    write_text(path, html.encode("utf-8", "backslashreplace").decode("utf-8"))
    return path


def build_page(check: DataCheck, project: Project) -> DataPage:
    """Build the content of the page."""
    report, section = check.report, check.section
    pairs = render_pairs(report.data, section) if report and section else []
    problems = build_problems(check, pairs)
    samples = tabulate_valid(report.data) if report else pd.DataFrame()
    notices = report.data.stats.notices if report else check.notices
    page = DataPage(
        title=f"Data check of {escape_unprintable(str(check.folder))}",
        result=_describe_result(problems, len(samples), len(notices)),
        facts=tuple(list_facts(check, samples)),
        problems=problems,
        checks=_build_checks(notices),
        steps=tuple(_list_steps(check, project)),
    )
    if report is None or section is None:
        return page
    wrong = [pair for problem in problems.of_files for pair in problem.pairs] if problems else []
    others = [pair for pair in pairs if pair not in wrong]
    return _add_samples(page, report.data, section, samples, others, project)


def _add_samples(
    page: DataPage,
    data: SourceData,
    section: Data,
    samples: pd.DataFrame,
    pairs: Sequence[ImagePair],
    project: Project,
) -> DataPage:
    """Add the sections that show valid samples."""
    suspects, classes = find_suspects(samples, data.classes), choose_class_images(samples, data.classes)
    views = {view for found in suspects for view in found.list_views()}
    views |= {view for one in classes for view in one.list_views()}
    thumbnails = render_samples(data, section, samples, views)
    skipped = pd.DataFrame([map(escape_unprintable, row) for row in data.skipped], columns=["id", "reason"])
    is_error = page.problems is not None
    checks = replace(
        page.checks,
        pairs=tuple(pairs),
        pairs_text=_describe_pairs(len(pairs), data),
        suspects=tuple(show_suspects(found, thumbnails) for found in suspects),
        skipped=None if is_error else describe_skipped(skipped, path=""),
    )
    return replace(
        page,
        checks=checks,
        classes=tuple(show_class(one, thumbnails) for one in classes) if len(samples) else (),
        size=describe_size_loss(data, section),
        splits=_build_splits(data, samples, project),
        is_stretched=any(thumbnail.stretched for thumbnail in thumbnails.values()),
    )


def _describe_result(problems: Problems | None, num_images: int, num_notices: int) -> str:
    notices = f"{pluralize(num_notices, 'notice needs', 'notices need')} your judgment." if num_notices else ""
    if problems is None:
        return f"No errors: {pluralize(num_images, 'image')} can be used. {notices}".strip()
    kinds = pluralize(problems.count, "problem")
    return f"{kinds} must be fixed before training. {notices}".strip()


def _build_checks(notices: Sequence[str]) -> Checks:
    rest = len(notices) - MAX_NOTICES
    return Checks(tuple(notices[:MAX_NOTICES]), f"and {rest:,} more" if rest > 0 else "")


def _describe_pairs(num_shown: int, data: SourceData) -> str:
    """Describe the pairs of near-duplicates; the text is empty if none are shown."""
    if not num_shown:
        return ""
    alike = pluralize(data.stats.duplicates, "image looks", "images look")
    texts = [f"{alike} the same as another one in the same split."] if data.stats.duplicates else []
    if len(data.duplicates) > MAX_PAIRS:
        texts.append(f"The first {MAX_PAIRS} of {len(data.duplicates):,} pairs are shown.")
    return " ".join(
        [*texts, "If related images must stay together, give them the same group; see docs/how-to/choose-splits.md."]
    )


def _build_splits(data: SourceData, samples: pd.DataFrame, project: Project) -> SplitTable | None:
    """Build the table of the splits; None if no split has an image."""
    if not samples["split"].isin(SPLITS).any():
        return None
    folds = samples.loc[samples["fold"] != "", "fold"].astype(int).value_counts().sort_index()
    groups, num_groups = list_largest_groups(samples)
    return SplitTable(
        overview=build_split_overview(samples, data.classes, data.folds, project),
        folds=join_words([f"{count:,} in fold {fold}" for fold, count in folds.items()]),
        groups=tuple(groups),
        groups_title="Groups" if len(groups) == num_groups else f"The {len(groups)} largest of {num_groups:,} groups",
    )


def _list_steps(check: DataCheck, project: Project) -> Iterator[tuple[str, str]]:
    """List the commands to run next, with what they do."""
    folder = shlex.quote(str(check.folder))
    if check.origin != str(PARAMS_FILE) and check.section is not None:
        yield f"pipeline init {folder}", "writes params.yaml, in which the keys of the data section can be changed"
    if check.error is not None:
        yield f"pipeline data check {folder} --html", "checks the folder again and renews this page"
    else:
        yield project.make_command("report"), "trains the grid on these images, and renders the learning report"
