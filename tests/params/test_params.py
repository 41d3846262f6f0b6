"""Validation of params.yaml: valid parameters, and the message for each error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.overfitting_onset import MIN_EPOCHS
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.params.file import read_params, read_sections
from pipeline.params.model import SmpModel, UNetModel
from tests.conftest import write_params

ParamsWith = Callable[[dict[str, Any]], Params]
SHIPPED = Path(__file__).parents[2] / "params.yaml"

EXTERNAL_TEST: dict[str, Any] = {
    "path": "pets",
    "resize": "letterbox",
    "classes": [{"name": "animal", "mask_value": 1}, {"name": "background", "mask_value": 2}],
    "ignore_value": None,
    "splits": {"validation": 0, "test": 1},
}

MISTAKES = {
    "learning rate of zero": (
        {"grid": {"learning_rate": [0]}},
        "grid.learning_rate[0]: must be greater than 0",
        "but is 0.",
    ),
    "learning rate in words": (
        {"grid": {"learning_rate": ["fast"]}},
        "grid.learning_rate[0]: must be a number",
        "'fast'",
    ),
    "learning rate without a point": (
        {"grid": {"learning_rate": [1]}},
        "grid.learning_rate[0]: must be written",
        "1.0",
    ),
    "infinite learning rate": (
        {"grid": {"learning_rate": [float("inf")]}},
        "grid.learning_rate[0]: must be a finite",
        "inf",
    ),
    "no epochs": ({"train": {"epochs": 0}}, "train.epochs: must be at least 1", "but is 0."),
    "batch of one": ({"train": {"batch_size": 1}}, "train.batch_size: must be at least 2", "but is 1."),
    "boolean for a number": ({"train": {"num_threads": True}}, "train.num_threads: must be a whole number", "True"),
    "size and depth": (
        {"data": {"image_size": 24}, "model": {"depth": 5}},
        "data.image_size: must be at least 32 px for variant 'unet', but is 24",
        "set 32 or a smaller model.depth",
    ),
    "one side": ({"data": {"image_size": [96]}}, "data.image_size: must be a whole number of pixels", "or [height"),
    "small side": ({"data": {"image_size": [96, 8]}}, "data.image_size: must be a whole number of pixels from 16", "8"),
    "patches of resized images": (
        {"train": {"patch_size": 32}},
        "train.patch_size: must be null for variant 'unet', but is 32, because data.image_size is 32.",
        "Set data.image_size: native",
    ),
    "tiles that never advance": (
        {"evaluation": {"tile_overlap": 1}},
        "evaluation.tile_overlap: must be at most 0.9",
        "1",
    ),
    "side and depth": ({"data": {"image_size": [64, 24]}, "model": {"depth": 5}}, "must be at least 32 px", "24"),
    "unknown key": ({"train": {"epocs": 3}}, "train.epocs: unknown key", "epochs"),
    "unknown section": ({"gird": {}}, "gird: unknown key", "grid"),
    "key of a variant": ({"variants": {"unet_no_skip": {"model": {"skp": "none"}}}}, "unet_no_skip.model.skp", "skip"),
    "empty split": (
        {"data": {"samples": {"validation": 0}}},
        "data.samples.validation: must be at least 1",
        "but is 0.",
    ),
    "scale in reverse order": (
        {"data": {"composition": {"scale": [0.9, 0.5]}}},
        "data.composition.scale: must be [low, high], two numbers above 0 and up to 3, the lower one first",
        "[0.9, 0.5]",
    ),
    "scale without a range": (
        {"data": {"composition": {"scale": 0.9}}},
        "data.composition.scale: must be [low",
        "0.9.",
    ),
    "crop above 1": (
        {"data": {"composition": {"crop": [0.5, 1.5]}}},
        "data.composition.crop: must",
        "up to 1",
    ),
    "unknown key of the composition": (
        {"data": {"composition": {"blurr": 1}}},
        "data.composition.blurr: unknown key",
        "blur",
    ),
    "test without classes": (
        {"data": {"external_test": {"path": "a"}}},
        "data.external_test.classes: is missing",
        "add it",
    ),
    "color in the test": (
        {
            "data": {
                "external_test": EXTERNAL_TEST
                | {"classes": [{"name": "a", "mask_value": 1, "color": "#000000"}, *EXTERNAL_TEST["classes"]]}
            }
        },
        "data.external_test.classes[0].color: unknown key",
        "mask_value, name",
    ),
    "value twice in the test": (
        {"data": {"external_test": EXTERNAL_TEST | {"ignore_value": 1}}},
        "data.external_test.classes: the mask value 1 is repeated, here or in data.external_test.ignore_value",
        "write it once",
    ),
    "fractions of the test": (
        {"data": {"external_test": EXTERNAL_TEST | {"splits": {"validation": 0.5, "test": 0.6}}}},
        "data.external_test.splits: the sum of validation and test must be at most 1",
        "but is 1.1",
    ),
    "unknown variant": (
        {"grid": {"variant": ["unot"]}},
        "grid.variant: 'unot' is not among variants",
        "Define it there",
    ),
    "name of a variant": ({"variants": {"U-Net": {}}}, "variants.U-Net: a variant's name", "rename"),
    "a seed twice": ({"grid": {"seed": [0, 0]}}, "grid.seed: 0 is listed more than once", "remove"),
    "a learning rate twice": (
        {"grid": {"learning_rate": [1e-3, 0.001]}},
        "grid.learning_rate: 0.001 is listed more than once",
        "remove",
    ),
    "empty grid": ({"grid": {"seed": []}}, "grid.seed: must have at least 1", "[]"),
    "override of the data": (
        {"variants": {"unet": {"data": {"image_size": 64}}}},
        "variants.unet.data.image_size: unknown key",
        "max_train_images",
    ),
    "override of the grid": ({"variants": {"unet": {"grid": {}}}}, "variants.unet.grid: unknown key", "train"),
    "too many images": (
        {"variants": {"unet": {"data": {"max_train_images": 99}}}},
        "data.max_train_images: must be at most 12 (data.samples.train)",
        "but is 99",
    ),
    "negative number of images": (
        {"variants": {"unet": {"data": {"max_train_images": -5}}}},
        "variants.unet.data.max_train_images: must be at least 2",
        "-5",
    ),
    "images in words": (
        {"variants": {"unet": {"data": {"max_train_images": "all"}}}},
        "variants.unet.data.max_train_images: must be a whole number",
        "'all'",
    ),
    "a number for a section": ({"variants": {"unet": {"model": 3}}}, "variants.unet.model: must be a section", "is 3."),
    "unknown family": ({"model": {"family": "vnet"}}, "model: must have a family", "'unet'"),
    "unknown norm": ({"model": {"norm": "layer"}}, "model.norm: must be one of 'batch', 'group' or 'none'", "'layer'"),
    "dropout of 1": ({"model": {"dropout": 1.0}}, "model.dropout: must be at most 0.9", "but is 1.0."),
    "negative dropout": ({"model": {"dropout": -0.1}}, "model.dropout: must be at least 0", "but is -0.1."),
    "dropout in words": ({"model": {"dropout": "some"}}, "model.dropout: must be a number", "'some'"),
    "an option of another family": (
        {"variants": {"keras_pets": {"model": {"family": "keras_pets", "depth": 4}}}},
        "variants.keras_pets.model.depth: unknown key",
        "valid keys here: family, pretrained.",
    ),
    "import path without a name": (
        {"variants": {"mine": {"model": {"family": "custom", "import_path": "my_net", "size_multiple": 8}}}},
        "variants.mine.model.import_path: must be module:callable, such as custom.my_net:build",
        "but is 'my_net'.",
    ),
    "import path that is a file path": (
        {
            "variants": {
                "mine": {"model": {"family": "custom", "import_path": "nets/my_net.py:build", "size_multiple": 8}}
            }
        },
        "variants.mine.model.import_path: must be module:callable",
        "but is 'nets/my_net.py:build'.",
    ),
    "custom network without size multiple": (
        {"variants": {"mine": {"model": {"family": "custom", "import_path": "my_net:build"}}}},
        "variants.mine.model.size_multiple: is missing",
        "add it",
    ),
    "image size and a custom network": (
        {
            "variants": {"mine": {"model": {"family": "custom", "import_path": "my_net:build", "size_multiple": 48}}},
            "grid": {"variant": ["mine"]},
        },
        "data.image_size: must be at least 48 px for variant 'mine', but is 32",
        "set 48.",
    ),
    "external result without a source": (
        {"report": {"external_results": [{"name": "Anna", "file": "anna.csv"}]}},
        "report.external_results[0].source: is missing",
        "add it",
    ),
    "external result in another folder": (
        {"report": {"external_results": [{"name": "Anna", "source": "her thesis", "file": "../anna.csv"}]}},
        "report.external_results[0].file: must be the name of a file in reports/external_results/",
        "'../anna.csv'",
    ),
    "incomplete family": (
        {"variants": {"bare": {"model": {"family": "smp"}}}},
        "variants.bare.model",
        "encoder: is missing",
    ),
}


@pytest.mark.parametrize(("changes", "message", "hint"), MISTAKES.values(), ids=MISTAKES.keys())
def test_invalid_params_are_reported(params_with: ParamsWith, changes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(PipelineError) as error:
        params_with(changes)
    assert message in str(error.value)
    assert hint in str(error.value)


def test_all_errors_are_reported_together(params_with: ParamsWith) -> None:
    with pytest.raises(PipelineError) as error:
        params_with({"train": {"epochs": 0}, "grid": {"seed": ["a"]}})
    assert len(str(error.value).splitlines()) == 2


def test_shipped_params_are_valid() -> None:
    params = read_params(SHIPPED)
    assert {cell.name for cell in params.cells()} >= {"unet-0.004-0", "lite0_20_images-0.0004-2", "lite0-0.004-1"}
    assert len(params.grid.seed) >= 3
    assert params.train.epochs >= MIN_EPOCHS


@pytest.mark.parametrize("text", ["data: [", "", "- a", "\ta: 1", "a: 1\na: 2"])
def test_read_params_refuses_yaml_without_sections(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError, match=r"params\.yaml"):
        read_params(path)


def test_read_params_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"params\.yaml is missing"):
        read_params(tmp_path / "params.yaml")


def test_learning_rates_are_read_as_by_dvc(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8").replace("- 4e-3\n  - 4e-4", "- 1e-2\n  - 3e-4\n  - 1e-05\n  - .25")
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    names = [cell.name for cell in read_params(path).cells()[::3][:4]]
    assert names == ["unet-0.01-0", "unet-0.0003-0", "unet-1e-05-0", "unet-0.25-0"]


def test_variant_override_keeps_other_keys(params_with: ParamsWith) -> None:
    cell = params_with({}).cell("unet_no_skip", 0.01, 0)
    assert isinstance(cell.model, UNetModel)
    assert (cell.model.skip_connections, cell.model.base_channels) == ("none", 4)


def test_variant_of_another_family_replaces_the_model(params_with: ParamsWith) -> None:
    assert isinstance(params_with({}).cell("lite0", 0.01, 0).model, SmpModel)


def test_augmentation_can_be_disabled(params_with: ParamsWith) -> None:
    params = params_with({"variants": {"plain": {"train": {"augmentation": None}}}})
    assert params.cell("plain", 0.01, 0).train.augmentation is None


def test_parameters_are_immutable(params_with: ParamsWith) -> None:
    with pytest.raises(ValueError, match="frozen"):
        params_with({}).train.epochs = 3  # type: ignore[misc]


def test_variant_outside_the_grid_is_not_checked_against_the_data(params_with: ParamsWith) -> None:
    changes = {"data": {"image_size": 24}, "grid": {"variant": ["unet"]}}  # lite0 needs 32 px
    assert params_with(changes).data.image_size == 24
    with pytest.raises(PipelineError, match=r"must be at least 32 px for variant 'lite0', but is 24; set 32\.$"):
        params_with({**changes, "grid": {"variant": ["lite0"]}})


@pytest.mark.parametrize("text", ["? [a, b]\n: 1", "? 2020-01-01\n: 1", "&a\n  b: *a"])
def test_read_params_refuses_unusual_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError, match=r"params\.yaml"):
        read_params(path)


@pytest.mark.parametrize(("learning_rate", "seed"), [(float("nan"), 0), (0.0, 0), (0.1, -1), (0.1, 2**70)])
def test_cell_validates_learning_rate_and_seed(learning_rate: float, seed: int) -> None:
    with pytest.raises(PipelineError, match="must be"):
        read_params(SHIPPED).cell("unet", learning_rate, seed)


def test_schema_names_every_section_and_its_ranges() -> None:
    schema = Params.model_json_schema()
    sections = {"data", "model", "train", "variants", "grid", "evaluation", "compare", "verdict", "tracking", "ray"}
    assert set(schema["properties"]) == sections | {"report"}
    assert schema["$defs"]["Train"]["properties"]["epochs"]["minimum"] == 1


@given(st.floats(min_value=1e-12, max_value=10, exclude_min=True), st.integers(min_value=0, max_value=2**32 - 1))
def test_run_name_has_the_exact_learning_rate_and_seed(learning_rate: float, seed: int) -> None:
    cell = read_params(SHIPPED).cell("unet", learning_rate, seed)
    _, _, rest = cell.name.partition("-")
    rate_part, _, seed_part = rest.rpartition("-")
    assert (float(rate_part), int(seed_part)) == (learning_rate, seed)


@pytest.mark.parametrize(
    ("name", "variant"), [("unet", {}), ("lite0", {"model": {"pretrained": False}})], ids=["unet", "lite0"]
)
def test_encoder_with_random_weights_is_not_frozen(params_with: ParamsWith, name: str, variant: dict[str, Any]) -> None:
    changes = {"variants": {name: {**variant, "train": {"encoder_lr_factor": 0.0}}}, "grid": {"variant": [name]}}
    with pytest.raises(
        PipelineError, match=rf"encoder_lr_factor: must be above 0 for variant '{name}'.* random weights"
    ):
        params_with(changes)


def test_encoder_lr_factor_needs_an_encoder(params_with: Callable[[dict[str, Any]], Params]) -> None:
    changes = {"variants": {"keras_pets": {"train": {"encoder_lr_factor": 0.3}}}, "grid": {"variant": ["keras_pets"]}}
    with pytest.raises(
        PipelineError, match=r"train\.encoder_lr_factor: must be 1\.0 for variant 'keras_pets', but is 0\.3"
    ):
        params_with(changes)


def test_changes_to_read_sections_do_not_affect_the_next_reading(tmp_path: Path) -> None:
    path = write_params(tmp_path, {})
    before = read_params(path)
    sections = read_sections(path)
    sections["train"]["epochs"] = 1_000
    assert read_params(path) == before
    assert read_sections(path)["train"]["epochs"] == before.train.epochs
