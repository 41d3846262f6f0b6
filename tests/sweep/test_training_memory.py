"""The measured memory of a training, compared with the peak of a process that trains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.artifacts.project import Project
from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.sweep.training_memory import (
    HEADROOM,
    find_memory_requests,
    measure_process,
    warn_of_unmet,
)
from pipeline.sweep.worker import Job
from pipeline.variants.data_shape import DataShape, describe_data
from tests.conftest import ROOT, write_custom, write_params

# Prints the peak memory of its process. ru_maxrss would include the memory of pytest, which starts it.
COMMAND = """
import sys
from pathlib import Path
from pipeline.cli import main
main(sys.argv[1:], standalone_mode=False)
print("peak", Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0], "kB")
"""
DATA = {"path": str(ROOT / "data/sample"), "image_size": 160, "samples": {"train": 16, "validation": 8, "test": 1}}


def run(folder: Path, *arguments: str) -> str:
    variables = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, "-c", COMMAND, *arguments]
    return subprocess.run(command, cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout


def create_params(folder: Path, model: dict[str, object] | None = None) -> Params:
    """Create parameters with the single variant `unet`."""
    path = write_params(folder, {"data": DATA, "model": {"base_channels": 16, "depth": 4}, "train": {"batch_size": 8}})
    yaml = YAML(typ="safe")
    content = yaml.load(path.read_text(encoding="utf-8"))
    content |= {"variants": {"unet": {"model": model} if model else {}}}
    content["grid"] |= {"variant": ["unet"], "learning_rate": [0.001], "seed": [0, 1]}
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return read_params(path)


def create_jobs(params: Params) -> list[Job]:
    return [Job(cell, train="hash", evaluate=None) for cell in params.cells()]


def test_measured_memory_is_close_to_that_of_a_training(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = create_params(tmp_path)
    (tmp_path / "mlflow.db").write_bytes(store.read_bytes())
    monkeypatch.chdir(tmp_path)
    output = CliRunner().invoke(main, ["variants"], catch_exceptions=False).output
    row = next(line for line in output.splitlines() if line.startswith("unet"))
    step, process = (int(number.replace(",", "")) for number in re.findall(r"([\d,]+) MB", row))
    prepare(params, tmp_path / "data/prepared")
    train_output = run(tmp_path, "train", "--variant", "unet", "--learning-rate", "0.001", "--seed", "0")
    trained = int(train_output.split("peak")[1].split()[0]) * 1024 / 1e6
    assert 0.8 < trained / process < 1.3
    assert trained > 2 * step


@pytest.mark.usefixtures("preloaded_workers")
def test_measured_memory_of_patches_includes_a_row_of_tiles(tmp_path: Path) -> None:
    cell = create_params(tmp_path).cell("unet", 0.001, 0)
    small = cell.model_copy(update={"train": cell.train.model_copy(update={"batch_size": 1})})
    patches = small.model_copy(update={"train": small.train.model_copy(update={"patch_size": 256})})
    image = DataShape(size=(256, 256), channels=3, classes=3, train=2, validation=1)
    assert measure_process(patches, replace(image, size=None)) > 1.2 * measure_process(small, image)


@pytest.mark.usefixtures("preloaded_workers")
def test_measure_process_names_a_network_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_custom(
        tmp_path,
        nets="""
import os, signal, torch

class Raises(torch.nn.Conv2d):
    def forward(self, images):
        raise ValueError("no such shape")

class Dies(torch.nn.Conv2d):
    def forward(self, images):
        os.kill(os.getpid(), signal.SIGKILL)

def raises(channels, classes): return Raises(channels, classes, 1)
def dies(channels, classes): return Dies(channels, classes, 1)
""",
    )
    custom_model = {"family": "custom", "size_multiple": 1}
    params = create_params(tmp_path, {**custom_model, "import_path": "custom.nets:raises"})
    with pytest.raises(PipelineError, match=r"custom\.nets:raises raised ValueError \(no such shape\)"):
        measure_process(params.cells()[0], describe_data(params, Project(tmp_path)))
    requests = find_memory_requests(params, create_jobs(params), Project(tmp_path))
    assert requests == {"unet": 0}  # its jobs report the reason

    params = create_params(tmp_path, {**custom_model, "import_path": "custom.nets:dies"})
    with pytest.raises(PipelineError, match=r"too little.*set ray\.memory_gb"):
        find_memory_requests(params, create_jobs(params), Project(tmp_path))


@pytest.mark.usefixtures("preloaded_workers")
def test_memory_request_is_measured_unless_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = create_params(tmp_path)
    assert params.ray.memory_gb is None  # as shipped
    requested = find_memory_requests(params, create_jobs(params), Project(tmp_path))["unet"]
    cell, data = params.cells()[0], replace(describe_data(params, Project(tmp_path)), train=64)
    larger = cell.model_copy(update={"train": cell.train.model_copy(update={"batch_size": 32})})
    assert requested / HEADROOM + 100e6 < measure_process(larger, data) < 3 * requested
    assert f"unet: each run requests {requested / 1e9:.1f} GB" in capsys.readouterr().out
    fixed = params.model_copy(update={"ray": params.ray.model_copy(update={"memory_gb": 3.5})})
    assert find_memory_requests(fixed, create_jobs(params), Project(tmp_path)) == {"unet": 3_500_000_000}


def test_warn_of_unmet_names_variants_that_fit_no_node(capsys: pytest.CaptureFixture[str]) -> None:
    head, node = {"memory": 15e9}, {"CPU": 2.0, "memory": 2e9}
    warn_of_unmet({"unet": {"CPU": 1, "memory": 2e9}}, [head, node])
    assert not capsys.readouterr().err
    demands = {"unet": {"CPU": 1, "memory": 2e9}, "lite0": {"CPU": 1, "memory": 3e9}}
    warn_of_unmet(demands, [head, node])
    message = capsys.readouterr().err
    assert ": lite0: 1 CPU, 3.0 GB of memory. " in message
    assert "The nodes offer: 0 CPU, 15.0 GB of memory; 2 CPU, 2.0 GB of memory." in message
    warn_of_unmet({"unet": {"CPU": 1, "memory": 1e9, "large": 1}}, [node])
    assert "1 CPU, 1.0 GB of memory, 1 large" in capsys.readouterr().err


def test_measuring_process_terminates_with_its_command(tmp_path: Path) -> None:
    create_params(tmp_path)
    command = subprocess.Popen([sys.executable, "-c", COMMAND, "variants"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    parent = psutil.Process(command.pid)
    deadline = time.monotonic() + 60
    while not (children := parent.children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    command.kill()
    command.wait()
    ended, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert ended


def test_describe_data_ignores_prepared_data_of_other_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = create_params(tmp_path)
    monkeypatch.chdir(tmp_path)
    prepare(params, tmp_path / "data/prepared")
    assert describe_data(params, Project(tmp_path)).train == 16
    other = params.model_copy(update={"data": params.data.model_copy(update={"image_size": 64})})
    assert describe_data(other, Project(tmp_path)).size == (64, 64)
    (tmp_path / "data/prepared/classes.json").rename(tmp_path / "classes.json")
    assert describe_data(other, Project(tmp_path)) == describe_data(other, Project(tmp_path / "nowhere"))
