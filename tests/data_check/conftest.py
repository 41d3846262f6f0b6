"""Run `pipeline data check --html`, and read the page that it writes."""

from __future__ import annotations

import base64
import html as entities
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.artifacts.project import DATA_CHECK, TEMPLATES
from pipeline.cli import main
from tests.conftest import ROOT
from tests.prepare.conftest import write_cells


class _Elements(HTMLParser):
    """Collects the names of all elements and the attributes of all images."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))


@dataclass(frozen=True)
class WrittenPage:
    """A page, and the exit code of the command that wrote it."""

    path: Path
    exit_code: int

    @property
    def html(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def has_section(self, section: str) -> bool:
        return f'<section id="{section}">' in self.html

    def get_section(self, section: str) -> str:
        return self.html.split(f'<section id="{section}">', 1)[1].split("</section>", 1)[0]

    def read_text(self, section: str = "") -> str:
        """Return the text of a section, or of the whole body, with collapsed white space."""
        html = self.get_section(section) if section else self.html.split("<body>", 1)[1].split("<script>", 1)[0]
        return " ".join(entities.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", html, flags=re.DOTALL)).split())

    def list_titles(self, section: str) -> list[str]:
        found = re.findall(r"<h3>(.*?)</h3>", self.get_section(section), flags=re.DOTALL)
        return [entities.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", "", title)).strip() for title in found]

    def list_alt_texts(self, section: str) -> list[str]:
        return [image["alt"] or "" for image in _Elements(self.get_section(section)).images]

    def open_image(self, section: str, alt: str) -> np.ndarray:
        """Decode the image of a section with this text."""
        (source,) = (one["src"] or "" for one in _Elements(self.get_section(section)).images if one["alt"] == alt)
        with Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))) as file:
            return np.asarray(file.convert("RGB"))

    def list_elements(self) -> list[str]:
        return _Elements(self.html).names


CheckPage = Callable[..., WrittenPage]


def link_templates(project: Path) -> None:
    """Give a folder the templates of the pages, as in a project."""
    if not (project / TEMPLATES).exists():
        (project / TEMPLATES).parent.mkdir(parents=True, exist_ok=True)
        (project / TEMPLATES).symlink_to(ROOT / TEMPLATES)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """A folder of twelve images with masks and a splits.csv."""
    return write_cells(tmp_path / "cells")


@pytest.fixture
def check_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckPage:
    """Return a function that checks a folder in `tmp_path`, and returns the written page."""
    monkeypatch.chdir(tmp_path)
    link_templates(tmp_path)

    def run(folder: str = "cells") -> WrittenPage:
        result = CliRunner().invoke(main, ["data", "check", folder, "--html"])
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.stdout.splitlines()[0] == str(DATA_CHECK)
        return WrittenPage(tmp_path / DATA_CHECK, result.exit_code)

    return run
