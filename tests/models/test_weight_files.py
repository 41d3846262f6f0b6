"""Reading files of weights, and matching their tensors with a network's."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.errors import PipelineError
from pipeline.models.weight_files import find_mismatches, read_tensors, replace_last_layer, strip_prefix

NETWORK = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
TENSORS: dict[str, Tensor] = {f"layer{name}": tensor for name, tensor in NETWORK.state_dict().items()}
PARTS = st.sampled_from(["module", "model", "net", "encoder", "1", "_orig_mod"])


@given(st.lists(PARTS, max_size=3).map(lambda parts: "".join(f"{part}." for part in parts)))
def test_strip_prefix_restores_names_with_any_prefix(prefix: str) -> None:
    found = strip_prefix({f"{prefix}{name}": tensor for name, tensor in TENSORS.items()}, TENSORS)
    assert list(found) == list(TENSORS)
    assert not find_mismatches(found, TENSORS)


@given(st.sets(st.sampled_from(sorted(TENSORS))), st.sets(st.sampled_from(["a.b", "c.d"])))
def test_find_mismatches_is_empty_only_for_equal_names(removed: set[str], added: set[str]) -> None:
    tensors = {name: tensor for name, tensor in TENSORS.items() if name not in removed}
    tensors |= dict.fromkeys(added, torch.zeros(1))
    needed = {name for name in removed if not name.endswith("num_batches_tracked")}
    assert (find_mismatches(tensors, TENSORS) == []) == (not needed and not added)


def test_find_mismatches_describes_each_kind() -> None:
    tensors = {**TENSORS, "other.weight": torch.zeros(1), "layer2.weight": torch.zeros(5, 4, 1, 1)}
    del tensors["layer0.bias"]
    assert find_mismatches(tensors, TENSORS) == [
        "1 tensor missing: layer0.bias",
        "1 tensor unexpected: other.weight",
        "1 tensor with a different shape: layer2.weight (5, 4, 1, 1) instead of (2, 4, 1, 1)",
    ]


def change(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {**TENSORS, **{name.replace("_", "."): torch.zeros(shape) for name, shape in shapes.items()}}


@pytest.mark.parametrize(
    ("tensors", "note"),
    [
        (change(), ""),
        (
            change(layer2_weight=(5, 4, 1, 1), layer2_bias=(5,)),
            "layer2 is initialized at random for 2 classes instead of 5",
        ),
        (change(layer2_weight=(5, 8, 1, 1), layer2_bias=(5,)), ""),  # other features
        (change(layer2_weight=(5, 4, 1, 1), layer0_weight=(5, 3, 3, 3)), ""),  # two layers
        (change(layer2_weight=(5, 4, 1, 1), layer2_bias=(6,)), ""),
    ],
)
def test_replace_last_layer_only_for_another_number_of_classes(tensors: dict[str, Tensor], note: str) -> None:
    replaced, found = replace_last_layer(tensors, TENSORS, 2)
    assert found == note
    assert [name for name in tensors if replaced[name] is not tensors[name]] == (
        ["layer2.weight", "layer2.bias"] if note else []
    )


def nest(*keys: str) -> Any:
    content: Any = TENSORS
    for key in keys:
        content = {key: content, "epoch": 3}
    return content


@pytest.mark.parametrize("content", [nest(), nest("state_dict"), nest("model"), nest("model", "state_dict")])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_read_tensors_of_torch_files(content: Any, suffix: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / f"file{suffix}")
    found = read_tensors(tmp_path / f"file{suffix}")
    assert list(found) == list(TENSORS)


def test_read_tensors_of_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "file.safetensors")
    assert read_tensors(tmp_path / "file.safetensors").keys() == TENSORS.keys()


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def write_files(folder: Path) -> dict[str, Path]:
    names = ("text.pth", "empty.pth", "cut.pth", "code.pth", "pickle.bin", "text.safetensors", "empty.safetensors")
    files = {name: folder / name for name in names}
    torch.save(TENSORS, files["cut.pth"])
    files["cut.pth"].write_bytes(files["cut.pth"].read_bytes()[:-200])
    for name in ("text.pth", "text.safetensors"):
        files[name].write_text("Please log in")
    for name in ("empty.pth", "empty.safetensors"):
        files[name].touch()
    torch.save({"weight": torch.zeros(1), "extra": Command()}, files["code.pth"])
    files["pickle.bin"].write_bytes(pickle.dumps(Command(), protocol=2))
    return files


def test_read_tensors_of_broken_or_unsafe_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, file in write_files(tmp_path).items():
        with pytest.raises(PipelineError, match=rf"{name} cannot be read \(.*It must be a safetensors file"):
            read_tensors(file)
    assert not Path("executed").exists()


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1], torch.zeros(3), {"state_dict": {}}])
def test_read_tensors_without_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(PipelineError, match="has no tensors; expected a mapping from names to tensors"):
        read_tensors(tmp_path / "file.pth")
