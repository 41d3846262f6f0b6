"""Image size and batch size that `init` suggests, and its table of sizes."""

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.cells import cell_len
from ruamel.yaml import YAML

from pipeline.cli import main
from pipeline.init import grid_time
from pipeline.init.grid_time import GridTime, StepTime, measure_grid_time
from pipeline.init.suggestion import (
    MANY_STEPS,
    MAX_SIZE,
    MIN_STEPS,
    PATCH,
    Suggestion,
    choose_batch,
    choose_epochs,
    steps_per_epoch,
)
from pipeline.params.file import read_params
from pipeline.wording import format_duration, pluralize
from tests.conftest import write_custom, write_params
from tests.prepare.conftest import create_image

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    return tmp_path


def write(masks, folder="cells"):
    for index, mask in enumerate(masks):
        for kind, image in (("images", create_image(index, mask.shape)), ("masks", Image.fromarray(mask))):
            path = Path(folder, kind, f"{index:02}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, compress_level=1)  # much faster than the default


def run_pipeline(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def load_params():
    return YAML(typ="safe").load(Path("params.yaml").read_text("utf-8"))


def read_size_table(output):
    """Parse the table of sizes; return the marked sizes, and the entries of each size."""
    lines = [line for line in output.splitlines() if re.match(r"[> ] +\d+  +\d\.\d{3}", line)]
    marked = [int(line[1:].split()[0]) for line in lines if line.startswith(">")]
    return marked, {int(line[1:].split()[0]): line[1:].split()[1:] for line in lines}


def draw_square(index, side=512, half=150):
    mask = np.zeros((side, side), np.uint8)
    top = 60 + 4 * index
    mask[top : top + half, top : top + half] = 1
    return mask


def draw_lines(index, side=512, width=2):
    mask, random = np.zeros((side, side), np.uint8), np.random.default_rng(index)
    for start in random.integers(0, side - width, 12):
        mask[start : start + width] = mask[:, start : start + width] = 1
    return mask


def draw_discs(index, side=448):
    """Draw discs of 20 px, which need more than 128 px."""
    mask, random = np.zeros((side, side), np.uint8), np.random.default_rng(index)
    rows, columns = np.mgrid[:side, :side]
    for row, column in random.integers(12, side - 12, (15, 2)):
        mask[(rows - row) ** 2 + (columns - column) ** 2 < 100] = 1
    return mask


def draw_dots(index, side=1024):
    mask, random = np.zeros((side, side), np.uint8), np.random.default_rng(index)
    for row, column in random.integers(0, side - 1, (30, 2)):
        mask[row, column] = 1
    return mask


def test_init_of_large_objects_keeps_the_default_size(skip_grid_timing):
    write(map(draw_square, range(8)))
    output = run_pipeline("init", "cells")
    assert load_params()["data"]["image_size"] == 128
    assert "perfect predictions" not in output
    marked, table = read_size_table(output)
    assert marked == [128]
    assert len(table) == 3  # for comparison


def test_init_of_small_objects_suggests_the_smallest_sufficient_size(skip_grid_timing):
    write(map(draw_discs, range(6)))
    output = run_pipeline("init", "cells")
    size = load_params()["data"]["image_size"]
    assert 128 < size <= MAX_SIZE
    marked, table = read_size_table(output)
    assert marked == [size]
    assert all(min(map(float, entries)) < 0.9 for other, entries in table.items() if other < size)
    assert min(map(float, table[size])) >= 0.9


@pytest.mark.parametrize("draw", [draw_lines, draw_dots])
def test_init_of_details_that_no_affordable_size_keeps_suggests_native_patches(draw, skip_grid_timing):
    write(map(draw, range(4)))
    output = run_pipeline("init", "cells")
    params = read_params(Path("params.yaml"))
    assert (params.data.image_size, params.train.patch) == ("native", (PATCH, PATCH))
    assert params.train.batch_size == 4
    assert re.search(r"At \d+ × \d+ px, even perfect predictions.*: foreground 0\.\d+", output)
    assert f"native is proposed with train.patch_size: {PATCH}" in output
    (row,) = (line for line in output.splitlines() if line.startswith(">"))
    assert row.split()[1:] == ["native", "1.000", "1.000"]
    patches_per_image = math.prod(-(-side // PATCH) for side in draw(0).shape)
    steps = patches_per_image // 4  # of one image; the others are the showcase, validation and test
    assert f"{params.train.epochs} epochs of {pluralize(steps, 'step')} with 4 patches each" in output
    assert params.train.epochs * steps >= MIN_STEPS

    run_pipeline("data", "check", "cells")
    path = Path("params.yaml")
    path.write_text(re.sub("image_size: native", "image_size: 128", path.read_text("utf-8")), "utf-8")
    write(map(draw_square, range(8)))
    run_pipeline("init", "cells")  # of other images: no patches any more
    assert read_params(path).train.patch is None


def test_init_of_patches_in_small_images_measures_their_cost(project, preloaded_workers):
    write_params(project, {})  # small networks
    write([draw_lines(index, side=300, width=1)[:, :70] for index in range(4)])
    output = run_pipeline("init", "cells")
    assert load_params()["train"]["patch_size"] == 64
    (row,) = (line for line in output.splitlines() if line.startswith(">"))
    assert float(row.split()[4]) > 0
    assert re.search(r"\w+ needs about \d+\.\d GB of memory", output)


def test_init_after_patches_of_two_sides_replaces_them(skip_grid_timing):
    path = Path("params.yaml")
    text = path.read_text("utf-8").replace(
        "  loss: cross_entropy_dice ", "  patch_size:\n  - 192\n  - 256\n  loss: cross_entropy_dice ", 1
    )
    path.write_text(text, "utf-8")
    write(map(draw_square, range(8)))
    run_pipeline("init", "cells")
    assert read_params(path).train.patch is None


def test_init_of_whole_images_names_variants_with_patches(skip_grid_timing):
    path = Path("params.yaml")
    text = path.read_text("utf-8").replace("\nvariants:", "\nvariants:\n  big:\n    train: {patch_size: 384}", 1)
    path.write_text(text, "utf-8")
    write(map(draw_square, range(8)))
    result = CliRunner().invoke(main, ["init", "cells"])
    assert result.exit_code == 1
    assert "these variants have a train.patch_size: big. Remove it" in result.output
    assert path.read_text("utf-8") == text


def test_samples_of_patches_count_the_images_of_the_variant():
    suggestion = Suggestion({}, "", 40, {}, (), "", 3, {(64, 96): 1, (32, 32): 1}, ())
    train = read_params(Path("params.yaml")).train.model_copy(update={"patch_size": 32})
    assert suggestion.count_samples(train) == 40 * (6 + 1) / 2
    assert suggestion.count_samples(train, max_images=10) == 10 * (6 + 1) / 2
    assert suggestion.count_samples(train.model_copy(update={"patches_per_epoch": 9}), max_images=10) == 9
    assert suggestion.count_samples(train.model_copy(update={"patch_size": None}), max_images=10) == 10


def test_init_of_many_patches_limits_the_steps(skip_grid_timing, monkeypatch):
    monkeypatch.setattr("pipeline.init.write_params.MANY_STEPS", 60)
    write(map(draw_dots, range(10)))
    output = run_pipeline("init", "cells")
    assert load_params()["train"]["patches_per_epoch"] == 30
    assert " epochs of 7 steps with 4 patches each" in output


def test_check_shows_the_iou_of_the_current_size_and_better_sizes(skip_grid_timing):
    write(map(draw_lines, range(4)))
    _, proposed = read_size_table(run_pipeline("init", "cells"))
    path = Path("params.yaml")
    text = re.sub(r"  patch_size: .*\n", "", path.read_text("utf-8"))
    path.write_text(text.replace("image_size: native", "image_size: 128"), "utf-8")
    output = run_pipeline("data", "check", "cells")
    marked, table = read_size_table(output)
    assert marked == [128]
    assert float(proposed[128][1]) == pytest.approx(float(table[128][1]), abs=0.05)  # without the showcase
    assert (
        f"at 128 × 128 px, perfect predictions have an IoU of at most: foreground {table[128][1]}, background" in output
    )
    assert f"data.image_size: {max(table)} gives every class at least 0.9" in output
    path.write_text(re.sub(r"image_size: \d+", f"image_size: {max(table)}", path.read_text("utf-8")), "utf-8")
    output = run_pipeline("data", "check", "cells")
    assert "perfect predictions have an IoU of at most" in output
    assert read_size_table(output) == ([], {})


def test_size_table_of_many_classes_shows_the_lowest_iou_in_80_columns(skip_grid_timing):
    mask = np.zeros((256, 256), np.uint8)
    for value in range(1, 31):
        mask[8 * value - 4 : 8 * value + 1] = value
    mask[:, 100:102] = 30
    write([np.roll(mask, 3 * index, axis=1) for index in range(6)])
    output = run_pipeline("init", "cells")
    table = output[output.index("IoU of a") : output.index("The grid's duration")].splitlines()
    assert "lowest  class" in table[1]
    assert all(cell_len(line) <= 80 for line in table)


def test_init_prints_the_time_of_the_grid_and_does_not_write_it(monkeypatch):
    write(map(draw_square, range(4)))
    written = []
    for factor in (1, 7):
        time = GridTime(27, 2, {"unet": 27 * 600}, {"unet": StepTime(0.1 * factor, 1e-5 * factor)})
        monkeypatch.setattr(grid_time, "measure_grid_time", lambda *_, time=time: time)
        output = run_pipeline("init", "cells")
        written.append(Path("params.yaml").read_text("utf-8"))
        _, table = read_size_table(output)
        seconds = (0.1 + 1e-5 * 128**2) * factor
        assert table[128][2:] == [f"{seconds:.2g}", "about", *format_duration(seconds * 600 * 27 / 2).split()]
        assert "27 runs of 600 steps,\n2 at a time." in output
        shutil.move("params.before.yaml", "params.yaml")
    assert written[0] == written[1]


def test_init_measures_training_steps():
    write([draw_square(index, 96, 30) for index in range(6)])
    output = run_pipeline("init", "cells")
    _, table = read_size_table(output)
    assert float(table[96][2]) > 0
    assert "12 runs of 600 steps" in output


def test_measure_grid_time_grows_with_pixels_and_names_failing_variants(project, params_with):
    write_custom(project, broken="raise ValueError('a mistake of the user')\n")
    model = {"family": "custom", "import_path": "custom.broken:build", "size_multiple": 1}
    params = params_with({"grid": {"variant": ["unet", "broken"]}, "variants": {"broken": {"model": model}}})
    suggestion = Suggestion({}, "", 40, {}, (), "", 3, {(64, 64): 40}, ())
    time = measure_grid_time(params, suggestion, 2)
    assert (time.runs, time.steps["unet"]) == (8, 4 * 2 * 10)
    assert 0 < time.step_seconds(64) < time.step_seconds(512)
    assert time.seconds(128) == pytest.approx(time.step_seconds(128) * 160 / time.at_once)
    assert time.summary().endswith("; not measured: broken.")
    only_broken = params.model_copy(update={"grid": params.grid.model_copy(update={"variant": ["broken"]})})
    assert measure_grid_time(only_broken, suggestion, 2) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "1 min"),
        (100, "2 min"),
        (5_300, "88 min"),
        (7_199, "2 h"),
        (9_000, "2.5 h"),
        (100_000, "28 h"),
        (300_000, "3.5 days"),
    ],
)
def test_format_duration_has_two_digits(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize("epochs", [12, 60])
def test_choose_batch_increases_the_batch_only_if_many_steps_remain(epochs):
    for training in (1, 10, 140, 350, 351, 420, 1_400, 5_000, 30_000, 1_000_000):
        batch = choose_batch(training, epochs)
        steps = choose_epochs(training, batch, epochs) * steps_per_epoch(training, batch)
        assert steps >= MIN_STEPS
        assert batch == 4 or steps >= MANY_STEPS
    assert choose_batch(420, 12) == 4
    assert choose_batch(1_000_000, 12) == 32


def test_init_of_520_images_keeps_batches_of_4(skip_grid_timing):
    write([draw_square(0, 80, 12 + index % 8) for index in range(520)])
    run_pipeline("init", "cells")
    assert load_params()["train"]["batch_size"] == 4
