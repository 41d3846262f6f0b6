"""The table of class shares fits a terminal of 80 columns for any names of classes and files."""

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


def data(names: list[str]) -> Dataset:
    classes = tuple(SegmentationClass(name, "#000000", foreground=place > 0) for place, name in enumerate(names))
    return Dataset("image_mask_folder", "The images in cells", "", classes, "0")


def row(file: str, *shares: float) -> ClassShares:
    return ClassShares(file, 1080, 1920, shares)


def printed(rows: list[ClassShares], names: list[str], width: int = WIDTH) -> list[str]:
    """The lines that a terminal shows."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=width, highlight=False, markup=False)
    console.print(create_table(rows, data(names), console.width))
    return buffer.getvalue().splitlines()


def random_rows(classes: int, files: list[str]) -> list[ClassShares]:
    random = np.random.default_rng(classes)
    return [row(file, *random.dirichlet(np.full(classes, 0.3))) for file in files]


SHORT = ["a.jpg", "holiday/b.jpg"]
LONG = ["/home/user/images/2024/a very long folder's name/" + "x" * 60 + f"-{number}.jpeg" for number in range(30)]
WIDE = ["写真" * 30 + ".jpg", "a\nb.jpg", "[red]c.jpg"]


@pytest.mark.parametrize("files", [SHORT, LONG, WIDE], ids=["short", "long", "wide"])
@pytest.mark.parametrize("name", ["c{}", "class {} with a name of forty letters or more", "道路{}"])
@pytest.mark.parametrize("classes", [2, 3, 11, 40])
def test_no_line_is_wider_than_the_terminal_or_wrapped(classes: int, name: str, files: list[str]) -> None:
    names = [name.format(number) for number in range(classes)]
    lines = printed(random_rows(classes, files), names)
    assert max(map(cell_len, lines)) <= WIDTH
    more = len(files) > 20
    assert len(lines) == 1 + min(len(files), 20) + more + 1  # head, images, "and 10 more", mean
    if classes > 3:
        assert all(re.search(r"\d%", line) for line in lines[1:3])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_have_a_column_each(classes: int) -> None:
    names = ["background", "cell", "border", "dead cell"][:classes]
    head, first, *_ = printed(random_rows(classes, LONG[:2]), names)
    assert re.split(r" {2,}", head.strip()) == ["image", "pixels", *names]
    assert first.count("%") == classes
    assert "-0.jpeg" in first  # of a long path, the end is kept


def test_many_classes_are_listed_by_their_shares() -> None:
    names = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
    shares = (0.15, 0.22, 0.004, 0.41, 0.05, 0.1, 0.0, 0.02, 0.046, 0.0, 0.0)
    (head, line) = printed([row("street.png", *shares)], names)
    assert head.split() == ["image", "pixels", "largest", "classes"]
    assert line.endswith("road 41%, building 22%, sky 15%, tree 10%, +4 more")
    (_, line) = printed([row("street.png", *shares)], names, width=200)
    assert line.split()[-len(names) :] == [f"{share:.1%}" for share in shares]  # a wide terminal has the columns
    (_, line) = printed([row("street.png", 0, 0, 0.004, 0.996, *[0] * 7)], names)
    assert line.endswith("road 100%, pole <1%")
