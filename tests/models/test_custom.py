"""Custom networks: imported from the project's custom/, tested before training, with clear error messages."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pipeline.artifacts.project import Project
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.inference.trained_run import TrainedRun
from pipeline.models.factory import build_network
from pipeline.params.file import read_params
from pipeline.params.model import CustomModel
from pipeline.train.train_cell import train_cell
from tests.conftest import write_custom, write_params

Build = Callable[..., nn.Module]
MODULE_NUMBERS = itertools.count()
DOCS = Path(__file__).parents[2] / "docs/how-to/custom-code.md"

GOOD = """
from torch import nn

class Net(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.hidden = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        return self.head(self.hidden(x))

def build(channels, classes):
    return Net(channels, classes)
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Return a function that writes a module into custom/ and builds the network of its callable `name`."""
    monkeypatch.chdir(tmp_path)

    def write_and_build(source: str, name: str = "build", size_multiple: int = 1) -> nn.Module:
        module = f"net_{next(MODULE_NUMBERS)}"  # a new name, because Python caches imported modules
        write_custom(tmp_path, **{module: source})
        return build_network(create_model(f"custom.{module}:{name}", size_multiple), channels=3, classes=4)

    return write_and_build


def create_model(import_path: str, size_multiple: int = 1) -> CustomModel:
    return CustomModel(family="custom", import_path=import_path, size_multiple=size_multiple)


@pytest.mark.parametrize("name", ["build", "Net"])
def test_function_or_class_of_custom_builds_the_network(build: Build, name: str) -> None:
    path = list(sys.path)
    assert build(GOOD, name)(torch.rand(2, 3, 24, 40)).shape == (2, 4, 24, 40)
    assert sys.path == path


def test_network_in_a_package_of_custom_imports_other_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    package = write_custom(tmp_path, parts=GOOD) / "nets"
    package.mkdir()
    (package / "deep.py").write_text("from custom.parts import build", encoding="utf-8")
    network = build_network(create_model("custom.nets.deep:build"), channels=1, classes=2)
    assert network(torch.rand(1, 1, 8, 8)).shape == (1, 2, 8, 8)


def test_probe_leaves_network_and_random_state_unchanged(build: Build) -> None:
    """Weights, running statistics, mode and random state are those of a network that was never called."""
    torch.manual_seed(0)
    network = build(GOOD)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    convolution, _ = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
    assert torch.equal(after, torch.get_rng_state())
    hidden = network[1].hidden
    assert torch.equal(hidden[0].weight, convolution.weight)
    assert not hidden[1].running_mean.any()
    assert network.training
    assert hidden[1].training


def test_probe_image_size_is_a_multiple_of_size_multiple(build: Build) -> None:
    source = GOOD.replace("return self.head", "self.seen = tuple(x.shape); return self.head")
    assert build(source, size_multiple=32)[1].seen == (2, 3, 64, 64)
    assert build(source, size_multiple=48)[1].seen == (2, 3, 96, 96)


def test_lazy_layer_gets_trainable_weights(build: Build) -> None:
    network = build(GOOD.replace("nn.Conv2d(channels, ", "nn.LazyConv2d("))
    network(torch.rand(2, 3, 8, 8)).mean().backward()
    assert network[1].hidden[0].weight.grad is not None


MISTAKES: dict[str, tuple[str, str, str, str]] = {  # source, name, message, hint
    "another name": (GOOD, "biuld", "there is no 'biuld' in", "did you mean build?"),
    "no name like it": (GOOD, "zzz", "there is no 'zzz' in", "define zzz there."),
    "broken grammar": ("def build(:", "build", "cannot be imported: it raised SyntaxError", "line 1"),
    "broken import": (
        "import no_such_thing",
        "build",
        "raised ModuleNotFoundError (No module named 'no_such_",
        "line 1",
    ),
    "a script that ends": ("import sys\nsys.exit(3)", "build", "it raised SystemExit (3)", "line 2"),
    "a number": ("build = 3", "build", "must be callable", "a value of type int"),
    "no keywords": ("def build(a, b): ...", "build", "build(channels=3, classes=4)", "unexpected keyword argument"),
    "it raises": ("def build(channels, classes):\n    return 1 / 0", "build", "ZeroDivisionError (division", "line 2"),
    "nothing": ("def build(channels, classes): ...", "build", "must return a torch.nn.Module", "type NoneType"),
    "a class": (
        GOOD.replace("return Net(channels, classes)", "return Net"),
        "build",
        "must return",
        "class Net itself",
    ),
    "too small": (
        GOOD.replace(", padding=1", ""),
        "build",
        "must map images of shape (2, 3, 64, 64) to logits of shape (2, 4, 64, 64)",
        "returned shape (2, 4, 62, 62) of torch.float32",
    ),
    "a dictionary": (
        GOOD.replace("return self.head(self.hidden(x))", "return {'out': self.head(self.hidden(x))}"),
        "build",
        "must map",
        "a value of type dict",
    ),
    "class indices": (
        GOOD.replace("return self.head(self.hidden(x))", "return self.head(self.hidden(x)).long()"),
        "build",
        "must map",
        "torch.int64",
    ),
    "channels that do not fit": (
        GOOD.replace("nn.Conv2d(8, classes, 1)", "nn.Conv2d(9, classes, 1)"),
        "build",
        "raised RuntimeError (Given groups=1",
        "line 11 for images of shape (2, 3, 64, 64)",
    ),
    "nothing to train": (
        GOOD.replace("return Net(channels, classes)", "return Net(channels, classes).requires_grad_(False)"),
        "build",
        "has no trainable parameters",
        "",
    ),
    "a state without tensors": (
        GOOD.replace("def forward", "def get_extra_state(self):\n        return {}\n\n    def forward"),
        "build",
        "_extra_state in the state of",
        "a value of type dict",
    ),
    "one tensor, two names": (
        GOOD.replace("def forward", "    self.again = self.head\n\n    def forward"),
        "build",
        "head.weight and again.weight",
        "are the same tensor",
    ),
}


@pytest.mark.parametrize(("source", "name", "message", "hint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_invalid_custom_network_is_reported_in_one_line(
    build: Build, source: str, name: str, message: str, hint: str
) -> None:
    with pytest.raises(PipelineError) as error:
        build(source, name)
    text = str(error.value)
    assert text.startswith("model.import_path: ")
    assert message in text
    assert hint in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    ("import_path", "message"),
    [
        (
            "my_net:build",
            "module 'my_net' is neither in the project's folder nor installed; did you mean custom",
        ),
        ("custom.my_nte:build", "module 'custom.my_nte' is neither in .*; did you mean custom.my_net?"),
        ("custom.my_net.sub:build", "module 'custom.my_net.sub' is neither in"),
        ("zzz.sub:build", "module 'zzz' is neither in .*; write it in custom/ and name it custom.zzz, or correct"),
    ],
)
def test_missing_module_suggests_a_module_of_custom(
    build: Build, tmp_path: Path, import_path: str, message: str
) -> None:
    write_custom(tmp_path, my_net=GOOD)
    with pytest.raises(PipelineError, match=rf"^model\.import_path: {message}"):
        build_network(create_model(import_path), channels=3, classes=4)


def test_example_in_the_docs_is_a_valid_network(build: Build) -> None:
    source = DOCS.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert build(source, size_multiple=2)(torch.rand(2, 3, 6, 10)).shape == (2, 4, 6, 10)


def test_custom_network_is_trained_and_evaluated(project: Path) -> None:
    write_custom(project, net=GOOD)
    changes: dict[str, Any] = {
        "variants": {"mine": {"model": {"family": "custom", "import_path": "custom.net:build", "size_multiple": 1}}},
        "grid": {"variant": ["mine"]},
    }
    params = read_params(write_params(project, changes))
    record = train_cell(params.cell("mine", 0.01, 0), Project(project))
    assert record.status == "finished"
    assert record.trainable_parameters > 0
    assert evaluate_run(params, record.run, Project(project)).validation is not None


def test_run_of_another_project_is_refused_because_its_code_is_there(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_custom(project, mine=GOOD)
    variants = {"mine": {"model": {"family": "custom", "import_path": "custom.mine:build", "size_multiple": 1}}}
    changes = {"variants": variants, "grid": {"variant": ["mine"]}, "train": {"epochs": 1}}
    params = read_params(write_params(project, changes))
    train_cell(params.cell("mine", 0.01, 0))
    assert TrainedRun.load(params, "mine-0.01-0", Project(project)).name == "mine-0.01-0"
    other = tmp_path_factory.mktemp("other")
    write_custom(other, mine=GOOD.replace("nn.ReLU", "nn.Sigmoid"))
    monkeypatch.chdir(other)
    with pytest.raises(PipelineError, match="Start Python in"):
        TrainedRun.load(params, "mine-0.01-0", Project(project))
