"""The cells of a sweep as tasks on a Ray cluster that is there already; what they leave comes back to the driver.

The driver is the process that was started by hand, in the project. Only it speaks to DVC and MLflow. A node that sees
the project's folder works in it as this machine does, so that a run whose node is lost goes on from its last epoch on
another one. Any other node gets code and data through Ray, works in a folder of Ray's own, and sends its files back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.custom_code import BYTECODE, CUSTOM
from pipeline.project import project_folder
from pipeline.runtime.progress import EpochReport
from pipeline.runtime.shutdown import check_signals
from pipeline.runtime.stage_status import attempt
from pipeline.sweep.cluster_memory import memory_requests, warn_of_unmet
from pipeline.sweep.cluster_task import TOKEN, Data, Listener, Result, run_task, write_files
from pipeline.sweep.journal import Journal
from pipeline.sweep.pool import GLANCE
from pipeline.sweep.worker import Job, Outcome
from pipeline.tracking.run_metrics import TrainingState

if TYPE_CHECKING:
    from ray import ObjectRef

PROBE = 5  # seconds
RETRIES = 3  # of a run whose process or node is lost
PACKAGE = Path(__file__).parents[1]


def run_on_cluster(
    params: Params,
    jobs: Sequence[Job],
    address: str,
    root: Path,
    listen: Callable[[EpochReport | TrainingState], None],
    stopping: Callable[[], bool],
) -> Generator[Outcome, None, None]:
    """Run jobs, as many at a time as the cluster has room for; else as `pool.run_jobs`.

    Raises:
        PipelineError: Ray is not installed, or no cluster answers at the address.
    """
    ray = _ray()
    token = secrets.token_hex(16)
    (root / TOKEN).write_text(token, encoding="utf-8")
    with tempfile.TemporaryDirectory() as code:
        _copy_code(root, Path(code))
        _connect(ray, address, code)
        try:
            requests = memory_requests(params, jobs, root)
            demands = {job.cell.variant: _demand(params, job, requests) for job in jobs}
            warn_of_unmet(demands, [node["Resources"] for node in ray.nodes() if node["Alive"]])
            listener = _listener(ray)
            data = Data(root.absolute(), token, _put(ray, root / runs.PREPARED))
            pending = {_submit(ray, params, job, data, root, listener, requests[job.cell.variant]): job for job in jobs}
            told = False
            while pending:
                check_signals()
                if stopping() and not told:
                    told = True
                    ray.get(listener.stop.remote())
                ended, _ = ray.wait(list(pending), num_returns=1, timeout=GLANCE)
                for report in ray.get(listener.heard.remote()):
                    listen(report)
                for reference in ended:
                    job = pending.pop(reference)
                    result = _result(ray, reference, job)
                    if result.outcome is not None:
                        _take(result, root)
                        yield result.outcome
        finally:
            ray.shutdown()
            (root / TOKEN).unlink(missing_ok=True)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell a host on the internet of each start
    try:
        import ray
    except ImportError:
        raise PipelineError(
            "--ray needs Ray, which is not installed: pip install 'unet-learning-report[ray]', on every node."
        ) from None
    return ray


def _connect(ray: Any, address: str, code: str) -> None:
    try:
        _probe(address)
        ray.init(
            address=address,
            runtime_env={"working_dir": code},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise PipelineError(
            f"No Ray cluster answers at {address} ({str(error).strip().splitlines()[0]}). `ray start --head` starts "
            "one, and says the address that the other nodes and --ray take."
        ) from None


def _probe(address: str) -> None:
    """Raise `OSError` where nothing listens at host:port: Ray would try for many minutes. `auto` it looks up itself."""
    host, mark, port = address.rpartition(":")
    if mark and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PROBE).close()


def _copy_code(root: Path, to: Path) -> None:
    """Copy this package and the project's `custom/` as they are now."""
    project = project_folder(root)
    for folder in (PACKAGE, project / CUSTOM):
        if folder.is_dir():
            shutil.copytree(folder, to / folder.name, ignore=shutil.ignore_patterns(BYTECODE))


def _put(ray: Any, folder: Path) -> dict[str, ObjectRef[bytes]]:
    """A folder's files in the cluster's object store, by path; a node fetches them only when it needs them."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): ray.put(path.read_bytes()) for path in paths}


def _listener(ray: Any) -> Any:
    """On the driver's own node: where that is lost, all is."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Listener).options(num_cpus=0, scheduling_strategy=here).remote()


def _demand(params: Params, job: Job, memory: Mapping[str, int]) -> dict[str, float]:
    """What a job asks a node for, by Ray's name of the resource."""
    return {"CPU": job.cell.train.threads, "memory": memory[job.cell.variant], **params.cluster.resources}


def _submit(
    ray: Any, params: Params, job: Job, data: Data, root: Path, listener: Any, memory: int
) -> ObjectRef[Result]:
    trained = _put(ray, root / runs.RUNS / job.cell.name) if job.train is None else {}
    task = ray.remote(run_task).options(
        name=job.cell.name,
        num_cpus=job.cell.train.threads,
        num_gpus=min(1, ray.cluster_resources().get("GPU", 0)),
        memory=memory,
        resources=params.cluster.resources,
        max_retries=RETRIES,
    )
    reference: ObjectRef[Result] = task.remote(params, job, data, trained, listener)
    return reference


def _result(ray: Any, reference: ObjectRef[Result], job: Job) -> Result:
    try:
        result: Result = ray.get(reference)
    except ray.exceptions.RayError as error:  # a lost process or node, more often than it is tried again
        said = str(error).strip().splitlines()[0]
        sentence = f"lost on the cluster, {1 + RETRIES} times ({type(error).__name__}: {said})"
        return Result(Outcome(job, trained=False, evaluated=False, sentence=sentence, end="failed"), {}, elsewhere=True)
    return result


def _take(result: Result, root: Path) -> None:
    """Put what came from a node that does not see the project's folder where it would have put it itself."""
    outcome, journal = result.outcome, Journal(root)
    assert outcome is not None
    name = outcome.job.cell.name
    if not result.elsewhere:
        return
    for folder, files in result.files.items():
        write_files(root / folder, files.items())
    for stage, is_done, made_from in (
        ("train", outcome.trained, outcome.job.train),
        ("evaluate", outcome.evaluated, outcome.job.evaluate),
    ):
        if is_done and made_from is not None:
            journal.add(stage, name, made_from)
    if outcome.end == "failed":
        stage = "evaluate" if outcome.trained or outcome.job.train is None else "train"
        with contextlib.suppress(PipelineError), attempt(stage, name, root):
            raise PipelineError(outcome.sentence)
