"""`weights/`: files that networks start from, and the index of weights fetched from the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from pipeline.artifacts.folder import Record
from pipeline.atomic_io import to_json, write_text
from pipeline.errors import PipelineError

WEIGHTS = Path("weights")  # in the project's folder; in dvc.yaml, every train stage depends on it
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
TIMM = "tu-"  # smp's prefix for timm encoders
SHORT = 12  # number of characters shown of a revision or hash


@dataclass(frozen=True)
class HubFile(Record):
    """A file on the Hugging Face hub with the weights of an encoder, pinned to a revision and a hash."""

    library: Literal["smp", "timm"]
    repository: str
    revision: str  # commit
    file: str
    sha256: str
    bytes: int
    license: str | None  # None if the hub does not name one
    mean: tuple[float, ...]  # mean of red, green and blue (0 to 1) with which training images were normalized
    std: tuple[float, ...]  # their standard deviation


@dataclass(frozen=True)
class WeightsRecord(Record):
    """The weights that a network started from, as `run.json` records them."""

    source: str  # pip package with its version, repository on the hub, or file in `weights/`
    revision: str | None  # commit of the repository on the hub
    sha256: str
    license: str | None
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # mean and standard deviation on the hub
    notes: tuple[str, ...] = ()  # phrases on tensors that were adapted, newly initialized or left out

    def describe(self) -> str:
        """Describe the weights in one line."""
        where = f"{self.source}@{self.revision}" if self.revision else self.source
        return "; ".join([f"{where}, SHA-256 {self.sha256}, license {self.license or 'unknown'}", *self.notes])


@dataclass(frozen=True)
class _Index(Record):
    encoders: Mapping[str, HubFile] = field(default_factory=dict)


class WeightsFolder:
    """A project's `weights/` folder."""

    INDEX = "hub.json"  # index of fetched weights, tracked by git so that every machine uses the same weights

    def __init__(self, home: Path) -> None:
        self._home = home
        self.index_file = home / WEIGHTS / self.INDEX

    def read_index(self) -> Mapping[str, HubFile]:
        """Read the index of fetched weights, by encoder.

        Raises:
            PipelineError: The file is not a valid index.
        """
        try:
            return TypeAdapter(_Index).validate_json(self.index_file.read_bytes()).encoders
        except FileNotFoundError:
            return {}
        except ValidationError as error:
            raise PipelineError(
                f"{WEIGHTS / self.INDEX} cannot be read ({error.errors(include_url=False)[0]['msg']}). Restore it with "
                f"`git checkout {WEIGHTS / self.INDEX}`, or remove it and run `pipeline weights fetch`."
            ) from None

    def find_hub_file(self, encoder: str, *, timm_only: bool = False) -> HubFile | None:
        """Find the fetched weights of an encoder in the index; None if they are missing.

        A name with smp's prefix `tu-` refers to a timm encoder. If smp and timm both have an encoder with a name that
        lacks the prefix, smp's is found, unless `timm_only` is true.
        """
        bare = encoder.removeprefix(TIMM)
        timm_only = timm_only or bare != encoder
        index = self.read_index()
        found = (index.get(key) for key in ((f"{TIMM}{bare}", bare) if timm_only else (bare,)))
        return next((one for one in found if one and (one.library == "timm" or not timm_only)), None)

    def add_hub_file(self, encoder: str, content: HubFile) -> None:
        """Add or replace the weights of an encoder in the index."""
        encoders = dict(sorted({**self.read_index(), encoder: content}.items()))
        write_text(self.index_file, to_json(_Index(encoders)))

    def locate(self, name: str) -> Path:
        """Return the path of a weight file, given by its path relative to the project.

        Raises:
            PipelineError: The file does not exist.
        """
        path = self._home / name
        if path.is_file():
            return path
        known = sorted(file for file in (self._home / WEIGHTS).rglob("*") if file.suffix in SUFFIXES)
        there = ", ".join(str(file.relative_to(self._home)) for file in known) or "no weights"
        raise PipelineError(
            f"model.pretrained: {name} does not exist; {WEIGHTS}/ has {there}. Put the file there, or correct the name."
        )
