"""The command line. To start quickly, commands import most of the package only when they run."""

from __future__ import annotations

import gc
from typing import Any

import click

from pipeline.cli import curves, data, grid, models, report, stages, summary, weights
from pipeline.cli.broken_pipe import exit_on_broken_pipe, flush_output
from pipeline.errors import PipelineError, user_message

# Python's default, 700 new objects, visits the objects of the imported libraries so often that the imports take 15%
# longer. mypy and other programs with many objects raise it, too.
GC_THRESHOLDS = (20_000, 20, 100)


class Commands(click.Group):
    """Command group that prints a `PipelineError` or `OSError` as a message on stderr and exits with code 1.

    Usage errors exit with click's code 2.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        """Run the command line."""
        gc.set_threshold(*GC_THRESHOLDS)
        with exit_on_broken_pipe():
            try:
                return super().main(*arguments, **options)
            finally:
                flush_output()

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Parse the arguments; `--help` prints the help."""
        with exit_on_broken_pipe():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            with exit_on_broken_pipe():
                return super().invoke(ctx)
        except (PipelineError, OSError) as error:
            raise click.ClickException(user_message(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="unet-learning-report", prog_name="pipeline")
def main() -> None:
    """Which U-Net at which learning rate learns your images best, and does it learn or memorize?

    Edit params.yaml, then run `make report`. It trains the new cells of the grid and renders
    reports/learning-report.html. The commands below are its steps and additional tools. Run them in the folder of
    the project or a study.
    """


for _command in (
    data.data,
    data.init,
    grid.params,
    grid.variants,
    stages.prepare,
    stages.train,
    stages.evaluate,
    stages.compare,
    stages.showcase,
    stages.ensemble,
    report.report,
    summary.summary,
    report.failure,
    grid.sweep,
    grid.study,
    weights.weights,
    curves.judge,
    curves.lr_find,
    models.predict,
    models.promote,
    models.export,
    models.sync,
    models.ui,
):
    main.add_command(_command)
