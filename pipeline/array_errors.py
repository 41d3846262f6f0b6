"""List what numpy raises when it loads a damaged file."""

from __future__ import annotations

import tokenize
import zipfile
import zlib

# The header of an array is parsed as Python source, and an .npz file is a compressed archive.
DAMAGED_ARRAY_ERRORS = (
    *(OSError, ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError),
    *(KeyError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error),
)
