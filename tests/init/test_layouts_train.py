"""Networks can be trained on published layouts and exports with the `params.yaml` that `init` writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.params.file import read_params
from pipeline.train.train_cell import train_cell
from tests.init.layout_checks import Expected, check_layout
from tests.init.test_annotation_formats import write_coco_panoptic, write_label_studio
from tests.init.test_layouts import write_data_science_bowl, write_pascal_voc

WRITERS = [write_pascal_voc, write_data_science_bowl, write_label_studio, write_coco_panoptic]


@pytest.mark.parametrize("write", WRITERS)
def test_network_trains_on_a_recognized_layout(write: Callable[[Path], Expected], project: Path) -> None:
    (project / "set").mkdir()
    check_layout(write(project / "set"), project)
    path = project / "params.yaml"
    path.write_text(re.sub(r"(?m)^  epochs: +\d+", "  epochs: 1", path.read_text(encoding="utf-8")), encoding="utf-8")
    params = read_params()
    record = train_cell(params.cell("unet", params.grid.learning_rate[0], 0))
    assert (record.status, record.epochs) == ("finished", 1)
