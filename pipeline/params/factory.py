"""An import path in `params.yaml`: what a user's own network or optimiser is made by."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _module_and_callable(factory: str) -> str:
    module, _, name = factory.partition(":")
    if not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("must be module:callable, such as custom.my_net:build")
    return factory


Factory = Annotated[str, AfterValidator(_module_and_callable)]
