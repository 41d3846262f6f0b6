"""Base class of the sections of `params.yaml`, and a function that merges overrides into a section."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

DISCRIMINATORS = ("family", "source", "name")  # keys whose value determines which other keys a section has


class Section(BaseModel):
    """Base class of sections: immutable, strict about types, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def merge_overrides(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a section with overrides merged in.

    Overrides with another model family, source, optimizer or scheduler replace the entire section.
    """
    if any(key in changes and key in base and changes[key] != base[key] for key in DISCRIMINATORS):
        return dict(changes)
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge_overrides(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result
