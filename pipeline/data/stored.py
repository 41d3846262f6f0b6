"""How a picture was stored: what a person wants to know of it, read from its header."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

from PIL import Image

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright
_KINDS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "PA": "palette",
    "RGB": "RGB",
    "RGBA": "RGB with alpha",
    "RGBX": "RGB",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
    "LAB": "Lab",
}


@dataclass(frozen=True)
class Stored:
    """How a picture was stored."""

    kind: str  # "RGB", "grey", "palette", "16-bit grey", "TIFF of other channels", ...
    turned: bool  # whether its EXIF orientation had it turned
    transparent: bool  # whether any of its pixels is not opaque

    @classmethod
    def of(cls, content: bytes) -> Stored:
        """Of a picture that could be read; what Pillow cannot read is a TIFF for which another reader was needed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd metadata
                with Image.open(io.BytesIO(content)) as file:
                    deep = file.mode.startswith("I") or file.mode == "F"
                    kind = "16-bit grey" if deep else _KINDS.get(file.mode, file.mode)
                    turned = file.getexif().get(_ORIENTATION, 1) not in (0, 1)
                    return cls(kind, turned, file.has_transparency_data and _any_transparent(file))
        except Exception:  # decoders raise anything
            return cls("TIFF of other channels", turned=False, transparent=False)


def _any_transparent(file: Image.Image) -> bool:
    lowest, _ = file.convert("RGBA").getchannel("A").getextrema()
    return isinstance(lowest, int | float) and lowest < 255
