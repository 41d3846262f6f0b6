"""What is said of a network before anything runs, and that nothing heavy is imported to say it."""

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


def smp(architecture: str = "Unet", encoder: str = "resnet18", pretrained: bool = False, size: int = 64) -> Any:
    """Changes to the parameters: the variants `unet` and `net`, the second of the family `smp`."""
    model = {"family": "smp", "architecture": architecture, "encoder": encoder, "pretrained": pretrained}
    return {
        "data": {"image_size": size},
        "variants": {"net": {"model": model}},
        "grid": {"variant": ["unet", "net"], "learning_rate": [0.01], "seed": [0]},
    }


@pytest.mark.parametrize(
    "changes",
    [
        smp(),
        smp("DPT", "test_vit"),
        smp("DPT", "vit_tiny_patch16_224", size=96),
        smp("PSPNet", "tu-test_resnet", size=24),
        smp("FPN", "tu-tf_efficientnet_lite0", pretrained=True),
        smp("PAN", "tf_efficientnet_lite2", pretrained=True, size=144),
    ],
    ids=lambda changes: " ".join(str(value) for value in changes["variants"]["net"]["model"].values()),
)
def test_what_can_be_built_passes(params_with: ParamsWith, changes: Any) -> None:
    params = params_with(changes)
    check_models(params, params.grid.variant)


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        (smp(encoder="resnet43"), "model.encoder: neither smp nor timm has an encoder 'resnet43'", "resnet34?"),
        (smp("DPT", "resnet18"), "model.encoder: DPT cannot use resnet18", "vit_tiny_patch16_224"),
        (smp("DPT", "tf_efficientnet_lite0", pretrained=True), "DPT cannot use tf_efficientnet_lite0", "vit_tiny"),
        (smp("Linknet", "mit_b0"), "model.encoder: Linknet cannot use mit_b0", "Choose another"),
        (smp("PAN"), "data.image_size: must be at least 128 for PAN", "but is 64"),
        (
            smp(encoder="tu-swin_tiny_patch4_window7_224"),
            "model.encoder: Unet with tu-swin_tiny_patch4_window7_224 cannot process images of 64 px",
            "another data.image_size",
        ),
    ],
)
def test_what_cannot_is_a_sentence(params_with: ParamsWith, changes: Any, said: str, hint: str) -> None:
    params = params_with(changes)
    with pytest.raises(PipelineError, match=r"^variants\.net: ") as error:
        check_models(params, params.grid.variant)
    assert said in str(error.value)
    assert hint in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    check_models(params, ["unet"])


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        (
            smp(pretrained=True),
            "variants.net.model.pretrained: must be false for the encoder resnet18",
            "only tf_efficientnet_lite0, tf_efficientnet_lite1 and tf_efficientnet_lite2 have their weights",
        ),
        (
            smp("Unett"),
            "variants.net.model.architecture: must be one of 'Unet', ",
            "but is 'Unett'; did you mean Unet?",
        ),
        (smp(encoder=""), "variants.net.model.encoder: must not be empty", ""),
        (smp("DeepLabV3Plus", size=40), "variant 'net' needs (multiples of 16)", "set 32 or 48."),
    ],
)
def test_what_the_file_itself_shows_is_said_when_it_is_read(
    params_with: ParamsWith, changes: Any, said: str, hint: str
) -> None:
    with pytest.raises(PipelineError) as error:
        params_with(changes)
    assert said in str(error.value)
    assert hint in str(error.value)


@pytest.mark.parametrize(
    "command", [["params"], ["train", "--variant", "net", "--learning-rate", "0.01", "--seed", "0"]], ids=" ".join
)
def test_commands_ask_before_they_run(project: Path, command: list[str]) -> None:
    write_params(project, smp(encoder="resnet43", size=32))
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert "variants.net: model.encoder: neither smp nor timm has an encoder 'resnet43'" in result.output
    assert not (project / "runs").exists()


def test_the_usual_grid_is_checked_without_torch(tmp_path: Path) -> None:
    write_params(tmp_path, smp("UPerNet", "tf_efficientnet_lite1", pretrained=True))
    code = (
        "import sys; from pipeline.cli import main\n"
        "try: main(['params'])\n"
        "finally: print(sorted({'torch', 'timm', 'segmentation_models_pytorch'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr.strip()) == (["unet-0.01-0", "net-0.01-0"], "[]")


@pytest.mark.parametrize(
    ("changes", "said"),
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
def test_an_import_path_is_looked_up_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params_with: ParamsWith, changes: Any, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_custom(tmp_path, net_to_check="def build(channels, classes):\n    raise SystemExit\n")
    params = params_with({"variants": {"net": changes}, "grid": {"variant": ["net"]}})
    with pytest.raises(PipelineError, match=said):
        check_models(params, params.grid.variant)
