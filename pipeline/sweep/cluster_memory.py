"""How much memory each run of a sweep asks a Ray cluster for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.sweep.worker import Job
from pipeline.variants.image_data import describe_images
from pipeline.variants.process_memory import ProcessKilledError, measure_process

HEADROOM = 1.2  # factor on the measured memory: Ray's own part of a worker process, and data that is not blank


def memory_requests(params: Params, jobs: Sequence[Job], root: Path) -> dict[str, int]:
    """Determine the memory that the jobs of each variant ask for: `cluster.memory`, or as measured on this machine.

    Args:
        params: the whole of `params.yaml`.
        jobs: what the sweep has to do.
        root: the project's folder, with the prepared data.

    Returns:
        Bytes by variant; 0 for a variant that cannot be trained, whose jobs report the reason.

    Raises:
        PipelineError: This machine has too little memory to measure a variant.
    """
    cells = {job.cell.variant: job.cell for job in jobs}
    if params.cluster.memory is not None:
        return dict.fromkeys(cells, round(params.cluster.memory * 1e9))
    data = describe_images(params, root)
    requests = {}
    for variant, cell in cells.items():
        try:
            requests[variant] = round(measure_process(cell, data) * HEADROOM)
            click.echo(f"{variant}: each run asks for {requests[variant] / 1e9:.1f} GB, as measured (cluster.memory)")
        except ProcessKilledError as error:
            raise PipelineError(f"{error} Or set cluster.memory, so that nothing is measured.") from None
        except PipelineError:
            requests[variant] = 0
    return requests


def check_fits(requests: Mapping[str, int], nodes: Iterable[float]) -> None:
    """Raise `PipelineError` if no node has the memory that a run asks for: Ray would wait for one forever.

    Args:
        requests: bytes by variant.
        nodes: bytes that each node of the cluster offers.
    """
    largest = max(nodes, default=0.0)
    if too_large := {variant: asked for variant, asked in requests.items() if asked > largest}:
        listed = ", ".join(f"{variant} {asked / 1e9:.1f} GB" for variant, asked in too_large.items())
        raise PipelineError(
            f"cluster.memory: no node of the Ray cluster offers the memory of a run ({listed}; the largest node offers "
            f"{largest / 1e9:.1f} GB). Reduce train.batch_size or data.image_size, set cluster.memory to less, or "
            "start a larger node."
        )
