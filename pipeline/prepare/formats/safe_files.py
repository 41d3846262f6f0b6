"""Read annotation files that may be malicious: with a size limit, without entities, and without deep recursion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from pipeline.errors import PipelineError
from pipeline.prepare.read_file import MAX_BYTES, read_limited

MAX_IMAGE_BYTES = 100_000_000  # of a file with the annotations of one image, which may include the image
_CHUNK_BYTES = 1 << 20
_MAX_DEPTH = 100  # elements in elements


def load_json(path: Path, key: str, kind: type[dict[str, Any]] | type[list[Any]], max_bytes: int = MAX_BYTES) -> Any:
    """Load a JSON file whose top value is an object or a list.

    Args:
        path: Path of the file.
        key: Parameter that names the file, for messages.
        kind: Type of the top value.
        max_bytes: Maximum size of the file.

    Raises:
        PipelineError: The file cannot be read, is not JSON, or has a different top value.
    """
    try:
        content = json.loads(read_limited(path, max_bytes))
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist. Set {key} to the file with the annotations.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:  # invalid UTF-8, a number that is too long, or invalid JSON
        raise PipelineError(f"{key}: {path} is not JSON ({error}). Export the file again.") from None
    if not isinstance(content, kind):
        expected = "a JSON object" if kind is dict else "a JSON list"
        raise PipelineError(
            f"{key}: {path} must be {expected}, but is {describe_type(content)}. Export the annotations again."
        )
    return content


def describe_type(value: object) -> str:
    """Name the type of a JSON value for a message."""
    if value is None:
        return "null"
    return {dict: "an object", list: "a list", str: "a string", bool: "true or false"}.get(type(value), "a number")


def parse_xml(
    path: Path, key: str, start: Callable[[str, Mapping[str, str]], None], text: Callable[[str, str], None]
) -> None:
    """Parse an XML file without keeping it in memory.

    A document type, in which entities could be defined that expand to gigabytes or include other files, is refused.

    Args:
        path: Path of the file.
        key: Parameter that names the file, for messages.
        start: Called with the name and the attributes of each element.
        text: Called with the path of element names, joined by /, and the text directly in the element.

    Raises:
        PipelineError: The file cannot be read, is not XML, or has a document type.
    """
    parser = expat.ParserCreate()
    open_names: list[str] = []
    pieces: list[list[str]] = []

    def refuse(*_: object) -> None:
        raise PipelineError(f"{key}: {path} has a document type (<!DOCTYPE>), which is refused. Remove it.")

    def handle_start(name: str, attributes: dict[str, str]) -> None:
        if len(open_names) >= _MAX_DEPTH:
            raise PipelineError(f"{key}: {path} is nested more than {_MAX_DEPTH} levels deep. Export it again.")
        open_names.append(name)
        pieces.append([])
        start(name, attributes)

    def handle_end(_: str) -> None:
        text("/".join(open_names), "".join(pieces.pop()))
        open_names.pop()

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = handle_start, handle_end
    parser.CharacterDataHandler = lambda data: pieces[-1].append(data)
    try:
        if not path.is_file() and path.exists():
            raise OSError(0, "is not a file")
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
    except FileNotFoundError:
        raise PipelineError(f"{key}: {path} does not exist.") from None
    except OSError as error:
        raise PipelineError(f"{key}: {path} cannot be read ({error.strerror}).") from None
    except expat.ExpatError as error:
        raise PipelineError(f"{key}: {path} is not XML ({error}). Export the file again.") from None
