"""Optimizers: parameter groups, weight decay, encoder learning rate, custom optimizers and error messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.factory import build_network
from pipeline.models.losses import cross_entropy
from pipeline.params import Params, validate
from pipeline.params.file import read_params
from pipeline.params.section import merge_overrides
from pipeline.params.train import Train
from pipeline.train import run_key as key
from pipeline.train.lr_schedulers import create_lr_scheduler
from pipeline.train.optimizers import create_optimizer, group_parameters
from pipeline.train.run_key import compute_run_key
from tests.conftest import write_custom, write_params

ParamsWith = Callable[[dict[str, Any]], Params]
SHIPPED = read_params(Path(__file__).parents[2] / "params.yaml")
SMALL = {"base_channels": 4, "depth": 2}

OPTIMIZERS: dict[str, tuple[dict[str, Any], float]] = {  # keys and a suitable learning rate
    "adamw": ({"weight_decay": 0.01}, 1e-2),
    "adam": ({"weight_decay": 0.0}, 1e-2),
    "rmsprop": ({"alpha": 0.9, "momentum": 0.0, "weight_decay": 0.0}, 1e-2),
    "sgd": ({"momentum": 0.9, "nesterov": True, "weight_decay": 0.0}, 1e-1),
    "custom": ({"import_path": "torch.optim:NAdam", "arguments": {}}, 1e-2),
}


def create_settings(**changes: Any) -> Train:
    return validate(Train, merge_overrides(SHIPPED.train.model_dump(), changes), "train")


def create_custom_settings(import_path: str, **arguments: Any) -> Train:
    return create_settings(optimizer={"name": "custom", "import_path": import_path, "arguments": arguments})


def create_network(variant: str = "unet", **changes: Any) -> nn.Module:
    model = SHIPPED.cell(variant, 1e-3, 0).model
    small = SMALL if variant == "unet" else {}
    torch.manual_seed(0)
    return build_network(model.model_copy(update={**small, **changes}), 3, 3).to(memory_format=torch.channels_last)


def create_batch() -> tuple[Tensor, Tensor]:
    """Create noisy images that show each pixel's class, which a network can learn in a few steps."""
    random = torch.Generator().manual_seed(0)
    masks = torch.randint(3, (4, 4, 4), generator=random).repeat_interleave(4, 1).repeat_interleave(4, 2)
    images = masks[:, None] / 3 + 0.2 * torch.rand((4, 3, 16, 16), generator=random)
    return images.contiguous(memory_format=torch.channels_last), masks


@pytest.mark.parametrize(
    ("variant", "changes"),
    [("unet", {}), ("unet", {"norm": "group"}), ("unet", {"norm": "none"}), ("keras_pets", {}), ("lite0", {})],
)
def test_every_trainable_weight_is_in_one_group(variant: str, changes: dict[str, Any]) -> None:
    net = create_network(variant, **changes)
    frozen = next(net.parameters()).requires_grad_(False)
    groups = group_parameters(net, 1e-3, create_settings(), 0.1)
    grouped = [id(weight) for group in groups for weight in group["params"]]
    assert sorted(grouped) == sorted(id(weight) for weight in net.parameters() if weight is not frozen)
    for group in groups:
        assert {weight.ndim > 1 for weight in group["params"]} == {group["weight_decay"] > 0}


@pytest.mark.parametrize("variant", ["unet", "lite0"])
def test_encoder_has_a_separate_learning_rate(variant: str) -> None:
    net = create_network(variant)
    learning_rates = {
        id(weight): group["lr"]
        for group in create_optimizer(net, create_settings(encoder_lr_factor=0.1), 1e-3).param_groups
        for weight in group["params"]
    }
    encoder = {name for name, weight in net.named_parameters() if learning_rates[id(weight)] == pytest.approx(1e-4)}
    assert encoder == {name for name, _ in net.named_parameters() if name.startswith("1.encoder.")}
    assert {learning_rates[id(weight)] for name, weight in net.named_parameters() if name not in encoder} == {1e-3}


def test_first_group_has_the_learning_rate_of_the_cell() -> None:
    assert (
        create_optimizer(create_network(), create_settings(encoder_lr_factor=0.1), 1e-3).param_groups[0]["lr"] == 1e-3
    )


def test_encoder_takes_smaller_steps() -> None:
    net = create_network()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    optimizer = create_optimizer(
        net,
        create_settings(
            optimizer={"name": "sgd", "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}, encoder_lr_factor=0.25
        ),
        1e-2,
    )
    for weight in net.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    for name, weight in net.named_parameters():
        step = 2.5e-3 if name.startswith("1.encoder.") else 1e-2
        torch.testing.assert_close(before[name] - weight.detach(), torch.full_like(weight, step), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "optimizer_settings",
    [
        *({"name": name, **keys, "weight_decay": 0.1} for name, (keys, _) in OPTIMIZERS.items() if name != "custom"),
        {"name": "custom", "import_path": "torch.optim:NAdam", "arguments": {"weight_decay": 0.1}},
        {"name": "custom", "import_path": "torch.optim:AdamW", "arguments": {}},  # decays by default
    ],
    ids=lambda optimizer_settings: optimizer_settings.get("import_path", optimizer_settings["name"]),
)
def test_norms_and_biases_have_no_weight_decay(optimizer_settings: dict[str, Any]) -> None:
    net = create_network()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    optimizer = create_optimizer(net, create_settings(optimizer=optimizer_settings), 1e-2)
    for _ in range(3):
        for weight in net.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    for name, weight in net.named_parameters():
        if weight.ndim == 1:
            assert torch.equal(weight, before[name]), name
        else:
            assert weight.norm().item() < before[name].norm().item(), name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(name: str) -> None:
    keys, learning_rate = OPTIMIZERS[name]
    net, (images, masks) = create_network(), create_batch()
    optimizer_settings = create_settings(optimizer={"name": name, **keys})
    optimizer = create_optimizer(net, optimizer_settings, learning_rate)
    scheduler = create_lr_scheduler(optimizer, optimizer_settings.lr_scheduler, 30)
    losses = []
    for _ in range(30):
        loss = cross_entropy(net(images), masks)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_rmsprop_first_step_equals_that_of_keras() -> None:
    """The example in Keras' documentation of RMSprop: weight 10, gradient 10, learning rate 0.1."""
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(10.0)
    keys, _ = OPTIMIZERS["rmsprop"]
    optimizer = create_optimizer(net, create_settings(optimizer={"name": "rmsprop", **keys}), 0.1)
    (net.weight**2 / 2).sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert net.weight.item() == pytest.approx(9.683772)


def test_probe_of_a_custom_optimizer_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = "import torch\n\ndef draws(groups, lr):\n    torch.rand(3)\n    return torch.optim.NAdam(groups, lr=lr)\n"
    write_custom(Path(), optimizer_that_draws=source)
    net = create_network()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    torch.manual_seed(0)
    optimizer = create_optimizer(net, create_custom_settings("custom.optimizer_that_draws:draws"), 1e-3)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(3)
    assert torch.equal(drawn, torch.rand(1))
    assert not optimizer.state
    assert all(torch.equal(weight, before[name]) for name, weight in net.named_parameters())
    assert all(weight.grad is None for weight in net.parameters())


def test_edited_custom_optimizer_changes_the_run_key(project: Path) -> None:
    module = write_custom(project, mine="from torch.optim import NAdam as Mine\n") / "mine.py"
    mine = {"name": "custom", "import_path": "custom.mine:Mine", "arguments": {}}
    params = read_params(write_params(project, {"variants": {"mine": {"train": {"optimizer": mine}}}}))
    mine_cell, other = params.cell("mine", 0.01, 0), params.cell("unet", 0.01, 0)

    def compute_keys() -> list[str]:
        return [compute_run_key(cell, "data", "float32") for cell in (mine_cell, other)]

    first = compute_keys()
    assert compute_keys() == first
    module.write_text("from torch.optim import RAdam as Mine\n", encoding="utf-8")
    assert compute_keys() == first  # this process still uses the imported module
    key._digest.cache_clear()  # as in a new process
    second = compute_keys()
    assert second[0] != first[0]
    (project / "custom/table.csv").write_text("2\n", encoding="utf-8")  # a file that the module may read
    third = compute_keys()
    assert third[0] not in (first[0], second[0])
    (project / "custom/table.csv").rename(project / "custom/renamed.csv")
    assert compute_keys()[0] not in (first[0], second[0], third[0])
    assert compute_keys()[1] == first[1]


CUSTOM_MISTAKES = {
    "no module": ("optm:build", {}, "module 'optm' is neither in", "name it custom.optm, or correct the name."),
    "another name": ("torch.optim:NAdm", {}, "there is no 'NAdm' in", "did you mean NAdam?"),
    "built-in module": ("sys:zzz", {}, "there is no 'zzz' in sys", "define zzz there."),
    "unknown argument": ("torch.optim:NAdam", {"speed": 3}, "(groups, lr=0.001, speed=3) raised TypeError", ""),
    "a wrong value": ("torch.optim:NAdam", {"eps": -1}, "raised ValueError (Invalid epsilon", "-1"),
    "a closure": ("torch.optim:LBFGS", {}, "several times per step", "Choose another"),
    "matrices only": ("torch.optim:Muon", {}, "raised ValueError (Muon only supports 2D", ""),
    "sparse gradients": ("torch.optim:SparseAdam", {}, "raised RuntimeError", "in a step on copies of the weights"),
    "no learning rate": ("custom.own_mistakes:rateless", {}, "raised TypeError (rateless() got an unexpected", "'lr'"),
    "no optimizer": ("custom.own_mistakes:nothing", {}, "must return a torch optimizer", "a value of type NoneType"),
    "a class": ("custom.own_mistakes:a_class", {}, "must return a torch optimizer", "the class SGD itself"),
    "a hidden closure": ("custom.own_mistakes:hidden", {}, "several times per step", ""),
    "an exit": ("custom.own_mistakes:ends", {}, "raised SystemExit (3) in own_mistakes.py, line 9", ""),
}  # fmt: skip
CUSTOM_MODULE = """import sys
import torch

def rateless(groups): ...
def nothing(groups, lr): ...
def a_class(groups, lr): return torch.optim.SGD
def hidden(groups, lr): return torch.optim.LBFGS([weight for group in groups for weight in group["params"]], lr=lr)
def ends(groups, lr):
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("import_path", "arguments", "message", "hint"), CUSTOM_MISTAKES.values(), ids=CUSTOM_MISTAKES.keys()
)
def test_invalid_custom_optimizer_is_reported_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    import_path: str,
    arguments: dict[str, Any],
    message: str,
    hint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_custom(tmp_path, own_mistakes=CUSTOM_MODULE)
    with pytest.raises(PipelineError, match=r"^train\.optimizer\.import_path: ") as error:
        create_optimizer(create_network(), create_custom_settings(import_path, **arguments), 1e-3)
    text = str(error.value)
    assert message in text
    assert hint in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("freeze", [False, True])
def test_encoder_lr_factor_without_trainable_encoder_is_refused(freeze: bool) -> None:
    net = create_network("unet" if freeze else "keras_pets")
    if freeze:
        for name, weight in net.named_parameters():
            weight.requires_grad_(not name.startswith("1.encoder."))
    with pytest.raises(PipelineError, match=r"^train\.encoder_lr_factor: must be 1\.0, but is 0\.1, .* Set it to 1\.0"):
        create_optimizer(net, create_settings(encoder_lr_factor=0.1), 1e-3)


FILE_MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "only a name": (
        {"optimizer": "adamw"},
        "train.optimizer: must be a section of keys, but is 'adamw'; write {name: adamw, weight_decay: ...}.",
    ),
    "only the name of a scheduler": (
        {"lr_scheduler": "One_Cycle"},
        "train.lr_scheduler: must be a section of keys, but is 'One_Cycle'; write {name: one_cycle, warmup_fraction: "
        "...}.",
    ),
    "only an unknown name": (
        {"optimizer": "zzz"},
        "train.optimizer: must be a section of keys, but is 'zzz'; write {name: ...} with one of adamw, adam, "
        "rmsprop, sgd, custom, and its keys.",
    ),
    "similar name": ({"optimizer": {"name": "AdmW"}}, "but is 'AdmW'; did you mean adamw?"),
    "unknown name": ({"optimizer": {"name": "zzz"}}, "'sgd', 'custom', but is 'zzz'."),
    "similar scheduler": ({"lr_scheduler": {"name": "cosinus"}}, "but is 'cosinus'; did you mean cosine?"),
    "similar loss": ({"loss": "dise"}, "train.loss: must be one of 'cross_entropy', 'dice', 'focal', 'tversky', "
        "'lovasz', 'cross_entropy_dice' or 'cross_entropy_lovasz', but is 'dise'; did you mean dice?"),
    "key of another optimizer": (
        {"optimizer": {"name": "adam", "weight_decay": 0.0, "momentum": 0.9}},
        "train.optimizer.momentum: unknown key",
    ),
    "missing key": ({"optimizer": {"name": "sgd"}}, "train.optimizer.nesterov: is missing; add it"),
    "nesterov without momentum": (
        {"optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": True, "weight_decay": 0.0}},
        "train.optimizer.nesterov: must be false if momentum is 0, but is True.",
    ),
    "learning rate as an argument": (
        {"optimizer": {"name": "custom", "import_path": "torch.optim:NAdam", "arguments": {"lr": 1e-3}}},
        "train.optimizer.arguments: must not contain lr (set by grid.learning_rate) or params (passed by the "
        "pipeline), but is {'lr': 0.001}.",
    ),
    "momentum of 1": (
        {"optimizer": {"name": "sgd", "momentum": 1.0, "nesterov": False, "weight_decay": 0.0}},
        "train.optimizer.momentum: must be less than 1.0, but is 1.0.",
    ),
    "no warm-up in one cycle": (
        {"lr_scheduler": {"warmup_fraction": 0.0}},
        "train.lr_scheduler.warmup_fraction: must be greater than 0",
    ),
    "EMA decay of 1": ({"ema_decay": 1.0}, "train.ema_decay: must be less than 1.0, but is 1.0."),
    "negative encoder factor": (
        {"encoder_lr_factor": -0.1},
        "train.encoder_lr_factor: must be at least 0.0, but is -0.1.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), FILE_MISTAKES.values(), ids=FILE_MISTAKES.keys())
def test_invalid_training_params_are_reported(params_with: ParamsWith, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PipelineError) as error:
        params_with({"variants": {"other": {"train": changes}}})
    assert message in str(error.value)
