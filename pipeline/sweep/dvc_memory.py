"""What DVC remembers too little of, and what too much: of a few stages neither shows, of hundreds both take minutes."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator

from dvc.dependency import param
from fsspec.implementations.memory import MemoryFileSystem


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """A block in which DVC parses params.yaml once, not several times a cell."""
    parse = param.load_path
    parsed = functools.cache(parse)
    # Copies: YAML would write what two stages share as a reference from the one to the other.
    param.load_path = lambda *asked, **how: copy.deepcopy(parsed(*asked, **how))
    try:
        yield
    finally:
        param.load_path = parse


def forget_trees() -> None:
    """Empty the memory in which DVC leaves a listing of each folder that it hashed.

    Nobody reads a listing once its cell is looked at or committed, but each further one is compared with all there are:
    of 300 cells that is a third of the time to find them up to date, and it grows as the square of their number.
    """
    MemoryFileSystem.store.clear()
