"""Download the archives of the Oxford-IIIT Pet data set from one of several servers, and verify their checksums."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from pipeline.atomic_io import add_file_name
from pipeline.errors import PipelineError
from pipeline.prepare.archives import unpack
from pipeline.prepare.image_mask_pair import PairCollection
from pipeline.prepare.sources.oxford_pets import PARTS, collect_pets

_CHUNK_BYTES = 65_536


def download_pets(folder: Path) -> PairCollection:
    """Download and unpack the data set.

    Parts that are already unpacked are skipped, and existing archives are not downloaded again. Archives are kept after
    unpacking.

    Raises:
        PipelineError: An archive cannot be downloaded or has the wrong checksum, or unpacked files are missing.
    """
    for part in PARTS:
        if (folder / part.folder).is_dir() or (folder / part.folder).is_symlink():
            continue
        archive, unpacked = folder / part.archive, folder / f".{part.folder}-unpacked"
        download(part.urls, archive, part.md5)
        print(f"{part.archive}: unpacking", file=sys.stderr)  # noqa: T201
        try:
            unpack(archive, unpacked, max_bytes=part.max_bytes, max_files=part.max_files)
            (unpacked / part.folder).rename(folder / part.folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    return collect_pets(folder)


def download(urls: Sequence[str], target: Path, md5: str, *, timeout: float = 30) -> None:
    """Download a file from the first URL that works, unless the file exists.

    Args:
        urls: Addresses of the file.
        target: Path to download the file to.
        md5: Expected MD5 checksum of the file.
        timeout: Seconds without data after which a URL fails.

    Raises:
        PipelineError: An existing file has a different MD5, or all URLs fail. Incomplete and corrupt downloads are
            removed.
    """
    if target.exists():
        if (found := pooch.file_hash(str(target), "md5")) != md5:
            raise PipelineError(
                f"{target} has the MD5 {found} instead of {md5}, so it is incomplete or a different file. Remove it "
                f"and run the same command again."
            )
        return
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(sys.stderr.isatty(), _CHUNK_BYTES, timeout=timeout)
    failures = []
    for url in urls:
        print(f"{target.name}: downloading {url}", file=sys.stderr)  # noqa: T201
        with add_file_name(target):
            try:
                pooch.retrieve(url, f"md5:{md5}", target.name, target.parent, downloader=downloader)
            except (requests.RequestException, ValueError) as error:  # ValueError: wrong MD5
                failures.append(f"{url}: {str(error) or type(error).__name__}")
            else:
                return
    remedy = "Run the same command again, or download the file another way and save it under this name."
    raise PipelineError("\n".join([f"{target} could not be downloaded.", *failures, remedy]))
