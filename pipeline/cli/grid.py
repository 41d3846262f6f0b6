"""The commands `params`, `variants`, `sweep` and `study`, which concern the whole grid."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from pipeline.cli.completion import complete_runs
from pipeline.cli.json_output import json_option, print_json
from pipeline.runtime.shutdown import defer_signals
from pipeline.wording import pluralize


@click.command()
@click.option("--schema", is_flag=True, help="Print the JSON schema of params.yaml instead.")
@json_option
def params(schema: bool, as_json: bool) -> None:
    """Check params.yaml and list the runs of its grid."""
    from pipeline.params import Params
    from pipeline.params.file import read_params
    from pipeline.variants.model_checks import check_models

    if schema:
        click.echo(json.dumps(Params.model_json_schema(), indent=2))
        return
    found = read_params()
    check_models(found, found.grid.variant)
    if as_json:
        keys = ("variant", "learning_rate", "seed")
        print_json([{"run": cell.name, **{key: getattr(cell, key) for key in keys}} for cell in found.cells()])
        return
    for cell in found.cells():
        click.echo(cell.name)


@click.command()
@json_option
def variants(as_json: bool) -> None:
    """List the variants in params.yaml and their cost.

    MACs are the multiply-accumulate operations in convolutions and matrix products for one image of
    data.image_size, or one patch of train.patch_size.

    Step memory is the memory that one training step at train.batch_size adds to a process: weights, gradients, two
    numbers per parameter for the optimizer (for Adam; SGD needs fewer), and the activations kept for the backward
    pass.

    Process memory is the peak resident memory of a whole training process, including PyTorch, MLflow, temporary
    buffers and evaluation. It is measured by training a few steps on blank images, which takes a few seconds.
    Memory-mapped images add pages that the system reclaims when memory is short. With a GPU, only main memory is
    counted, not GPU memory. See docs/how-to/cluster.md.
    """
    from pipeline.params.file import read_params
    from pipeline.runtime.progress import track
    from pipeline.sweep.training_memory import measure_process
    from pipeline.variants.table import format_table, measure_variants

    found = read_params()
    measured = measure_variants(found, Path(), measure_process)
    rows = list(track(measured, "Measuring each variant", len(found.variants)))
    print_json(rows) if as_json else click.echo(format_table(rows))


@click.command()
@click.argument("targets", nargs=-1, shell_complete=complete_runs)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Number of parallel runs.  [default: one per GPU; without a GPU, cores / train.num_threads]",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Address of a Ray cluster to run on: auto, or host:port. See docs/how-to/cluster.md.",
)
@click.option(
    "--report", "with_report", is_flag=True, help="Then also compare the runs and render the report, by `dvc repro`."
)
def sweep(targets: tuple[str, ...], workers: int | None, ray: str | None, with_report: bool) -> None:
    """Train and evaluate stale runs in parallel.

    A run is stale if its parameters, data or code have changed since it was trained. Each finished run is committed
    to DVC. TARGETS are names of runs, such as unet-0.004-0, or patterns in quotes, such as 'lite0-*'; the default
    is the whole grid. Afterwards, `dvc repro` only compares the runs and renders the report. `make report` runs
    this command with --report.

    Ctrl-C stops the sweep after the current epochs, a second Ctrl-C immediately. The same command resumes
    interrupted runs after their last complete epoch, even if the sweep was killed.
    """
    from pipeline.artifacts.project import FAILURE, Project
    from pipeline.params.file import read_params
    from pipeline.runtime.stage_status import clear_stage_status, record_stage

    if workers and ray:
        raise click.UsageError("--workers applies to this machine only; a Ray cluster schedules its own jobs.")
    if targets and with_report:
        raise click.UsageError("--report requires the whole grid; leave out the names of runs.")
    defer_signals()

    from pipeline.sweep.dvc_internals.stages import DvcStages
    from pipeline.sweep.run_sweep import sweep as run_sweep

    for stage in ("prepare", "compare", "showcase", "ensemble", "report"):
        clear_stage_status(stage)  # these stages run again after the sweep
    with record_stage("sweep"):
        code = run_sweep(read_params(), workers, targets, ray, Project())
    if code == 0 and not targets:
        FAILURE.unlink(missing_ok=True)
    if code == 0 and with_report:
        code = DvcStages(Path()).reproduce_others()
    sys.exit(code)


@click.command()
@click.argument("name", required=False)
@click.option(
    "--data", metavar="PATH", type=click.Path(path_type=Path), help="Folder of images to use instead of the preset's."
)
@json_option
def study(name: str | None, data: Path | None, as_json: bool) -> None:
    """Create the study NAME; without NAME, list the presets.

    NAME is the name of a preset, whose file params/NAME.yaml lists the differences from params.yaml. Both files are
    merged into studies/NAME/, which is a separate DVC pipeline. `make report SET=NAME` creates the study, runs it
    and renders its report.
    """
    from pipeline.artifacts.project import STUDIES, Project
    from pipeline.errors import PipelineError
    from pipeline.study.compose import list_presets
    from pipeline.study.create import create_study

    if name is None:
        found = list_presets(Project().home)
        rows: list[dict[str, str | None]] = []
        for one in found:
            try:
                rows.append({"name": one.name, "title": one.read_title(), "problem": None})
            except PipelineError as error:
                rows.append({"name": one.name, "title": None, "problem": str(error)})
        if as_json:
            print_json(rows)
            return
        for row in rows:
            click.echo(f"{row['name']:{max(len(one.name) for one in found)}}  {row['problem'] or row['title']}")
        return
    made = create_study(name, Project().home, data)
    runs = len(made.cells())
    if as_json:
        print_json({"folder": STUDIES / name, "runs": runs, "title": made.report.title})
        return
    click.echo(f"{STUDIES / name}: {pluralize(runs, 'run')}. {made.report.title}")
