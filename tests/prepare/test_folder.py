"""A folder of the user's own: small generated pictures, and real ones where they lie beside the repository."""

import csv
import hashlib
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from pipeline import runs
from pipeline.errors import PipelineError
from pipeline.params.data import FolderData, SplitShares
from pipeline.params.file import read_params
from pipeline.prepare.splits import Row, divide
from pipeline.prepare.stage import prepare
from tests.conftest import ROOT

PETS = ROOT.parent / "shared/data/oxford-pets-mini"
NAMES = [f"cell{index}" for index in range(12)]
SPLITS = {name: runs.SPLITS[index % 3] for index, name in enumerate(NAMES[1:])}
WHOLE = np.kron([[0, 1], [1, 2]], np.ones((8, 12))).astype(np.uint8)  # 16 x 24, every class

SECTION = {
    "source": "folder",
    "image_size": 16,
    "resize": "squash",
    "classes": [
        {"name": "cell", "colour": "#e69f00", "foreground": True, "value": 1},
        {"name": "ground", "colour": "#0072b2", "foreground": False, "value": 0},
        {"name": "wall", "colour": "#f0e442", "foreground": False, "edge": True, "value": 2},
    ],
    "ignore": None,
    "splits": {"validation": 0.2, "test": 0.2},
    "showcase": ["cell0"],
    "seed": 0,
    "train_images": None,
}


def section(path, **changes):
    return FolderData.model_validate({**SECTION, "path": str(path), **changes})


def coloured(values):
    """The section's classes with other mask values."""
    return [{**item, "value": value} for item, value in zip(SECTION["classes"], values, strict=True)]


def picture(index=0, shape=(16, 24)):
    return Image.fromarray(np.random.default_rng(index).integers(0, 256, (*shape, 3), np.uint8))


def write_splits(folder, rows, header="id,split"):
    (folder / "splits.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")


@pytest.fixture
def cells(tmp_path):
    """Twelve pairs with a splits.csv."""
    folder = tmp_path / "cells"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index, name in enumerate(NAMES):
        picture(index).save(folder / "images" / f"{name}.png")
        Image.fromarray(WHOLE).save(folder / "masks" / f"{name}.png")
    write_splits(folder, ["cell0,train", *(f"{name},{split}" for name, split in SPLITS.items())])
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs `prepare` on a folder; returns the prepared folder."""
    params = read_params(ROOT / "params.yaml")

    def running(path, **changes):
        prepare(params.model_copy(update={"data": section(path, **changes)}), tmp_path / "out" / "prepared")
        return tmp_path / "out" / "prepared"

    return running


@pytest.fixture
def refused(run, tmp_path):
    """What `prepare` says of a folder that it refuses, having written nothing."""

    def refusing(path, **changes):
        with pytest.raises(PipelineError) as error:
            run(path, **changes)
        assert not list(tmp_path.glob("out/*"))
        return str(error.value)

    return refusing


def table(prepared):
    with (prepared / runs.SAMPLES).open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def shown(prepared):
    """Image and mask of the showcase, cell0."""
    folder = prepared / runs.SHOWCASE
    return np.load(folder / runs.IMAGES)[0], np.load(folder / runs.MASKS)[0]


def test_arrays_table_and_classes(cells, run):
    prepared = run(cells)
    rows = table(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**SPLITS, "cell0": runs.SHOWCASE}
    masks = np.load(prepared / "test" / runs.MASKS)
    np.testing.assert_array_equal(masks, np.broadcast_to(np.kron([[1, 0], [0, 2]], np.ones((8, 8))), masks.shape))
    images = np.load(prepared / "test" / runs.IMAGES)
    first = min(name for name, split in SPLITS.items() if split == "test")
    resized = picture(NAMES.index(first)).resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images[0], np.asarray(resized))
    content = [(cells / kind / f"{first}.png").read_bytes() for kind in ("images", "masks")]
    assert rows[first]["sha256"] == hashlib.sha256(b"".join(content)).hexdigest()
    assert (rows[first]["height"], rows[first]["width"], rows[first]["groups"]) == ("16", "24", "")
    data = runs.DataSet.read(prepared)
    assert (data.source, data.title) == ("folder", "The images in cells")
    assert [(c.name, c.foreground, c.edge) for c in data.classes] == [
        ("cell", True, False),
        ("ground", False, False),
        ("wall", False, True),
    ]


def test_same_files_same_bytes(cells, run):
    def content(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = content(run(cells))
    assert content(run(cells)) == first


PALETTE = [0, 0, 0, 255, 0, 0, 0, 0, 255]  # of the indices 0, 1, 2
AS_COLOURS = np.array(PALETTE, np.uint8).reshape(3, 3)[WHOLE]


def with_palette():
    mask = Image.fromarray(WHOLE).convert("P")  # convert keeps values, and lays a grey palette over them
    mask.putpalette(PALETTE)
    return mask


MASKS = {
    "grey": (Image.fromarray(WHOLE * 100), [100, 0, 200]),
    "grey in three channels": (Image.fromarray(WHOLE).convert("RGB"), [1, 0, 2]),
    "grey with alpha": (Image.fromarray(WHOLE).convert("LA"), [1, 0, 2]),
    "16 bits": (Image.fromarray(WHOLE.astype(np.uint16) * 1000), [1000, 0, 2000]),
    "palette by index": (with_palette(), [1, 0, 2]),
    "palette by colour": (with_palette(), ["#ff0000", "#000000", "#0000FF"]),
    "colours": (Image.fromarray(AS_COLOURS), ["#ff0000", "#000000", "#0000ff"]),
    "colours with alpha": (Image.fromarray(AS_COLOURS).convert("RGBA"), ["#ff0000", "#000000", "#0000ff"]),
}


@pytest.mark.parametrize(("mask", "values"), MASKS.values(), ids=MASKS.keys())
def test_every_kind_of_mask_gives_the_same_indices(cells, run, mask, values):
    for name in NAMES:
        mask.save(cells / "masks" / f"{name}.png")
    _, prepared = shown(run(cells, classes=coloured(values)))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))


def test_masks_of_one_bit_hold_0_and_1(cells, run):
    for name in NAMES:
        Image.fromarray(WHOLE == 1).save(cells / "masks" / f"{name}.png")
    _, prepared = shown(run(cells, classes=SECTION["classes"][:2]))
    np.testing.assert_array_equal(prepared, np.kron([[1, 0], [0, 1]], np.ones((8, 8))))


def test_ignored_values_count_nowhere(cells, run):
    mask = WHOLE.copy()
    mask[:, :12] = 99
    Image.fromarray(mask).save(cells / "masks/cell0.png")
    prepared = run(cells, ignore=99)
    assert (shown(prepared)[1][:, :8] == runs.IGNORE).all()
    assert table(prepared)["cell0"]["pixels"] == "128"


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "LA"])
def test_every_kind_of_image_becomes_rgb(cells, run, mode):
    image = picture().convert(mode)
    (cells / "images/cell0.png").unlink()
    image.save(cells / "images/cell0.tif")
    prepared, _ = shown(run(cells))
    resized = image.convert("RGB").resize((16, 16), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(prepared, np.asarray(resized))


def test_what_is_transparent_is_black_whatever_lies_under_it(cells, run):
    pixels = np.full((16, 24, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[:, :12, 3] = 0
    Image.fromarray(pixels).save(cells / "images/cell0.png")
    prepared, _ = shown(run(cells))
    assert (prepared[:, :4] == 0).all()
    assert (prepared[:, -4:] == 200).all()


def write_deep(folder, names, ending="png"):
    values = np.arange(16 * 16, dtype=np.uint16).reshape(16, 16) * 257
    for name in names:
        (folder / "images" / f"{name}.png").unlink(missing_ok=True)
        Image.fromarray(values).save(folder / "images" / f"{name}.{ending}")
        Image.fromarray(np.ascontiguousarray(WHOLE[:, 4:20])).save(folder / "masks" / f"{name}.png")
    return values


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_16_bit_grey_keeps_its_bits(cells, run, ending):
    values = write_deep(cells, NAMES, ending)
    prepared, _ = shown(run(cells))
    assert prepared.dtype == np.uint16
    np.testing.assert_array_equal(prepared, values[..., None])


def test_16_bit_grey_must_be_all_or_none(cells, refused):
    write_deep(cells, ["cell3", "cell7"])
    said = refused(cells)
    assert "2 images are 16-bit grey and 10 are not" in said
    assert "images/cell3.png, images/cell7.png" in said


def test_exif_turns_images_and_masks(cells, run):
    upright, mask = picture(5), Image.fromarray(WHOLE)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    upright.transpose(Image.Transpose.ROTATE_90).save(cells / "images/cell0.png", exif=exif)
    mask.transpose(Image.Transpose.ROTATE_90).save(cells / "masks/cell0.png", exif=exif)
    prepared = run(cells)
    image, indices = shown(prepared)
    np.testing.assert_array_equal(image, np.asarray(upright.resize((16, 16), Image.Resampling.LANCZOS)))
    np.testing.assert_array_equal(indices, np.kron([[1, 0], [0, 2]], np.ones((8, 8))))
    assert (table(prepared)["cell0"]["height"], table(prepared)["cell0"]["width"]) == ("16", "24")


@pytest.mark.parametrize("upright", [False, True])
def test_padding_keeps_the_aspect_and_reflects_around_what_counts(cells, run, upright):
    def turned(image):
        return image.transpose(Image.Transpose.TRANSPOSE) if upright else image

    for index, name in enumerate(NAMES):
        turned(picture(index)).save(cells / "images" / f"{name}.png")
        turned(Image.fromarray(WHOLE)).save(cells / "masks" / f"{name}.png")
    image, mask = shown(run(cells, resize="pad", image_size=48))
    inner = np.asarray(turned(picture()).resize((32, 48) if upright else (48, 32), Image.Resampling.LANCZOS))
    if upright:
        image, mask, inner = image.transpose(1, 0, 2), mask.T, inner.transpose(1, 0, 2)
    np.testing.assert_array_equal(mask[8:40], np.kron([[1, 0], [0, 2]], np.ones((16, 24))))
    assert (mask[:8] == runs.IGNORE).all()
    assert (mask[40:] == runs.IGNORE).all()
    np.testing.assert_array_equal(image[8:40], inner)
    np.testing.assert_array_equal(image[:8], inner[8:0:-1])
    np.testing.assert_array_equal(image[40:], inner[-2:-10:-1])


def test_very_long_pictures_are_padded_too(cells, run):
    picture(shape=(1, 300)).save(cells / "images/cell0.png")
    Image.fromarray(np.ones((1, 300), np.uint8)).save(cells / "masks/cell0.png")
    _, mask = shown(run(cells, resize="pad"))
    assert (mask != runs.IGNORE).sum() == 16


def test_nested_folders_any_case_of_endings_and_hidden_files(cells, run):
    for kind, ending in (("images", "JPEG"), ("masks", "PNG")):
        (cells / kind / "day 1").mkdir()
        (cells / kind / "cell0.png").rename(cells / kind / f"day 1/cell0.{ending}")
        (cells / kind / "._cell1.png").write_bytes(b"what macOS leaves behind")
        (cells / kind / "Thumbs.db").touch()
    rows = [f"{name},{split}" for name, split in SPLITS.items()]
    write_splits(cells, [*rows, "day 1/cell0,train"])
    prepared = run(cells, showcase=["day 1/cell0"])
    assert set(table(prepared)) == {*SPLITS, "day 1__cell0"}
    assert (prepared / runs.REJECTED).read_text(encoding="utf-8").splitlines()[1:] == [
        "images/Thumbs.db,files ending in .db are not read",
        "masks/Thumbs.db,files ending in .db are not read",
    ]


def test_everything_wrong_is_named_at_once_with_counts(cells, refused):
    (cells / "masks/cell1.png").unlink()
    (cells / "images/cell2.png").unlink()
    (cells / "images/cell3.png").write_bytes((cells / "images/cell3.png").read_bytes()[:200])
    Image.fromarray(WHOLE[:, :10]).save(cells / "masks/cell4.png")
    for name in ("cell5", "cell6"):
        Image.fromarray(np.where(WHOLE == 2, 7, WHOLE).astype(np.uint8)).save(cells / "masks" / f"{name}.png")
    picture().save(cells / "images/cell8.jpg")
    Image.fromarray(WHOLE).save(cells / "masks/cell9.gif")
    (cells / "masks/cell9.png").write_bytes(b"no picture")
    lines = refused(cells).splitlines()
    for line, said in zip(
        lines,
        [
            r"1 images without a mask: images/cell1.png\. Add",
            r"1 masks without an image: masks/cell2.png\. Add",
            r"1 names that stand for several files: images/cell8.jpg and images/cell8.png\. ",
            r"2 files that cannot be used: images/cell3.png \(is no whole picture .*\), masks/cell9.png \(is none of",
            r"1 masks of another size than their image: masks/cell4.png \(10 × 16, the image 24 × 16\)\. ",
            r"2 masks with values that .*, 7 \(192 pixels\): masks/cell5.png, masks/cell6.png\. Declare",
        ],
        strict=True,
    ):
        assert re.search(said, line), line
        assert line.startswith("data.path: ")


def test_an_image_that_fails_later_is_named_with_all_like_it(cells, refused):
    for name in ("cell9", "cell10", "cell11"):
        (cells / "images" / f"{name}.png").write_bytes(b"")
    assert "3 files that cannot be used" in refused(cells)


def test_no_more_than_ten_files_are_named(cells, refused):
    for name in NAMES[:11]:
        (cells / "masks" / f"{name}.png").unlink()
    said = refused(cells)
    assert "11 images without a mask" in said
    assert said.count("images/cell") == 10
    assert "and 1 more" in said


def test_jpeg_masks_are_told_why_their_values_are_strange(cells, refused):
    for name in NAMES:
        (cells / "masks" / f"{name}.png").unlink()
        Image.fromarray(np.kron(WHOLE[::8, ::12], np.ones((16, 24))).astype(np.uint8) * 100).resize((24, 16)).save(
            cells / "masks" / f"{name}.jpg", quality=30
        )
    assert "JPEG changes pixel values: export such masks as PNG." in refused(cells, classes=coloured([100, 0, 200]))


REFUSED_FILES = {
    "colours": (Image.fromarray(AS_COLOURS), SECTION["classes"], "holds colours, but data.classes gives numbers"),
    "grey of 16 bits": (
        Image.fromarray(WHOLE.astype(np.uint16)),
        coloured(["#ff0000", "#000000", "#0000ff"]),
        "but data.classes gives colours",
    ),
    "fractions": (Image.fromarray(WHOLE / np.float32(3)), SECTION["classes"], "has pixels with fractions"),
    "negative": (Image.fromarray(-WHOLE.astype(np.int32)), SECTION["classes"], "has values outside 0 to 65535"),
}


@pytest.mark.parametrize(("mask", "classes", "said"), REFUSED_FILES.values(), ids=REFUSED_FILES.keys())
def test_masks_of_the_wrong_kind(cells, refused, mask, classes, said):
    (cells / "masks/cell0.png").unlink()
    mask.save(cells / "masks/cell0.tif")
    assert said in refused(cells, classes=classes)


def test_stacks_and_deep_floats_are_no_images(cells, refused):
    for name in ("cell0", "cell1"):
        (cells / "images" / f"{name}.png").unlink()
    picture().save(cells / "images/cell0.tif", save_all=True, append_images=[picture(1)])
    Image.fromarray(np.zeros((16, 24), np.float32)).save(cells / "images/cell1.tif")
    said = refused(cells)
    assert "images/cell0.tif (holds 2 pictures; save one a file)" in said
    assert "images/cell1.tif (has pixels of 32 bits" in said


def test_other_formats_are_not_decoded_whatever_the_ending(cells, refused):
    picture().save(cells / "images/cell0.png", format="GIF")
    assert "images/cell0.png (is none of PNG, JPEG, WEBP, BMP, TIFF)" in refused(cells)


def test_pictures_that_would_fill_the_memory_are_refused(cells, refused, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert "is too large to be decoded (at most 200 pixels)" in refused(cells)


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_folders_that_are_missing_empty_or_linked(cells, refused, tmp_path, kind):
    (cells / kind).rename(tmp_path / kind)
    assert f"there is no folder {cells / kind}" in refused(cells)
    (cells / kind).mkdir()
    assert f"{cells / kind} holds no picture" in refused(cells)
    (cells / kind).rmdir()
    (cells / kind).symlink_to(tmp_path / kind)
    assert f"{cells / kind} is a link" in refused(cells)
    (cells / kind).unlink()
    (tmp_path / kind).rename(cells / kind)
    (cells / kind / "more").symlink_to(tmp_path)
    assert f"{cells / kind / 'more'} is a link" in refused(cells)


LINES = {
    "unknown image": (["cell99,train"], r"line 14: there is no image 'cell99'"),
    "with its ending": (["cell1.png,train"], r"line 14: there is no image 'cell1\.png'; .* without its ending"),
    "twice": (["cell1,train"], r"line 14: 'cell1' stands there twice"),
    "unknown split": (["cell12,val"], r"line 14: the split 'val' must be one of train, validation, test"),
    "short line": (["cell99"], "line 14: there is no image 'cell99'"),
    "many": ([f"x{index},train" for index in range(14)], "and 4 more such lines"),
}


@pytest.mark.parametrize(("added", "said"), LINES.values(), ids=LINES.keys())
def test_a_mistake_in_splits_csv_is_named_with_its_line(cells, refused, added, said):
    picture().save(cells / "images/cell12.png")
    Image.fromarray(WHOLE).save(cells / "masks/cell12.png")
    with (cells / "splits.csv").open("a", encoding="utf-8") as file:
        file.write("\n".join(added) + "\n")
    assert re.search(rf"splits\.csv.*{said}", refused(cells))


def test_splits_csv_must_name_every_image_and_its_columns(cells, refused):
    write_splits(cells, [f"{name},train" for name in NAMES[:5]])
    assert "splits.csv says nothing of 7 of 12 images: cell10, cell11, cell5" in refused(cells)
    write_splits(cells, ["cell0;train"], header="id;split")
    assert "splits.csv, line 1: the columns must be id,split" in refused(cells)
    (cells / "splits.csv").write_bytes(b"id,split\n\xff\xfe,train\n")
    assert "splits.csv cannot be read" in refused(cells)


def test_groups_are_kept(cells, run):
    rows = [f"{name},{split},{split}-film" for name, split in SPLITS.items()]
    write_splits(cells, ["cell0,train,first", *rows], header="\ufeffid,split,group")  # as spreadsheets save it
    assert table(run(cells))["cell1"]["groups"] == f"group={SPLITS['cell1']}-film"


def test_a_group_in_two_splits_is_refused(cells, refused):
    write_splits(cells, ["cell0,train,", *(f"{n},{s},film" for n, s in SPLITS.items())], header="id,split,group")
    assert re.search(r"splits\.csv: the group 'film' stands in \w+ and, with cell\d+, in \w+", refused(cells))
    write_splits(cells, [f"{name},train,a=b" for name in NAMES], header="id,split,group")
    assert "the group 'a=b' must hold neither ; nor =" in refused(cells)


def test_what_shares_a_group_with_the_showcase_is_left_out_and_said_so(cells, run):
    rows = [f"{name},{split},{'dish' if name == 'cell1' else name}" for name, split in SPLITS.items()]
    write_splits(cells, ["cell0,test,dish", *rows], header="id,split,group")
    prepared = run(cells)
    assert "cell1" not in table(prepared)
    rejected = (prepared / runs.REJECTED).read_text(encoding="utf-8")
    assert rejected == "id,reason\ncell1,shares its group 'dish' with the showcase image cell0\n"


def test_a_showcase_can_be_chosen_and_must_exist(cells, run, refused):
    assert "data.showcase: there is no image 'dog'" in refused(cells, showcase=["dog"])
    rows = table(run(cells, showcase=None))
    (chosen,) = (name for name, row in rows.items() if row["split"] == runs.SHOWCASE)
    assert {**SPLITS, "cell0": "train"}[chosen] == "train"
    assert len(rows) == len(NAMES)


def test_an_empty_split_and_a_class_that_is_not_there_say_what_to_do(cells, refused):
    write_splits(cells, [f"{name},{'train' if index % 2 else 'test'}" for index, name in enumerate(NAMES)])
    assert re.search(r"splits\.csv: there is no sample for 'validation'.*other splits", refused(cells))
    (cells / "splits.csv").unlink()
    assert re.search(
        r"data\.splits\.test: there is no sample for 'test'.*data\.seed",
        refused(cells, splits={"validation": 0.5, "test": 1e-9}),
    )


def test_a_class_that_no_mask_of_a_split_has(cells, refused):
    for name in (name for name, split in SPLITS.items() if split == "test"):
        Image.fromarray(WHOLE % 2).save(cells / "masks" / f"{name}.png")
    assert re.search(r"splits\.csv: class 'wall' occurs in none of the \d masks of the split 'test'", refused(cells))


def test_without_splits_csv_the_hash_divides(cells, run):
    (cells / "splits.csv").unlink()
    rows = table(run(cells, splits={"validation": 0.3, "test": 0.3}, seed=3))
    assert {row["split"] for row in rows.values()} == {*runs.SPLITS, runs.SHOWCASE}


NAMES_AND_GROUPS = st.dictionaries(st.text("abcxyz0123_", min_size=1, max_size=6), st.sampled_from(["", "p", "q", "r"]))


@given(NAMES_AND_GROUPS, NAMES_AND_GROUPS, st.integers(0, 9), st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_hashed_splits_are_disjoint_complete_whole_and_stable(first, added, seed, validation, test):
    data = section("x", showcase=None, seed=seed, splits={"validation": validation, "test": test})

    def division(named):
        return divide(sorted(named), {name: Row(group=group) for name, group in named.items()}, data, ROOT)

    def places(named):
        found = division(named)
        given = [(name, split) for split, names in found.ids.items() for name in names]
        given += [(name, "left out") for name, _ in found.left_out]
        assert sorted(name for name, _ in given) == sorted(named)  # each exactly once
        return dict(given)

    before, after = places(first), places({**added, **first})
    for group in "pqr":
        assert len({place for name, place in before.items() if first[name] == group} - {"left out"}) <= 1
    # Only what the showcase, another perhaps, takes out of training may be elsewhere now.
    moved = {name for name, place in before.items() if after[name] != place}
    allowed = {"train", "left out", runs.SHOWCASE}
    assert {before[name] for name in moved} | {after[name] for name in moved} <= allowed


@given(st.integers(0, 99))
def test_shares_are_kept_and_one_leaves_the_other_alone(seed):
    names = [f"image{index}" for index in range(800)]

    def validation(test):
        shares = SplitShares(validation=0.25, test=test)
        data = section("x", showcase=["image0"], seed=seed).model_copy(update={"splits": shares})
        return set(divide(names, None, data, ROOT).ids["validation"])

    assert len(validation(0.1)) == pytest.approx(200, abs=75)  # six standard deviations
    assert validation(0.1) == validation(0.6)


MISTAKES = {
    "key of the other source": ({"samples": {}}, "data.samples: there is no such key"),
    "unknown source": (
        {"source": "disk"},
        "data: must have a source that is one of 'sample', 'folder', but is 'disk'.",
    ),
    "no source": ({"source": ...}, "data: must be a section with a source: key"),
    "key of a class": (
        {"classes": [{}, {**SECTION["classes"][0], "color": "x"}]},
        "classes[1].color: there is no such",
    ),
    "unquoted colour": ({"classes": [{"colour": None}, {}]}, "data.classes[0].colour: must be a colour in quotes"),
    "a colour's name": ({"ignore": "black"}, "data.ignore: must be a mask's pixel value, a whole number from 0 to"),
    "truth for a value": ({"ignore": True}, "data.ignore: must be a mask's pixel value"),
    "name": ({"classes": [{"name": "a,b"}, {}]}, "data.classes[0].name: must be a name of letters"),
    "one class": ({"classes": SECTION["classes"][:1]}, "data.classes: must have at least 2 entr"),
    "resize": ({"resize": "crop"}, "data.resize: must be one of 'squash' or 'pad'"),
    "empty showcase": ({"showcase": []}, "data.showcase: must have at least 1 entry"),
    "showcase twice": ({"showcase": ["a", "a"]}, "data.showcase: 'a' stands there twice"),
    "nothing left": ({"splits": {"validation": 0.5, "test": 0.5}}, "data.splits: validation 0.5 and test 0.5 leave"),
    "value twice": ({"classes": coloured([1, 0, 1])}, "data.classes: the mask value 1 stands there"),
    "value ignored": ({"ignore": 2}, "data.classes: the mask value 2 stands there, or at data.ignore, twice"),
    "colour twice": ({"classes": coloured(["#00000A", "#00000a", "#000001"])}, "the mask value '#00000a' stands"),
    "numbers and colours": ({"classes": coloured([1, 0, "#00ff00"])}, "some mask values are numbers and some are col"),
    "no foreground": (
        {"classes": [{**item, "foreground": False} for item in SECTION["classes"]]},
        "data.classes: no class is foreground",
    ),
    "name twice": ({"classes": [*SECTION["classes"], {**SECTION["classes"][0], "value": 9}]}, "are named 'cell'"),
}


def written(tmp_path, changes):
    """The shipped params.yaml with a folder's section; what is changed to ... is left out."""
    yaml = YAML(typ="safe")
    content = yaml.load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    data = {**SECTION, "path": "cells", "image_size": 32, **changes}
    content["data"] = {key: value for key, value in data.items() if value is not ...}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(("changes", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_in_the_section_is_named(tmp_path, changes, said):
    with pytest.raises(PipelineError) as error:
        read_params(written(tmp_path, changes))
    assert said in str(error.value)


def test_the_section_is_read_and_more_images_than_known_may_be_asked_for(tmp_path):
    params = read_params(written(tmp_path, {"train_images": 10_000}))
    assert isinstance(params.data, FolderData)
    assert params.cells()[0].train_images == 10_000


def test_the_section_of_the_page_is_valid_and_complete(tmp_path):
    page = (ROOT / "docs/your-own-data.md").read_text(encoding="utf-8")
    shown = YAML(typ="safe").load(re.search("```yaml\n(.*?)```", page, re.DOTALL)[1])["data"]
    assert set(shown) == set(FolderData.model_fields)
    assert read_params(written(tmp_path, shown)).data.path == "cells"


def test_real_trimaps(run, tmp_path):
    if not PETS.is_dir():
        pytest.skip("oxford-pets-mini does not lie beside the repository")
    with (PETS / "index.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.DictReader(file))
    chosen = [row for split in ("trainval", "test") for row in [r for r in index if r["split"] == split][::25][:12]]
    folder = tmp_path / "pets"
    of_name = {row["name"]: "test" if row["split"] == "test" else "train" for row in chosen}
    of_name.update(dict.fromkeys(list(of_name)[2:12:3], "validation"))
    for kind, ending in (("images", "jpg"), ("masks", "png")):
        (folder / kind).mkdir(parents=True)
        for name in of_name:
            (folder / kind / f"{name}.{ending}").symlink_to(PETS / kind / f"{name}.{ending}")
    write_splits(folder, [f"{name},{split}" for name, split in of_name.items()])
    classes = [
        {"name": "pet", "colour": "#e69f00", "foreground": True, "value": 1},
        {"name": "background", "colour": "#0072b2", "foreground": False, "value": 2},
        {"name": "border", "colour": "#f0e442", "foreground": False, "edge": True, "value": 3},
    ]
    shown_first = chosen[0]["name"]
    prepared = run(folder, classes=classes, image_size=64, resize="pad", showcase=[shown_first])
    rows = table(prepared)
    assert {name: row["split"] for name, row in rows.items()} == {**of_name, shown_first: runs.SHOWCASE}
    assert [item.name for item in runs.DataSet.read(prepared).classes] == ["pet", "background", "border"]
    for split in (*runs.SPLITS, runs.SHOWCASE):
        names = sorted(name for name, row in rows.items() if row["split"] == split)
        images, masks = (np.load(prepared / split / file) for file in (runs.IMAGES, runs.MASKS))
        assert (images.shape, images.dtype) == ((len(names), 64, 64, 3), np.uint8)
        assert set(np.unique(masks)) == {0, 1, 2, runs.IGNORE}
        for name, mask in zip(names, masks, strict=True):
            with Image.open(PETS / "masks" / f"{name}.png") as file:
                trimap = np.asarray(file)
            counted = mask[mask != runs.IGNORE]
            for place, value in enumerate((1, 2, 3)):
                assert (counted == place).mean() == pytest.approx((trimap == value).mean(), abs=0.03)
