"""How much memory each run of a sweep asks a Ray cluster for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import click

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.process_memory import ProcessKilledError, measure_process
from pipeline.sweep.worker import Job
from pipeline.variants.data_shape import describe_data

HEADROOM = 1.2  # factor on the measured memory: the evaluation that follows a training, Ray's part of the process


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
    data = describe_data(params, Project(root))
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


def warn_of_unmet(demands: Mapping[str, Mapping[str, float]], nodes: Sequence[Mapping[str, float]]) -> None:
    """Warn of runs that no node has room for: Ray waits silently until a node joins that has.

    Args:
        demands: what a run of each variant asks for, by Ray's name of the resource.
        nodes: what each node offers, likewise.
    """
    unmet = {
        variant: demand
        for variant, demand in demands.items()
        if not any(all(node.get(name, 0) >= amount for name, amount in demand.items()) for node in nodes)
    }
    if unmet:
        asked = "; ".join(f"{variant}: {_listed(demand, demand)}" for variant, demand in unmet.items())
        names = dict.fromkeys(name for demand in unmet.values() for name in demand)
        offered = "; ".join(_listed(node, names) for node in nodes)
        click.echo(
            f"No node of the Ray cluster has room for a run of these variants, so they wait for one to join: {asked}. "
            f"The nodes offer: {offered}. See cluster and train.threads in params.yaml.",
            err=True,
        )


def _listed(resources: Mapping[str, float], names: Iterable[str]) -> str:
    return ", ".join(
        f"{resources.get(name, 0) / 1e9:.1f} GB of memory" if name == "memory" else f"{resources.get(name, 0):g} {name}"
        for name in names
    )
