"""Output of `pipeline predict`: the run's training data, and a table of the class shares of each image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.table import Table

from pipeline.artifacts.prepared_data import Dataset
from pipeline.artifacts.project import Project
from pipeline.imaging.resize import FixedSize, Resizing
from pipeline.inference.trained_run import TrainedRun
from pipeline.params import Params
from pipeline.params.data.composites import CompositesData
from pipeline.params.run_config import read_run_config
from pipeline.predict.outputs import ClassShares
from pipeline.predict.uncertainty import ImageUncertainty
from pipeline.wording import escape_unprintable, format_size, pluralize, shorten

MAX_NAMED = 6  # classes listed in the description of the training data
SHOWN = 20  # images listed in the table
GAP = 2  # characters between columns
MIN_FILE = 20  # characters of file names that must remain visible beside class columns


def _describe_size(resizing: Resizing) -> str:
    return format_size(resizing.size) if isinstance(resizing, FixedSize) else "their own size"


def describe_training_data(run: TrainedRun, project: Project) -> str:
    """Describe the training data of a run in one line."""
    cell = read_run_config(run.record, project.run(run.record.run).path)
    used = min(run.num_train_images, cell.max_train_images or run.num_train_images)
    names = run.data.class_names
    classes = ", ".join(names[:MAX_NAMED])
    if len(names) > MAX_NAMED:
        classes += f", +{len(names) - MAX_NAMED} more"
    subject = f"The {run.describe()}" if run.members else cell.name
    return (
        f'{subject} was trained on "{run.data.title}": {pluralize(used, "image", "images")} of '
        f"{_describe_size(run.preprocessing.resizing)}; classes: {classes}"
    )


def advise_on_composites(params: Params) -> str:
    """Recommend better training data than the bundled composites; the text is empty if other data is used."""
    if not isinstance(params.data, CompositesData) or params.data.external_test is not None:
        return ""
    return (
        "Photographs differ from these composites, so their masks will be poor. Train on your own images and masks "
        "(pipeline init FOLDER; make report), or on composites that resemble photographs (make report SET=composites "
        "DATA=FOLDER; docs/explanation/recipe.md)."
    )


def create_table(rows: Sequence[ClassShares], data: Dataset, width: int) -> Table:
    """Create a table of at most `width` characters with the class shares of the first images and their overall mean.

    If all classes fit, the table has a column for each. Otherwise, it lists the largest classes of each image.
    """
    names = [escape_unprintable(item.name) for item in data.classes]
    lines = [(escape_unprintable(row.file), f"{row.width} × {row.height}", row.shares) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append((f"and {len(rows) - SHOWN} more", "", ()))
    if len(rows) > 1:
        lines.append(("mean", "", tuple(np.mean([row.shares for row in rows], axis=0).tolist())))
    size_width = max(cell_len(size) for _, size, _ in lines)
    longest = max(cell_len(file) for file, _, _ in lines)
    columns = sum(GAP + max(cell_len(name), len("100.0%")) for name in names)
    has_columns = columns + min(longest, MIN_FILE) + GAP + size_width <= width
    reserved = columns if has_columns else GAP + width // 2
    file_width = max(cell_len("image"), min(longest, width - reserved - GAP - size_width))

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("image", no_wrap=True)
    table.add_column("pixels", justify="right", no_wrap=True)
    for name in names if has_columns else ["largest classes"]:
        table.add_column(name, justify="right" if has_columns else "left", no_wrap=True)
    for file, size, shares in lines:
        if has_columns:
            cells = [f"{share:.1%}" for share in shares]
        else:
            cells = [list_largest_classes(shares, names, width - file_width - size_width - 2 * GAP)]
        table.add_row(_shorten_path(file, file_width), size, *cells)
    return table


def create_ranking_table(ranked: Sequence[ImageUncertainty], width: int) -> Table:
    """Create a table of at most `width` characters with the most uncertain images."""
    has_members = any(image.disagreement is not None for image in ranked)
    headings = ["disagreement", "entropy"] if has_members else ["entropy"]
    rank_width = max(len("rank"), len(str(min(len(ranked), SHOWN))))
    file_width = width - rank_width - GAP - sum(GAP + len(heading) for heading in headings)
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("most uncertain images", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for rank, image in enumerate(ranked[:SHOWN], start=1):
        numbers = [image.disagreement, image.entropy] if has_members else [image.entropy]
        file = _shorten_path(escape_unprintable(image.file), file_width)
        table.add_row(str(rank), file, *(f"{number:.4f}" for number in numbers))
    return table


def list_largest_classes(shares: Sequence[float], names: Sequence[str], width: int) -> str:
    """List as many of the largest classes as fit into `width` characters: `road 41%, building 22%, +6 more`."""
    present = sorted((place for place, share in enumerate(shares) if share > 0), key=lambda place: -shares[place])
    for count in range(len(present), 0, -1):
        rest = f", +{len(present) - count} more" if count < len(present) else ""
        ends = [f" {_percent(shares[place])}" for place in present[:count]]
        listed = ", ".join(f"{names[place]}{end}" for place, end in zip(present, ends, strict=False)) + rest
        if cell_len(listed) <= width:
            return listed
    if not present:
        return ""
    return shorten(names[present[0]], width - cell_len(ends[0] + rest)) + ends[0] + rest


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "<1%"


def _shorten_path(path: str, width: int) -> str:
    """Truncate the beginning of a path that is longer than `width` characters."""
    if cell_len(path) <= width:
        return path
    while path and cell_len(path) > width - 1:
        path = path[1:]
    return f"…{path}"
