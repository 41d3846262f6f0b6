"""docs/optimisers.md: its YAML is valid, its Python runs, its tables name what there is, its picture is the code's."""

from __future__ import annotations

import re
import runpy
import typing
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.models.losses import cross_entropy
from pipeline.models.unet import UNet
from pipeline.params import Params
from pipeline.params.file import read_params
from pipeline.params.merge import merge_overrides
from pipeline.params.train import LossName, LrSchedulerSettings, OptimizerSettings
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.optimizers import create_optimizer, group_parameters
from tests.conftest import write_custom

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/optimisers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def rows(header: str, number: int = 0) -> dict[str, list[str]]:
    """The cells of a table with this header, by the name in each row's first one."""
    table = PAGE.split(f"\n{header}", 1 + number)[1 + number].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {first.strip("`"): others for first, *others in cells}


def sections(union: Any) -> dict[str, type[BaseModel]]:
    members = typing.get_args(typing.get_args(union)[0])
    return {typing.get_args(member.model_fields["name"].annotation)[0]: member for member in members}


def laid_over_the_shipped(example: str, folder: Path) -> Params:
    yaml = YAML(typ="safe")
    shipped = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(merge_overrides(shipped, yaml.load(example)), file)
    return read_params(path)


@pytest.mark.parametrize("example", blocks("yaml"))
def test_an_example_is_valid(example: str, tmp_path: Path) -> None:
    assert laid_over_the_shipped(example, tmp_path).cells()


@pytest.mark.parametrize(("union", "place"), [(OptimizerSettings, 0), (LrSchedulerSettings, 1)])
def test_a_table_has_each_name_with_all_its_keys(union: Any, place: int) -> None:
    shown = {name: set(re.findall(r"`(\w+)`", keys)) for name, (keys, *_) in rows("| name | keys |", place).items()}
    assert shown == {name: set(section.model_fields) - {"name"} for name, section in sections(union).items()}


def test_each_key_is_explained() -> None:
    keys = {
        key
        for union in (OptimizerSettings, LrSchedulerSettings)
        for section in sections(union).values()
        for key in section.model_fields
    }
    explained = {*rows("| key | values |", 0), *rows("| key | values |", 1)}
    assert explained == keys - {"name", "import_path", "arguments"}  # those of one's own have a chapter


def test_the_table_of_losses_has_each() -> None:
    assert set(rows("| loss |")) == set(typing.get_args(LossName))


def test_the_optimiser_of_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = (block for block in blocks("python") if "class Lion" in block)
    (example,) = (block for block in blocks("yaml") if "Lion" in block)
    monkeypatch.chdir(tmp_path)
    write_custom(tmp_path, my_optimizer=source)
    cell = laid_over_the_shipped(example, tmp_path).cell("lion", 1e-2, 0)
    torch.manual_seed(0)
    network, images = UNet(3, 3, 4, 2, "transpose", "concat", "batch", 0.0), torch.rand(4, 3, 16, 16)
    masks = (images.mean(dim=1) * 3).long()
    optimizer = create_optimizer(network, cell.train, cell.learning_rate)
    schedule = create_lr_scheduler(optimizer, cell.train.lr_scheduler, steps=30)
    losses = []
    for _ in range(30):
        loss = cross_entropy(network(images), masks)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_plain_pytorch_gives_the_rates_of_the_pipeline() -> None:
    (source,) = (block for block in blocks("python") if "OneCycleLR" in block)
    network = UNet(3, 3, 4, 2, "transpose", "concat", "batch", 0.0)
    scope: dict[str, Any] = {"network": network}
    exec(source, scope)
    shown = {id(weight): group["initial_lr"] for group in scope["optimizer"].param_groups for weight in group["params"]}
    ours = {
        id(weight): group["lr"] / 25  # where one-cycle starts
        for group in group_parameters(network, 1e-3, 0.1, 0.01)
        for weight in group["params"]
    }
    assert shown == pytest.approx(ours)
    assert {group["max_lr"] for group in scope["optimizer"].param_groups} == {1e-3, 1e-4}


def test_the_picture_is_what_the_code_draws() -> None:
    drawn = runpy.run_path(str(ROOT / "docs/schedules.py"))["drawing"]()
    assert drawn == (ROOT / "docs/schedules.svg").read_text(encoding="utf-8")
