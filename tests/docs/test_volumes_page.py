"""docs/how-to/volumes.md: its script converts X-rays to PNG files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.optional import import_or_skip
from tests.series import create_slice

import_or_skip("pydicom")
(SCRIPT,) = re.findall("```python\n(.*?)```", (ROOT / "docs/how-to/volumes.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("ending", [".dcm", ".DCM", ".ima"])
@pytest.mark.parametrize(("photometric", "is_signed"), [("MONOCHROME1", 0), ("MONOCHROME2", 0), ("MONOCHROME2", 1)])
def test_script_keeps_all_gray_levels(
    photometric: str, is_signed: int, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    levels = np.arange(4096).reshape(64, 64)  # as a viewer shows them, from black to white
    stored = levels[::-1, ::-1] if photometric == "MONOCHROME1" else levels - 2048 * is_signed
    image = create_slice(
        levels,
        0,
        PhotometricInterpretation=photometric,
        PixelRepresentation=is_signed,
        BitsStored=12,
        HighBit=11,
        PixelData=stored.astype(np.int16).tobytes(),
    )
    path = Path("dicom/left/hand").with_suffix(ending)
    path.parent.mkdir(parents=True)
    image.save_as(path)
    Path("dicom/notes.txt").write_text("not an image")
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
    converted = np.asarray(Image.open("xrays/images/left/hand.png"))
    assert converted.dtype == np.uint16
    np.testing.assert_array_equal(converted, np.rint(levels * 65535 / 4095))
