"""Hostile strings in every text field of the report, opened in Chromium."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.prepared_data import DatasetStats, PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, EXTERNAL_RESULTS, PREPARED, RUNS, SHOWCASE_PREDICTIONS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.showcase_predictions import ShowcaseList, ShowcasePredictions, ShowcaseResult
from pipeline.atomic_io import to_json, write_text
from pipeline.errors import PipelineError
from pipeline.params import ExternalResult, ShowcaseImage
from pipeline.report.failure import render_failure_page
from pipeline.report.write_report import write_report
from pipeline.runtime.stage_status import record_stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

    from tests.report.conftest import ReportProject

pytestmark = pytest.mark.timeout(60)
SCRIPT = "window.harmed = 1"
CORPUS = (
    f"</script><img src=x onerror='{SCRIPT}'>",
    f"<script>{SCRIPT}</script>",
    f"<ScRiPt>{SCRIPT}</sCrIpT>",
    f"<svg onload='{SCRIPT}'>",
    f"<svg><script>{SCRIPT}</script></svg>",
    f"<svg><animate onbegin='{SCRIPT}' attributeName=x dur=1s></svg>",
    f"<svg><a xlink:href='javascript:{SCRIPT}'><text>x</text></a></svg>",
    f"<math><mi xlink:href='javascript:{SCRIPT}'></math>",
    f"<iframe srcdoc='<script>parent.{SCRIPT}</script>'></iframe>",
    f"<iframe src='javascript:{SCRIPT}'></iframe>",
    f"<body onload='{SCRIPT}'>",
    f"<details open ontoggle='{SCRIPT}'>",
    f"<input autofocus onfocus='{SCRIPT}'>",
    f"<video><source onerror='{SCRIPT}'></video>",
    f"<object data='javascript:{SCRIPT}'></object>",
    f"<embed src='data:text/html,<script>{SCRIPT}</script>'>",
    f"<a href='javascript:{SCRIPT}'>x</a>",
    f"[x](javascript:{SCRIPT})",
    f"![x](javascript:{SCRIPT})",
    "![x](http://harm.example/pixel.png)",
    "<img src=http://harm.example/pixel.png>",
    "<link rel=stylesheet href=http://harm.example/x.css>",
    "<style>@import 'http://harm.example/x.css';</style>",
    "<style>* { display: none }</style>",
    "</style><p>out",
    "<base href='http://harm.example/'>",
    "<meta http-equiv=refresh content='0;url=http://harm.example/'>",
    "<form action='http://harm.example/'><button>x</button></form>",
    f'"><script>{SCRIPT}</script>',
    f"'><script>{SCRIPT}</script>",
    f"' onmouseover='{SCRIPT}' x='",
    f'" onfocus="{SCRIPT}" tabindex="0" x="',
    f"`-{SCRIPT}-`",
    f"</title><script>{SCRIPT}</script>",
    f"</textarea><script>{SCRIPT}</script>",
    f"<!--><script>{SCRIPT}</script>-->",
    f"]]><script>{SCRIPT}</script>",
    f"<![CDATA[<script>{SCRIPT}</script>]]>",
    "expression(alert(1))",
    "url(http://harm.example/x)",
    "background:url(http://harm.example/x)",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# comment",
    "${7*7}",
    "#{7*7}",
    "<%= 7 * 7 %>",
    "&lt;b&gt; &amp;amp; &#x3c;script&#x3e;",
    "\u202egnitirw fo edis rehto eht morf\u202c",
    "\u2066hidden\u2069\u200b\ufeff",
    "\U0001f415\u0301\u0489 Ünïcödé",
    "$\\frac{1}{2}$ $x",
    "\\",
    "a\tb",
    "x" * 10_000,
)


def collapse_whitespace(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_hostile_strings_of_the_report_stay_text(
    browser: Browser,
    make_project: type[ReportProject],
    tmp_path: Path,
    order: int,
) -> None:
    assert len(CORPUS) >= 40
    harm = " ¦ ".join(CORPUS[::order])
    classes = tuple(SegmentationClass(f"{harm}{n}", "#d98c21", n == 0) for n in range(3))
    project = make_project(tmp_path, classes=classes, source=harm)
    insert_everywhere(project, harm)
    page = open_checked_page(browser, write_report(project.params, project=Project(project.root)).path)
    assert collapse_whitespace(page.locator("h1").inner_text()) == collapse_whitespace(harm)
    assert collapse_whitespace(page.locator(".byline").inner_text()) == collapse_whitespace(f"{harm} · {harm}")
    assert collapse_whitespace(harm) in collapse_whitespace(page.locator(".user-images figcaption").inner_text())
    assert collapse_whitespace(harm) in collapse_whitespace(page.locator("#findings li").first.inner_text())
    # Text in backticks is shown as code there.
    assert collapse_whitespace(harm.replace("`", "")) in collapse_whitespace(
        page.locator("#runs .reason").first.inner_text()
    )
    assert collapse_whitespace(harm) in collapse_whitespace(page.locator("#runs tbody.baseline th").first.inner_text())
    assert collapse_whitespace(harm) in collapse_whitespace(page.locator("#gap").inner_text())
    for part in ("tbody:last-child", ".sheet li", "h3 + p", "details ul", "details:last-of-type ul"):
        assert collapse_whitespace(harm) in collapse_whitespace(
            page.locator(f"#data {part}").first.text_content() or ""
        )
    assert collapse_whitespace(harm.replace("{{ 7 * 7 }}", "")) in collapse_whitespace(
        page.locator("#notes pre").inner_text()
    )


def test_hostile_strings_of_a_failure_stay_text(browser: Browser, project: ReportProject) -> None:
    harm = " ¦ ".join(CORPUS)
    with pytest.raises(PipelineError), record_stage("train", "unet-0.001-0", project.root) as report:
        report(harm)
        raise PipelineError(harm)
    page = open_checked_page(browser, render_failure_page(project.params, None, Project(project.root)))
    assert collapse_whitespace(harm.replace("`", "")) in collapse_whitespace(
        page.locator("section p").first.inner_text()
    )
    assert collapse_whitespace(f"{harm} {harm}") == collapse_whitespace(page.locator("pre").inner_text())


def open_checked_page(browser: Browser, path: Path) -> Page:
    """Open and use a page, and check that no script ran and nothing was requested."""
    page = browser.new_page()
    requests: list[Request] = []
    console_messages: list[str] = []
    page.on("request", lambda request: requests.append(request))
    page.on("console", lambda message: console_messages.append(message.text))
    page.on("pageerror", lambda error: console_messages.append(str(error)))
    page.goto(path.as_uri())
    page.mouse.move(300, 300)
    page.keyboard.press("Tab")
    page.wait_for_timeout(300)
    assert page.evaluate("window.harmed") is None
    assert [request.url for request in requests if not request.url.startswith("data:")] == [page.url]
    assert console_messages == []
    assert page.locator("script").count() == 1
    assert page.locator("iframe, object, embed, base, form, link, video, textarea, [autofocus]").count() == 0
    assert page.locator("[ontoggle], [onload], [onerror], [onclick], details[open]").count() == 0
    return page


def insert_everywhere(project: ReportProject, harm: str) -> None:
    """Insert a string into every text field of the project's files."""
    (project.root / EXTERNAL_RESULTS).mkdir(parents=True)
    quoted = harm.replace('"', '""')
    (project.root / EXTERNAL_RESULTS / "x.csv").write_text(f'name,val_loss\n"{quoted}",0.4\n')
    report = project.params.report.model_copy(
        update={
            "title": harm, "author": harm, "subtitle": harm,
            "external_results": [ExternalResult(name=harm, source=harm, file="x.csv")],
            "showcase": [ShowcaseImage(file="x.png", title=harm)],
        }
    )  # fmt: skip
    (project.root / SHOWCASE_PREDICTIONS).mkdir()
    best = project.summary.best
    showcase_list = ShowcaseList(best.run if best else None, (ShowcaseResult("x.png", harm, None, 0.5, 0.5),))
    write_text(project.root / SHOWCASE_PREDICTIONS / ShowcasePredictions.LIST, to_json(showcase_list))
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    np.savez(project.root / SHOWCASE_PREDICTIONS / f"{0}.npz", image=image, prediction=mask, truth=mask)
    project.params = project.params.model_copy(update={"report": report})
    project.write_findings((harm, []))
    # Once in a code block, where Markdown keeps every character.
    notes = harm.replace("{{ 7 * 7 }}", "")
    (project.root / report.notes_file).write_text(f"# {notes}\n\n{notes}\n\n````\n{notes}\n````\n")
    rows = []
    for row in project.summary.runs:
        assert row.judgment is not None
        judgment = replace(row.judgment, evidence=(harm,), not_checked=(harm,))
        rows.append(replace(row, reason=harm if row.status == "diverged" else "", judgment=judgment))
        cell = {"variant": harm, harm: {harm: harm}}
        project.edit_json(RUNS / row.run / RunFolder.RECORD, cell=cell, key=harm)
    project.write_summary(replace(project.summary, runs=tuple(rows)))
    path = project.root / COMPARISON / Comparison.GAP_PARTS
    parts = pd.read_csv(path)
    parts.loc[parts["part"] == "group", "name"] = f"{harm}={harm}"
    parts.to_csv(path, index=False)
    samples = pd.read_csv(project.root / PREPARED / PreparedData.SAMPLES)
    renamed = samples["split"].isin(["train", "test"])  # no files are named after these ids
    samples.loc[renamed, "id"] = [f"{harm}{row}" for row in range(renamed.sum())]
    # In two splits, so that a leak is reported.
    samples["groups"] = [f"animal={harm}{row % 4}" for row in range(len(samples))]
    samples.to_csv(project.root / PREPARED / PreparedData.SAMPLES, index=False)
    skipped = pd.DataFrame({"id": [harm], "reason": [harm]})
    skipped.to_csv(project.root / PREPARED / PreparedData.SKIPPED, index=False)
    stats = DatasetStats({harm: 15}, 0, 0, 15, 1, ((f"{harm}0", f"{harm}1"),))
    write_text(project.root / PREPARED / PreparedData.STATS, to_json(stats))
