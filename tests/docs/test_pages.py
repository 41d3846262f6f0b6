"""All pages: links and anchors exist, and every YAML example is a valid part of params.yaml."""

from __future__ import annotations

import re
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.artifacts.comparison import Judgment, RunSummary, SettingSummary
from pipeline.cli import main
from pipeline.params.data.composites import CompositesData
from pipeline.params.file import read_params
from pipeline.params.section import merge_overrides

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCES = ("params.yaml", "params", "custom", "pipeline", "benchmarks", "reports", "tests", "data/sample", "Makefile")


def find_anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists() or (anchor and anchor not in find_anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_guide_is_listed_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert {page for page in pages if f"({page})" not in index} == set()


def test_pages_named_in_code_and_messages_exist() -> None:
    missing = set()
    for source in SOURCES:
        path = ROOT / source
        for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
            if file.suffix in (".py", ".yaml", ".md", ".html") or file.name == "Makefile":
                names = re.findall(r"\bdocs/[\w./-]+\.\w+", file.read_text(encoding="utf-8"))
                missing |= {(source, name) for name in names if not (ROOT / name).exists()}
    assert missing == set()


def test_example_of_judge_shows_its_output() -> None:
    page = (ROOT / "docs/how-to/judge-curves.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^    \$ pipeline (judge .*)\n((?:    .*\n)+)", page, flags=re.MULTILINE)
    command, file = example[0].split()
    output = CliRunner().invoke(main, [command, str(ROOT / file)]).output
    assert textwrap.dedent(example[1]) == output


def test_template_values_of_the_page_exist() -> None:
    page = (ROOT / "docs/how-to/report-text.md").read_text(encoding="utf-8")
    for row, records in (("`run(", (RunSummary, Judgment)), ("`rate(", (SettingSummary,))):
        (names,) = re.findall(rf"^\| {re.escape(row)}.*?\| (.*) \|$", page, flags=re.MULTILINE)
        known = {field.name for record in records for field in fields(record)}
        assert set(re.findall(r"`(\w+)`", names)) <= known


def find_yaml_examples() -> list[Any]:
    return [
        pytest.param(text, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, text in enumerate(
            re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        )
    ]


@pytest.mark.parametrize("example", find_yaml_examples())
def test_yaml_example_is_valid(example: str, tmp_path: Path) -> None:
    yaml = YAML(typ="safe")
    shipped = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    content = yaml.load(example)
    if "source" not in content.get("data", {}) and not content.get("data", {}).keys() <= {*CompositesData.model_fields}:
        guide = (ROOT / "docs/how-to/folder-of-images.md").read_text(encoding="utf-8")
        shipped |= yaml.load(re.findall(r"^```yaml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)[0])
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(merge_overrides(shipped, content), file)
    assert read_params(path).cells()
