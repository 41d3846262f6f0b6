"""Read weight files, and match their tensors with those of a network."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from pipeline.errors import PipelineError
from pipeline.wording import join_names, pluralize

NESTED = ("state_dict", "model")  # keys under which training tools keep the tensors in their checkpoints
# Layers of the classifiers of timm, torchvision and smp, which segmentation networks do not have.
CLASSIFIERS = ("classifier", "conv_head", "bn2", "fc", "fc_norm", "head", "head_dist", "last_linear", "_fc", "linear")
COUNT = "num_batches_tracked"  # batch normalization buffer that old files do not have and no network here reads
MAX_PREFIX = 3  # maximum number of parts of a prefix, as in `model.module.encoder.`
MAX_SHOWN = 4  # maximum number of names in a message


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a .safetensors file, or of a file saved by torch, without running code from it.

    Raises:
        PipelineError: The file cannot be read, or has no tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise errors of many types
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
        if isinstance(error, pickle.UnpicklingError):  # torch's own message advises running the file's code
            reason = "it contains objects other than tensors, or is damaged"
        raise PipelineError(
            f"model.pretrained: {path} cannot be read ({reason}). It must be a safetensors file, or a file with only "
            "tensors, as written by torch.save(network.state_dict(), path)."
        ) from None
    for key in NESTED:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {
        str(name): value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise PipelineError(
            f"model.pretrained: {path} has no tensors; expected a mapping from names to tensors, at the top level or "
            f"under the key {' or '.join(NESTED)}."
        )
    return tensors


def strip_prefix(tensors: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Remove the prefix, such as `module.`, whose removal makes the most names match; keep names without it."""
    prefixes = {""}
    for name in tensors:
        parts = name.split(".")
        prefixes |= {".".join(parts[:count]) + "." for count in range(1, min(MAX_PREFIX, len(parts) - 1) + 1)}

    def count_expected(prefix: str) -> int:
        return sum(name.startswith(prefix) and name[len(prefix) :] in expected for name in tensors)

    best = max(sorted(prefixes), key=count_expected)
    return {name.removeprefix(best): tensor for name, tensor in tensors.items()}


def drop_classifier(tensors: Mapping[str, Tensor], expected: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    """Leave out the layers of a classifier, unless they are expected.

    Returns:
        The other tensors, and the names of the tensors that were left out.
    """
    left_out = [name for name in tensors if name not in expected and name.split(".")[0] in CLASSIFIERS]
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}, left_out


def find_mismatches(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Describe missing tensors, unexpected ones and those with a different shape; empty if all tensors match."""
    missing = [name for name in expected if name not in tensors and not name.endswith(COUNT)]
    unexpected = [name for name in tensors if name not in expected]
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in find_other_shapes(tensors, expected)
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("with a different shape", shapes))
    return [
        f"{pluralize(len(names), 'tensor')} {kind}: {join_names(names, MAX_SHOWN)}" for kind, names in kinds if names
    ]


def find_other_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """Find the tensors whose shape differs from the expected one."""
    return [name for name, tensor in tensors.items() if name in expected and tensor.shape != expected[name].shape]


def replace_last_layer(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], classes: int
) -> tuple[dict[str, Tensor], str]:
    """Replace a layer for a different number of classes with the expected layer, if no other shape differs.

    Returns:
        All tensors, and a note on the replaced layer; the note is empty if no layer was replaced.
    """
    different = find_other_shapes(tensors, expected)
    layers = {name.rpartition(".")[0] for name in different}
    counts = {tuple(tensors[name].shape[:1]) for name in different}
    differ_in_classes = all(
        expected[name].shape[:1] == (classes,) and expected[name].shape[1:] == tensors[name].shape[1:]
        for name in different
    )
    if len(layers) != 1 or len(counts) != 1 or not differ_in_classes:
        return dict(tensors), ""
    ((count,),) = counts
    replaced = {**tensors, **{name: expected[name] for name in different}}
    return replaced, f"{layers.pop()} is initialized at random for {classes} classes instead of {count}"
