"""The bundled sample data: files, table of sources and licenses."""

import csv
from pathlib import Path

import pytest
from PIL import Image

SAMPLE = Path(__file__).parents[2] / "data/sample"
LICENSES = {"GPL-2.0-or-later", "CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "LGPL-3.0-only"}
DOCUMENTS = {"sources.csv", "LICENSE.md", "README.md", "GPL-2.txt", "GPL-3.txt", "LGPL-3.txt", "make.py"}

with (SAMPLE / "sources.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def get_path(row):
    return f"animals/{row['name']}.webp" if row["kind"] == "animal" else f"backgrounds/{row['name']}.jpg"


def test_every_file_has_a_row_and_every_row_a_file():
    found = {str(p.relative_to(SAMPLE)) for p in SAMPLE.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert found - DOCUMENTS == {get_path(row) for row in ROWS}
    assert found >= DOCUMENTS
    assert len({get_path(row) for row in ROWS}) == len(ROWS)


def test_rows_are_complete_and_valid():
    assert list(ROWS[0]) == ["kind", "name", "group", "file", "package", "version", "licence", "copyright"]
    for row in ROWS:
        assert row["licence"] in LICENSES
        assert row["kind"] in ("animal", "background")
        assert all(row.values())
        assert row["file"].startswith("usr/share/")


def test_licenses_name_every_file_and_package():
    text = (SAMPLE / "LICENSE.md").read_text(encoding="utf-8")
    for row in ROWS:
        if row["licence"].startswith(("CC", "LGPL")):
            assert row["name"] in text
        assert f"{row['package']} {row['version']}" in text


def test_images_are_small_and_animals_have_alpha():
    for row in ROWS:
        with Image.open(SAMPLE / get_path(row)) as image:
            if row["kind"] == "animal":
                assert max(image.size) <= 224
                low, high = image.convert("RGBA").getchannel("A").getextrema()
                assert (low, high) == (0, 255), row["name"]
            else:
                assert max(image.size) == 384
                assert image.mode == "RGB"
            assert not image.getexif()
    assert sum((SAMPLE / get_path(row)).stat().st_size for row in ROWS) < 2_500_000


@pytest.mark.parametrize("name", ["dog", "aitzgorri"])
def test_showcase_has_a_group_of_its_own(name):
    (row,) = [row for row in ROWS if row["name"] == name]
    assert [other["name"] for other in ROWS if other["group"] == row["group"]] == [name]
