"""Format annotations as JSON with one image, annotation or shape per line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def to_compact_json(content: Mapping[str, Any]) -> str:
    """Format an object as JSON: one key per line, and one line for each entry of a list."""
    parts = []
    for key, value in content.items():
        entries = ",\n  ".join(map(_dump, value)) if isinstance(value, list) else ""
        parts.append(f"{_dump(key)}: " + (f"[\n  {entries}\n]" if entries else _dump(value)))
    return "{" + ",\n".join(parts) + "}\n"


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
