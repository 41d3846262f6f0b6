"""The page of `pipeline data check --html` on valid folders: facts, classes, splits and the prepared size."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from pipeline.artifacts.project import DATA_CHECK
from pipeline.cli import main
from pipeline.data_check.class_sheets import MAX_PER_ROW
from tests.chromium import open_page
from tests.conftest import ROOT, write_params
from tests.data_check.conftest import CheckPage, link_templates
from tests.nuclei import COCO_SECTION, SECTION, annotate_nuclei, write_nuclei
from tests.optional import import_or_skip
from tests.prepare.conftest import MASK, create_image, write_folder_params, write_source

if TYPE_CHECKING:
    from playwright.sync_api import Browser


CELLS_SECTION = {
    **{key: value for key, value in SECTION.items() if key != "instances"},
    "path": "cells",
    "channels": 3,
    "classes": SECTION["classes"][:2],
}


def write_section(folder: Path, section: dict[str, object]) -> None:
    """Write params.yaml with a `data` section."""
    path, yaml = write_params(folder, {}), YAML(typ="safe")
    content = {**yaml.load(path.read_text(encoding="utf-8")), "data": section}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def test_page_of_a_valid_folder_has_facts_classes_and_splits(check_page: CheckPage, tmp_path: Path) -> None:
    write_nuclei(tmp_path / "nuclei")
    write_section(tmp_path, SECTION)
    page = check_page("nuclei")
    assert page.exit_code == 0
    text = page.read_text()
    assert "No errors: 20 images can be used." in text
    assert "Read with params.yaml Usable images 20 Sizes 64 × 64 px Formats gray (20)" in text
    assert "Splits training 8, validation 4, test 7, showcase 1 Left out none" in text
    assert not page.has_section("fix")
    assert page.list_titles("classes") == ["background", "nucleus", "border"]
    # Each class has its largest, typical and smallest images.
    assert len(page.list_alt_texts("classes")) == 3 * 3 * MAX_PER_ROW
    assert "Number of Training Validation Test Images 8 4 7" in page.read_text("splits")
    assert "make report" in page.read_text("next")
    assert page.path.read_bytes() == check_page("nuclei").path.read_bytes()


def test_class_images_are_ordered_by_the_share_of_the_class(check_page: CheckPage, tmp_path: Path) -> None:
    for index in range(20):
        mask = np.zeros((20, 20), np.uint8)
        mask.flat[: 20 + 10 * index] = 1
        for kind, image in (("images", create_image(index, (20, 20))), ("masks", Image.fromarray(mask))):
            (tmp_path / "cells" / kind).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "cells" / kind / f"cell{index:02}.png")
    write_section(tmp_path, {**CELLS_SECTION, "image_size": 20})
    shown = [alt.partition(" ")[0] for alt in check_page().list_alt_texts("classes")]
    _, _, _, largest, typical, smallest = (shown[place : place + 3] for place in range(0, 18, 3))
    assert largest == ["cell19", "cell18", "cell17"]
    assert smallest == ["cell02", "cell01", "cell00"]
    assert set(typical) <= {f"cell{index:02}" for index in range(7, 13)}


def test_page_of_coco_annotations_shows_drawn_masks(check_page: CheckPage, tmp_path: Path) -> None:
    write_nuclei(tmp_path / "nuclei")
    annotate_nuclei(tmp_path / "nuclei")
    write_section(tmp_path, COCO_SECTION)
    page = check_page("nuclei")
    assert page.exit_code == 0
    assert page.list_titles("classes") == ["background", "nucleus"]
    names = {alt.partition(" ")[0] for alt in page.list_alt_texts("classes")}
    assert names <= {f"{index:03}" for index in range(20)}


def test_page_of_composites_shows_composed_images(check_page: CheckPage, tmp_path: Path) -> None:
    write_source(tmp_path / "source")
    write_params(tmp_path, {"data": {"path": "source"}})
    page = check_page("source")
    assert page.exit_code == 0
    assert "Groups 9 animals and 7 backgrounds" in page.read_text()
    assert {alt.partition("-")[0] for alt in page.list_alt_texts("classes")} >= {"train"}
    assert "composed at the prepared size" in page.read_text("size")


def test_page_of_folds_counts_their_images(check_page: CheckPage, cells: Path, tmp_path: Path) -> None:
    (cells / "splits.csv").unlink()
    write_folder_params(tmp_path, {"splits": {"validation": 0.2, "test": 0.2, "folds": 2}})
    page = check_page()
    assert page.exit_code == 0
    text = page.read_text("splits")
    counts = [int(count) for count in re.findall(r"(\d+) in fold \d", text)]
    assert len(counts) == 2
    assert f"Number of 2 folds Test Images {sum(counts)} {11 - sum(counts)} " in text
    assert "Folds 2 of" in page.read_text()


def test_objects_that_vanish_are_shown_before_and_after_resizing(check_page: CheckPage, tmp_path: Path) -> None:
    write_nuclei(tmp_path / "nuclei", shape=(96, 96))
    for path in (tmp_path / "nuclei" / "masks").iterdir():
        with Image.open(path) as file:
            numbers = np.asarray(file).copy()
        numbers[3:5, 3:5] = 950  # a nucleus that is smaller than a pixel at the prepared size
        Image.fromarray(numbers).save(path)
    write_section(tmp_path, {**SECTION, "image_size": 32, "resize": "stretch"})
    page = check_page("nuclei")
    before, after = (alt for alt in page.list_alt_texts("size") if "nucleus" in alt)
    assert before.startswith("Original: nucleus object of")
    assert after.startswith("At the prepared size: nucleus object of")
    assert (page.open_image("size", before) != page.open_image("size", after)).any()


def test_thumbnails_of_small_classes_show_a_part_of_a_large_image(check_page: CheckPage, tmp_path: Path) -> None:
    for index in range(12):
        mask = np.zeros((600, 700), np.uint8)
        mask[300:306, 400 + index : 420] = 1
        for kind, image in (("images", create_image(index, mask.shape)), ("masks", Image.fromarray(mask))):
            (tmp_path / "cells" / kind).mkdir(parents=True, exist_ok=True)
            image.save(tmp_path / "cells" / kind / f"cell{index}.png")
    write_section(tmp_path, {**CELLS_SECTION, "image_size": 640})
    page = check_page()
    assert page.exit_code == 0
    alts = page.list_alt_texts("classes")
    assert [alt.startswith("Part of ") for alt in alts] == [False] * 9 + [True] * 9


def test_html_may_be_followed_by_the_folder_a_file_or_nothing(
    cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link_templates(tmp_path)
    write_folder_params(tmp_path, {})
    for arguments, written in (
        (["--html", "cells"], str(DATA_CHECK)),
        (["cells", "--html"], str(DATA_CHECK)),
        (["--html", "a.html", "cells"], "a.html"),
        (["cells", "--html=b.htm"], "b.htm"),
    ):
        shutil.rmtree(DATA_CHECK, ignore_errors=True)
        result = CliRunner().invoke(main, ["data", "check", *arguments])
        assert (result.exit_code, result.stdout.splitlines()[0]) == (0, written)
        assert Path(written).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert CliRunner().invoke(main, ["data", "check", "cells", "--html=page.txt"]).exit_code == 2
    assert not Path("page.txt").exists()
    content = json.loads(CliRunner().invoke(main, ["data", "check", "--html", "cells", "--json"]).stdout)
    assert (content["page"], content["images"]) == (str(DATA_CHECK), 12)


@pytest.mark.timeout(60)
def test_page_is_accessible_and_fits_the_screen(
    browser: Browser, check_page: CheckPage, cells: Path, tmp_path: Path
) -> None:
    """One page with everything that a page can have."""
    write_folder_params(tmp_path, {"splits": {"validation": 0.2, "test": 0.2, "group_regex": "^(cell[0-9])"}})
    shutil.copy(cells / "images/cell2.png", cells / "images/cell4.png")
    Image.fromarray(np.where(MASK == 2, 7, MASK).astype(np.uint8)).save(cells / "masks/cell5.png")
    (cells / "images/cell6.png").write_bytes(b"nothing")
    page = check_page()
    assert page.exit_code == 1
    axe = import_or_skip("axe_playwright_python.sync_playwright").Axe()
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme, width in zip(schemes, (1280, 400), strict=True):
        viewport = {"width": width, "height": 900}
        opened, console_messages = open_page(browser, page.path, color_scheme=scheme, viewport=viewport)
        results = axe.run(opened)
        assert results.violations_count == 0, results.generate_report()
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.locator("#fix img").first.is_visible()
        assert console_messages == []


def test_shipped_parameters_and_data_have_a_page(check_page: CheckPage, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/sample").symlink_to(ROOT / "data/sample")
    write_params(tmp_path, {})
    assert check_page("data/sample").exit_code == 0
