"""Names of the splits, and text with code, on a page."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "test", "showcase": "the showcase"}


def mark_code(text: str) -> Markup:
    """Escape text for HTML, and mark passages in `backticks` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
