"""The loss that `init` proposes where a class has few pixels, and what it leaves alone."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from pipeline.init.rare_classes import RARE_LOSS
from pipeline.params.file import read_params
from tests.conftest import ROOT
from tests.prepare.conftest import create_image

PARAMS = Path("params.yaml")
PROPOSED = (
    "  # Proposed by pipeline init in place of {0}: class_2 (0.05%) has less than 1% of the pixels, and {0} may miss"
)


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch, skip_grid_timing):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for side, folder in ((12, "rare"), (80, "balanced")):
        for index in range(6):
            mask = np.zeros((512, 512), np.uint8)
            mask[:, 60 + 5 * index : 200] = 1
            mask[400 : 400 + side, 400 : 400 + side] = 2
            for kind, image in (("images", create_image(index, mask.shape)), ("masks", Image.fromarray(mask))):
                path = Path(folder, kind, f"{index:02}.png")
                path.parent.mkdir(parents=True, exist_ok=True)
                image.save(path, compress_level=1)  # much faster than the default


def init(folder):
    """Return the notices about rare classes, and the lines of `loss` and before it."""
    result = CliRunner().invoke(main, ["init", folder])
    assert result.exit_code == 0, result.output
    lines = PARAMS.read_text("utf-8").splitlines()
    place = next(place for place, line in enumerate(lines) if line.startswith("  loss:"))
    return [line for line in result.output.splitlines() if "may miss" in line], lines[place - 1 : place + 1]


def replace_in_params(pattern, replacement):
    text, count = re.subn(pattern, replacement, PARAMS.read_text("utf-8"), count=1)
    assert count
    PARAMS.write_text(text, "utf-8")


def test_init_proposes_a_loss_for_a_rare_class():
    (notice,), (comment, line) = init("rare")
    assert comment.startswith(PROPOSED.format("cross_entropy_dice"))
    assert re.fullmatch(rf"  loss: {RARE_LOSS} +# minimized: .*", line)
    assert read_params().train.loss == RARE_LOSS
    assert notice.startswith("Notice: class_2 (0.05%) has less than 1% of the pixels")
    assert f"train.loss is {RARE_LOSS}" in notice
    assert "class_1" not in notice


def test_init_keeps_the_loss_for_balanced_classes():
    before = next(line for line in PARAMS.read_text("utf-8").splitlines() if line.startswith("  loss:"))
    notices, (above, line) = init("balanced")
    assert (notices, line) == ([], before)
    assert "Proposed" not in above


def test_init_again_writes_the_same_loss_and_undoes_it_for_other_data():
    _, first = init("rare")
    _, again = init("rare")
    assert first == again
    assert PARAMS.read_text("utf-8").count("Proposed by pipeline init") == 1
    _, (above, line) = init("balanced")
    assert "Proposed" not in above
    assert line in (ROOT / "params.yaml").read_text("utf-8").splitlines()


def test_init_keeps_another_loss():
    replace_in_params(r"\n  loss: cross_entropy_dice ", "\n  loss: focal ")
    (notice,), _ = init("rare")
    assert "train.loss is focal" in notice
    assert read_params().train.loss == "focal"
    assert "Proposed" not in PARAMS.read_text("utf-8")


def test_init_proposes_a_loss_that_suits_settings_of_cross_entropy():
    settings = "{label_smoothing: 0.1, class_weights: inverse}"
    replace_in_params(r"\n  unet: \{\}", f"\n  unet: {{train: {settings}}}")
    init("rare")
    assert read_params().cell("unet", 0.01, 0).train.loss == RARE_LOSS


def test_init_of_a_loss_without_comment_proposes_one():
    replace_in_params(r"\n  loss: cross_entropy_dice .*", "\n  loss: cross_entropy")
    _, (comment, line) = init("rare")
    assert comment.startswith(PROPOSED.format("cross_entropy"))
    assert line == f"  loss: {RARE_LOSS}"
    assert init("balanced")[1][1] == "  loss: cross_entropy"


def test_notice_names_an_existing_page():
    (notice,), _ = init("rare")
    assert (ROOT / re.search(r"docs/[\w/-]+\.md", notice)[0]).is_file()
