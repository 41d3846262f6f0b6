"""Strings that mean harm, in every field of text that reaches the page, opened in a real Chromium."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, Request

from pipeline.artifacts.comparison import Comparison
from pipeline.artifacts.prepared_data import DatasetStats, PreparedData, SegmentationClass
from pipeline.artifacts.project import COMPARISON, EXTERNAL_RESULTS, PREPARED, RUNS, SHOWCASE_PREDICTIONS, Project
from pipeline.artifacts.run_folder import RunFolder
from pipeline.artifacts.showcase_predictions import ShowcaseList, ShowcasePredictions, ShowcaseResult
from pipeline.atomic_io import as_json, write_text
from pipeline.errors import PipelineError
from pipeline.params import ExternalResult, ShowcaseImage
from pipeline.report.failure import render_failure_page
from pipeline.report.stage import render_report
from pipeline.runtime.stage_status import record_stage
from tests.report.test_browser import browser, pytestmark  # noqa: F401

if TYPE_CHECKING:
    from tests.report.conftest import ReportProject

RAN = "window.harmed = 1"
CORPUS = (
    f"</script><img src=x onerror='{RAN}'>",
    f"<script>{RAN}</script>",
    f"<ScRiPt>{RAN}</sCrIpT>",
    f"<svg onload='{RAN}'>",
    f"<svg><script>{RAN}</script></svg>",
    f"<svg><animate onbegin='{RAN}' attributeName=x dur=1s></svg>",
    f"<svg><a xlink:href='javascript:{RAN}'><text>x</text></a></svg>",
    f"<math><mi xlink:href='javascript:{RAN}'></math>",
    f"<iframe srcdoc='<script>parent.{RAN}</script>'></iframe>",
    f"<iframe src='javascript:{RAN}'></iframe>",
    f"<body onload='{RAN}'>",
    f"<details open ontoggle='{RAN}'>",
    f"<input autofocus onfocus='{RAN}'>",
    f"<video><source onerror='{RAN}'></video>",
    f"<object data='javascript:{RAN}'></object>",
    f"<embed src='data:text/html,<script>{RAN}</script>'>",
    f"<a href='javascript:{RAN}'>x</a>",
    f"[x](javascript:{RAN})",
    f"![x](javascript:{RAN})",
    "![x](http://harm.example/pixel.png)",
    "<img src=http://harm.example/pixel.png>",
    "<link rel=stylesheet href=http://harm.example/x.css>",
    "<style>@import 'http://harm.example/x.css';</style>",
    "<style>* { display: none }</style>",
    "</style><p>out",
    "<base href='http://harm.example/'>",
    "<meta http-equiv=refresh content='0;url=http://harm.example/'>",
    "<form action='http://harm.example/'><button>x</button></form>",
    f'"><script>{RAN}</script>',
    f"'><script>{RAN}</script>",
    f"' onmouseover='{RAN}' x='",
    f'" onfocus="{RAN}" tabindex="0" x="',
    f"`-{RAN}-`",
    f"</title><script>{RAN}</script>",
    f"</textarea><script>{RAN}</script>",
    f"<!--><script>{RAN}</script>-->",
    f"]]><script>{RAN}</script>",
    f"<![CDATA[<script>{RAN}</script>]]>",
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


def seen(text: str) -> str:
    """What a person would see of a text: white space runs together."""
    return " ".join(text.split())


@pytest.mark.parametrize("order", [1, -1], ids=["forwards", "backwards"])
def test_everything_stands_as_text(
    browser: Browser,  # noqa: F811
    make_project: type[ReportProject],
    tmp_path: Path,
    order: int,
) -> None:
    assert len(CORPUS) >= 40
    harm = " ¦ ".join(CORPUS[::order])
    classes = tuple(SegmentationClass(f"{harm}{n}", "#d98c21", n == 0) for n in range(3))
    project = make_project(tmp_path, classes=classes, source=harm)
    everywhere(project, harm)
    page = unharmed(browser, render_report(project.params, project=Project(project.root)).path)
    assert seen(page.locator("h1").inner_text()) == seen(harm)
    assert seen(page.locator(".byline").inner_text()) == seen(f"{harm} · {harm}")
    assert seen(harm) in seen(page.locator(".user-images figcaption").inner_text())
    assert seen(harm) in seen(page.locator("#findings li").first.inner_text())
    # What stands in backticks is shown as code there.
    assert seen(harm.replace("`", "")) in seen(page.locator("#runs .reason").first.inner_text())
    assert seen(harm) in seen(page.locator("#runs tbody.baseline th").first.inner_text())
    assert seen(harm) in seen(page.locator("#gap").inner_text())
    for part in ("tbody:last-child", ".sheet li", "h3 + p", "details ul", "details:last-of-type ul"):
        assert seen(harm) in seen(page.locator(f"#data {part}").first.text_content() or "")
    assert seen(harm.replace("{{ 7 * 7 }}", "")) in seen(page.locator("#notes pre").inner_text())


def test_what_failed_stands_as_text(browser: Browser, project: ReportProject) -> None:  # noqa: F811
    harm = " ¦ ".join(CORPUS)
    with pytest.raises(PipelineError), record_stage("train", "unet-0.001-0", project.root) as say:
        say(harm)
        raise PipelineError(harm)
    page = unharmed(browser, render_failure_page(project.params, None, Project(project.root)))
    assert seen(harm.replace("`", "")) in seen(page.locator("section p").first.inner_text())
    assert seen(f"{harm} {harm}") == seen(page.locator("pre").inner_text())


def unharmed(browser: Browser, path: Path) -> Page:  # noqa: F811
    """The page, opened and touched, after it was seen that nothing ran and nothing was asked for."""
    page = browser.new_page()
    requests: list[Request] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    page.mouse.move(300, 300)
    page.keyboard.press("Tab")
    page.wait_for_timeout(300)
    assert page.evaluate("window.harmed") is None
    assert [request.url for request in requests if not request.url.startswith("data:")] == [page.url]
    assert complaints == []
    assert page.locator("script").count() == 1
    assert page.locator("iframe, object, embed, base, form, link, video, textarea, [autofocus]").count() == 0
    assert page.locator("[ontoggle], [onload], [onerror], [onclick], details[open]").count() == 0
    return page


def everywhere(project: ReportProject, harm: str) -> None:
    """Put a string wherever a person's text can stand."""
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
    cutouts = ShowcaseList(best.run if best else None, (ShowcaseResult("x.png", harm, None, 0.5, 0.5),))
    write_text(project.root / SHOWCASE_PREDICTIONS / ShowcasePredictions.LIST, as_json(cutouts))
    image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)
    np.savez(project.root / SHOWCASE_PREDICTIONS / f"{0}.npz", image=image, prediction=mask, truth=mask)
    project.params = project.params.model_copy(update={"report": report})
    project.write_findings((harm, []))
    # As code, where Markdown lets everything stand; outside of it the tags are text as well.
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
    named = samples["split"].isin(["train", "test"])  # whose names no file has
    samples.loc[named, "id"] = [f"{harm}{row}" for row in range(named.sum())]
    samples["groups"] = [f"animal={harm}{row % 4}" for row in range(len(samples))]  # in two splits, which is told
    samples.to_csv(project.root / PREPARED / PreparedData.SAMPLES, index=False)
    skipped = pd.DataFrame({"id": [harm], "reason": [harm]})
    skipped.to_csv(project.root / PREPARED / PreparedData.SKIPPED, index=False)
    survey = DatasetStats({harm: 15}, 0, 0, 15, 1, ((f"{harm}0", f"{harm}1"),))
    write_text(project.root / PREPARED / PreparedData.STATS, as_json(survey))
