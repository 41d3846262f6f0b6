"""Keep the parsed content of dvc.lock, because DVC's YAML parser takes half a minute for 1,000 runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvc.utils import strictyaml

from pipeline.artifacts.project import CACHE
from pipeline.atomic_io import write_text

PARSED_LOCK = CACHE / "dvc_lock.json"


@contextlib.contextmanager
def parse_lock_once(lock_file: Path, cache: Path) -> Iterator[None]:
    """Make DVC take the content of dvc.lock from the cache during a block, if it is that of the same text.

    Args:
        lock_file: Path of dvc.lock.
        cache: JSON file with the content and the SHA-256 of the text. It is written after the file was parsed.
    """
    parse = strictyaml.parse_yaml

    def parse_cached(text: str, path: str, typ: str = "safe") -> Any:
        if Path(path) != lock_file or typ != "safe":
            return parse(text, path, typ=typ)
        digest = hashlib.sha256(text.encode()).hexdigest()
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):  # missing or damaged
            cached = json.loads(cache.read_text(encoding="utf-8"))
            if cached["sha256"] == digest:
                return cached["content"]
        content = parse(text, path, typ=typ)
        with contextlib.suppress(OSError, ValueError, TypeError):  # a full disk, or values that JSON does not have
            written = json.dumps({"sha256": digest, "content": content}, allow_nan=False)
            if json.loads(written)["content"] == content:
                cache.parent.mkdir(parents=True, exist_ok=True)
                write_text(cache, written)
        return content

    strictyaml.parse_yaml = parse_cached
    try:
        yield
    finally:
        strictyaml.parse_yaml = parse
