"""The command line. Only click is imported here: each command imports what it needs when it runs."""

from __future__ import annotations

import click

from pipeline.cli import data, grids, models, stages
from pipeline.errors import PipelineError


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


for _command in (
    data.data,
    data.init,
    stages.params,
    stages.variants,
    stages.prepare,
    stages.train,
    stages.evaluate,
    stages.compare,
    stages.showcase,
    stages.report,
    stages.failure,
    grids.sweep,
    grids.study,
    grids.judge,
    grids.lr_find,
    models.predict,
    models.promote,
    models.track,
    models.ui,
):
    main.add_command(_command)
