"""The commands `predict`, `promote`, `export`, `sync` and `ui`, which use trained runs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.completion import complete_formats, complete_models, complete_runs
from pipeline.cli.json_output import json_option, print_json
from pipeline.errors import PipelineError
from pipeline.runtime.shutdown import defer_signals, exit_on_sigterm
from pipeline.wording import join_words, pluralize

run_option = click.option(
    "--run",
    default="best",
    show_default=True,
    metavar="RUN",
    shell_complete=complete_models,
    help="Name of a run; best: the median run of the best setting; ensemble: all runs of that setting.",
)


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@run_option
@click.option(
    "--out",
    default="predictions",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the results.",
)
@click.option(
    "--format",
    "formats",
    default=["png"],
    show_default=True,
    multiple=True,
    metavar="FORMAT",
    shell_complete=complete_formats,
    help="Format of the masks: png, tiff, coco or labelme; several with commas, or by repeating the option.",
)
@click.option("--overlay", is_flag=True, help="Also write each image with its foreground classes in color.")
@click.option("--foreground", is_flag=True, help="Also write the foreground of each image on a transparent background.")
@click.option("--objects", is_flag=True, help="Also number the objects of each image, and write a table of them.")
@click.option("--flips", is_flag=True, help="Average the probabilities over each image and its horizontal flip.")
@click.option(
    "--rank-by-uncertainty", "is_ranked", is_flag=True, help="Also rank the images, the most uncertain first."
)
@json_option
def predict(
    images: tuple[Path, ...],
    run: str,
    out: Path,
    formats: tuple[str, ...],
    overlay: bool,
    foreground: bool,
    objects: bool,
    flips: bool,
    is_ranked: bool,
    as_json: bool,
) -> None:
    """Segment images with a trained run.

    Writes a mask of the same size for each image, and a table of class shares. IMAGES are files, or folders that are
    searched recursively, with PNG, JPEG, WebP, BMP or TIFF images of any size. Images are rotated by their EXIF
    orientation. Unreadable files and links to folders are reported and skipped; the exit code is then 1. Files in
    other formats are listed.

    Masks in the format png have the same values as the masks of the training data. The mask of a TIFF is a TIFF with
    the same georeference and pixel size. The format tiff has the indices of the classes, and data.pixel_size. coco is
    one JSON file of COCO instances with run lengths. labelme is a JSON file with polygons for each image, to be
    corrected in LabelMe.

    With data.slices, all slices of volumes (NIfTI, DICOM, TIFF stacks, OME-Zarr) are segmented. The mask of a volume is
    a volume with the same geometry, and the tables have one row per slice. Only the format png has masks of volumes.

    With data.scenes, TIFFs are read with the bands and the window of the training data, window by window. In the masks
    of the formats png and tiff, pixels without data are nodata.

    With --objects, the connected regions of the foreground classes, or of evaluation.objects, are numbered in label
    TIFFs in objects/. objects.csv has the class, area, centroid and mean values of each object, in pixels. With
    data.pixel_size, it also has the area in square units.

    With --rank-by-uncertainty, uncertainty.csv lists the images that are worth annotating next. With --run ensemble,
    they are ranked by the disagreement of its runs, otherwise by the entropy of the run's probabilities.

    The first line of the output describes the run's training data. The printed table has only the first images and,
    if there are many classes, the most frequent ones; shares.csv is complete.
    """
    from rich.console import Console

    from pipeline.artifacts.project import Project
    from pipeline.inference.objects import require_object_settings
    from pipeline.inference.trained_run import TrainedRun
    from pipeline.params.data.image_data import find_scenes, find_slices
    from pipeline.params.data.original_pixel import find_original_pixel
    from pipeline.params.file import read_params
    from pipeline.predict.formats.mask_format import WriterSettings
    from pipeline.predict.formats.regions import find_background
    from pipeline.predict.formats.table import create_writers, parse_formats
    from pipeline.predict.predict_images import OBJECT_TABLE, RANKING, TABLE, predict_images
    from pipeline.predict.result_writer import OutputFiles
    from pipeline.predict.summary import (
        advise_on_composites,
        create_ranking_table,
        create_table,
        describe_training_data,
    )

    exit_on_sigterm()
    names = parse_formats(formats)
    params, project = read_params(), Project()
    trained = TrainedRun.load(params, run, project)
    if flips:
        trained = trained.average_flips()
    settings = require_object_settings(params.evaluation, trained.data.classes, "--objects") if objects else None
    classes, pixel = trained.data.classes, find_original_pixel(params.data)
    background = find_background(params.data, classes)
    writers = create_writers(
        names, WriterSettings(out, trained.describe(), classes, trained.encoding, background, pixel)
    )
    click.echo(describe_training_data(trained, project), err=as_json)
    if advice := advise_on_composites(params):
        click.echo(advice, err=as_json)
    files = OutputFiles(out, overlay, foreground)
    console, slices = Console(stderr=True), find_slices(params.data)
    found = predict_images(
        trained,
        images,
        files,
        writers,
        console,
        settings,
        pixel,
        is_ranked=is_ranked,
        slices=slices,
        scenes=find_scenes(params.data),
    )
    rows, num_skipped, counts, ranked = found.rows, found.num_skipped, found.num_objects, found.ranked
    if as_json:
        shares = [{**vars(row), "shares": dict(zip(trained.data.class_names, row.shares, strict=True))} for row in rows]
        if counts is not None:
            shares = [{**row, "objects": count} for row, count in zip(shares, counts, strict=True)]
        content = {"run": trained.name, "folder": out, "images": shares, "skipped": num_skipped}
        print_json(content if ranked is None else {**content, "ranked": ranked})
    else:
        if rows:
            console = Console(highlight=False, markup=False)
            console.print(create_table(rows, trained.data, console.width))
            if ranked is not None:
                console.print()
                console.print(create_ranking_table(ranked, console.width))
        masks, places = pluralize(found.num_masks, "mask"), join_words([writer.place for writer in writers.values()])
        click.echo(f"{out}: {masks} by {trained.describe()} in {places}; {out / TABLE} has the shares of all classes")
        if background is not None and any(writer.has_annotations for writer in writers.values()):
            click.echo(f"Pixels of the class {classes[background].name} have no annotation.")
        if counts is not None:
            numbers = pluralize(sum(counts), "object", "objects")
            click.echo(f"{out}: {numbers}, numbered in objects/; {out / OBJECT_TABLE} has their areas and positions")
        if ranked is not None:
            click.echo(f"{out / RANKING} ranks all images, the most uncertain first")
    problems = [f"{num_skipped} of {num_skipped + found.num_masks} images were skipped"] if num_skipped else []
    if found.num_links:
        problems.append(f"{pluralize(found.num_links, 'link to a folder was', 'links to folders were')} not followed")
    if problems:
        raise PipelineError(f"{' and '.join(problems)}; see above.")


@click.command()
@run_option
@json_option
def promote(run: str, as_json: bool) -> None:
    """Register a run's model in MLflow, ready for serving.

    The model gets the alias champion. It contains the network, or all networks of the ensemble, in ONNX, its
    preprocessing and an input example, and needs neither this package nor PyTorch. Its page in MLflow has a model card
    with verdict, scores and limits. If the run is already registered, only the alias and the model card are updated.
    """
    from pipeline.params.file import read_params
    from pipeline.promote.promote_run import promote_run

    registered = promote_run(read_params(), run)
    print_json(registered) if as_json else click.echo(registered.describe())


@click.command()
@run_option
@click.option(
    "--format",
    "file_format",
    default="onnx",
    show_default=True,
    type=click.Choice(["onnx", "bioimageio"]),
    help="An ONNX file, or a package for bioimage.io that contains it.",
)
@click.option(
    "--out",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write.  [default: exports/<run>.onnx, or .zip for a package]",
)
@click.option("--license", "license_id", metavar="SPDX", help="License of a package, such as CC-BY-4.0.")
@json_option
def export(run: str, file_format: str, file: Path | None, license_id: str | None, as_json: bool) -> None:
    """Write a run's model to a file, without MLflow.

    The ONNX file needs only ONNX Runtime. It contains the network, or all networks of the ensemble, and describes
    itself: its metadata has the names of the classes, the input size, the channels, and how images are resized and
    normalized. The command prints Python code that segments an image; the file contains this code, too.

    The package for bioimage.io also contains test arrays, a cover and documentation. Its authors are those in
    report.author. It needs the extra bioimageio.
    """
    from pipeline.export.export_run import export_run
    from pipeline.params.file import read_params

    if license_id is not None and file_format != "bioimageio":
        raise click.UsageError("--license is only for packages: add --format bioimageio, or leave it out.")
    exported = export_run(read_params(), run, file, file_format, license_id)
    print_json(exported) if as_json else click.echo(exported.describe())


@click.command()
@click.argument("targets", metavar="[RUNS]...", nargs=-1, shell_complete=complete_runs)
@click.option("--tracking-uri", metavar="URI", help="Use this MLflow server or database instead of the project's.")
@json_option
def sync(targets: tuple[str, ...], tracking_uri: str | None, as_json: bool) -> None:
    """Upload finished runs to MLflow.

    Data that MLflow already has is not uploaded again.

    RUNS are names of runs, such as unet-0.004-0, or patterns in quotes, such as 'lite0-*'; the default is all
    trained runs of the grid. Runs are also logged while they train. This command is for runs that DVC restored
    instead of training them, for runs that were trained while the server was down, and for a second server.
    `make report` runs it as its last step.
    """
    from pipeline.artifacts.project import Project
    from pipeline.params.file import read_params
    from pipeline.tracking.sync import sync_selected

    defer_signals()
    result = sync_selected(read_params(), targets, tracking_uri, Project())
    print_json(result) if as_json else click.echo(result.describe())


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1024, 65535), help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="IP", help="Address to bind; 0.0.0.0 for all.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI with the trained runs."""
    from pipeline.artifacts.project import Project
    from pipeline.params.file import read_params
    from pipeline.tracking.mark_killed import mark_killed
    from pipeline.tracking.ui import ServerAddress, serve

    mark_killed(Project())
    found = read_params()
    sys.exit(serve(found.tracking, ServerAddress(host, port), found.compare.rank_by))
