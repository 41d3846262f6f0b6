"""Merge overrides into a base, section by section."""

from __future__ import annotations

from typing import Any

DISCRIMINATORS = ("family", "source", "name")  # keys that decide which other keys a section has


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
