"""Lays changes over a base, section by section."""

from __future__ import annotations

from typing import Any

KINDS = ("family", "source", "name")  # the keys that say what a section is: which others it has hangs on them


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The base with the changes in it; a section of another kind replaces the base's whole.

    The keys of one model family, source, optimiser or schedule mean nothing to another.
    """
    if any(kind in changes and kind in base and changes[kind] != base[kind] for kind in KINDS):
        return dict(changes)
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return result
