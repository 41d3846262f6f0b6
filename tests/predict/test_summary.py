"""The table of class shares fits a terminal of 80 columns for all class and file names."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from pipeline.artifacts.prepared_data import Dataset, SegmentationClass
from pipeline.predict.outputs import ClassShares
from pipeline.predict.summary import create_table

WIDTH = 80


def create_dataset(names: list[str]) -> Dataset:
    classes = tuple(SegmentationClass(name, "#000000", foreground=index > 0) for index, name in enumerate(names))
    return Dataset("image_mask_folder", "The images in cells", "", classes, "0")


def create_row(file: str, *shares: float) -> ClassShares:
    return ClassShares(file, 1080, 1920, shares)


def render_table(rows: list[ClassShares], names: list[str], width: int = WIDTH) -> list[str]:
    """Return the lines that a terminal shows."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, markup=False)
    console.print(create_table(rows, create_dataset(names), console.width))
    return buffer.getvalue().splitlines()


def create_random_rows(classes: int, files: list[str]) -> list[ClassShares]:
    random = np.random.default_rng(classes)
    return [create_row(file, *random.dirichlet(np.full(classes, 0.3))) for file in files]


SHORT = ["a.jpg", "holiday/b.jpg"]
LONG = ["/home/user/images/2024/a very long folder's name/" + "x" * 60 + f"-{number}.jpeg" for number in range(30)]
WIDE = ["写真" * 30 + ".jpg", "a\nb.jpg", "[red]c.jpg"]


@pytest.mark.parametrize("files", [SHORT, LONG, WIDE], ids=["short", "long", "wide"])
@pytest.mark.parametrize("name", ["c{}", "class {} with a name of forty letters or more", "道路{}"])
@pytest.mark.parametrize("classes", [2, 3, 11, 40])
def test_table_lines_fit_the_terminal_without_wrapping(classes: int, name: str, files: list[str]) -> None:
    names = [name.format(number) for number in range(classes)]
    lines = render_table(create_random_rows(classes, files), names)
    assert max(map(cell_len, lines)) <= WIDTH
    is_shortened = len(files) > 20
    assert len(lines) == 1 + min(len(files), 20) + is_shortened + 1  # header, images, "and 10 more", mean
    if classes > 3:
        assert all(re.search(r"\d%", line) for line in lines[1:3])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_table_of_few_classes_has_a_column_for_each(classes: int) -> None:
    names = ["background", "cell", "border", "dead cell"][:classes]
    header, first, *_ = render_table(create_random_rows(classes, LONG[:2]), names)
    assert re.split(r" {2,}", header.strip()) == ["image", "pixels", *names]
    assert first.count("%") == classes
    assert "-0.jpeg" in first  # the end of a long path is kept


def test_table_of_many_classes_lists_them_by_share() -> None:
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    shares = (0.15, 0.22, 0.004, 0.41, 0.05, 0.1, 0.0, 0.02, 0.046, 0.0, 0.0)
    (header, line) = render_table([create_row("street.png", *shares)], names)
    assert header.split() == ["image", "pixels", "largest", "classes"]
    assert line.endswith("road 41%, building 22%, sky 15%, tree 10%, +4 more")
    (_, line) = render_table([create_row("street.png", *shares)], names, width=200)
    # A wide terminal has a column for each class.
    assert line.split()[-len(names) :] == [f"{share:.1%}" for share in shares]
    (_, line) = render_table([create_row("street.png", 0, 0, 0.004, 0.996, *[0] * 7)], names)
    assert line.endswith("road 100%, pole <1%")
