"""Keys of the `data` section that a trained run still needs when it reads new images and writes masks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.params.data import Data

# The run itself defines the size of its input, and its number of channels.
_CLASSES = {"__all__": {"name", "mask_value", "category"}}
_KEYS: Any = {
    "source": True,
    "resize": True,
    "downscale": True,
    "slices": {"axis", "window", "bits"},
    "scenes": {"bands", "window", "bits"},
    "classes": _CLASSES,
    "mask_threshold": True,
    "instances": True,
    "external_test": {"classes": _CLASSES, "mask_threshold": True},
}


def list_input_keys(data: Data, *, is_native: bool) -> dict[str, Any]:
    """List the keys that define how images are read and what mask values mean, such as `data.slices.window`.

    Args:
        data: The section.
        is_native: Whether the prepared images keep their own sizes, so that `data.resize` has no effect.

    Returns:
        The values, as in JSON, by key. Keys that are null are left out.
    """
    exclude = {"resize"} if is_native else None
    return dict(_flatten("data", data.model_dump(mode="json", include=_KEYS, exclude=exclude, exclude_none=True)))


def _flatten(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flatten(f"{key}.{name}", item)
    elif key.endswith(".classes"):
        for item in value:
            yield f"{key}.{item['name']}", item.get("mask_value", item.get("category"))
    else:
        yield key, value
