"""Names that classes may have."""

from __future__ import annotations

import re
from collections.abc import Sequence


def class_names(wanted: Sequence[str]) -> list[str]:
    """Replace characters that a class name may not have by _, and number names that are taken."""
    names: list[str] = []
    for name in wanted:
        plain = re.sub(r"[^\w -]", "_", name).strip(" -") or "class"
        numbered = (plain, *(f"{plain}_{number}" for number in range(2, len(wanted) + 2)))
        names.append(next(one for one in numbered if one not in names))
    return names
