"""The command `weights` and its subcommands, for weights that networks start from."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli.json_output import json_option, print_json
from pipeline.runtime.shutdown import exit_on_sigterm


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def weights(context: click.Context, as_json: bool) -> None:
    """List, fetch and add weights that networks start from.

    Without a command, this lists the pretrained encoders of the variants in params.yaml, and whether their weights
    are in a pip package, in the cache of the Hugging Face hub, or missing. Other available weights follow.

    The key model.pretrained in params.yaml selects the weights:

    \b
    pretrained: true                     the encoder's published weights
    pretrained: weights/file.pth         your own file, with weights for the encoder or the whole network
    pretrained: weights/RUN.safetensors  weights of a run, after `pipeline weights add RUN`

    Training never downloads anything. See docs/how-to/pretrained-weights.md.
    """  # noqa: D301 - the backspace makes click keep the line breaks of a paragraph
    if context.invoked_subcommand is not None:
        return
    from pipeline.artifacts.project import Project
    from pipeline.params.file import read_params
    from pipeline.weights.table import format_weights_table, list_weights

    rows = list_weights(read_params(), Project().weights)
    print_json(rows) if as_json else click.echo(format_weights_table(rows))


@weights.command()
@click.argument("encoders", nargs=-1)
def fetch(encoders: tuple[str, ...]) -> None:
    """Fetch the weights of ENCODERS from the Hugging Face hub.

    ENCODERS are names of encoders in smp, such as resnet34, or in timm, such as convnext_tiny. The prefix tu- selects
    timm's encoder if both have one with that name, as in tu-resnet34. The default is all weights that params.yaml
    needs.

    The files are stored in the cache of the hub (HF_HUB_CACHE, by default ~/.cache/huggingface/hub), which all
    projects share. Their revisions and SHA-256 are recorded in weights/hub.json, and files are verified against it.
    Commit weights/hub.json, so that every machine uses the same weights. Interrupted downloads are resumed.
    """
    from pipeline.artifacts.project import Project
    from pipeline.errors import PipelineError
    from pipeline.params.file import read_params
    from pipeline.params.model import is_packaged
    from pipeline.weights.fetch import describe_fetched, fetch_weights
    from pipeline.weights.sources import list_needed_from_hub

    exit_on_sigterm()
    needed = {model.encoder: model.architecture for model in list_needed_from_hub(read_params())}
    chosen = dict.fromkeys(encoders) if encoders else needed
    if not chosen:
        click.echo("params.yaml needs no weights from the hub.")
    failures = []
    for encoder in chosen:
        if is_packaged(encoder):
            click.echo(f"{encoder}: in a pip package, nothing to fetch")
            continue
        try:
            fetched, is_new = fetch_weights(encoder, needed.get(encoder, "Unet"), Project().weights)
        except PipelineError as error:
            failures.append(str(error))
        else:
            click.echo(describe_fetched(encoder, fetched, is_new=is_new))
    if failures:
        raise PipelineError("\n".join(failures))


@weights.command()
@click.argument("run", type=click.Path(path_type=Path))
def add(run: Path) -> None:
    """Copy the weights of RUN to weights/, for runs that start from them.

    RUN is a finished run of this project, such as unet-0.004-0, or the path of a run folder in another project. In a
    network with a different number of classes, the last layer is then initialized at random.
    """
    from pipeline.artifacts.project import Project
    from pipeline.weights.add_run import add_run

    path = add_run(run, Project())
    click.echo(f"{path}: weights of the best epoch of {run.name}. To start from them: model: {{pretrained: {path}}}")
