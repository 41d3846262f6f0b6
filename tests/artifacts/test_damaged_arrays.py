"""A damaged array gets a message that names the file and the command that writes it again."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.artifacts.comparison import Comparison
from pipeline.errors import PipelineError


@pytest.mark.filterwarnings("ignore")  # the header of an array is parsed as Python source, which can warn
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data(), is_archive=st.booleans())
def test_read_a_damaged_array_returns_an_array_or_raises_a_message(
    data: st.DataObject, is_archive: bool, tmp_path: Path
) -> None:
    folder, name = Comparison(tmp_path, tmp_path), "x.npz" if is_archive else "x.npy"
    array = np.arange(40.0)
    if is_archive:
        folder.write_arrays(name, {"x": array})
    else:
        np.save(tmp_path / name, array)
    content = bytearray((tmp_path / name).read_bytes())
    start = data.draw(st.integers(0, len(content)))
    content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=5))
    (tmp_path / name).write_bytes(content)
    with contextlib.suppress(PipelineError):
        if is_archive:
            folder.read_arrays(name)
        else:
            with folder.reading(name) as path:
                np.load(path, allow_pickle=False)


def test_read_an_array_whose_header_is_not_python_raises_a_message(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(40.0))
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content.replace(b"}", b"("))
    folder = Comparison(tmp_path, tmp_path)
    with pytest.raises(PipelineError, match=r"x\.npy cannot be read"), folder.reading("x.npy") as path:
        np.load(path, allow_pickle=False)
