"""The report in Chromium: interaction, accessibility, narrow screens, printing and hostile strings."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.prepared_data import PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.report.write_report import write_report
from tests.chromium import open_page
from tests.optional import import_or_skip
from tests.prepare.conftest import create_section

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, ViewportSize

    from tests.report.conftest import ReportProject

expect = import_or_skip("playwright.sync_api").expect
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def report(make_project: type[ReportProject], tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("project"))
    return write_report(project.params, project=Project(project.root)).path


def read_column(page: Page, number: int) -> list[str]:
    return page.locator(f"#runs table[data-sortable] tbody tr > :nth-child({number})").all_inner_texts()


def test_headings_sort_the_table_by_mouse_and_keyboard(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report)
    runs = page.locator("#runs")
    button = runs.get_by_role("button", name="Validation loss")
    button.click()
    losses = [float(text) for text in read_column(page, 7)]  # the diverged run has no such cell, only a reason
    assert losses == sorted(losses)
    assert read_column(page, 4)[-1] == "diverged"
    button.press("Enter")
    losses = [float(text) for text in read_column(page, 7)]
    assert losses == sorted(losses, reverse=True)
    assert read_column(page, 4)[-1] == "diverged"
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    runs.get_by_role("button", name="Run", exact=True).click()
    assert read_column(page, 1) == sorted(read_column(page, 1))
    assert page.locator("th[aria-sort]").count() == 1
    assert console_messages == []


def test_pointer_and_keys_show_values_of_the_curves(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report, viewport={"width": 1280, "height": 900})
    plot = page.locator(".plot[data-curves]").first
    values = json.loads(plot.get_attribute("data-curves") or "")
    plot.scroll_into_view_if_needed()
    box = plot.locator("svg:not(.single)").bounding_box()
    assert box is not None
    x_fraction = values["left"] + (3 - values["first"]) / (values["last"] - values["first"]) * (
        values["right"] - values["left"]
    )
    page.mouse.move(box["x"] + x_fraction * box["width"], box["y"] + box["height"] / 2)
    lines = plot.locator(".reading").inner_text().splitlines()
    low, high = values["series"]
    assert lines == [
        "Epoch 3",
        f"learning rate 0.001: {low['validation'][2]} (training {low['training'][2]})",
        f"learning rate 0.01: {high['validation'][2]} (training {high['training'][2]})",
    ]
    means = pd.read_csv(report.parent.parent / COMPARISON / Comparison.CURVES)
    expected = means.query("variant == 'unet' and epoch == 3 and learning_rate == 0.01 and split == 'validation'")
    assert high["validation"][2] == f"{expected['loss'].mean():.3f}"
    page.mouse.move(0, 0)
    assert not plot.locator(".reading").is_visible()
    plot.focus()
    plot.press("ArrowRight")
    plot.press("ArrowRight")
    assert plot.locator(".reading").inner_text().startswith("Epoch 2\n")
    assert console_messages == []


def test_button_isolates_a_learning_rate(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report)

    def get_classes(index: int) -> set[str]:
        groups = page.locator(f".plot g[id*='-rate-{index}-']")
        return set(groups.evaluate_all("all => all.map(g => g.className.baseVal)"))

    assert page.locator(".plot g[id*='-rate-']").count() > 8
    button = page.get_by_role("button", name="learning rate 0.01", exact=True)
    button.click()
    assert (get_classes(0), get_classes(1)) == ({"faded"}, {""})
    assert button.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="learning rate 0.001", exact=True).press("Enter")
    assert (get_classes(0), get_classes(1)) == ({""}, {"faded"})
    assert button.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="learning rate 0.001", exact=True).click()
    assert get_classes(0) | get_classes(1) == {""}
    assert console_messages == []


def test_click_isolates_the_nearest_run(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report, viewport={"width": 1280, "height": 900})
    plot, other = page.locator(".plot[data-curves]").first, page.locator(".plot[data-curves]").nth(1)
    values = json.loads(plot.get_attribute("data-curves") or "")
    table = pd.read_csv(report.parent.parent / COMPARISON / Comparison.CURVES)
    plot.scroll_into_view_if_needed()
    box = plot.locator("svg:not(.single)").bounding_box()
    assert box is not None

    def compute_position(run: str, epoch: int) -> tuple[float, float]:
        """Compute where a run's validation loss is drawn from the axes."""
        loss = table.query("run == @run and epoch == @epoch and split == 'validation'")["loss"].item()
        x_fraction = (epoch - values["first"]) / (values["last"] - values["first"])
        scale = math.log if values["log"] else float
        y_fraction = (scale(loss) - scale(values["low"])) / (scale(values["high"]) - scale(values["low"]))
        x = values["left"] + x_fraction * (values["right"] - values["left"])
        y = 1 - values["bottom"] - y_fraction * (values["top"] - values["bottom"])
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    for run in ("unet-0.001-0", "unet-0.001-1", "unet-0.01-1"):
        page.mouse.click(*compute_position(run, 5))
        assert plot.locator(".reading").inner_text().splitlines()[1].startswith(f"{run}: ")
        assert plot.locator(".single polyline").count() == 2
        classes = page.locator(".plot g[id*='-rate-']").evaluate_all("all => all.map(g => g.className.baseVal)")
        assert set(classes) == {"faded"}
    page.mouse.move(0, 0)
    assert plot.locator(".reading").inner_text() == "unet-0.01-1"  # the isolated run stays named
    other.focus()
    other.press("ArrowDown")
    assert other.locator(".reading").inner_text() == "unet_no_skip-0.01-0"
    assert plot.locator(".single polyline").count() == 0
    other.press("Escape")
    assert page.locator(".plot g.faded, .single polyline").count() == 0
    page.mouse.click(*compute_position("unet-0.01-1", 5))
    page.mouse.click(*compute_position("unet-0.01-1", 5))  # a second click shows all again
    assert page.locator(".plot g.faded, .single polyline").count() == 0
    assert console_messages == []


def test_isolated_learning_rate_shows_only_its_values(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report, viewport={"width": 1280, "height": 900})
    plot = page.locator(".plot[data-curves]").first
    page.get_by_role("button", name="learning rate 0.001", exact=True).click()
    plot.press("ArrowRight")
    lines = plot.locator(".reading").inner_text().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Epoch 1", "learning rate 0.001"]
    plot.click(position={"x": 200, "y": 20})  # at the top, near the other learning rate's curves
    assert plot.locator(".reading").inner_text().splitlines()[1].startswith("unet-0.001-")
    assert console_messages == []


def test_panel_without_curves_is_not_interactive(browser: Browser, project: ReportProject) -> None:
    path = project.root / COMPARISON / Comparison.CURVES
    curves = pd.read_csv(path)
    curves[curves["variant"] != "unet_no_skip"].to_csv(path, index=False)
    page, console_messages = open_page(browser, write_report(project.params, project=Project(project.root)).path)
    plot = page.locator(".plot[data-curves]").nth(1)
    plot.hover()
    plot.click()
    assert plot.locator(".reading").count() == 0
    assert plot.get_attribute("tabindex") is None
    page.locator(".plot[data-curves]").first.press("ArrowDown")
    assert console_messages == []


def test_print_shows_all_curves(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report)
    plot = page.locator(".plot[data-curves]").first
    plot.press("ArrowDown")
    page.emulate_media(media="print")
    assert not plot.locator(".single").is_visible()
    faded = page.locator(".plot g.faded")
    assert faded.count() > 8
    expect(faded.first).to_have_css("opacity", "1")


def test_slider_overlays_ground_truth_on_predictions(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report)
    slider = page.locator("#examples").get_by_label("Overlay ground truth on predictions")
    overlay = page.locator("#examples .compare img:nth-child(2)").first
    ground_truth = page.locator("#examples .gallery tbody tr").first.locator("td img").first
    assert overlay.get_attribute("src") == ground_truth.get_attribute("src")
    assert overlay.evaluate("image => image.style.clipPath") == "inset(0px 100% 0px 0px)"
    slider.fill("40")
    assert overlay.evaluate("image => image.style.clipPath") == "inset(0px 60% 0px 0px)"
    slider.press("End")
    assert overlay.evaluate("image => image.style.clipPath") in ("inset(0px 0% 0px 0px)", "inset(0px)")
    assert overlay.bounding_box() == page.locator("#examples .compare img:nth-child(1)").first.bounding_box()
    assert page.locator("#gap input").count() == 1
    assert console_messages == []


def locate_first_image(page: Page) -> Locator:
    return page.locator("#examples .gallery tbody th details.zoom").first


def is_enlarged(image: Locator) -> bool:
    """Whether an image is enlarged: its summary fills the window or frame, and the image most of it."""
    window, summary, image_size = image.evaluate(
        """details => {
            const size = (part) => part.getBoundingClientRect();
            const [summary, image] = [details.querySelector("summary"), details.querySelector("img")].map(size);
            const window = [0, 0, document.documentElement.clientWidth, innerHeight];
            const box = [summary.x, summary.y, summary.width, summary.height];
            return [window, box, [image.width, image.height]];
        }"""
    )
    is_large = image_size[0] > 0.9 * window[2] or image_size[1] > 0.8 * window[3]
    return bool(is_large and summary == window)


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("width", [400, 1280])
def test_image_is_enlarged_by_mouse_and_keyboard(browser: Browser, report: Path, width: int, javascript: bool) -> None:
    viewport: ViewportSize = {"width": width, "height": 800}
    page, console_messages = open_page(browser, report, viewport=viewport, java_script_enabled=javascript)
    image = locate_first_image(page)
    summary = image.locator("summary")
    summary.scroll_into_view_if_needed()
    before = summary.bounding_box()
    summary.click()
    assert is_enlarged(image)
    assert image.get_by_text("Image validation-0").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    summary.click()
    assert summary.bounding_box() == before
    summary.focus()
    page.keyboard.press("Enter")
    assert is_enlarged(image)
    page.keyboard.press("Enter")
    assert summary.bounding_box() == before
    expect(summary).to_be_focused()
    assert console_messages == []


def test_escape_and_tab_close_an_enlarged_image(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report)
    image = locate_first_image(page)
    summary = image.locator("summary")
    summary.click()
    page.keyboard.press("Escape")
    assert not is_enlarged(image)
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert not is_enlarged(image)
    assert page.locator("details.zoom[open]").count() == 0
    page.keyboard.press("Enter")  # on the next image
    assert page.locator("details.zoom[open]").count() == 1
    page.emulate_media(media="print")
    assert not is_enlarged(page.locator("details.zoom[open]"))
    assert console_messages == []


def test_enlarged_prediction_keeps_the_overlay(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report)
    page.locator("#examples").get_by_label("Overlay ground truth on predictions").fill("40")
    page.locator("#examples .pair summary").first.click()
    prediction, overlay = page.locator("#examples .pair summary").first.locator("img").all()
    assert overlay.bounding_box() == prediction.bounding_box()
    assert overlay.bounding_box()["height"] > 400  # type: ignore[index]


def test_file_contains_each_image_once(report: Path) -> None:
    html = report.read_text(encoding="utf-8").partition('aria-label="Examples"')[2].partition("</table>")[0]
    addresses = re.findall(r'<img src="([^"]+)" alt="Image ', html)
    assert len(addresses) == len(set(addresses)) == 4


@pytest.mark.parametrize(("variants", "widths"), [(1, (1280,)), (2, (1280, 400))])
def test_examples_fill_the_page_without_scrolling(
    browser: Browser, make_project: type[ReportProject], tmp_path: Path, variants: int, widths: tuple[int, ...]
) -> None:
    project = make_project(tmp_path, ("unet", "unet_no_skip")[:variants])
    report = write_report(project.params, project=Project(project.root)).path
    for width in widths:
        page, _ = open_page(browser, report, viewport={"width": width, "height": 800})
        for gallery in page.locator(".scroll:has(.gallery)").all():
            client, scroll = gallery.evaluate("region => [region.clientWidth, region.scrollWidth]")
            assert scroll == client
            row = [image.bounding_box() for image in gallery.locator("tbody tr").first.locator("details.zoom").all()]
            right, left = max(box["x"] + box["width"] for box in row), min(box["x"] for box in row)  # type: ignore[index]
            assert right - left > 0.95 * client


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 200)])
def test_images_have_the_aspect_ratio_of_the_originals(
    browser: Browser, project: ReportProject, height: int, width: int, resize: str
) -> None:
    path = project.root / PREPARED / PreparedData.SAMPLES
    pd.read_csv(path).assign(height=height, width=width).to_csv(path, index=False)
    params = project.params.model_copy(update={"data": create_section("cells", resize=resize)})
    page, _ = open_page(browser, write_report(params, project=Project(project.root)).path)
    for selector in ("header .showcase", "#examples .gallery", "#examples .strip", "#data .sheet"):
        for image in page.locator(selector).first.locator("img").all():
            box = image.bounding_box()
            assert box is not None
            assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_tables_with_long_class_names_are_not_cut(
    browser: Browser, make_project: type[ReportProject], tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    names = ("pet", "background", "border", "permanently irrigated land", "industrial_and_commercial_units", "port")
    classes = tuple(SegmentationClass(name, f"#d98c{n:02x}", foreground=n == 0) for n, name in enumerate(names))

    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.indices((size, size)).sum(0).astype(np.uint8) % len(classes)
        return np.repeat(40 * mask[..., None], 3, axis=-1), mask

    project = make_project(tmp_path, classes=classes, seeds=seeds, paint=paint, diverged="")
    report = write_report(project.params, project=Project(project.root)).path
    page, _ = open_page(browser, report, viewport={"width": 1280, "height": 800})
    for part in ("test", "gap", "data"):
        for region in page.locator(f"#{part} .scroll").all():
            assert region.evaluate("region => region.scrollWidth - region.clientWidth") == 0
    assert page.locator("#test").get_by_text("industrial_and_commercial_units").count() == 1


def test_page_without_javascript_is_complete(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report, java_script_enabled=False)
    assert page.locator("#runs table[data-sortable] tbody tr").count() == 8
    assert page.locator("#curves .plot svg").count() == 2
    assert page.locator("#gap .plot svg").count() == 1
    assert page.locator("button, input").count() == 0
    assert not page.locator("[data-sort-hint], [data-curves-hint]").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_page_has_no_accessibility_violation(
    browser: Browser, report: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    page, console_messages = open_page(browser, report, color_scheme=scheme, viewport={"width": width, "height": 900})
    results = import_or_skip("axe_playwright_python.sync_playwright").Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert console_messages == []


def test_page_fits_the_screen_width(browser: Browser, report: Path) -> None:
    page, _ = open_page(browser, report)
    for width in (320, 400, 900, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        page.reload()
        assert page.evaluate("document.documentElement.scrollWidth") == width


def test_images_are_embedded(browser: Browser, report: Path) -> None:
    page, console_messages = open_page(browser, report)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert (
        page.evaluate("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    )
    assert console_messages == []


# The printable area at 96 px per inch.
@pytest.mark.parametrize(("width", "height"), [(673, 960), (695, 894)], ids=["A4", "Letter"])
def test_page_fits_the_printed_width(browser: Browser, report: Path, width: int, height: int) -> None:
    page, _ = open_page(browser, report)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_page_works_in_a_sandboxed_iframe(browser: Browser, report: Path) -> None:
    """MLflow shows artifacts like this: with scripts, without an origin, storage or access to the parent page."""
    host = report.with_name("host.html")
    host.write_text('<iframe sandbox="allow-scripts" src="learning-report.html" width="1200" height="800"></iframe>')
    page, console_messages = open_page(browser, host)
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Validation loss").click()
    assert frame.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    frame.get_by_role("button", name="learning rate 0.01", exact=True).click()
    image = frame.locator("#examples details.zoom").first
    image.locator("summary").click()
    assert is_enlarged(image)
    page.keyboard.press("Escape")
    assert image.get_attribute("open") is None
    assert frame.locator(".plot g[id*='-rate-0-']").first.evaluate("g => g.className.baseVal") == "faded"
    assert console_messages == []


HARM = "<script>alert('title')</script><img src=x onerror=alert(1)>\"'></title><b>&{{ 7 * 7 }}`x`"


def test_hostile_strings_stay_text(browser: Browser, make_project: type[ReportProject], tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=(SegmentationClass(HARM, "#d98c21", True), *OTHER_CLASSES), source=HARM)
    report = project.params.report.model_copy(update={"title": HARM, "author": HARM, "subtitle": HARM})
    project.write_findings((HARM, []))
    (project.root / project.params.report.notes_file).write_text(
        f"# {HARM}\n\n{HARM}\n\n[x](javascript:alert(2)) ![{HARM}](http://localhost/x)"
    )
    rows = tuple(replace(row, reason=HARM if row.status == "diverged" else "") for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    for row in rows:
        project.edit_json(RUNS / row.run / RunFolder.RECORD, cell={"variant": HARM, HARM: {HARM: HARM}}, key=HARM)
    page, console_messages = open_page(
        browser, write_report(project.params.model_copy(update={"report": report}), project=Project(project.root)).path
    )
    assert page.locator("h1").inner_text() == HARM
    assert page.locator("script").count() == 1
    assert page.locator("b").count() == 0
    assert page.locator("img:not([src^='data:image/'])").count() == 0
    page.wait_for_timeout(200)
    assert console_messages == []


def test_hostile_variant_names_stay_text_in_figures(browser: Browser, project: ReportProject) -> None:
    curves = project.root / COMPARISON / Comparison.CURVES
    harm = "<script>alert(3)</script>"
    curves.write_text(curves.read_text().replace(",unet_no_skip,", f",{harm},"))
    rows = tuple(replace(row, variant=row.variant.replace("unet_no_skip", harm)) for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    page, console_messages = open_page(browser, write_report(project.params, project=Project(project.root)).path)
    assert page.locator("#curves h3").all_inner_texts() == ["unet", harm]
    assert console_messages == []


OTHER_CLASSES = (SegmentationClass("background", "#2e5a6b", False), SegmentationClass("border", "#e9dfc7", False))
