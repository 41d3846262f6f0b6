"""Base class of every section of `params.yaml`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """An immutable section with strict types and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
