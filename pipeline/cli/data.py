"""Commands on images, before training."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--check", metavar="PATH", type=click.Path(path_type=Path, file_okay=False), help="Check a folder.")
@click.option(
    "--download",
    metavar="PATH",
    type=click.Path(path_type=Path, file_okay=False),
    help="Download Oxford-IIIT Pet to a folder.",
)
def data(check: Path | None, download: Path | None) -> None:
    """Check images before training, or download some.

    --check reads a folder like `pipeline prepare`: with the section `data` of params.yaml if it is on the same folder,
    else with the one that `pipeline init` would write. It reports all errors at once; without errors, it prints a
    summary, and the exit code is 0.

    --download downloads Oxford-IIIT Pet (0.8 GB) to a folder. Archives and files in the folder are reused; the same
    command resumes an interrupted download.
    """
    from rich.console import Console

    from pipeline.runtime.shutdown import exit_on_sigterm

    if (check is None) == (download is None):
        raise click.UsageError("Write --check PATH, or --download PATH.")
    exit_on_sigterm()
    if check is not None:
        from pipeline.init.data_section import find_section
        from pipeline.prepare.validate import validate_data

        section = find_section(check)
        found = validate_data(section.data, section.notices)
        click.echo(f"{check}: no errors with {section.origin}")
        console = Console(highlight=False, markup=False, soft_wrap=True)
        with console.capture() as shown:
            console.print(found.render())
        click.echo(shown.get(), nl=False)
    if download is not None:
        from pipeline.prepare.download import download_pets

        files = download_pets(download)
        click.echo(f"{download}: {len(files.pairs)} images with trimaps")


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def init(path: Path) -> None:
    """Write params.yaml for the images in the folder PATH: classes, colors, size, splits, batch, epochs.

    PATH has images/ and masks/, or images/ and a JSON of COCO's instances, or Oxford-IIIT Pet. Guesses have a comment.
    Only the section `data`, the batch size, the epochs and variants that do not fit are changed; the previous file is
    kept as params.before.yaml (then params.before.2.yaml and so on).
    """
    from pipeline.init.write_params import init as write_params

    click.echo(write_params(path))
