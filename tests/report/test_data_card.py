"""The data card: counts, leaks, sizes and statistics of the prepared data."""

from __future__ import annotations

import html as entities
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.leaderboard import TeamResults
from pipeline.artifacts.prepared_data import SPLITS, DatasetStats, PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.atomic_io import to_json, write_text
from pipeline.imaging import IGNORE
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.report.figures.class_shares import draw_class_shares
from pipeline.report.render_html import render_html
from pipeline.report.sections.data_card import build_data_card
from pipeline.report.sections.data_files import describe_files, describe_skipped
from pipeline.report.sections.header import build_header
from pipeline.report.sections.split_leakage import find_split_leakage
from pipeline.report.write_report import Page, RunSource, Section, write_report
from tests.chromium import open_page
from tests.report.test_write_report import get_section, list_notices, render

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.report.conftest import ReportProject


@pytest.fixture
def project(make_project: type[ReportProject], tmp_path: Path) -> ReportProject:
    """A project with a single run, to render the page quickly."""
    return make_project(tmp_path, variants=("unet",), learning_rates=(0.001,), seeds=(0,), diverged="")


def render_section(project: ReportProject) -> str:
    """Render a page with only the data section, which is faster than the whole page."""
    context = project.create_context()
    header = build_header(project.params, context)
    page = Page(header, (Section("data", "The data", build_data_card(context)),))
    return get_section(render_html("page.html", page, Project(project.root)), "data")


def render_text(project: ReportProject) -> str:
    """Render the section as text: without tags and with collapsed white space."""
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", render_section(project), flags=re.DOTALL)
    return re.sub(r"\s+([.,:;])", r"\1", " ".join(entities.unescape(text).split()))


def edit_samples(project: ReportProject, **columns: Sequence[object]) -> pd.DataFrame:
    """Overwrite columns of samples.csv; a shorter list overwrites only the first rows."""
    path = project.root / PREPARED / PreparedData.SAMPLES
    table = pd.read_csv(path, dtype={"groups": str}, keep_default_na=False)
    for name, values in columns.items():
        table[name] = [*values, *table[name][len(values) :]]
    table.to_csv(path, index=False)
    return table


def write_stats(project: ReportProject, **changes: object) -> None:
    default = DatasetStats({"RGB": 15}, 0, 0, 0, 0, ()).__dict__
    write_text(project.root / PREPARED / PreparedData.STATS, to_json({**default, **changes}))


def test_card_has_the_counts_of_the_prepared_data(project: ReportProject) -> None:
    text = render_text(project)
    assert "14 images in total, and 1 for the showcase, each of 32 × 32 pixels." in text
    assert "No image and no group is in more than one split." in text
    assert "Training Validation Test Images 6 4 4 Images without foreground 0 0 0 Groups: animal 6 4 4" in text
    masks = {split: np.load(project.root / PREPARED / split / PreparedData.MASKS) for split in SPLITS}
    pixels = [int((mask != IGNORE).sum()) for mask in masks.values()]
    assert "Evaluated pixels " + " ".join(f"{count:,}" for count in pixels) in text
    for index, item in enumerate(project.classes):
        shares = [
            f"{100 * (mask == index).sum() / count:.1f}%" for mask, count in zip(masks.values(), pixels, strict=True)
        ]
        assert f"{index + 1} {item.name} {' '.join(shares)}" in text


def limit_training_images(project: ReportProject, variant: str, count: int) -> None:
    for path in (project.root / "runs").glob(f"{variant}-*/run.json"):
        record = json.loads(path.read_text())
        record["cell"]["max_train_images"] = count
        path.write_text(json.dumps(record))


def test_header_and_card_state_how_many_training_images_runs_use(
    make_project: type[ReportProject], tmp_path: Path
) -> None:
    project = make_project(tmp_path, learning_rates=(0.001,), seeds=(0,), diverged="")
    assert "training images" not in render_text(project) + describe_data(project)
    limit_training_images(project, "unet", 4)
    limited = "Not all runs are trained on all training images: unet on 4."
    assert limited in render_text(project)
    assert describe_data(project).endswith(limited)
    limit_training_images(project, "unet_no_skip", 4)
    for text in (render_text(project), describe_data(project)):
        assert "Each run is trained on 4 of the training images." in text


def describe_data(project: ReportProject) -> str:
    return build_header(project.params, project.create_context()).data


def test_card_is_above_how_to_reproduce(project: ReportProject) -> None:
    for selection in (None, "best"):
        html = render(project, selection)
        assert re.findall(r'<section id="(.*?)">', html)[-2:] == ["data", "reproduce"]
        assert '<a href="#data">The data</a>' in html
        assert list_notices(html) == []


def test_images_without_foreground_are_counted_in_each_split(make_project: type[ReportProject], tmp_path: Path) -> None:
    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.full((size, size), IGNORE if row == 1 else 1, np.uint8)
        mask[:, 0] = 1
        mask[0, 1] = 0 if (split, row) in {("train", 2), ("validation", 3)} else 2  # one pixel is enough
        return np.zeros((size, size, 3), np.uint8), mask

    project = make_project(tmp_path, paint=paint)
    (project.root / PREPARED / PreparedData.STATS).unlink()  # the counts come from samples.csv
    assert "Images without foreground 5 3 4" in render_text(project)


def test_report_without_prepared_data_has_no_card(project: ReportProject, tmp_path: Path) -> None:
    """Runs from MLflow may be rendered on a machine without the data."""
    folder = tmp_path / "fetched"
    for name in (RUNS, EVALUATION, COMPARISON):
        shutil.copytree(project.root / name, folder / name)
    source = RunSource(folder, "mlflow:latest", TeamResults((), "anna"))
    page = write_report(project.params, None, tmp_path / "page.html", Project(project.root), source=source)
    assert 'id="data"' not in page.path.read_text(encoding="utf-8")
    shutil.copytree(project.root / PREPARED, folder / PREPARED)
    page = write_report(project.params, None, tmp_path / "page.html", Project(project.root), source=source)
    assert 'id="data"' in page.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "values", "pattern"),
    [
        ("id", ["validation-0001"], "1 image is in more than one split.* image validation-0001: in training and v"),
        ("sha256", ["0", *"123456", "0"], "1 image is .* image train-0000 = validation-0001: in training and vali"),
        ("groups", ["animal=test 2", "animal=x", "animal=x"], "1 group is .* animal test 2: in training and test"),
        ("groups", ["animal=showcase 0"], "1 group is in .* animal showcase 0: in training and the showcase"),
        ("groups", ["a=x;animal=test 1", "", "animal=test 2"], "2 groups are in more than one split"),
    ],
)
def test_leakage_between_splits_is_reported_first(
    project: ReportProject, column: str, values: list[str], pattern: str
) -> None:
    edit_samples(project, **{column: values})
    text = render_text(project)
    assert text.startswith("The data Data leakage between splits.")
    assert re.search(pattern, text)
    assert "No image" not in text
    assert "leaks training data into evaluation" in text


def test_page_with_leakage_starts_with_the_card(project: ReportProject) -> None:
    edit_samples(project, id=["validation-0001"])
    assert re.findall(r'<section id="(.*?)">', render(project))[:2] == ["data", "notes"]


ENDS = st.sampled_from(["", ";b", "=c", " d"])


@given(st.lists(st.tuples(st.sampled_from(SPLITS), st.sampled_from("abcdef"), ENDS)))
@settings(max_examples=60, deadline=None)
def test_split_leakage_is_found_only_for_groups_in_two_splits(rows: list[tuple[str, str, str]]) -> None:
    names = [name + end for _, name, end in rows]
    groups = [f"kind={name};other=o{index}" for index, name in enumerate(names)]
    ids = [str(index) for index in range(len(rows))]
    samples = pd.DataFrame(
        {"id": ids, "split": [split for split, *_ in rows], "groups": groups, "sha256": ids}, dtype=str
    )
    shared = {
        name
        for name in names
        if len({split for (split, *_), other in zip(rows, names, strict=True) if other == name}) > 1
    }
    leakage = find_split_leakage(samples)
    assert {name for _, name, _ in leakage.groups} <= shared if leakage else not shared


def test_images_without_groups_are_reported(project: ReportProject) -> None:
    edit_samples(project, groups=[""] * 15)
    text = render_text(project)
    assert "No groups are declared" in text
    assert "Groups" not in text


def test_names_like_na_and_nan_are_kept(project: ReportProject) -> None:
    edit_samples(project, groups=["group=NA", "NA", "group=nan"], id=["NA", "nan", "null"])
    assert "Groups 2 0 0" in render_text(project)


def test_sizes_are_those_of_the_originals(project: ReportProject) -> None:
    edit_samples(project, height=[90, 3000, *[375] * 9, *[500] * 3, 1], width=[120, 4000, *[500] * 9, *[375] * 3, 1])
    text = render_text(project)
    assert "The originals have 4 sizes, from 120 × 90 to 4000 × 3000 pixels" in text  # the showcase is in no split
    assert "most often 500 × 375 (64.3%)." in text


def test_rare_and_missing_classes_are_named(project: ReportProject) -> None:
    assert "Nearly empty" not in render_text(project)
    fraction = round(2 / (32 * 32 - 1), 6)  # rounded as in the file; one pixel is ignored
    edit_samples(project, share_border=[fraction, *[0.0] * 9])
    text = render_text(project)
    assert "less than 0.1% of a split’s pixels: border (2 in training)." in text
    assert "missing from a split: border (validation)." in text
    assert re.search(r"3 border < 0\.1% 0\.0% \d", text)


def test_missing_statistics_are_a_notice(project: ReportProject) -> None:
    (project.root / PREPARED / PreparedData.STATS).unlink()
    html = render_section(project)
    assert list_notices(html) == ["The files are not described."]
    assert "stored" not in html
    assert "2 files were skipped" in html


def test_card_describes_the_files(project: ReportProject) -> None:
    write_stats(project, formats={"palette": 2, "RGB": 1300}, rotated=3, transparent=1, compared=1302)
    text = render_text(project)
    assert "1,302 images were read from files, stored as RGB (1,300) and palette (2). 3 were rotated" in text
    assert "according to EXIF orientation; 1 has transparent parts, which became black." in text
    assert "Of 1,302 images that were compared, no two are near-duplicates." in text
    write_stats(project, compared=80, duplicates=12, first_duplicates=[[f"a{n}", f"b{n}"] for n in range(10)])
    text = render_text(project)
    assert "15 images were read from files, all stored as RGB. None needed rotation; none has tra" in text
    assert "Of 80 images that were compared, 12 are near-duplicates of another image in the same split" in text
    assert "there are none across splits. The first 10 pairs a0 and b0" in text


def test_generated_images_have_no_description_of_files(project: ReportProject) -> None:
    assert describe_files(DatasetStats({}, 0, 0, 0, 0, ())) is None
    write_stats(project, formats={})
    (project.root / PREPARED / PreparedData.SKIPPED).write_text("id,reason\n")
    assert "Files" not in render_text(project)


def test_skipped_files_are_counted_by_reason() -> None:
    issues = [DataIssue(IssueKind.LOOKS_ALIKE, f"x{n}", f"images/x: {n}.png", "in train") for n in range(1_025)]
    rows = [
        ("odd", "shares its group 'day: 1' with the showcase image y"),
        *((issue.id, issue.reason) for issue in issues),
    ]
    rows += [(f"y{n}", f"reason {n}") for n in range(12)]
    description = describe_skipped(pd.DataFrame(rows, columns=["id", "reason"]))
    assert description is not None
    assert description.title == "1,038 files were skipped"
    first, second, *_ = description.reasons
    assert (first.text, first.count, first.more) == (IssueKind.LOOKS_ALIKE.reason, "1,025", "1,020 more")
    assert first.files == tuple(f"images/x: {n}.png (in train)" for n in range(5))
    assert (second.text, second.count, second.files) == (rows[0][1], "1", ("odd",))
    assert (len(description.reasons), description.more) == (10, "4 further reasons")
    assert describe_skipped(pd.DataFrame(columns=["id", "reason"])) is None


@pytest.mark.parametrize("kind", list(IssueKind))
def test_describe_skipped_separates_reasons_from_files(kind: IssueKind) -> None:
    skipped = pd.DataFrame(
        [(name, DataIssue(kind, name, name).reason) for name in ("a", "b: c'd")], columns=["id", "reason"]
    )
    description = describe_skipped(skipped)
    assert description is not None
    assert [(reason.text, reason.files) for reason in description.reasons] == [(kind.reason, ("a", "b: c'd"))]


@pytest.mark.parametrize(
    "titles",
    [
        {PreparedData.SAMPLES: "The data: missing."},
        {
            PreparedData.STATS: "The files are not described.",
            PreparedData.SKIPPED: "Skipped files are not listed.",
            f"test/{PreparedData.MASKS}": "No example images.",
        },
    ],
    ids=["samples", "others"],
)
def test_invalid_files_are_notices_with_their_names(project: ReportProject, titles: dict[str, str]) -> None:
    for name in titles:
        (project.root / PREPARED / name).write_text("{[\n")
    html = render(project)
    assert set(titles.values()) <= set(list_notices(html))
    for name in titles:
        assert f"{PREPARED / name} " in get_section(html, "data")
    assert str(project.root) not in html


@pytest.mark.parametrize(
    ("channels", "pattern"),
    [
        (2, "The first of two channels"),
        (5, "The first three of 5 channels"),
    ],
)
def test_card_of_16_bit_images_with_any_channels(
    make_project: type[ReportProject], tmp_path: Path, channels: int, pattern: str
) -> None:
    rng = np.random.default_rng(0)

    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.indices((size, size)).sum(0).astype(np.uint8) % 3
        return rng.integers(0, 4000, (size, size, channels), np.uint16), mask

    project = make_project(tmp_path, paint=paint)
    html = render_section(project)
    assert list_notices(html) == []
    assert pattern in html
    assert "the contrast of 16-bit, dark and low-contrast images" in html
    assert "As prepared, 32 × 32 pixels." in html
    assert "Gray pixels" not in html


def test_class_bars_have_colors_and_numbers() -> None:
    shares = {"training": (0.6, 0.39, 0.01), "test": (0.0, 1.0, 0.0)}
    figure = str(draw_class_shares(shares, ["#023e8a", "#ffffff", "#e9dfc7"], Project(Path(__file__).parents[2])))
    assert "--rate" not in figure  # the placeholder that replaces #02.... in other figures
    assert "#033e8a" in figure
    assert re.findall(r"<text[^>]*>([1-9])</text>", figure) == ["1", "2", "2"]  # a bar of 1% has no space for a number


LONG = "very_long_" * 25 + "12345"  # 255 bytes
HARM = "<script>document.title = 'harmed'</script>\n\"'🐕\u202egnorts"


def test_names_stay_text_and_within_the_page(browser: Browser, project: ReportProject) -> None:
    ids = [LONG, HARM]
    edit_samples(project, id=ids, groups=[f"animal={LONG}", f"animal={HARM}", "animal=test 1", f"animal={LONG}-"])
    write_stats(project, formats={HARM: 1, LONG: 2}, compared=9, duplicates=2, first_duplicates=[ids, ids])
    skipped = pd.DataFrame({"id": ids * 6, "reason": [HARM, LONG, "is no image"] * 4})
    skipped.to_csv(project.root / PREPARED / PreparedData.SKIPPED, index=False)
    edit_samples(project, share_border=[0.0001] * 6)
    report = write_report(project.params, project=Project(project.root)).path
    for width in (400, 1200):
        check_names(browser, report, width)


def check_names(browser: Browser, report: Path, width: int) -> None:
    """Check that the long and the hostile name are shown as text within this width."""
    page, console_messages = open_page(browser, report, viewport={"width": width, "height": 800})
    section = page.locator("#data")
    for summary in section.locator("summary").all():
        summary.click()
    assert section.locator("details[open]").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") == width
    edges = section.evaluate(
        """section => Math.max(...[...section.querySelectorAll('li, p, td, th, figure, img, summary')]
           .map(part => part.getBoundingClientRect().right))"""
    )
    assert edges <= width
    assert section.locator(".sheet .id").nth(1).get_attribute("title") == HARM
    assert section.locator(".sheet .id").nth(0).inner_text() == LONG
    heights = {round(box["height"]) for item in section.locator(".sheet .id").all() if (box := item.bounding_box())}
    assert max(heights) <= 2 * min(heights) + 1  # at most two lines for any name
    assert " ".join(HARM.split()) in " ".join(section.locator("details").last.inner_text().split())
    assert page.title() != "harmed"
    assert page.locator("script").count() == 1
    assert console_messages == []
