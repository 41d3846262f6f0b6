"""Optimizers and schedulers in the docs: tables are complete, Python examples run, the figure is up to date."""

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
from pipeline.params.file import read_params
from pipeline.params.model import UNetModel
from pipeline.params.section import merge_overrides
from pipeline.params.train import LossName, LrSchedulerSettings, OptimizerSettings
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.optimizers import create_optimizer, group_parameters
from tests.conftest import write_custom

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/optimizers.md").read_text(encoding="utf-8")
CUSTOM = (ROOT / "docs/how-to/custom-code.md").read_text(encoding="utf-8")
MODEL = UNetModel(
    family="unet",
    base_channels=4,
    depth=2,
    upsampling="transpose",
    skip_connections="concat",
    norm="batch",
    dropout=0.0,
)


def find_blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)


def read_rows(header: str, number: int = 0) -> dict[str, list[str]]:
    """Return the cells of a table with this header, by the name in the first cell of each row."""
    table = PAGE.split(f"\n{header}", 1 + number)[1 + number].split("\n\n", 1)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {first.strip("`"): others for first, *others in cells}


def find_sections(union: Any) -> dict[str, type[BaseModel]]:
    members = typing.get_args(typing.get_args(union)[0])
    return {typing.get_args(member.model_fields["name"].annotation)[0]: member for member in members}


@pytest.mark.parametrize(("union", "table_index"), [(OptimizerSettings, 0), (LrSchedulerSettings, 1)])
def test_table_lists_each_name_with_all_its_keys(union: Any, table_index: int) -> None:
    rows = read_rows("| name | keys |", table_index)
    listed = {name: set(re.findall(r"`(\w+)`", keys)) for name, (keys, *_) in rows.items()}
    assert listed == {name: set(section.model_fields) - {"name"} for name, section in find_sections(union).items()}


def test_tables_explain_each_key() -> None:
    keys = {
        key
        for union in (OptimizerSettings, LrSchedulerSettings)
        for section in find_sections(union).values()
        for key in section.model_fields
    }
    explained = {*read_rows("| key | values |", 0), *read_rows("| key | values |", 1)}
    assert explained == keys - {"name", "import_path", "arguments"}  # custom-code.md explains these


def test_table_lists_each_loss() -> None:
    assert set(read_rows("| loss |")) == set(typing.get_args(LossName))


def test_custom_optimizer_of_the_page_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source,) = (block for block in find_blocks(CUSTOM, "python") if "class Lion" in block)
    (example,) = (block for block in find_blocks(CUSTOM, "yaml") if "Lion" in block)
    monkeypatch.chdir(tmp_path)
    write_custom(tmp_path, my_optimizer=source)
    yaml = YAML(typ="safe")
    shipped = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(merge_overrides(shipped, yaml.load(example)), file)
    cell = read_params(Path("params.yaml")).cell("lion", 1e-2, 0)
    torch.manual_seed(0)
    network, images = UNet(3, 3, MODEL), torch.rand(4, 3, 16, 16)
    masks = (images.mean(dim=1) * 3).long()
    optimizer = create_optimizer(network, cell.train, cell.learning_rate)
    scheduler = create_lr_scheduler(optimizer, cell.train.lr_scheduler, steps=30)
    losses = []
    for _ in range(30):
        loss = cross_entropy(network(images), masks)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_plain_pytorch_has_the_learning_rates_of_the_pipeline() -> None:
    (source,) = (block for block in find_blocks(PAGE, "python") if "OneCycleLR" in block)
    network = UNet(3, 3, MODEL)
    settings = read_params(ROOT / "params.yaml").train.model_copy(update={"encoder_lr_factor": 0.1})
    scope: dict[str, Any] = {"network": network}
    exec(source, scope)
    documented = {
        id(weight): group["initial_lr"] for group in scope["optimizer"].param_groups for weight in group["params"]
    }
    expected = {
        id(weight): group["lr"] / 25  # one-cycle starts at a 25th
        for group in group_parameters(network, 1e-3, settings, 0.01)
        for weight in group["params"]
    }
    assert documented == pytest.approx(expected)
    assert {group["max_lr"] for group in scope["optimizer"].param_groups} == {1e-3, 1e-4}


def test_figure_of_the_schedulers_is_up_to_date() -> None:
    figure = runpy.run_path(str(ROOT / "docs/generate/lr_schedulers.py"))["draw"]()
    assert figure == (ROOT / "docs/images/lr-schedulers.svg").read_text(encoding="utf-8")
