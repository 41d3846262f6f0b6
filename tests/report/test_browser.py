"""The page in a real Chromium: sorting, accessibility, narrow screens, and strings that mean harm."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.prepared_data import PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, PREPARED, RUNS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.report.stage import render_report
from tests.prepare.conftest import section

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LIMIT = 10_000  # ms, for every wait of a page

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; install it to test the page in one"),
    pytest.mark.timeout(60),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Chromium's sandbox needs rights that a container does not give; the pages here are the project's own.
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=30_000)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def report(make_project: type[ReportProject], tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("project"))
    return render_report(project.params, project=Project(project.root)).path


def opened(browser: Browser, report: Path, **options: object) -> tuple[Page, list[str]]:
    """A page, and the list that its console's complaints and its errors go to."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.set_default_timeout(LIMIT)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.goto(report.as_uri())
    return page, complaints


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"table[data-sortable] tbody tr > :nth-child({number})").all_inner_texts()


def test_headings_sort_the_table_both_ways_by_mouse_and_keyboard(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    button = page.get_by_role("button", name="Validation loss")
    button.click()
    losses = [float(text) for text in column(page, 7)]  # the diverged run's reason leaves it without this cell
    assert losses == sorted(losses)
    assert column(page, 4)[-1] == "diverged"
    button.press("Enter")
    losses = [float(text) for text in column(page, 7)]
    assert losses == sorted(losses, reverse=True)
    assert column(page, 4)[-1] == "diverged"
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Run", exact=True).click()
    assert column(page, 1) == sorted(column(page, 1))
    assert page.locator("th[aria-sort]").count() == 1
    assert complaints == []


def test_a_pointer_reads_the_curves(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report, viewport={"width": 1280, "height": 900})
    plot = page.locator(".plot[data-curves]").first
    values = json.loads(plot.get_attribute("data-curves") or "")
    plot.scroll_into_view_if_needed()
    box = plot.locator("svg:not(.single)").bounding_box()
    assert box is not None
    share = values["left"] + (3 - values["first"]) / (values["last"] - values["first"]) * (
        values["right"] - values["left"]
    )
    page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    said = plot.locator(".reading").inner_text().splitlines()
    low, high = values["series"]
    assert said == [
        "Epoch 3",
        f"learning rate 0.001: {low['validation'][2]} (training {low['training'][2]})",
        f"learning rate 0.01: {high['validation'][2]} (training {high['training'][2]})",
    ]
    means = pd.read_csv(report.parent.parent / COMPARISON / Comparison.CURVES)
    shown = means.query("variant == 'unet' and epoch == 3 and learning_rate == 0.01 and split == 'validation'")
    assert high["validation"][2] == f"{shown['loss'].mean():.3f}"
    page.mouse.move(0, 0)
    assert not plot.locator(".reading").is_visible()
    plot.focus()
    plot.press("ArrowRight")
    plot.press("ArrowRight")
    assert plot.locator(".reading").inner_text().startswith("Epoch 2\n")
    assert complaints == []


def test_a_press_shows_a_rate_alone(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)

    def faded(place: int) -> set[str]:
        shown = page.locator(f".plot g[id*='-rate-{place}-']")
        return set(shown.evaluate_all("all => all.map(g => g.className.baseVal)"))

    assert page.locator(".plot g[id*='-rate-']").count() > 8
    button = page.get_by_role("button", name="learning rate 0.01", exact=True)
    button.click()
    assert (faded(0), faded(1)) == ({"faded"}, {""})
    assert button.get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="learning rate 0.001", exact=True).press("Enter")
    assert (faded(0), faded(1)) == ({""}, {"faded"})
    assert button.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="learning rate 0.001", exact=True).click()
    assert faded(0) | faded(1) == {""}
    assert complaints == []


def test_a_press_shows_the_nearest_run_alone(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report, viewport={"width": 1280, "height": 900})
    plot, other = page.locator(".plot[data-curves]").first, page.locator(".plot[data-curves]").nth(1)
    values = json.loads(plot.get_attribute("data-curves") or "")
    table = pd.read_csv(report.parent.parent / COMPARISON / Comparison.CURVES)
    plot.scroll_into_view_if_needed()
    box = plot.locator("svg:not(.single)").bounding_box()
    assert box is not None

    def place(run: str, epoch: int) -> tuple[float, float]:
        """Where a run's validation is drawn, by the axes alone."""
        loss = table.query("run == @run and epoch == @epoch and split == 'validation'")["loss"].item()
        across = (epoch - values["first"]) / (values["last"] - values["first"])
        on = math.log if values["log"] else float
        up = (on(loss) - on(values["low"])) / (on(values["high"]) - on(values["low"]))
        x = values["left"] + across * (values["right"] - values["left"])
        y = 1 - values["bottom"] - up * (values["top"] - values["bottom"])
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    for run in ("unet-0.001-0", "unet-0.001-1", "unet-0.01-1"):
        page.mouse.click(*place(run, 5))
        assert plot.locator(".reading").inner_text().splitlines()[1].startswith(f"{run}: ")
        assert plot.locator(".single polyline").count() == 2
        shown = page.locator(".plot g[id*='-rate-']").evaluate_all("all => all.map(g => g.className.baseVal)")
        assert set(shown) == {"faded"}
    page.mouse.move(0, 0)
    assert plot.locator(".reading").inner_text() == "unet-0.01-1"  # who is alone stays named
    other.focus()
    other.press("ArrowDown")
    assert other.locator(".reading").inner_text() == "unet_no_skip-0.01-0"
    assert plot.locator(".single polyline").count() == 0
    other.press("Escape")
    assert page.locator(".plot g.faded, .single polyline").count() == 0
    page.mouse.click(*place("unet-0.01-1", 5))
    page.mouse.click(*place("unet-0.01-1", 5))  # pressed again: all
    assert page.locator(".plot g.faded, .single polyline").count() == 0
    assert complaints == []


def test_of_a_rate_that_is_alone_only_its_own_is_read(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report, viewport={"width": 1280, "height": 900})
    plot = page.locator(".plot[data-curves]").first
    page.get_by_role("button", name="learning rate 0.001", exact=True).click()
    plot.press("ArrowRight")
    said = plot.locator(".reading").inner_text().splitlines()
    assert [line.partition(":")[0] for line in said] == ["Epoch 1", "learning rate 0.001"]
    plot.click(position={"x": 200, "y": 20})  # high up, where the other rate's curves are
    assert plot.locator(".reading").inner_text().splitlines()[1].startswith("unet-0.001-")
    assert complaints == []


def test_a_panel_without_curves_is_a_picture(browser: Browser, project: ReportProject) -> None:
    path = project.root / COMPARISON / Comparison.CURVES
    curves = pd.read_csv(path)
    curves[curves["variant"] != "unet_no_skip"].to_csv(path, index=False)
    page, complaints = opened(browser, render_report(project.params, project=Project(project.root)).path)
    plot = page.locator(".plot[data-curves]").nth(1)
    plot.hover()
    plot.click()
    assert plot.locator(".reading").count() == 0
    assert plot.get_attribute("tabindex") is None
    page.locator(".plot[data-curves]").first.press("ArrowDown")
    assert complaints == []


def test_what_was_shown_alone_is_printed_with_all_others(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report)
    plot = page.locator(".plot[data-curves]").first
    plot.press("ArrowDown")
    page.emulate_media(media="print")
    assert not plot.locator(".single").is_visible()
    faded = page.locator(".plot g.faded")
    assert faded.count() > 8
    expect(faded.first).to_have_css("opacity", "1")


def test_a_slider_lays_the_truth_over_the_predictions(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    slider = page.locator("#examples").get_by_label("Overlay ground truth on predictions")
    overlay = page.locator("#examples .compare img:nth-child(2)").first
    truth = page.locator("#examples .gallery tbody tr").first.locator("td img").first
    assert overlay.get_attribute("src") == truth.get_attribute("src")
    assert overlay.evaluate("image => image.style.clipPath") == "inset(0px 100% 0px 0px)"
    slider.fill("40")
    assert overlay.evaluate("image => image.style.clipPath") == "inset(0px 60% 0px 0px)"
    slider.press("End")
    assert overlay.evaluate("image => image.style.clipPath") in ("inset(0px 0% 0px 0px)", "inset(0px)")
    assert overlay.bounding_box() == page.locator("#examples .compare img:nth-child(1)").first.bounding_box()
    assert page.locator("#gap input").count() == 1
    assert complaints == []


def first_photograph(page: Page) -> Locator:
    return page.locator("#examples .gallery tbody th details.zoom").first


def covers_the_screen(image: Locator) -> bool:
    """Whether an image is enlarged: its summary is all of the window, or of the frame, and the image most of it."""
    window, summary, picture = image.evaluate(
        """details => {
            const size = (part) => part.getBoundingClientRect();
            const [summary, picture] = [details.querySelector("summary"), details.querySelector("img")].map(size);
            const window = [0, 0, document.documentElement.clientWidth, innerHeight];
            const box = [summary.x, summary.y, summary.width, summary.height];
            return [window, box, [picture.width, picture.height]];
        }"""
    )
    is_large = picture[0] > 0.9 * window[2] or picture[1] > 0.8 * window[3]
    return bool(is_large and summary == window)


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("width", [400, 1280])
def test_an_image_enlarges_by_mouse_and_keyboard(browser: Browser, report: Path, width: int, javascript: bool) -> None:
    options = {"viewport": {"width": width, "height": 800}, "java_script_enabled": javascript}
    page, complaints = opened(browser, report, **options)
    image = first_photograph(page)
    summary = image.locator("summary")
    summary.scroll_into_view_if_needed()
    before = summary.bounding_box()
    summary.click()
    assert covers_the_screen(image)
    assert image.get_by_text("Image validation-0").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    summary.click()  # wherever it is clicked
    assert summary.bounding_box() == before
    summary.focus()
    page.keyboard.press("Enter")
    assert covers_the_screen(image)
    page.keyboard.press("Enter")
    assert summary.bounding_box() == before
    expect(summary).to_be_focused()
    assert complaints == []


def test_escape_and_leaving_it_close_an_enlarged_image(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    image = first_photograph(page)
    summary = image.locator("summary")
    summary.click()
    page.keyboard.press("Escape")
    assert not covers_the_screen(image)
    expect(summary).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert not covers_the_screen(image)
    assert page.locator("details.zoom[open]").count() == 0
    page.keyboard.press("Enter")  # on the next image
    assert page.locator("details.zoom[open]").count() == 1
    page.emulate_media(media="print")
    assert not covers_the_screen(page.locator("details.zoom[open]"))
    assert complaints == []


def test_an_enlarged_prediction_keeps_the_truth_over_it(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report)
    page.locator("#examples").get_by_label("Overlay ground truth on predictions").fill("40")
    page.locator("#examples .pair summary").first.click()
    prediction, overlay = page.locator("#examples .pair summary").first.locator("img").all()
    assert overlay.bounding_box() == prediction.bounding_box()
    assert overlay.bounding_box()["height"] > 400  # type: ignore[index]


def test_each_image_is_in_the_file_once(report: Path) -> None:
    html = report.read_text(encoding="utf-8").partition('aria-label="Examples"')[2].partition("</table>")[0]
    addresses = re.findall(r'"(data:image/webp[^"]+)"', html)
    assert len(addresses) == len(set(addresses)) == 4


@pytest.mark.parametrize(("variants", "width", "share"), [(1, 1280, 0.95), (2, 1280, 0.95), (2, 400, 0.95)])
def test_the_examples_fill_the_page_and_do_not_scroll(
    browser: Browser, make_project: type[ReportProject], tmp_path: Path, variants: int, width: int, share: float
) -> None:
    project = make_project(tmp_path, ("unet", "unet_no_skip")[:variants])
    report = render_report(project.params, project=Project(project.root)).path
    page, _ = opened(browser, report, viewport={"width": width, "height": 800})
    for gallery in page.locator(".scroll:has(.gallery)").all():
        client, scroll = gallery.evaluate("region => [region.clientWidth, region.scrollWidth]")
        assert scroll == client
        row = [image.bounding_box() for image in gallery.locator("tbody tr").first.locator("details.zoom").all()]
        right, left = max(box["x"] + box["width"] for box in row), min(box["x"] for box in row)  # type: ignore[index]
        assert right - left > share * client


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize(("height", "width"), [(300, 400), (400, 200)])
def test_images_have_the_proportions_of_the_originals(
    browser: Browser, project: ReportProject, height: int, width: int, resize: str
) -> None:
    path = project.root / PREPARED / PreparedData.SAMPLES
    pd.read_csv(path).assign(height=height, width=width).to_csv(path, index=False)
    params = project.params.model_copy(update={"data": section("cells", resize=resize)})
    page, _ = opened(browser, render_report(params, project=Project(project.root)).path)
    for place in ("header .showcase", "#examples .gallery", "#examples .strip", "#data .sheet"):
        for image in page.locator(place).first.locator("img").all():
            box = image.bounding_box()
            assert box is not None
            assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.05)


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_no_table_of_long_class_names_is_cut(
    browser: Browser, make_project: type[ReportProject], tmp_path: Path, seeds: tuple[int, ...]
) -> None:
    names = ("pet", "background", "border", "permanently irrigated land", "industrial_and_commercial_units", "port")
    classes = tuple(SegmentationClass(name, f"#d98c{n:02x}", foreground=n == 0) for n, name in enumerate(names))

    def paint(split: str, row: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        mask = np.indices((size, size)).sum(0).astype(np.uint8) % len(classes)
        return np.repeat(40 * mask[..., None], 3, axis=-1), mask

    project = make_project(tmp_path, classes=classes, seeds=seeds, paint=paint, diverged="")
    report = render_report(project.params, project=Project(project.root)).path
    page, _ = opened(browser, report, viewport={"width": 1280, "height": 800})
    for part in ("test", "gap", "data"):
        for region in page.locator(f"#{part} .scroll").all():
            assert region.evaluate("region => region.scrollWidth - region.clientWidth") == 0
    assert page.locator("#test").get_by_text("industrial_and_commercial_units").count() == 1


def test_without_javascript_everything_is_there(browser: Browser, report: Path) -> None:
    page, _ = opened(browser, report, java_script_enabled=False)
    assert page.locator("table[data-sortable] tbody tr").count() == 8
    assert page.locator("#curves .plot svg").count() == 2
    assert page.locator("#gap .plot svg").count() == 1
    assert page.locator("button, input").count() == 0
    assert not page.locator("[data-sort-hint], [data-curves-hint]").first.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing_and_the_console_is_silent(browser: Browser, report: Path, scheme: str, width: int) -> None:
    page, complaints = opened(browser, report, color_scheme=scheme, viewport={"width": width, "height": 900})
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert complaints == []


@pytest.mark.parametrize("width", [320, 400, 900, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, report: Path, width: int) -> None:
    page, _ = opened(browser, report, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_images_decode_and_nothing_is_fetched(browser: Browser, report: Path) -> None:
    page, complaints = opened(browser, report)
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert (
        page.evaluate("performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).length") == 0
    )
    assert complaints == []


# Less their margins, at 96 px an inch.
@pytest.mark.parametrize(("width", "height"), [(673, 960), (695, 894)], ids=["A4", "Letter"])
def test_it_prints(browser: Browser, report: Path, width: int, height: int) -> None:
    page, _ = opened(browser, report)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_it_works_in_a_sandboxed_frame(browser: Browser, report: Path) -> None:
    """As MLflow shows an artifact: with scripts, without an origin, storage or anything of the page around it."""
    host = report.with_name("host.html")
    host.write_text('<iframe sandbox="allow-scripts" src="learning-report.html" width="1200" height="800"></iframe>')
    page, complaints = opened(browser, host)
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Validation loss").click()
    assert frame.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    frame.get_by_role("button", name="learning rate 0.01", exact=True).click()
    image = frame.locator("#examples details.zoom").first
    image.locator("summary").click()
    assert covers_the_screen(image)
    page.keyboard.press("Escape")
    assert image.get_attribute("open") is None
    assert frame.locator(".plot g[id*='-rate-0-']").first.evaluate("g => g.className.baseVal") == "faded"
    assert complaints == []


HARM = "<script>alert('title')</script><img src=x onerror=alert(1)>\"'></title><b>&{{ 7 * 7 }}`x`"


def test_hostile_strings_stay_text(browser: Browser, make_project: type[ReportProject], tmp_path: Path) -> None:
    project = make_project(tmp_path, classes=(SegmentationClass(HARM, "#d98c21", True), *PLAIN), source=HARM)
    report = project.params.report.model_copy(update={"title": HARM, "author": HARM, "subtitle": HARM})
    project.write_findings((HARM, []))
    (project.root / project.params.report.notes_file).write_text(
        f"# {HARM}\n\n{HARM}\n\n[x](javascript:alert(2)) ![{HARM}](http://localhost/x)"
    )
    rows = tuple(replace(row, reason=HARM if row.status == "diverged" else "") for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    for row in rows:
        project.edit_json(RUNS / row.run / RunFolder.RECORD, cell={"variant": HARM, HARM: {HARM: HARM}}, key=HARM)
    page, complaints = opened(
        browser, render_report(project.params.model_copy(update={"report": report}), project=Project(project.root)).path
    )
    assert page.locator("h1").inner_text() == HARM
    assert page.locator("script").count() == 1
    assert page.locator("b").count() == 0
    assert page.locator("img:not([src^='data:image/'])").count() == 0
    page.wait_for_timeout(200)
    assert complaints == []


def test_hostile_names_of_variants_stay_text_in_the_figures(browser: Browser, project: ReportProject) -> None:
    curves = project.root / COMPARISON / Comparison.CURVES
    harm = "<script>alert(3)</script>"
    curves.write_text(curves.read_text().replace(",unet_no_skip,", f",{harm},"))
    rows = tuple(replace(row, variant=row.variant.replace("unet_no_skip", harm)) for row in project.summary.runs)
    project.write_summary(replace(project.summary, runs=rows))
    page, complaints = opened(browser, render_report(project.params, project=Project(project.root)).path)
    assert page.locator("#curves h3").all_inner_texts() == ["unet", harm]
    assert complaints == []


PLAIN = (SegmentationClass("background", "#2e5a6b", False), SegmentationClass("border", "#e9dfc7", False))
