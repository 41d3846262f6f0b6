"""Oxford-IIIT Pet: downloading, unpacking and finding its files."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import shlex
import shutil
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.prepare import download
from pipeline.prepare.download import download_pets
from pipeline.prepare.image_mask_pair import ImageMaskPair, SplitRow
from pipeline.prepare.sources.oxford_pets import KNOWN_BROKEN, PARTS, TRIMAP_VALUES, collect_pets
from tests.prepare.test_download import Page, Site, serve

TRAINVAL = (
    "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\nBirman_2 3 1 3\nbeagle_116 5 2 2\n\nBirman_10 3 1 3\n"
)
TEST = "pug_7 28 2 18\r\nshiba_inu_1  33\t2 21 \r\n"
LISTED = ["Birman_10", "Birman_2", "beagle_116", "pug_7", "shiba_inu_1"]

FILES = {
    "images": {f"{name}.jpg": f"image {name}" for name in [*LISTED, "Sphynx_1"]} | {"Birman_2.mat": "mat"},
    "annotations": {f"trimaps/{name}.png": f"trimap {name}" for name in [*LISTED, "Sphynx_1", "Bombay_9"]}
    | {f"trimaps/._{name}.png": "macOS" for name in LISTED[:2]}
    | {"._trimaps": "macOS", "xmls/pug_7.xml": "<xml/>", "README": "read me"}
    | {"trainval.txt": TRAINVAL, "test.txt": TEST, "list.txt": "ignored"},
}

PAIRS = {name: ImageMaskPair(name, f"images/{name}.jpg", f"annotations/trimaps/{name}.png") for name in LISTED}
SPLITS = {name: SplitRow("test" if name[0] in "ps" else "trainval") for name in LISTED}
SKIPPED = [
    ("Sphynx_1", "is listed in neither annotations/trainval.txt nor annotations/test.txt"),
    ("annotations/trimaps/Bombay_9.png", "is a mask without an image"),
    ("images/Birman_2.mat", "only files ending in .jpg are read"),
]
MACOS = [
    (f"annotations/trimaps/._{name}.png", "hidden files, such as those macOS creates, are not read")
    for name in LISTED[:2]
]


def create_archive(part: str, files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"{part}/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


ARCHIVES = {part: create_archive(part, files) for part, files in FILES.items()}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server with the small data set; the first URL of each archive is missing, the mirror works."""
    with serve() as site:
        parts = []
        for part in PARTS:
            content = ARCHIVES[part.folder]
            urls = (f"{site.url}/gone/{part.archive}", site.add(part.archive, Page(content)))
            parts.append(dataclasses.replace(part, urls=urls, md5=hashlib.md5(content).hexdigest()))
        monkeypatch.setattr(download, "PARTS", tuple(parts))
        yield site


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """The small data set, unpacked with the files that macOS adds."""
    folder = tmp_path / "my pets"
    for part, files in FILES.items():
        for name, text in files.items():
            path = folder / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, newline="")
    return folder


def get_error(folder: Path) -> str:
    """Return the error for a folder, which must name the command that fixes it."""
    with pytest.raises(PipelineError) as error:
        collect_pets(folder)
    assert f"`pipeline data download {shlex.quote(str(folder))}`" in str(error.value)
    return str(error.value)


def test_collect_pets_returns_pairs_with_official_splits(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)  # no network access
    collection = collect_pets(pets)
    assert list(collection.pairs.items()) == list(PAIRS.items())
    assert list(collection.splits.rows.items()) == list(SPLITS.items())
    assert sorted(collection.skipped) == sorted([*SKIPPED, *MACOS])
    for pair in collection.pairs.values():
        assert all((pets / file).is_file() for file in (pair.image, pair.mask))


def test_download_pets_downloads_and_unpacks_missing_files(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pets"
    collection = download_pets(folder)
    assert (collection.pairs, collection.splits.rows, sorted(collection.skipped)) == (PAIRS, SPLITS, sorted(SKIPPED))
    assert sorted(path.name for path in folder.iterdir()) == [
        "annotations",
        "annotations.tar.gz",
        "images",
        "images.tar.gz",
    ]
    assert (folder / "images" / "pug_7.jpg").read_text() == "image pug_7"
    names = ("images.tar.gz", "annotations.tar.gz")
    assert site.requests == [path for name in names for path in (f"/gone/{name}", f"/{name}")]
    site.requests.clear()
    assert download_pets(folder) == collection == collect_pets(folder)
    assert site.requests == []


def test_download_pets_keeps_unpacked_files(site: Site, pets: Path) -> None:
    (pets / "images" / "pug_7.jpg").write_text("mine")
    assert download_pets(pets).pairs == PAIRS
    assert (pets / "images" / "pug_7.jpg").read_text() == "mine"
    assert site.requests == []


def test_download_pets_unpacks_existing_archives(site: Site, tmp_path: Path) -> None:
    for part, content in ARCHIVES.items():
        (tmp_path / f"{part}.tar.gz").write_bytes(content)
    message = get_error(tmp_path)
    for part in ARCHIVES:
        assert f"{tmp_path / part} is missing: {part}.tar.gz has not been unpacked." in message
        assert not (tmp_path / part).exists()
    assert download_pets(tmp_path).pairs == PAIRS
    assert site.requests == []


def test_download_pets_downloads_only_the_missing_part(site: Site, pets: Path) -> None:
    shutil.rmtree(pets / "annotations")
    assert f"{pets / 'annotations'} is missing.\n" in get_error(pets)
    assert download_pets(pets).pairs == PAIRS
    assert site.requests == ["/gone/annotations.tar.gz", "/annotations.tar.gz"]


def test_download_pets_keeps_an_archive_with_another_md5(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    path.write_bytes(create_archive("images", {"other.jpg": "other"}))
    with pytest.raises(PipelineError, match=rf"^{re.escape(str(path))} has the MD5 \w+ instead of \w+, so"):
        download_pets(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["images.tar.gz"]
    assert site.requests == []


def test_archive_with_too_many_files_is_not_unpacked(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tuple(dataclasses.replace(part, max_files=3) for part in download.PARTS)
    monkeypatch.setattr(download, "PARTS", small)
    with pytest.raises(PipelineError, match="more than 3 files"):
        download_pets(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["images.tar.gz"]


def test_download_pets_restarts_after_a_broken_connection(site: Site, tmp_path: Path) -> None:
    site.pages["/images.tar.gz"].max_bytes = 100
    with pytest.raises(PipelineError, match=r"images\.tar\.gz could not be downloaded"):
        download_pets(tmp_path)
    assert list(tmp_path.iterdir()) == []
    site.pages["/images.tar.gz"].max_bytes = None
    assert download_pets(tmp_path).pairs == PAIRS


def test_missing_folder_is_reported_with_both_parts(tmp_path: Path) -> None:
    message = get_error(tmp_path / "nowhere")
    assert (
        f"{tmp_path / 'nowhere' / 'images'} is missing.\n{tmp_path / 'nowhere' / 'annotations'} is missing." in message
    )
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["annotations/trimaps", "annotations/test.txt", "annotations/trainval.txt"])
def test_missing_part_of_the_annotations_is_named(site: Site, pets: Path, name: str) -> None:
    path = pets / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert get_error(pets).startswith(f"{path} is missing. Remove {pets / 'annotations'} and run ")
    with pytest.raises(PipelineError, match="Remove"):  # only the user may remove it
        download_pets(pets)
    assert (pets / "annotations" / "README").exists()


@pytest.mark.parametrize(("kind", "ending"), [("images", ".jpg"), ("annotations/trimaps", ".png")])
def test_missing_listed_files_are_named(pets: Path, kind: str, ending: str) -> None:
    for name in ("pug_7", "Birman_2"):
        (pets / kind / f"{name}{ending}").unlink()
    message = get_error(pets)
    assert message.startswith(f"{pets / kind}: 2 of the 5 files listed in {pets / 'annotations'} are missing: ")
    assert f"Birman_2{ending}, pug_7{ending}. Remove {pets / kind.split('/')[0]} and run" in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pug_7 28 2\n", ", line 1: 'pug_7 28 2' must be an image's name and three numbers"),
        ("# a list\npug_7 28 two 18\n", ", line 2: "),
        ("../../secret 28 2 18\n", ", line 1: '../../secret 28 2 18' must be"),
        ("pug_7 28 2 18\npug_7 28 2 18\n", ", line 2: 'pug_7' is also in annotations/test.txt"),
        ("Birman_2 3 1 3\n", ", line 1: 'Birman_2' is also in annotations/trainval.txt"),
        ("# nothing\n", " lists no images"),
        ("\udcff", " cannot be read"),
    ],
)
def test_invalid_list_is_reported_with_its_line(pets: Path, text: str, reason: str) -> None:
    path = pets / "annotations" / "test.txt"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert get_error(pets).startswith(f"{path}{reason}")


@pytest.mark.parametrize("name", ["images", "annotations", "annotations/trimaps"])
def test_linked_folder_is_refused(site: Site, pets: Path, tmp_path: Path, name: str) -> None:
    (pets / name).rename(tmp_path / "elsewhere")
    (pets / name).symlink_to(tmp_path / "elsewhere")
    for find in (collect_pets, download_pets):
        with pytest.raises(
            PipelineError, match=rf"^{re.escape(str(pets / name))} is a link to a folder; put the folder itself"
        ):
            find(pets)
    assert site.requests == []


def test_constants_of_the_data_set() -> None:
    assert TRIMAP_VALUES == {"pet": 1, "background": 2, "border": 3}
    assert len(KNOWN_BROKEN) == 12
    assert {part.archive for part in PARTS} == {"images.tar.gz", "annotations.tar.gz"}
    for part in PARTS:
        assert all(address.startswith("https://") and address.endswith(part.archive) for address in part.urls)
        assert re.fullmatch("[0-9a-f]{32}", part.md5)
