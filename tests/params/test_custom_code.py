"""Users' code outside custom/, whose edits DVC would not detect, is refused."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.params import Params
from pipeline.params.custom_code import custom_files
from pipeline.params.model import CustomModel
from pipeline.study.create import create_study
from pipeline.sweep.ray_runner import copy_code
from pipeline.variants.model_checks import check_models
from tests.conftest import write_custom

NET = "from torch import nn\ndef build(channels, classes):\n    return nn.Conv2d(channels, classes, 1)\n"
HELPER = "def build(channels, classes):\n    from torch import nn\n    return nn.Conv2d(channels, classes, 1)\n"
LAZY = "def build(channels, classes):\n    from helper_of_a_test import build\n    return build(channels, classes)\n"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(import_path: str) -> object:
    return build_network(CustomModel(family="custom", import_path=import_path, size_multiple=1), channels=3, classes=2)


@pytest.mark.parametrize(
    ("file", "import_path", "suggestion"),
    [
        ("net_of_a_test.py", "net_of_a_test:build", "custom.net_of_a_test:build"),
        ("nets_of_a_test/deep.py", "nets_of_a_test.deep:build", "custom.deep:build"),
        ("package_of_a_test/__init__.py", "package_of_a_test:build", "custom.package_of_a_test:build"),
    ],
)
def test_network_outside_custom_is_refused_with_the_target_path(
    project: Path, file: str, import_path: str, suggestion: str
) -> None:
    (project / file).parent.mkdir(exist_ok=True)
    (project / file).write_text(NET)
    for _ in range(2):  # a worker process trains several cells
        with pytest.raises(PipelineError) as error:
            build(import_path)
        assert str(error.value).startswith(f"model.import_path: {import_path} is in {project / file}. ")
        assert str(error.value).endswith(f"Move it to custom/ and write {suggestion}.")


@pytest.mark.parametrize("source", [f"import helper_of_a_test\n{NET}", LAZY], ids=["on import", "when called"])
def test_helper_outside_custom_is_refused_every_time(project: Path, source: str) -> None:
    write_custom(project, net=source)
    (project / "helper_of_a_test.py").write_text(HELPER)
    message = (
        f"model.import_path: its code imports 'helper_of_a_test' from {project / 'helper_of_a_test.py'}. DVC does not "
        "see edits to that file, because it is outside custom/, and would keep old results. Move it to custom/ and "
        "import it as custom.helper_of_a_test."
    )
    for _ in range(2):
        with pytest.raises(PipelineError, match=f"^{re.escape(message)}$"):
            build("custom.net:build")
    assert "helper_of_a_test" not in sys.modules


def test_helper_outside_custom_is_refused_after_it_raised(project: Path) -> None:
    write_custom(project, net=LAZY)
    (project / "helper_of_a_test.py").write_text(HELPER + "raise ValueError('broken')\n")
    with pytest.raises(PipelineError, match="broken"):
        build("custom.net:build")
    (project / "helper_of_a_test.py").write_text(HELPER + "# fixed, of another length\n")
    with pytest.raises(PipelineError, match="its code imports 'helper_of_a_test'"):
        build("custom.net:build")


def test_module_in_a_linked_subfolder_of_custom_is_refused(project: Path) -> None:
    (project / "library").mkdir()
    (project / "library/deep.py").write_text(NET)
    (write_custom(project) / "linked").symlink_to(project / "library", target_is_directory=True)
    message = f"model.import_path: custom.linked.deep:build is in {project / 'library/deep.py'}. DVC does not see edits"
    with pytest.raises(PipelineError, match=re.escape(message)):
        build("custom.linked.deep:build")


@pytest.mark.parametrize("linked", ["custom", "custom/net.py"])
def test_links_that_dvc_follows_are_allowed(project: Path, linked: str) -> None:
    write_custom(project, net=NET)
    (project / linked).rename(project / "elsewhere")
    (project / linked).symlink_to(project / "elsewhere")
    build("custom.net:build")


def test_installed_packages_inside_the_project_are_allowed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = project / ".venv/lib/python3/site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_of_a_test.py").write_text(NET)
    monkeypatch.syspath_prepend(str(installed))
    build("installed_of_a_test:build")
    write_custom(project, net="from installed_of_a_test import build")
    build("custom.net:build")
    monkeypatch.delitem(sys.modules, "installed_of_a_test")


def test_check_models_names_the_variant_with_an_optimizer_outside_custom(
    project: Path, params_with: Callable[[dict[str, Any]], Params]
) -> None:
    (project / "steps_of_a_test.py").write_text("from torch.optim import SGD as Mine\n")
    optimizer = {"name": "custom", "import_path": "steps_of_a_test:Mine", "arguments": {}}
    params = params_with({"variants": {"net": {"train": {"optimizer": optimizer}}}, "grid": {"variant": ["net"]}})
    message = r"^variants\.net: train\.optimizer\.import_path: .*write custom\.steps_of_a_test:Mine\.$"
    with pytest.raises(PipelineError, match=message):
        check_models(params, params.grid.variant)


def test_copy_code_copies_custom_without_bytecode(project: Path) -> None:
    custom = write_custom(project, net=NET)
    (custom / "weights").mkdir()
    (custom / "weights/table.bin").write_bytes(b"\1")
    (custom / "__pycache__").mkdir()
    (custom / "__pycache__/net.cpython-311.pyc").write_bytes(b"")
    target = project / "copied"
    copy_code(project, target)
    copied = {path.relative_to(target).as_posix() for path in custom_files(target)}
    assert copied == {"custom/__init__.py", "custom/net.py", "custom/weights/table.bin"}
    assert (target / "pipeline/models/unet.py").exists()


def test_stages_with_networks_depend_on_custom(project: Path) -> None:
    from ruamel.yaml import YAML

    from tests.conftest import ROOT

    for name in ("params.yaml", "dvc.yaml", "reports", "params"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, project / name)
    (project / "data/sample").mkdir(parents=True)
    create_study("skip", project)
    for file, custom in (("dvc.yaml", "custom"), ("studies/skip/dvc.yaml", "../../custom")):
        stages = YAML(typ="safe").load((project / file).read_text())["stages"]
        dependent = {name for name, stage in stages.items() if custom in stage["deps"]}
        with_models = {name for name, stage in stages.items() if any("pipeline/models" in dep for dep in stage["deps"])}
        assert dependent == with_models == {"train", "evaluate", "showcase", "ensemble"}
