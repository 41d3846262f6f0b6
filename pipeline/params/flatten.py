"""Flatten nested parameters to dotted names, for lists and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten_parameters(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Flatten nested parameters to dotted names and values, spelled as in `params.yaml`."""
    found: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            found += flatten_parameters({str(place): item for place, item in enumerate(value)}, f"{prefix}{key}.")
        elif isinstance(value, dict):
            found += flatten_parameters(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", _spell(value)))
    return found


def _spell(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
