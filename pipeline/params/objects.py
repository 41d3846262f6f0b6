"""Check the classes in `evaluation.objects`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.wording import join_words

KEY = "evaluation.objects"


class _NamedClass(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def foreground(self) -> bool: ...


def find_object_mistakes(names: Sequence[str], classes: Sequence[_NamedClass], key: str = KEY) -> list[str]:
    """Find reasons why the objects of the named classes cannot be scored.

    Args:
        names: Names of the classes whose objects are scored.
        classes: Classes of the data.
        key: Parameter or option that asks for objects, for messages.
    """
    if len(classes) < 2:
        return [f"{key}: the data has only one class, so nothing separates objects; add a class for the background."]
    foreground = [item.name for item in classes if item.foreground]
    if not foreground:
        return [f"{key}: no class is foreground, so there are no objects; write foreground: true for their class."]
    choices = f"one of the foreground classes, {join_words(foreground)}" if foreground[1:] else foreground[0]
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    return [
        f"{key}: '{name}' is not a foreground class of the data; write {choices}."
        for name in names
        if name not in foreground
    ] + [f"{key}: '{name}' is repeated; remove one." for name in repeated]
