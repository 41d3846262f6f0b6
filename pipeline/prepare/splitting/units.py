"""The units that splits and folds never divide."""

from __future__ import annotations

from collections.abc import Mapping

Unit = tuple[str, str]  # kind ("group" or "id") and name


def get_unit(name: str, groups: Mapping[str, str]) -> Unit:
    """Return the kind and name of an image's indivisible unit: its group or, if it has none, the image itself."""
    return ("group", groups[name]) if name in groups else ("id", name)
