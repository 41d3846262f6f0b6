"""Users' own code that DVC would not see is refused, at each attempt, whatever imports it and when."""

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(import_path: str) -> object:
    return build_network(CustomModel(family="custom", import_path=import_path, size_multiple=1), channels=3, classes=2)


@pytest.mark.parametrize(
    ("file", "import_path", "right"),
    [
        ("net_of_a_test.py", "net_of_a_test:build", "custom.net_of_a_test:build"),
        ("nets_of_a_test/deep.py", "nets_of_a_test.deep:build", "custom.deep:build"),
        ("package_of_a_test/__init__.py", "package_of_a_test:build", "custom.package_of_a_test:build"),
    ],
)
def test_factory_outside_custom_is_refused_with_where_to_move_it(
    folder: Path, file: str, import_path: str, right: str
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(NET)
    for _ in range(2):  # a warm worker tries one cell after the other
        with pytest.raises(PipelineError) as error:
            build(import_path)
        assert str(error.value).startswith(f"model.import_path: {import_path} is in {folder / file}. ")
        assert str(error.value).endswith(f"Move it to custom/ and write {right}.")


@pytest.mark.parametrize("source", [f"import helper_of_a_test\n{NET}", LAZY], ids=["on import", "when called"])
def test_helper_outside_custom_is_refused_at_each_attempt(folder: Path, source: str) -> None:
    write_custom(folder, net=source)
    (folder / "helper_of_a_test.py").write_text(HELPER)
    said = (
        f"model.import_path: its code imports 'helper_of_a_test' from {folder / 'helper_of_a_test.py'}. DVC does not "
        "see edits of that file, because it is outside custom/, and would keep old results. Move it to custom/ and "
        "import it as custom.helper_of_a_test."
    )
    for _ in range(2):
        with pytest.raises(PipelineError, match=f"^{re.escape(said)}$"):
            build("custom.net:build")
    assert "helper_of_a_test" not in sys.modules


def test_helper_outside_custom_is_refused_after_the_code_itself_failed(folder: Path) -> None:
    write_custom(folder, net=LAZY)
    (folder / "helper_of_a_test.py").write_text(HELPER + "raise ValueError('broken')\n")
    with pytest.raises(PipelineError, match="broken"):
        build("custom.net:build")
    (folder / "helper_of_a_test.py").write_text(HELPER + "# repaired, with another length\n")
    with pytest.raises(PipelineError, match="its code imports 'helper_of_a_test'"):
        build("custom.net:build")


def test_module_in_a_linked_folder_of_custom_is_refused_because_dvc_does_not_follow_it(folder: Path) -> None:
    (folder / "library").mkdir()
    (folder / "library/deep.py").write_text(NET)
    (write_custom(folder) / "linked").symlink_to(folder / "library", target_is_directory=True)
    said = f"model.import_path: custom.linked.deep:build is in {folder / 'library/deep.py'}. DVC does not see edits"
    with pytest.raises(PipelineError, match=re.escape(said)):
        build("custom.linked.deep:build")


@pytest.mark.parametrize("linked", ["custom", "custom/net.py"])
def test_links_that_dvc_follows_are_allowed(folder: Path, linked: str) -> None:
    write_custom(folder, net=NET)
    (folder / linked).rename(folder / "elsewhere")
    (folder / linked).symlink_to(folder / "elsewhere")
    build("custom.net:build")


def test_installed_packages_inside_the_project_are_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = folder / ".venv/lib/python3/site-packages"
    installed.mkdir(parents=True)
    (installed / "installed_of_a_test.py").write_text(NET)
    monkeypatch.syspath_prepend(str(installed))
    build("installed_of_a_test:build")
    write_custom(folder, net="from installed_of_a_test import build")
    build("custom.net:build")
    monkeypatch.delitem(sys.modules, "installed_of_a_test")


def test_check_names_the_variant_of_an_optimizer_outside_custom(
    folder: Path, params_with: Callable[[dict[str, Any]], Params]
) -> None:
    (folder / "steps_of_a_test.py").write_text("from torch.optim import SGD as Mine\n")
    chosen = {"name": "custom", "import_path": "steps_of_a_test:Mine", "arguments": {}}
    params = params_with({"variants": {"net": {"train": {"optimizer": chosen}}}, "grid": {"variant": ["net"]}})
    said = r"^variants\.net: train\.optimizer\.import_path: .*write custom\.steps_of_a_test:Mine\.$"
    with pytest.raises(PipelineError, match=said):
        check_models(params, params.grid.variant)


def test_a_cluster_gets_the_whole_of_custom_without_bytecode(folder: Path) -> None:
    custom = write_custom(folder, net=NET)
    (custom / "weights").mkdir()
    (custom / "weights/table.bin").write_bytes(b"\1")
    (custom / "__pycache__").mkdir()
    (custom / "__pycache__/net.cpython-311.pyc").write_bytes(b"")
    target = folder / "sent"
    copy_code(folder, target)
    sent = {path.relative_to(target).as_posix() for path in custom_files(target)}
    assert sent == {"custom/__init__.py", "custom/net.py", "custom/weights/table.bin"}
    assert (target / "pipeline/models/unet.py").exists()


def test_stages_that_build_a_network_depend_on_custom_in_studies_too(folder: Path) -> None:
    from ruamel.yaml import YAML

    from tests.conftest import ROOT

    for name in ("params.yaml", "dvc.yaml", "reports", "params"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    (folder / "data/sample").mkdir(parents=True)
    create_study("skip", folder)
    for file, custom in (("dvc.yaml", "custom"), ("studies/skip/dvc.yaml", "../../custom")):
        stages = YAML(typ="safe").load((folder / file).read_text())["stages"]
        dependent = {name for name, stage in stages.items() if custom in stage["deps"]}
        with_models = {name for name, stage in stages.items() if any("pipeline/models" in dep for dep in stage["deps"])}
        assert dependent == with_models == {"train", "evaluate", "showcase"}
