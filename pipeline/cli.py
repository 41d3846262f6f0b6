"""The command line. Only click is imported here: each command imports what it needs when it runs."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import click

from pipeline.errors import PipelineError
from pipeline.signals import exit_when_told

BASELINE = "The loss of knowing only how frequent each class is; without it, underfitting is a loss that hardly fell."


class Picture(click.Path):
    """A picture to be written."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path; wrong usage where its ending names no format, before anything runs."""
        path = Path(value)
        if path.suffix.lower() not in (".png", ".svg", ".pdf"):
            self.fail(f"there is no picture format '{path.suffix}'; write .png, .svg or .pdf.", param, ctx)
        return path


class Commands(click.Group):
    """Turns a user's mistake into one message on stderr and exit code 1; click itself answers wrong usage with 2."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:  # a full disk, a folder that may not be written: the system's words name the file
            raise click.ClickException(f"{error}. Nothing half written is left; mend it and run this again.") from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="unet-learning-report", prog_name="pipeline")
def main() -> None:
    """Which U-Net at which learning rate learns your images best, and does it learn or memorise?

    Edit params.yaml, then run `make report`: it trains the cells of the grid that are new, and renders
    reports/learning-report.html. The commands below are its steps; all of them run in the project's folder,
    or in a study's.
    """


@main.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of params.yaml instead.")
def params(schema: bool) -> None:
    """Check params.yaml and list the runs of its grid."""
    from pipeline.params import Params
    from pipeline.params.file import read_params
    from pipeline.variants.check import check_models

    if schema:
        click.echo(json.dumps(Params.model_json_schema(), indent=2))
        return
    found = read_params()
    check_models(found, found.grid.variant)
    for cell in found.cells():
        click.echo(cell.name)


@main.command()
def variants() -> None:
    """List the variants of params.yaml and what their networks cost.

    MACs are the multiply-accumulates in convolutions and matrix products for one image of data.image_size. Memory is
    what a training step holds at once at train.batch_size: weights, gradients, two numbers a parameter for the
    optimiser (Adam's; SGD needs fewer), and the feature maps kept for the way back, as measured on a blank batch.
    What torch itself and its scratch space take comes on top: half a gigabyte and more.
    """
    from pipeline.params.file import read_params
    from pipeline.variants.table import as_text, variant_rows

    click.echo(as_text(list(variant_rows(read_params(), Path()))))


@main.command()
def prepare() -> None:
    """Stage: make images and masks ready in data/prepared/."""
    from pipeline.attempts import attempt
    from pipeline.params.file import read_params
    from pipeline.prepare.stage import prepare as stage

    with attempt("prepare"):
        data = stage(read_params())
    click.echo(f"data/prepared: classes {', '.join(item.name for item in data.classes)}; {data.fingerprint[:12]}")


@main.command()
@click.option("--variant", required=True, help="A name under variants: in params.yaml.")
@click.option("--learning-rate", required=True, type=float, help="Such as 1e-3.")
@click.option("--seed", required=True, type=int, help="Of initialisation, order and augmentation.")
def train(variant: str, learning_rate: float, seed: int) -> None:
    """Stage: train one cell of the grid into runs/<run>/; one that was stopped goes on from its last epoch.

    A run that diverges is a result like another: it is recorded, and the exit code is 0.
    """
    from pipeline.attempts import attempt
    from pipeline.params.file import read_params
    from pipeline.progress import EpochReport, TrainingProgress
    from pipeline.tracking.settle import settle_killed
    from pipeline.train.stage import train_cell
    from pipeline.variants.check import check_models

    check = exit_when_told()
    found = read_params()
    settle_killed()
    cell = found.cell(variant, learning_rate, seed)
    with attempt("train", cell.name) as say, TrainingProgress(runs=1) as progress:
        check_models(found, [variant])

        def listen(report: EpochReport) -> None:
            progress.epoch(report)
            say(report.sentence())
            check()

        record = train_cell(found, cell, listen=listen)
    click.echo(record.sentence())


@main.command()
@click.argument("run")
def evaluate(run: str) -> None:
    """Stage: score a trained RUN, such as unet-0.001-0, into evaluation/<run>/."""
    from pipeline.attempts import attempt
    from pipeline.evaluate.stage import evaluate_run
    from pipeline.params.file import read_params

    with attempt("evaluate", run):
        found = evaluate_run(read_params(), run)
    if found.validation is None or found.gap is None:
        click.echo(f"{run}: diverged before its first epoch ended, so there is nothing to score")
    else:
        click.echo(f"{run}: validation loss {found.validation.loss:.3f} nats a pixel, gap {found.gap:+.3f}")


@main.command()
def compare() -> None:
    """Stage: rank the rates of the grid over their seeds, into comparison/."""
    from pipeline.attempts import attempt
    from pipeline.compare.stage import compare as stage
    from pipeline.params.file import read_params

    with attempt("compare"):
        summary = stage(read_params())
    for name in summary.outside:
        click.echo(f"runs/{name} is no cell of the grid and was left out", err=True)
    best = summary.best
    click.echo(f"best: {best.variant} at {best.learning_rate:g}" if best else "no rate could be ranked")


@main.command()
def showcase() -> None:
    """Stage: cut the photographs of report.showcase out with the best run, into showcase/."""
    from pipeline.attempts import attempt
    from pipeline.params.file import read_params
    from pipeline.showcase.stage import cut_out

    with attempt("showcase"):
        found = cut_out(read_params())
    for photograph in found.photographs:
        score = "" if photograph.iou is None else f", IoU {photograph.iou:.3f}"
        click.echo(f"{photograph.file}: cut out by {found.run}{score}")


@main.command()
@click.option("--runs", "selection", metavar="SELECTION", help="Which runs; see above.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the page.")
@click.option("--open", "show", is_flag=True, help="Show it in the browser.")
@click.option("--live", is_flag=True, help="With date, durations, git commit, and a link to MLflow.")
def report(selection: str | None, out: Path | None, show: bool, live: bool) -> None:
    """Render the learning report.

    Without options this is the stage that writes reports/learning-report.html. With --runs the page shows a part of the
    grid and goes to a file of its own in reports/. SELECTION is one of

    \b
      best                            the run that validation chose
      best:3                          the runs that stand for the three best rates
      all                             every run
      unet-0.001-0,lite0-*            names with commas between; * and ? stand for any characters, or one
      variant=unet,learning_rate<=1e-3,verdict!=learning
                                      comparisons that must all hold (in quotes: the shell means other things by <)
      mlflow:latest                   from MLflow, wherever tracking.uri is: the run that began last,
      mlflow:ID,ID                    runs by their ids,
      "mlflow:metrics.val_loss_best < 0.4"
                                      those that a filter of MLflow's finds, of each author the newest of each name

    Where several people's runs are on the server, its pages say who got what, and where you stand.
    """  # noqa: D301 - click reads the backspace as "leave these lines as they are"
    import webbrowser

    from pipeline.attempts import attempt
    from pipeline.params.file import read_params
    from pipeline.report.stage import render_report

    is_stage = not (selection or out or show or live)
    with attempt("report") if is_stage else contextlib.nullcontext():
        source, _, wanted = (selection or "").partition(":")
        if source.strip().lower() == "mlflow":
            from pipeline.tracked_report import render_tracked

            page = render_tracked(read_params(), wanted, out, live=live)
        else:
            page = render_report(read_params(), selection, out, live=live)
        click.echo(page.path)
        if show and not webbrowser.open(page.path.absolute().as_uri()):
            raise PipelineError(f"There is no browser here to show {page.path} in; copy it to where there is one.")
        if page.faults:
            lacking = "\n".join(f"{card.title}. {card.text}" for card in page.faults)
            raise PipelineError(f"The page was written, but says of itself what it lacks:\n{lacking}")


@main.command()
def failure() -> None:
    """Show what the last `make report` could not do.

    Renders reports/failure.html: what failed, its last lines, its parameters and the command for just that. Where all
    that failed are runs, the learning report of the others is rendered too.
    """
    from pipeline.compare.stage import compare as compare_stage
    from pipeline.params.file import read_params
    from pipeline.report.failure import failed, render_failure
    from pipeline.report.stage import render_report

    found = page = None
    with contextlib.suppress(PipelineError):  # whatever cannot be read or made is what the page tells
        found = read_params()
        lost = failed(found, Path())
        if lost and all(one.run for one in lost):
            compare_stage(found, lost=lost)
            page = render_report(found).path
    click.echo(render_failure(found, page))


@main.command()
@click.argument("targets", nargs=-1)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trainings at once.  [default: one a GPU; without any, cores / train.threads]",
)
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: auto, or host:port. See docs/cluster.md.")
def sweep(targets: tuple[str, ...], jobs: int | None, ray: str | None) -> None:
    """Train and evaluate what is stale, side by side, and hand it to DVC.

    TARGETS are names of runs, such as unet-0.001-0, or patterns in quotes, such as 'lite0-*'; without any, all of the
    grid. Afterwards `dvc repro` only compares and renders; `make report` does both.

    Ctrl-C stops when the epochs under way have ended, twice stops now. Whatever stopped or killed it, the same command
    goes on: from the last epoch of each run.
    """
    from pipeline.attempts import attempt, forget_attempt
    from pipeline.params.file import read_params
    from pipeline.sweep.stage import sweep as run_sweep

    if jobs and ray:
        raise click.UsageError("--jobs is for this machine; on a cluster, it is the cluster that says how many.")
    exit_when_told()
    for stage in ("prepare", "compare", "showcase", "report"):
        forget_attempt(stage)  # each tells anew where it fails again
    with attempt("sweep"):
        code = run_sweep(read_params(), jobs, targets, ray, Path())
    sys.exit(code)


@main.command()
@click.argument("name", required=False)
@click.option(
    "--data", metavar="PATH", type=click.Path(path_type=Path), help="Where its pictures lie, other than the set says."
)
def study(name: str | None, data: Path | None) -> None:
    """Make the study NAME ready to run; without NAME, list them.

    NAME stands for params/NAME.yaml, which says what differs from params.yaml. Both together go into studies/NAME/, a
    DVC pipeline of its own. `make report SET=NAME` does this, runs the study and renders its report.
    """
    from pipeline.project import project_folder
    from pipeline.study.sets import parameter_sets
    from pipeline.study.stage import make_study

    if name is None:
        found = parameter_sets(project_folder())
        for one in found:
            click.echo(f"{one.name:{max(len(other.name) for other in found)}}  {one.title()}")
        return
    made = make_study(name, project_folder(), data)
    click.echo(f"{made.folder}: {len(made.params.cells())} runs. {made.params.report.title}")


@main.command()
@click.argument("curves", type=click.Path(exists=True, path_type=Path))
@click.option("--baseline", type=click.FloatRange(min=0, min_open=True), metavar="LOSS", help=BASELINE)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects instead of sentences.")
@click.option("--plot", type=Picture(), metavar="FILE", help="Draw the curves: .png, .svg or .pdf.")
def judge(curves: Path, baseline: float | None, as_json: bool, plot: Path | None) -> None:
    """Say of any training whether it learned, memorised or overfitted.

    CURVES is a table with the columns epoch, train_loss and val_loss, and optionally run; or what Keras' CSVLogger,
    Lightning's metrics.csv, MLflow (key, value, step) or DVCLive (the folder plots/metrics) wrote. docs/gaps.md
    explains the words.
    """
    from pipeline.judge import command

    judged = command.judge_file(curves, baseline)
    if plot:
        from pipeline.judge.plot import draw

        draw(judged, baseline, plot)
    click.echo(command.as_json(judged) if as_json else command.as_text(judged))


@main.command()
@click.option("--variant", metavar="NAME", help="Which of variants:.  [default: the grid's first]")
@click.option("--plot", type=Picture(), metavar="FILE", help="Draw the curve: .png, .svg or .pdf.")
def lr_find(variant: str | None, plot: Path | None) -> None:
    """Suggest learning rates for the grid, by one short training at a growing rate.

    120 batches, from a rate of 1e-6 up to 1, on the prepared data; no run comes of it and nothing else changes. The
    suggestion is where to look: which rate is best, the grid says.
    """
    from pipeline.lr_find import command
    from pipeline.params.file import read_params

    exit_when_told()
    found = read_params()
    click.echo(command.lr_find(found, variant or found.grid.variant[0], plot, Path()))


@main.command()
@click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--run", default="best", show_default=True, metavar="RUN", help="A run's name; best: validation's choice."
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
    """
    from rich.console import Console

    from pipeline.params.file import read_params
    from pipeline.predict.command import predict_pictures
    from pipeline.predict.predictor import Predictor
    from pipeline.predict.table import as_table

    exit_when_told()
    predictor = Predictor.of_run(read_params(), run, Path())
    found = predict_pictures(predictor, images, out, overlay, cutout, Console(stderr=True))
    if found.rows:
        Console(highlight=False, markup=False).print(as_table(found.rows, predictor.data))
    click.echo(f"{out}: {len(found.rows)} masks by {predictor.run}, in masks/; shares.csv has each class's share")
    if found.skipped:
        raise PipelineError(
            f"{found.skipped} of {found.skipped + len(found.rows)} pictures were passed over; see above."
        )


@main.command()
@click.option(
    "--run", default="best", show_default=True, metavar="RUN", help="A run's name; best: validation's choice."
)
def promote(run: str) -> None:
    """Register a run's model in MLflow as the champion, ready to be served.

    It is a network in ONNX with its preprocessing, an example and its evidence; it needs neither this package nor
    PyTorch. A run that is registered already only becomes the champion again.
    """
    from pipeline.params.file import read_params
    from pipeline.promote import command

    click.echo(command.promote(read_params(), run).sentences())


@main.command()
@click.argument("targets", metavar="[RUNS]...", nargs=-1)
@click.option("--to", "uri", metavar="URI", help="Another MLflow than the project's: http://host:5000, or a database.")
def track(targets: tuple[str, ...], uri: str | None) -> None:
    """Write finished runs into MLflow: what lacks there is sent, and nothing stands there twice.

    RUNS are names, such as unet-0.001-0, or patterns in quotes, such as 'lite0-*'; without any, all of the grid that
    are there. Training does this by itself; the command is for runs that DVC restored without training them, for a
    server that was down, and for a second server. `make report` ends with it: MLflow gets the verdicts and the report.
    """
    from pipeline.params.file import read_params
    from pipeline.tracking.command import track_runs

    click.echo(track_runs(read_params(), targets, uri, Path()))


@main.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="To listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="IP", help="0.0.0.0 lets others in.")
def ui(port: int, host: str) -> None:
    """Open the MLflow UI on what was trained."""
    from pipeline.params.file import read_params
    from pipeline.tracking.address import Address
    from pipeline.tracking.settle import settle_killed
    from pipeline.tracking.ui import serve

    settle_killed()
    sys.exit(serve(read_params().tracking, Address(host, port)))
