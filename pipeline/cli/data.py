"""The commands `data` and `init`, which prepare a project for the user's images."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.json_output import json_option, print_json
from pipeline.runtime.shutdown import exit_on_sigterm


@click.group()
def data() -> None:
    """Check images before training, or download a data set."""


@data.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
@json_option
def check(path: Path, as_json: bool) -> None:
    """Check the images and masks in the folder PATH, and print a summary.

    The folder is read as in `pipeline prepare`, with the `data` section of params.yaml if it names the same folder,
    and otherwise with the section that `pipeline init` would write. All errors are reported at once. If there are
    none, the exit code is 0.
    """
    from rich.console import Console

    from pipeline.init.inspect_folder import find_section
    from pipeline.prepare.validate import validate_data

    exit_on_sigterm()
    section, origin, notices = find_section(path)
    found = validate_data(section, notices)
    if as_json:
        print_json(found.describe())
        return
    click.echo(f"{path}: no errors with {origin}")
    Console(highlight=False, markup=False, soft_wrap=True).print(found.render())


@data.command()
@click.argument("path", type=click.Path(path_type=Path, file_okay=False))
def download(path: Path) -> None:
    """Download Oxford-IIIT Pet (0.8 GB) to the folder PATH.

    Archives and files that exist in the folder are reused, so the same command resumes an interrupted download.
    """
    from pipeline.prepare.download import download_pets

    exit_on_sigterm()
    files = download_pets(path)
    click.echo(f"{path}: {len(files.pairs)} images with trimaps")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Write params.yaml for the images in the folder PATH.

    PATH contains images and masks, or images and annotations (COCO, CVAT, Label Studio, LabelMe, Supervisely,
    YOLO), or a data set as published (Pascal VOC, Cityscapes, ADE20K, CamVid, Carvana, ISIC, Data Science Bowl 2018,
    nnU-Net, Oxford-IIIT Pet). The images may be slices of NIfTI volumes or TIFF stacks.

    Classes, colors, image size, splits, batch size and epochs are derived from the images; guesses are marked with a
    comment. Only the `data` section, the batch size, the epochs, and variants that do not fit the images are changed.
    The previous file is kept as params.before.yaml (then params.before.2.yaml and so on).
    """
    from pipeline.init.write_params import init as write_params

    click.echo(write_params(path))
