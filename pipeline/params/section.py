"""Sections of `params.yaml`: their base class, and how overrides are merged into them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

DISCRIMINATORS = ("family", "source", "name")  # keys that decide which other keys a section has


class Section(BaseModel):
    """An immutable section with strict types and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def merge_overrides(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the base with the changes merged in.

    A section of another model family, source, optimizer or scheduler replaces the base's section as a whole.
    """
    if any(key in changes and key in base and changes[key] != base[key] for key in DISCRIMINATORS):
        return dict(changes)
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge_overrides(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result
