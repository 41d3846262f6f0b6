"""Commands that use what was trained, or share it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.errors import PipelineError
from pipeline.runtime.shutdown import defer_signals, exit_on_sigterm


@click.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--run",
    default="best",
    show_default=True,
    metavar="RUN",
    help="A run's name; best: median seed of the best setting.",
)
@click.option(
    "--out",
    default="predictions",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into.",
)
@click.option("--overlay", is_flag=True, help="Write each picture with its classes tinted, too.")
@click.option("--cutout", is_flag=True, help="Write what each is of, the rest transparent, too.")
def predict(images: tuple[Path, ...], run: str, out: Path, overlay: bool, cutout: bool) -> None:
    """Segment pictures with a trained run: masks as large as they are, and a table of the classes' shares.

    IMAGES are files, or folders with pictures in them and below: PNG, JPEG, WebP, BMP, TIFF, of any size. They are
    turned upright as a camera noted it. Masks have the values of the data's own masks. What cannot be read is told and
    passed over; then the exit code is 1.

    The first line names the data that the run was trained on. The table has the first images, with the classes that
    have the largest shares; all of it is in shares.csv.
    """
    from rich.console import Console

    from pipeline.params.file import read_params
    from pipeline.predict.command import TABLE, predict_pictures
    from pipeline.predict.predictor import Predictor
    from pipeline.predict.table import as_table

    exit_on_sigterm()
    predictor = Predictor.of_run(read_params(), run, Path())
    click.echo(predictor.trained_on)
    if predictor.advice:
        click.echo(predictor.advice)
    found = predict_pictures(predictor, images, out, overlay, cutout, Console(stderr=True))
    if found.rows:
        console = Console(highlight=False, markup=False)
        with console.capture() as table:
            console.print(as_table(found.rows, predictor.data, console.width))
        click.echo(table.get(), nl=False)
    masks = "1 mask" if len(found.rows) == 1 else f"{len(found.rows)} masks"
    click.echo(f"{out}: {masks} by {predictor.run}, in masks/; {out / TABLE} has every class's share")
    if found.skipped:
        raise PipelineError(
            f"{found.skipped} of {found.skipped + len(found.rows)} pictures were passed over; see above."
        )


@click.command()
@click.option(
    "--run",
    default="best",
    show_default=True,
    metavar="RUN",
    help="A run's name; best: median seed of the best setting.",
)
def promote(run: str) -> None:
    """Register a run's model in MLflow as the champion, ready to be served.

    It is a network in ONNX with its preprocessing, an example and its evidence; it needs neither this package nor
    PyTorch. A run that is registered already only becomes the champion again.
    """
    from pipeline.params.file import read_params
    from pipeline.promote import command

    click.echo(command.promote(read_params(), run).sentences())


@click.command()
@click.argument("targets", metavar="[RUNS]...", nargs=-1)
@click.option("--to", "uri", metavar="URI", help="Another MLflow than the project's: http://host:5000, or a database.")
def track(targets: tuple[str, ...], uri: str | None) -> None:
    """Upload finished runs to MLflow; what MLflow has already is not uploaded again.

    RUNS are names, such as unet-0.001-0, or patterns in quotes, such as 'lite0-*'; without any, all trained runs of the
    grid. Training uploads its runs too; the command is for runs that DVC restored without training them, for a server
    that was down, and for a second server. `make report` ends with it.
    """
    from pipeline.params.file import read_params
    from pipeline.tracking.sync import sync_selected

    defer_signals()
    click.echo(sync_selected(read_params(), targets, uri, Path()))


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1024, 65535), help="Port to listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="IP", help="0.0.0.0 lets other machines in.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI with the trained runs."""
    from pipeline.params.file import read_params
    from pipeline.tracking.mark_killed import mark_killed
    from pipeline.tracking.ui import ServerAddress, serve

    mark_killed()
    sys.exit(serve(read_params().tracking, ServerAddress(host, port)))
