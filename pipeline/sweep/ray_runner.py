"""Run the jobs of a sweep as tasks on a running Ray cluster.

The driver is the process that the user started in the project, and the only one that uses DVC and MLflow. A node that
shares the project's folder works in it, so a run resumes on another node if its own is lost. Other nodes receive code
and data through Ray, work in Ray's working directory, and return their files to the driver.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.folder import list_files
from pipeline.artifacts.project import Project
from pipeline.artifacts.weights_folder import WEIGHTS, WeightsFolder
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.custom_code import BYTECODE, CUSTOM
from pipeline.runtime.shutdown import check_signals
from pipeline.runtime.stage_status import record_stage
from pipeline.runtime.training_state import TrainingState
from pipeline.sweep.pool import POLL_SECONDS
from pipeline.sweep.ray_task import TOKEN, DataLocation, Listener, TaskResult, run_task, write_files
from pipeline.sweep.training_memory import find_memory_requests, warn_of_unmet
from pipeline.sweep.worker import Job, JobResult

if TYPE_CHECKING:
    from ray import ObjectRef

PROBE_SECONDS = 5
MAX_RETRIES = 3  # retries of a run whose process or node is lost
PACKAGE = Path(__file__).parents[1]


def run_on_ray(
    params: Params,
    jobs: Sequence[Job],
    address: str,
    project: Project,
    listen: Callable[[TrainingState], None],
    is_stopping: Callable[[], bool],
) -> Generator[JobResult, None, None]:
    """Run jobs on a Ray cluster, as many at a time as it has resources for; otherwise like `pool.run_jobs`.

    Raises:
        PipelineError: Ray is not installed, or no cluster answers at the address.
    """
    ray = _import_ray()
    token = secrets.token_hex(16)
    path = project.root / TOKEN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(token, encoding="utf-8")
    with tempfile.TemporaryDirectory() as code:
        copy_code(project.home, Path(code))
        copy_weights(jobs, project, Path(code))
        _connect(ray, address, code)
        try:
            memory = find_memory_requests(params, jobs, project)
            demands = {  # by variant: the resources that a run needs, keyed by Ray's names
                variant: {"CPU": cell.train.num_threads, "memory": memory[variant], **params.ray.resources}
                for variant, cell in {job.cell.variant: job.cell for job in jobs}.items()
            }
            warn_of_unmet(demands, [node["Resources"] for node in ray.nodes() if node["Alive"]])
            listener = _start_listener(ray)
            data = DataLocation(project.root.absolute(), token, _put_folder(ray, project.prepared.path))
            pending = {
                _submit(ray, params, job, data, project, listener, memory[job.cell.variant]): job for job in jobs
            }
            has_stopped = False
            while pending:
                check_signals()
                if is_stopping() and not has_stopped:
                    has_stopped = True
                    ray.get(listener.stop.remote())
                ended, _ = ray.wait(list(pending), num_returns=1, timeout=POLL_SECONDS)
                for state in ray.get(listener.take_states.remote()):
                    listen(state)
                for reference in ended:
                    if result := _get_result(ray, reference, pending.pop(reference)):
                        _receive(result, project.root)
                        yield result.job_result
        finally:
            ray.shutdown()
            path.unlink(missing_ok=True)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray sends usage statistics by default
    try:
        import ray
    except ImportError:
        raise PipelineError(
            "--ray requires Ray, which is not installed. Install it on every node: pip install "
            "'unet-learning-report[ray]'"
        ) from None
    return ray


def _connect(ray: Any, address: str, code: str) -> None:
    try:
        _probe(address)
        ray.init(address=address, runtime_env={"working_dir": code}, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        if "Package size" in str(error):
            reason = str(error).partition(". ")[0]
            raise PipelineError(
                f"The code and the files in weights/ cannot be sent to the cluster: {reason}. Use published weights "
                "(pretrained: true), and run `pipeline weights fetch` on every node."
            ) from None
        raise PipelineError(
            f"No Ray cluster answers at {address} ({str(error).strip().splitlines()[0]}). Start one with `ray start "
            "--head`, which prints the address for the other nodes and for --ray."
        ) from None


def _probe(address: str) -> None:
    """Raise `OSError` if nothing listens at host:port, because Ray would retry for minutes; `auto` is not checked."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=PROBE_SECONDS).close()


def copy_code(home: Path, to: Path) -> None:
    """Copy this package and the project's `custom/` folder."""
    for folder in (PACKAGE, home / CUSTOM):
        if folder.is_dir():
            shutil.copytree(folder, to / folder.name, ignore=shutil.ignore_patterns(BYTECODE))


def copy_weights(jobs: Sequence[Job], project: Project, to: Path) -> None:
    """Copy the weight files that the jobs start from, and the index of the weights fetched from the hub.

    The fetched weights themselves are not copied: each node must have them in its own cache.
    """
    files = {job.cell.model.pretrained for job in jobs if isinstance(job.cell.model.pretrained, str)}
    paths = {name: project.weights.locate(name) for name in files}
    if project.weights.index_file.exists():
        paths[str(WEIGHTS / WeightsFolder.INDEX)] = project.weights.index_file
    for name, path in paths.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to / name)


def _put_folder(ray: Any, folder: Path) -> dict[str, ObjectRef[bytes]]:
    """Put a folder's files into Ray's object store and return references by path; nodes fetch files on demand."""
    return {name: ray.put(path.read_bytes()) for name, path in list_files(folder).items()}


def _start_listener(ray: Any) -> Any:
    """Start the `Listener` actor on the driver's node, so that it survives the loss of other nodes."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Listener).options(num_cpus=0, scheduling_strategy=here).remote()


def _submit(
    ray: Any, params: Params, job: Job, data: DataLocation, project: Project, listener: Any, memory: int
) -> ObjectRef[TaskResult | None]:
    trained = _put_folder(ray, project.run(job.cell.name).path) if job.train is None else {}
    task = ray.remote(run_task).options(
        name=job.cell.name,
        num_cpus=job.cell.train.num_threads,
        num_gpus=min(1, ray.cluster_resources().get("GPU", 0)),
        memory=memory,
        resources=params.ray.resources,
        max_retries=MAX_RETRIES,
    )
    reference: ObjectRef[TaskResult | None] = task.remote(params, job, data, trained, listener)
    return reference


def _get_result(ray: Any, reference: ObjectRef[TaskResult | None], job: Job) -> TaskResult | None:
    try:
        result: TaskResult | None = ray.get(reference)
    except ray.exceptions.RayError as error:  # the process or node was lost in every attempt
        reason = str(error).strip().splitlines()[0]
        message = f"its process or node was lost {1 + MAX_RETRIES} times ({type(error).__name__}: {reason})"
        return TaskResult(JobResult(job, message, "failed"), {})
    return result


def _receive(result: TaskResult, root: Path) -> None:
    """Write the files that a node without the project's folder returned, and record the stage if it failed."""
    if result.files is None:
        return
    for folder, files in result.files.items():
        write_files(root / folder, files.items())
    ended = result.job_result
    if ended.status == "failed":
        stage = "evaluate" if ended.trained or ended.job.train is None else "train"
        with contextlib.suppress(PipelineError), record_stage(stage, ended.job.cell.name, root):
            raise PipelineError(ended.message)
