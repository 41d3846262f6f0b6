"""Patterns of file paths: which files are images or masks, and which image a mask belongs to."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

DEFAULT_PATTERNS = ("images/**/*", "masks/**/*")
ANY_FOLDERS = "**"
CLASS, OBJECT = "class", "object"  # named wildcards in patterns of masks
ANY = "any"  # wildcard whose text is not compared
_TOKEN = re.compile(r"\*|\{[^{}]*\}")


@dataclass(frozen=True)
class FileMatch:
    """Texts in a path that match the wildcards of a pattern."""

    texts: tuple[str, ...]  # of `*`, `**` and alternatives, in order; several folders of `**` are joined by /
    part: str = ""  # of {class} or {object}; empty if the pattern has neither

    @property
    def name(self) -> str:
        """Texts joined by /, from which the image's id is made."""
        return "/".join(filter(None, self.texts))


@dataclass(frozen=True)
class FilePattern:
    """A pattern of paths below a folder.

    `*` matches any text in the name of a folder or file, `**/` any number of folders, and `{train,val}` one of these
    texts. Two files belong together if the texts of these wildcards are the same in both. `{any}` matches any text,
    which is not compared. In patterns of masks, `{class}` and `{object}` match any text that tells the files of an
    image apart. The ending of the last name may be left out, and its case does not matter.
    """

    text: str

    @classmethod
    def parse(cls, text: object) -> FilePattern:
        """Parse a pattern. Raise `ValueError` if it is invalid."""
        if not isinstance(text, str) or not text.strip():
            raise ValueError('must be a pattern of paths in quotes, such as "images/**/*"')
        pattern = cls(text)
        pattern._check()
        return pattern

    def _check(self) -> None:
        folders = self._names[:-1]
        if self.text.startswith("/") or "\\" in self.text or {"", ".", ".."} & set(self._names):
            raise ValueError(f"'{self.text}' must be a path below the folder, with single / between its parts")
        if self._names[-1] == ANY_FOLDERS or any(ANY_FOLDERS in name != ANY_FOLDERS for name in self._names):
            raise ValueError(f"'{self.text}' must have ** as the whole name of a folder, as in images/**/*")
        if folders.count(ANY_FOLDERS) > 1:
            raise ValueError(f"'{self.text}' must have ** only once")
        for name in self._names:
            wildcards = _TOKEN.findall(name) if name != ANY_FOLDERS else []
            if any(token[1:-1] not in (CLASS, OBJECT, ANY) and "," not in token for token in wildcards if token != "*"):
                raise ValueError(
                    f"'{self.text}' may have only {{class}}, {{object}}, {{any}} and alternatives such as "
                    f"{{train,val}} in braces"
                )
            if _TOKEN.sub("", name).strip("{}") != _TOKEN.sub("", name):
                raise ValueError(f"'{self.text}' has a brace without its counterpart")
            if sum(_is_compared(token) for token in wildcards) > 1 or len(wildcards) > 2:
                raise ValueError(f"'{self.text}' must have at most one * or {{a,b}} in the name of a folder or file")
            if re.search(r"[*}][*{]", name) and name != ANY_FOLDERS:
                raise ValueError(f"'{self.text}' must have text between two wildcards in the same name")
        if sum(len(_TOKEN.findall(name)) > 1 for name in self._names if name != ANY_FOLDERS) > 1:
            raise ValueError(f"'{self.text}' must have two wildcards in at most one name")
        if not self.num_texts:
            raise ValueError(f"'{self.text}' must have a wildcard, such as *, that matches the name of an image")
        if sum(token in ("{class}", "{object}") for token in _TOKEN.findall(self.text)) > 1:
            raise ValueError(f"'{self.text}' must have only one of {{class}} and {{object}}")

    @cached_property
    def _names(self) -> list[str]:
        return unicodedata.normalize("NFC", self.text).split("/")

    @property
    def num_texts(self) -> int:
        """Number of wildcards whose texts are compared."""
        names = (ANY_FOLDERS if name == ANY_FOLDERS else name for name in self._names)
        return sum(
            1 if name == ANY_FOLDERS else sum(_is_compared(token) for token in _TOKEN.findall(name)) for name in names
        )

    @property
    def part(self) -> str:
        """What each of an image's files shows: "class", "object", or "" if there is one file per image."""
        return next((name for name in (CLASS, OBJECT) if f"{{{name}}}" in self.text), "")

    @property
    def accepts_all_names(self) -> bool:
        """Whether all files in a folder match, except those with other endings."""
        return self._names[-1] == "*" and bool(self.root)

    @property
    def root(self) -> str:
        """Innermost folder that contains all matching files; empty for the whole folder."""
        names = []
        for name in self._names[:-1]:
            if "*" in name or "{" in name:
                break
            names.append(name)
        return "/".join(names)

    def match(
        self,
        path: PurePosixPath,
        endings: Collection[str],
        known: Collection[tuple[str, ...]] = (),
        *,
        is_folder: bool = False,
    ) -> FileMatch | None:
        """Match a path.

        Args:
            path: Path of a file relative to the folder.
            endings: Supported endings, in lower case.
            known: Texts of the images. If {class} or {object} is in the same name as `*`, the longest text of `*` that
                belongs to an image counts, or else the longest one.
            is_folder: Whether the path is a folder that is one volume, whose name needs no ending.

        Returns:
            The texts of the wildcards. None if the path does not match.
        """
        # macOS decomposes accented letters, and names that look equal should be equal.
        names = [unicodedata.normalize("NFC", name) for name in path.parts]
        patterns = list(self._names)
        own, ending = find_ending(patterns[-1], endings), find_ending(names[-1], endings)
        if not (ending or is_folder) or (own and own != ending):
            return None
        names[-1] = names[-1][: len(names[-1]) - len(ending)]
        patterns[-1] = patterns[-1][: len(patterns[-1]) - len(own)]
        if ANY_FOLDERS in patterns:
            place = patterns.index(ANY_FOLDERS)
            num_after = len(patterns) - place - 1
            if len(names) < place + num_after:
                return None
            middle = "/".join(names[place : len(names) - num_after])
            names[place : len(names) - num_after] = [middle]
        if len(names) != len(patterns):
            return None
        candidates = [
            [((name,), "")] if pattern == ANY_FOLDERS else list(_match_name(pattern, name))
            for pattern, name in zip(patterns, names, strict=True)
        ]
        matches = [FileMatch(())]
        for options in candidates:
            matches = [
                FileMatch((*match.texts, *texts), match.part or part) for match in matches for texts, part in options
            ]
        if not matches:
            return None
        return next((match for match in matches if match.texts in known), matches[0])


def find_ending(name: str, endings: Collection[str]) -> str:
    """Find the longest ending that a file name has, such as .nii.gz. Endings are lower case; return "" if none fits."""
    lower = name.lower()
    return max((one for one in endings if lower.endswith(one)), key=len, default="")


def _is_compared(token: str) -> bool:
    return token == "*" or "," in token


def _match_name(pattern: str, name: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the ways in which a name matches: the compared texts, and the text of {class} or {object}.

    There is more than one way only if the pattern has two wildcards. The first one then matches from the longest text
    to the shortest one.
    """
    tokens = _TOKEN.findall(pattern)
    start, *literals = _TOKEN.split(pattern)
    end = literals.pop() if literals else ""
    if not tokens:
        if pattern == name:
            yield (), ""
        return
    if not name.startswith(start) or not name.endswith(end) or len(name) <= len(start) + len(end):
        return
    inner = name[len(start) : len(name) - len(end)]
    if len(tokens) == 1:
        splits: list[tuple[str, ...]] = [(inner,)]
    else:
        (between,) = literals
        places = [place for place in range(1, len(inner)) if inner.startswith(between, place)]
        splits = [(inner[:place], inner[place + len(between) :]) for place in reversed(places)]
    for texts in splits:
        pairs = list(zip(tokens, texts, strict=True))
        if all(text and ("," not in token or text in token[1:-1].split(",")) for token, text in pairs):
            compared = tuple(text for token, text in pairs if _is_compared(token))
            yield compared, next((text for token, text in pairs if token in ("{class}", "{object}")), "")
