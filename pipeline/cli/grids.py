"""Commands over whole grids, and over trainings from elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.cli.options import BASELINE, Picture
from pipeline.lr_find.rates import HIGHEST, LOWEST, STEPS
from pipeline.runtime.shutdown import defer_signals, exit_on_sigterm


@click.command()
@click.argument("targets", nargs=-1)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trainings at once.  [default: one a GPU; without any, cores / train.threads]",
)
@click.option("--ray", metavar="ADDRESS", help="Run on a Ray cluster: auto, or host:port. See docs/cluster.md.")
def sweep(targets: tuple[str, ...], jobs: int | None, ray: str | None) -> None:
    """Train and evaluate stale runs in parallel, and commit them to DVC.

    TARGETS are names of runs, such as unet-0.001-0, or patterns in quotes, such as 'lite0-*'; by default the whole
    grid. Afterwards `dvc repro` only compares and renders; `make report` does both.

    Ctrl-C stops after the current epochs; pressed again, it stops now. After a stop or a kill, the same command resumes
    each run from its last epoch.
    """
    from pipeline.params.file import read_params
    from pipeline.runs import FAILURE
    from pipeline.runtime.stage_status import clear_stage_status, record_stage

    if jobs and ray:
        raise click.UsageError("--jobs is for this machine; on a cluster, it is the cluster that says how many.")
    defer_signals()

    from pipeline.sweep.stage import sweep as run_sweep

    for stage in ("prepare", "compare", "showcase", "report"):
        clear_stage_status(stage)  # each tells anew where it fails again
    with record_stage("sweep"):
        code = run_sweep(read_params(), jobs, targets, ray, Path())
    if code == 0 and not targets:
        FAILURE.unlink(missing_ok=True)
    sys.exit(code)


@click.command()
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
    runs = len(made.params.cells())
    click.echo(f"{made.folder}: {runs} {'run' if runs == 1 else 'runs'}. {made.params.report.title}")


@click.command()
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


@click.command(
    help=f"""Suggest learning rates for the grid, by one short training at a growing learning rate.

    {STEPS} batches, from {LOWEST:g} up to {HIGHEST:g}, on the prepared data; it writes no run and changes nothing else.
    The suggestion is where to look: the grid decides which learning rate is best.
    """
)
@click.option("--variant", metavar="NAME", help="Which of variants:.  [default: the grid's first]")
@click.option("--plot", type=Picture(), metavar="FILE", help="Draw the curve: .png, .svg or .pdf.")
def lr_find(variant: str | None, plot: Path | None) -> None:
    """Run the range test."""
    from pipeline.lr_find import command
    from pipeline.params.file import read_params

    exit_on_sigterm()
    found = read_params()
    click.echo(command.lr_find(found, variant or found.grid.variant[0], plot, Path()))
