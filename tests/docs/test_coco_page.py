"""docs/how-to/coco-annotations.md: its script numbers the objects of the annotations."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.nuclei import annotate_nuclei, write_nuclei

(SCRIPT,) = re.findall(
    "```python\n(.*?)```", (ROOT / "docs/how-to/coco-annotations.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_script_writes_masks_that_number_the_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("cells"), 3)
    expected = [np.asarray(Image.open(path)) for path in sorted(Path("cells/masks").iterdir())]
    annotate_nuclei(Path("cells"))
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    found = [np.asarray(Image.open(path)) for path in sorted(Path("cells/masks").iterdir())]
    assert len(found) == len(expected)
    for numbers, mask in zip(found, expected, strict=True):
        pairs = np.unique(np.stack([numbers.ravel(), mask.ravel()]), axis=1)
        assert pairs.shape[1] == len(np.unique(mask)) == numbers.max() + 1
