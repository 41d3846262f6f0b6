"""Checks of the variants' networks before training, without importing torch if possible."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.variants.model_checks import check_models
from tests.conftest import write_custom, write_params

ParamsWith = Callable[[dict[str, Any]], Params]


def create_smp_changes(
    architecture: str = "Unet", encoder: str = "resnet18", pretrained: bool = False, size: int = 64
) -> Any:
    """Create changes with the variants `unet` and `net`, which has the family `smp`."""
    model = {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": pretrained}
    return {
        "data": {"image_size": size},
        "variants": {"net": {"model": model}},
        "grid": {"variant": ["unet", "net"], "learning_rate": [0.01], "seed": [0]},
    }


@pytest.mark.parametrize(
    "changes",
    [
        create_smp_changes(),
        create_smp_changes("DPT", "test_vit"),
        create_smp_changes("DPT", "vit_tiny_patch16_224", size=96),
        create_smp_changes("PSPNet", "tu-test_resnet", size=24),
        create_smp_changes("FPN", "tu-tf_efficientnet_lite0", pretrained=True),
        create_smp_changes("PAN", "tf_efficientnet_lite2", pretrained=True, size=144),
    ],
    ids=lambda changes: " ".join(str(value) for value in changes["variants"]["net"]["model"].values()),
)
def test_check_models_accepts_valid_networks(params_with: ParamsWith, changes: Any) -> None:
    params = params_with(changes)
    check_models(params, params.grid.variant)


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            create_smp_changes(encoder="resnet43"),
            "model.encoder: neither smp nor timm has an encoder 'resnet43'",
            "resnet34?",
        ),
        (create_smp_changes("DPT", "resnet18"), "model.encoder: DPT cannot use resnet18", "vit_tiny_patch16_224"),
        (
            create_smp_changes("DPT", "tf_efficientnet_lite0", pretrained=True),
            "DPT cannot use tf_efficientnet_lite0",
            "vit_tiny",
        ),
        (create_smp_changes("Linknet", "mit_b0"), "model.encoder: Linknet cannot use mit_b0", "Choose another"),
        (
            create_smp_changes(encoder="tu-swin_tiny_patch4_window7_224"),
            "model.encoder: Unet with tu-swin_tiny_patch4_window7_224 cannot process images of 64 × 64 px",
            "another data.image_size",
        ),
    ],
)
def test_check_models_reports_invalid_networks_in_one_line(
    params_with: ParamsWith, changes: Any, message: str, hint: str
) -> None:
    params = params_with(changes)
    with pytest.raises(PipelineError, match=r"^variants\.net: ") as error:
        check_models(params, params.grid.variant)
    assert message in str(error.value)
    assert hint in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    check_models(params, ["unet"])


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            create_smp_changes(pretrained="encoder.pth"),
            "variants.net.model.pretrained: must be true, false or a file in weights/",
            "but is 'encoder.pth'.",
        ),
        (
            {"model": {"pretrained": True}},
            "model.pretrained: must be false or a file in weights/",
            "ends in .safetensors, .pth, .pt or .bin, but is True.",
        ),
        (
            create_smp_changes("Unett"),
            "variants.net.model.architecture: must be one of 'Unet', ",
            "but is 'Unett'; did you mean Unet?",
        ),
        (create_smp_changes(encoder=""), "variants.net.model.encoder: must not be empty", ""),
        (
            create_smp_changes("PAN"),
            "data.image_size: must be at least 128 px for variant 'net'",
            "but is 64; set 128.",
        ),
    ],
)
def test_invalid_model_params_are_reported_when_read(
    params_with: ParamsWith, changes: Any, message: str, hint: str
) -> None:
    with pytest.raises(PipelineError) as error:
        params_with(changes)
    assert message in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    "command", [["params"], ["train", "--variant", "net", "--learning-rate", "0.01", "--seed", "0"]], ids=" ".join
)
def test_commands_check_models_before_they_run(project: Path, command: list[str]) -> None:
    write_params(project, create_smp_changes(encoder="resnet43", size=32))
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "variants.net: model.encoder: neither smp nor timm has an encoder 'resnet43'" in result.output
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["params"],
        ["train", "--variant", "net", "--learning-rate", "0.01", "--seed", "0"],
        ["lr-find", "--variant", "net"],
    ],
    ids=" ".join,
)
def test_commands_without_weights_name_the_command_that_fetches_them(project: Path, command: list[str]) -> None:
    write_params(project, create_smp_changes(pretrained=True, size=32))
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "the weights of resnet18 are not on this machine" in result.output
    assert "Run `pipeline weights fetch resnet18`" in result.output
    assert not (project / "runs").exists()


def test_params_checks_known_models_without_torch(tmp_path: Path) -> None:
    write_params(tmp_path, create_smp_changes("UPerNet", "tf_efficientnet_lite1", pretrained=True))
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['params'])\n"
        "finally: print(sorted({'torch', 'timm', 'segmentation_models_pytorch'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr.strip()) == (["unet-0.01-0", "net-0.01-0"], "[]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"family": "custom", "import_path": "custom.net_to_check:biuld", "size_multiple": 2}},
            r"^variants\.net: model\.import_path: there is no 'biuld' in .*net_to_check\.py; did you mean build\?",
        ),
        (
            {"train": {"optimizer": {"name": "custom", "import_path": "torch.optim:NAdm", "arguments": {}}}},
            r"^variants\.net: train\.optimizer\.import_path: there is no 'NAdm' in .*; did you mean NAdam\?",
        ),
    ],
    ids=["network", "optimizer"],
)
def test_check_models_checks_import_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params_with: ParamsWith, changes: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_custom(tmp_path, net_to_check="def build(channels, classes):\n    raise SystemExit\n")
    params = params_with({"variants": {"net": changes}, "grid": {"variant": ["net"]}})
    with pytest.raises(PipelineError, match=message):
        check_models(params, params.grid.variant)
