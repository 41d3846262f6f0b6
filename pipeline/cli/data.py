"""The commands `data` and `init`, which prepare a project for the user's images."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.json_output import json_option, print_json
from pipeline.runtime.shutdown import exit_on_sigterm

_HTML_ENDINGS = (".html", ".htm")


@click.group()
def data() -> None:
    """Check images before training, or download a data set."""


class _CheckCommand(click.Command):
    """Command whose option --html may be followed by a file, by the folder, or by nothing."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments. What follows --html is a file only if it is named like one."""
        args = list(args)
        if "--html" in args:
            after = args.index("--html") + 1
            if after == len(args) or not args[after].lower().endswith(_HTML_ENDINGS):
                args[after - 1] = "--html="
        return super().parse_args(ctx, args)


@data.command(cls=_CheckCommand)
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--html", metavar="[FILE]", help="Write a page that shows the images, see above.")
@json_option
def check(path: Path, html: str | None, as_json: bool) -> None:
    """Check the images and masks in PATH, a folder or an archive, and print a summary.

    The data is read as in `pipeline prepare`, with the `data` section of params.yaml if it names the same path, and
    otherwise with the section that `pipeline init` would write. All errors are reported together. If there are
    none, the exit code is 0.

    With --html, a page is written to FILE, or to reports/data-check.html. It shows what must be fixed and what to
    check as images, examples of each class, and what the prepared size does. It is also written if there are errors.
    """
    from rich.console import Console

    from pipeline.data_check.check_folder import check_folder

    exit_on_sigterm()
    if html and not html.lower().endswith(_HTML_ENDINGS):
        raise click.BadParameter(f"'{html}' does not end in .html.", param_hint="--html")
    found = check_folder(path)
    page = None
    if html is not None:
        from pipeline.artifacts.project import Project
        from pipeline.data_check.page import write_data_page

        page = write_data_page(found, Project(), Path(html) if html else None)
    if page is not None and (found.error is not None or not as_json):
        click.echo(page, err=as_json)
    report = found.get_valid_report()
    if as_json:
        print_json({**report.describe(), **({"page": page} if page else {})})
        return
    click.echo(f"{path}: no errors with {found.origin}")
    Console(highlight=False, markup=False, soft_wrap=True).print(report.render())


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
    """Write params.yaml for the images in PATH, a folder or a zip or tar archive.

    PATH contains images and masks, or images and annotations (COCO, CVAT, Label Studio, LabelMe, Supervisely,
    YOLO), or a data set as published (Pascal VOC, Cityscapes, ADE20K, CamVid, Carvana, ISIC, Data Science Bowl 2018,
    nnU-Net, Oxford-IIIT Pet), or a Hugging Face data set in Parquet or Arrow files. The images may be slices of
    volumes (NIfTI, DICOM, TIFF stacks, OME-Zarr), or tiles of GeoTIFFs with masks or polygons.

    Classes, colors, image size, splits, batch size and epochs are derived from the images; guesses are marked with a
    comment. Only the `data` section, the batch size, the epochs, the patch size and, if classes are rare, the loss are
    changed. Variants that do not fit the images are removed from `grid.variant`. The previous file is kept as
    params.before.yaml (then params.before.2.yaml and so on).
    """
    from pipeline.init.write_params import init as write_params

    click.echo(write_params(path))
