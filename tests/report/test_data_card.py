"""The data card: what the prepared files say of themselves."""

from __future__ import annotations

import html as entities
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
from playwright.sync_api import Browser

from pipeline.artifacts.prepared_data import SPLITS, DatasetStats, PreparedData
from pipeline.artifacts.project import COMPARISON, EVALUATION, PREPARED, RUNS, Project
from pipeline.atomic_io import as_json, write_text
from pipeline.imaging import IGNORE
from pipeline.prepare.data_issues import DataIssue, IssueKind
from pipeline.report.context import ReportContext
from pipeline.report.html import render_html
from pipeline.report.render_report import Page, RunSource, Section, render_report
from pipeline.report.run_selection import select_runs
from pipeline.report.sections.authors import TeamResults
from pipeline.report.sections.data_card import build_data_card, draw_class_shares
from pipeline.report.sections.data_files import describe_files, describe_skipped
from pipeline.report.sections.header import build_header
from pipeline.report.sections.split_leakage import find_split_leakage
from tests.report.test_browser import CHROMIUM, browser, opened  # noqa: F401
from tests.report.test_render_report import cards, part, rendered

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject


@pytest.fixture
def project(make_project: type[ReportProject], tmp_path: Path) -> ReportProject:
    """A grid of one run: the data are what matters."""
    return make_project(tmp_path, variants=("unet",), rates=(0.001,), seeds=(0,), diverged="")


def section(project: ReportProject) -> str:
    """The section in a page of nothing else, which takes less time than the whole one."""
    context = ReportContext(Project(project.root))
    above = build_header(project.params, context, select_runs(context.summary, None))
    alone = Page(above, (Section("data", "The data", build_data_card(context)),))
    return part(render_html("page.html", alone, Project(project.root)), "data")


def card(project: ReportProject) -> str:
    """The section as a person reads it: without tags, white space run together."""
    text = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", section(project), flags=re.DOTALL)
    return re.sub(r"\s+([.,:;])", r"\1", " ".join(entities.unescape(text).split()))


def edit(project: ReportProject, **columns: Sequence[object]) -> pd.DataFrame:
    """Overwrite columns of samples.csv; a shorter list its first rows only."""
    path = project.root / PREPARED / PreparedData.SAMPLES
    table = pd.read_csv(path, dtype={"groups": str}, keep_default_na=False)
    for name, values in columns.items():
        table[name] = [*values, *table[name][len(values) :]]
    table.to_csv(path, index=False)
    return table


def survey(project: ReportProject, **changes: object) -> None:
    plain = DatasetStats({"RGB": 15}, 0, 0, 0, 0, ()).__dict__
    write_text(project.root / PREPARED / PreparedData.STATS, as_json({**plain, **changes}))


def test_the_card_counts_what_was_prepared(project: ReportProject) -> None:
    text = card(project)
    assert "14 images in total, and 1 for the showcase, each of 32 × 32 pixels." in text
    assert "No image and no group is in more than one split." in text
    assert "Training Validation Test Images 6 4 4 Images without foreground 0 0 0 Groups: animal 6 4 4" in text
    masks = {split: np.load(project.root / PREPARED / split / PreparedData.MASKS) for split in SPLITS}
    pixels = [int((mask != IGNORE).sum()) for mask in masks.values()]
    assert "Evaluated pixels " + " ".join(f"{count:,}".replace(",", " ") for count in pixels) in text
    for place, item in enumerate(project.classes):
        shares = [
            f"{100 * (mask == place).sum() / count:.1f} %" for mask, count in zip(masks.values(), pixels, strict=True)
        ]
        assert f"{place + 1} {item.name} {' '.join(shares)}" in text


def test_the_card_stands_before_how_to_reproduce_on_every_page(project: ReportProject) -> None:
    for selection in (None, "best"):
        html = rendered(project, selection)
        assert re.findall(r'<section id="(.*?)">', html)[-2:] == ["data", "reproduce"]
        assert '<a href="#data">The data</a>' in html
        assert cards(html) == []


def test_images_without_foreground_are_counted_in_each_split(make_project: type[ReportProject], tmp_path: Path) -> None:
    def without(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.full((size, size), IGNORE if row == 1 else 1, np.uint8)
        mask[:, 0] = 1
        mask[0, 1] = 0 if (split, row) in {("train", 2), ("validation", 3)} else 2  # a pixel is enough
        return np.zeros((size, size, 3), np.uint8), mask

    project = make_project(tmp_path, paint=without)
    (project.root / PREPARED / PreparedData.STATS).unlink()  # the samples themselves tell
    assert "Images without foreground 5 3 4" in card(project)


def test_without_prepared_data_there_is_no_card(project: ReportProject, tmp_path: Path) -> None:
    """As of runs that MLflow has, where nobody prepared the data on this machine."""
    folder = tmp_path / "fetched"
    for name in (RUNS, EVALUATION, COMPARISON):
        shutil.copytree(project.root / name, folder / name)
    source = RunSource(folder, "mlflow:latest", TeamResults((), "anna"))
    page = render_report(project.params, None, tmp_path / "page.html", Project(project.root), source=source)
    assert 'id="data"' not in page.path.read_text(encoding="utf-8")
    shutil.copytree(project.root / PREPARED, folder / PREPARED)
    page = render_report(project.params, None, tmp_path / "page.html", Project(project.root), source=source)
    assert 'id="data"' in page.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("id", ["validation-0001"], "1 image is in more than one split.* image validation-0001: in training and v"),
        ("sha256", ["0", *"123456", "0"], "1 image is .* image train-0000 = validation-0001: in training and vali"),
        ("groups", ["animal=test 2", "animal=x", "animal=x"], "1 group is .* animal test 2: in training and test"),
        ("groups", ["animal=showcase 0"], "1 group is in .* animal showcase 0: in training and the showcase"),
        ("groups", ["a=x;animal=test 1", "", "animal=test 2"], "2 groups are in more than one split"),
    ],
)
def test_splits_that_share_something_are_told_loudly(
    project: ReportProject, column: str, values: list[str], words: str
) -> None:
    edit(project, **{column: values})
    text = card(project)
    assert text.startswith("The data Data leakage between splits.")
    assert re.search(words, text)
    assert "No image" not in text
    assert "leaks training data into evaluation" in text


def test_a_page_whose_splits_share_something_begins_with_that(project: ReportProject) -> None:
    edit(project, id=["validation-0001"])
    assert re.findall(r'<section id="(.*?)">', rendered(project))[:2] == ["data", "notes"]


ENDS = st.sampled_from(["", ";b", "=c", " d"])


@given(st.lists(st.tuples(st.sampled_from(SPLITS), st.sampled_from("abcdef"), ENDS)))
@settings(max_examples=60, deadline=None)
def test_splits_are_disjoint_where_no_group_is_in_two(rows: list[tuple[str, str, str]]) -> None:
    names = [name + end for _, name, end in rows]
    groups = [f"kind={name};other=o{place}" for place, name in enumerate(names)]
    ids = [str(place) for place in range(len(rows))]
    samples = pd.DataFrame(
        {"id": ids, "split": [split for split, *_ in rows], "groups": groups, "sha256": ids}, dtype=str
    )
    shared = {
        one for one in names if len({split for (split, *_), other in zip(rows, names, strict=True) if other == one}) > 1
    }
    found = find_split_leakage(samples)
    assert {group.name for group in found.groups} <= shared if found else not shared


def test_images_without_groups_are_said_to_have_none(project: ReportProject) -> None:
    edit(project, groups=[""] * 15)
    text = card(project)
    assert "the images have no groups" in text
    assert "Groups" not in text


def test_names_that_a_table_reader_could_take_for_nothing_are_names(project: ReportProject) -> None:
    edit(project, groups=["group=NA", "NA", "group=nan"], id=["NA", "nan", "null"])
    assert "Groups 2 0 0" in card(project)


def test_sizes_are_those_of_the_originals(project: ReportProject) -> None:
    edit(project, height=[90, 3000, *[375] * 9, *[500] * 3, 1], width=[120, 4000, *[500] * 9, *[375] * 3, 1])
    text = card(project)
    assert "The originals have 4 sizes, from 120 × 90 to 4000 × 3000 pixels" in text  # the showcase is in no split
    assert "most often 500 × 375 (64.3 %)." in text


def test_classes_of_next_to_no_pixels_are_named(project: ReportProject) -> None:
    assert "Nearly empty" not in card(project)
    two = round(2 / (32 * 32 - 1), 6)  # as it is written; one pixel is ignored
    edit(project, share_border=[two, *[0.0] * 9])
    text = card(project)
    assert "Less than 0.1 % of a split’s pixels: border (2 in training)." in text
    assert "Missing from a split: border (validation)." in text
    assert re.search(r"3 border < 0\.1 % 0\.0 % \d", text)


def test_missing_statistics_are_a_notice_and_the_rest_is_shown(project: ReportProject) -> None:
    (project.root / PREPARED / PreparedData.STATS).unlink()
    html = section(project)
    assert cards(html) == ["The files are not described."]
    assert "stored" not in html
    assert "2 files were skipped" in html


def test_the_survey_is_told(project: ReportProject) -> None:
    survey(project, formats={"palette": 2, "RGB": 1300}, rotated=3, transparent=1, compared=1302)
    text = card(project)
    assert "1 302 images were read from files, stored as RGB (1 300) and palette (2). 3 were rotated" in text
    assert "as the EXIF orientation says; 1 has transparent parts, which became black." in text
    assert "Of 1 302 images that were compared, no two are near-duplicates." in text
    survey(project, compared=80, duplicates=12, first_duplicates=[[f"a{n}", f"b{n}"] for n in range(10)])
    text = card(project)
    assert "15 images were read from files, all stored as RGB. None needed rotation; none has tra" in text
    assert "Of 80 images that were compared, 12 are near-duplicates of another one in the same split" in text
    assert "there are none across splits. The first 10 pairs a0 and b0" in text


def test_of_images_that_were_made_and_not_found_nothing_is_said_about_files(project: ReportProject) -> None:
    assert describe_files(DatasetStats({}, 0, 0, 0, 0, ())) is None
    survey(project, formats={})
    (project.root / PREPARED / PreparedData.SKIPPED).write_text("id,reason\n")
    assert "Files" not in card(project)


def test_what_was_set_aside_is_counted_by_reason() -> None:
    faults = [DataIssue(IssueKind.LOOKS_ALIKE, f"x{n}", f"images/x: {n}.png", "in train") for n in range(1_025)]
    rows = [("odd", "shares its group 'day: 1' with the showcase image y"), *((f.id, f.reason) for f in faults)]
    rows += [(f"y{n}", f"reason {n}") for n in range(12)]
    found = describe_skipped(pd.DataFrame(rows, columns=["id", "reason"]))
    assert found is not None
    assert found.title == "1\u00a0038 files were skipped"
    first, second, *_ = found.reasons
    assert (first.text, first.count, first.more) == (IssueKind.LOOKS_ALIKE.reason, "1\u00a0025", "1\u00a0020 more")
    assert first.files == tuple(f"images/x: {n}.png (in train)" for n in range(5))
    assert (second.text, second.count, second.files) == (rows[0][1], "1", ("odd",))
    assert (len(found.reasons), found.more) == (10, "4 further reasons")
    assert describe_skipped(pd.DataFrame(columns=["id", "reason"])) is None


@pytest.mark.parametrize("kind", list(IssueKind))
def test_the_reasons_that_prepare_writes_are_told_apart_from_the_files(kind: IssueKind) -> None:
    skipped = pd.DataFrame(
        [(name, DataIssue(kind, name, name).reason) for name in ("a", "b: c'd")], columns=["id", "reason"]
    )
    found = describe_skipped(skipped)
    assert found is not None
    assert [(reason.text, reason.files) for reason in found.reasons] == [(kind.reason, ("a", "b: c'd"))]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        (PreparedData.SAMPLES, "The data: missing."),
        (PreparedData.STATS, "The files are not described."),
        (PreparedData.SKIPPED, "Skipped files are not listed."),
        (f"test/{PreparedData.MASKS}", "No example images."),
    ],
)
def test_a_broken_file_becomes_a_card_that_names_it(project: ReportProject, name: str, title: str) -> None:
    (project.root / PREPARED / name).write_text("{[\n")
    html = rendered(project)
    assert title in cards(html)
    assert f"{PREPARED / name} " in part(html, "data")
    assert str(project.root) not in html


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (2, "The first of two channels"),
        (5, "The first three of 5 channels"),
    ],
)
def test_a_page_of_16_bits_and_any_channels(
    make_project: type[ReportProject], tmp_path: Path, channels: int, words: str
) -> None:
    rng = np.random.default_rng(0)

    def deep(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.indices((size, size)).sum(0).astype(np.uint8) % 3
        return rng.integers(0, 4000, (size, size, channels), np.uint16), mask

    project = make_project(tmp_path, paint=deep)
    html = section(project)
    assert cards(html) == []
    assert words in html
    assert "The contrast of images with 16 bits" in html
    assert "As prepared, 32 × 32 pixels." in html
    assert "Gray pixels" not in html


def test_bars_have_their_classes_colours_and_numbers() -> None:
    shares = {"training": (0.6, 0.39, 0.01), "test": (0.0, 1.0, 0.0)}
    drawn = str(draw_class_shares(shares, ["#023e8a", "#ffffff", "#e9dfc7"], Project(Path(__file__).parents[2])))
    assert "--rate" not in drawn  # what #02.... stands for in other figures
    assert "#033e8a" in drawn
    assert re.findall(r"<text[^>]*>([1-9])</text>", drawn) == ["1", "2", "2"]  # there is no room for a number in 1 %


LONG = "very_long_" * 25 + "12345"  # 255 bytes
HARM = "<script>document.title = 'harmed'</script>\n\"'🐕\u202egnorts"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; install it to test the page in one")
@pytest.mark.parametrize("width", [400, 1200])
def test_names_of_any_kind_stay_text_and_within_the_page(
    browser: Browser,  # noqa: F811
    project: ReportProject,
    width: int,
) -> None:
    ids = [LONG, HARM]
    edit(project, id=ids, groups=[f"animal={LONG}", f"animal={HARM}", "animal=test 1", f"animal={LONG}-"])
    survey(project, formats={HARM: 1, LONG: 2}, compared=9, duplicates=2, first_duplicates=[ids, ids])
    skipped = pd.DataFrame({"id": ids * 6, "reason": [HARM, LONG, "is no image"] * 4})
    skipped.to_csv(project.root / PREPARED / PreparedData.SKIPPED, index=False)
    edit(project, share_border=[0.0001] * 6)
    page, complaints = opened(
        browser,
        render_report(project.params, project=Project(project.root)).path,
        viewport={"width": width, "height": 800},
    )
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
    assert max(heights) <= 2 * min(heights) + 1  # two lines, however long the name
    assert " ".join(HARM.split()) in " ".join(section.locator("details").last.inner_text().split())
    assert page.title() != "harmed"
    assert page.locator("script").count() == 1
    assert complaints == []
