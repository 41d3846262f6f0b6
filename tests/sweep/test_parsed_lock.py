"""DVC takes the content of dvc.lock from a cache, as long as the file is the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException
from dvc.utils import strictyaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.sweep.dvc_internals.parsed_lock import parse_lock_once

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab:'\n1e-", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1) | st.integers(), inner),
    max_leaves=8,
)


def load(lock: Path, cache: Path) -> Any:
    with parse_lock_once(lock, cache):
        return strictyaml.load(str(lock))[0]


@given(content=st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1, max_size=3))
def test_cached_content_is_what_dvc_parses(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("lock")
    lock, cache = folder / "dvc.lock", folder / ".cache/dvc_lock.json"
    with lock.open("w", encoding="utf-8") as file:
        YAML().dump(content, file)
    parsed = strictyaml.load(str(lock))[0]
    assert repr(load(lock, cache)) == repr(parsed)
    assert repr(load(lock, cache)) == repr(parsed)


def test_content_comes_from_the_cache_until_the_file_changes(tmp_path: Path) -> None:
    lock, cache = tmp_path / "dvc.lock", tmp_path / "dvc_lock.json"
    lock.write_text("stages: {a: 1}\n", encoding="utf-8")
    load(lock, cache)
    stored = json.loads(cache.read_text(encoding="utf-8"))
    cache.write_text(json.dumps({**stored, "content": "cached"}), encoding="utf-8")
    assert load(lock, cache) == "cached"
    lock.write_text("stages: {a: 2}\n", encoding="utf-8")
    assert load(lock, cache) == {"stages": {"a": 2}}
    other = tmp_path / "dvc.yaml"
    other.write_text("stages: {b: 1}\n", encoding="utf-8")
    with parse_lock_once(lock, cache):
        assert strictyaml.load(str(other))[0] == {"stages": {"b": 1}}


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sha256": null}', "\x00"])
def test_damaged_cache_is_replaced(tmp_path: Path, damage: str) -> None:
    lock, cache = tmp_path / "dvc.lock", tmp_path / "dvc_lock.json"
    lock.write_text("stages: {a: 1}\n", encoding="utf-8")
    cache.write_text(damage, encoding="utf-8")
    assert load(lock, cache) == {"stages": {"a": 1}}
    assert json.loads(cache.read_text(encoding="utf-8"))["content"] == {"stages": {"a": 1}}


def test_broken_lock_is_reported_and_not_cached(tmp_path: Path) -> None:
    lock, cache = tmp_path / "dvc.lock", tmp_path / "dvc_lock.json"
    lock.write_text("stages:\n  a: [", encoding="utf-8")
    with pytest.raises(DvcException):
        load(lock, cache)
    assert not cache.exists()
