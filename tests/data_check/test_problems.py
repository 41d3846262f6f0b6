"""The page of `pipeline data check --html` on folders with issues: it is written, and shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.artifacts.project import DATA_CHECK, Project
from pipeline.data_check.check_folder import DataCheck
from pipeline.data_check.file_thumbnails import FileThumbnails
from pipeline.data_check.page import write_data_page
from pipeline.data_check.problems import MAX_LISTED, MAX_SHOWN
from pipeline.errors import PipelineError
from pipeline.prepare.data_issues import DataIssue, InvalidFilesError, IssueKind
from tests.data_check.conftest import CheckPage, WrittenPage, link_templates
from tests.prepare.conftest import MASK, create_image, write_folder_params, write_splits
from tests.prepare.corpus import BROKEN_CASES, Case


def choose_cases() -> dict[IssueKind, Case]:
    """Choose a case of the corpus for each kind of issue that it has, which is printed as in the page's titles."""
    return {
        kind: case
        for kind in IssueKind
        for case in BROKEN_CASES[::-1]
        if f"1 {kind.singular}" in case.message or f" {kind.plural}" in case.message
    }


@pytest.mark.parametrize(("kind", "case"), choose_cases().items(), ids=lambda one: getattr(one, "name", None))
def test_page_shows_each_kind_of_issue(
    check_page: CheckPage, cells: Path, tmp_path: Path, kind: IssueKind, case: Case
) -> None:
    case.change(cells)
    write_folder_params(tmp_path, case.section)
    page = check_page()
    assert page.exit_code == 1
    titles = page.list_titles("fix")
    assert any(kind.singular in title or kind.plural in title for title in titles), titles
    assert "pipeline data check cells --html" in page.read_text("next")
    assert "must be fixed before training" in page.read_text()


def test_undeclared_values_are_highlighted_in_the_mask(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    mask = MASK.copy()
    mask[4:8, 4:8] = 9
    Image.fromarray(mask).save(cells / "masks/cell3.png")
    write_folder_params(tmp_path, {})
    page = check_page()
    image, marked = page.list_alt_texts("fix")
    assert (image, marked) == (
        "Image images/cell3.png",
        "Mask masks/cell3.png, with undeclared values highlighted",
    )
    pixels = page.open_image("fix", marked)
    is_orange = (pixels[..., 0] > 200) & (pixels[..., 1] < 100)
    assert pixels.shape[:2] == mask.shape
    np.testing.assert_array_equal(is_orange, mask == 9)


def test_copies_across_splits_are_shown_as_pairs(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    create_image(1).save(cells / "images/cell2.png")  # cell1 is for training, cell2 for validation
    create_image(1).save(cells / "images/cell4.png")  # for training
    write_folder_params(tmp_path, {})
    page = check_page()
    assert page.list_titles("fix") == ["2 images that look the same as one in another split"]
    assert page.list_alt_texts("fix") == ["Image cell1", "Image cell2", "Image cell4", "Image cell2"]
    assert page.read_text("fix").count("in different splits") == 2
    skipping = {"on_invalid": "skip"}
    write_folder_params(tmp_path, skipping)
    page = check_page()
    assert (page.exit_code, page.has_section("fix")) == (0, False)
    assert page.list_titles("check")[:1] == ["Near-duplicates"]
    assert "2 files were skipped" in page.read_text("check")
    assert "left out of train, because validation contains the same image" in page.read_text("check")


def test_copies_within_a_split_are_no_error(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    create_image(1).save(cells / "images/cell4.png")
    write_folder_params(tmp_path, {})
    page = check_page()
    assert page.exit_code == 0
    assert page.list_alt_texts("check")[:2] == ["Image cell1", "Image cell4"]
    assert "in different splits" not in page.read_text("check")


def test_many_issues_of_a_kind_are_cut_and_counted(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    count = MAX_LISTED + 20
    for index in range(count):
        create_image(index, (8, 8)).save(cells / "images" / f"extra{index:03}.png")
    write_folder_params(tmp_path, {})
    page = check_page()
    assert page.list_titles("fix") == [f"{count} images without a mask"]
    assert len(page.list_alt_texts("fix")) == MAX_SHOWN
    assert "and 20 more" in page.read_text("fix")
    assert f"extra{MAX_LISTED - 1:03}.png" in page.html
    assert f"extra{MAX_LISTED:03}.png" not in page.html.replace(f"images/extra{count - 1:03}.png", "")


def test_suspicious_masks_and_sizes_are_shown(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros_like(MASK)).save(cells / "masks/cell1.png")
    Image.fromarray(np.ones_like(MASK)).save(cells / "masks/cell4.png")
    Image.fromarray(np.full_like(MASK, 255)).save(cells / "masks/cell7.png")
    large = (64, 96)
    create_image(10, large).save(cells / "images/cell10.png")
    Image.fromarray(np.kron(MASK, np.ones((4, 4), np.uint8))).save(cells / "masks/cell10.png")
    write_folder_params(tmp_path, {"ignore_value": 255})
    page = check_page()
    assert page.exit_code == 0
    assert page.list_titles("check") == [
        "1 mask ignores all pixels",
        "1 mask has no foreground",
        "1 mask is entirely foreground",
        "1 image has an unusual size",
    ]
    shown = [alt.partition(" ")[0] for alt in page.list_alt_texts("check")]
    assert shown == ["cell7", "cell1", "cell4", "cell10"]
    assert "96 × 64 px" in page.read_text("check")


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_folder_that_cannot_be_read_has_a_page_with_the_reason(
    check_page: CheckPage, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    page = check_page(name)
    assert page.exit_code == 1
    assert name in page.read_text("fix")
    assert not any(map(page.has_section, ("check", "classes", "size", "splits")))


def test_mistake_in_the_splits_is_shown_with_the_invalid_files(
    check_page: CheckPage, cells: Path, tmp_path: Path
) -> None:
    write_splits(cells, ["cell0,train", "cell1,tain"])
    (cells / "images/cell3.png").write_bytes(b"nothing")
    write_folder_params(tmp_path, {})
    page = check_page()
    assert page.exit_code == 1
    assert page.list_titles("fix") == ["1 file that cannot be used"]
    assert "tain" in page.read_text("fix")
    assert "cannot be shown" in page.read_text("fix")


@pytest.mark.parametrize(
    "file", ["../secret.png", "/etc/hostname", "a/../../secret.png", "../secret.tif[z=0]", "null\0", "missing.png"]
)
def test_files_outside_the_folder_are_not_opened(tmp_path: Path, file: str) -> None:
    create_image().save(tmp_path / "secret.png")
    create_image().save(tmp_path / "secret.tif")
    (tmp_path / "cells").mkdir()
    thumbnails = FileThumbnails(tmp_path / "cells", None)
    assert thumbnails.render_image(file) is None
    assert thumbnails.render_mask(file, ()) is None


@pytest.fixture(scope="module")
def plain_page(tmp_path_factory: pytest.TempPathFactory) -> WrittenPage:
    """A page on issues with a file called name."""
    folder = tmp_path_factory.mktemp("project")
    link_templates(folder)
    return write_issue_page(folder, "name")


MARKUP = ("<script>alert(1)</script>", "</style><img src=x onerror=y>", "'\"&", "`a`")


def write_issue_page(folder: Path, text: str, file: Path = DATA_CHECK) -> WrittenPage:
    """Write a page on issues in which every name is a text."""
    issues = [DataIssue(IssueKind.NO_MASK, text, text), DataIssue(IssueKind.VALUES, text, text, text, {text: 3})]
    error = InvalidFilesError(issues, "data", folder / "cells", "cells", {text: text}, PipelineError(text or "empty"))
    check = DataCheck(Path("cells"), None, "`pipeline init`", (text,), None, error)
    return WrittenPage(write_data_page(check, Project(folder), folder / file), 1)


@given(text=st.text(min_size=1) | st.sampled_from(MARKUP))
def test_names_with_markup_are_escaped(plain_page: WrittenPage, text: str) -> None:
    """The page has the same elements as one with a plain name, apart from code in backticks."""
    expected = [name for name in plain_page.list_elements() if name != "code"]
    page = write_issue_page(plain_page.path.parent.parent, text, Path("odd.html"))
    assert [name for name in page.list_elements() if name != "code"] == expected
