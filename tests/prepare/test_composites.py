"""Composites of animals and backgrounds as a source: groups, splits, determinism, errors and options."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.clustered_mean import MIN_GROUPS
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.params.data.composites import Composition
from pipeline.prepare.sources.composites import SHOWCASE_HEIGHT, CompositeSource
from pipeline.prepare.sources.compositing import ANIMAL, BORDER


def read_source(source, splits):
    samples = []
    source.read(lambda _, sample: samples.append(sample), splits)
    return samples


def read_groups(source, factor):
    return {split: {sample.groups[factor] for sample in read_source(source, [split])} for split in (*SPLITS, SHOWCASE)}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_no_group_is_in_two_splits(composite_source, create_params, seed):
    source = CompositeSource(create_params((9, 5, 5), composite_source, image_size=16, seed=seed).data)
    for factor, showcase in (("animal", "dog"), ("background", "aitzgorri")):
        groups = read_groups(source, factor)
        assert groups[SHOWCASE] == {showcase}
        assert sum(map(len, groups.values())) == len(set().union(*groups.values()))


@pytest.mark.parametrize(("factor", "fractions"), [("animal", [0.6, 0.2, 0.2]), ("background", [0.5, 0.25, 0.25])])
def test_groups_are_split_by_the_fractions_and_all_used(create_params, factor, fractions):
    source = CompositeSource(create_params((60, 20, 20), image_size=16).data)
    groups = read_groups(source, factor)
    total = sum(len(groups[split]) for split in SPLITS)
    assert [len(groups[split]) / total for split in SPLITS] == pytest.approx(fractions, abs=0.04)
    assert min(len(groups[split]) for split in SPLITS) >= MIN_GROUPS  # the gap's interval needs so many


def test_another_seed_gives_another_split(create_params):
    first, second = (
        {sample.groups["animal"] for sample in read_source(CompositeSource(data), ["test"])}
        for data in (create_params((60, 20, 20), image_size=16, seed=seed).data for seed in (0, 1))
    )
    assert first != second


@pytest.mark.parametrize("split", SPLITS)
def test_more_samples_keep_the_earlier_ones(create_params, split):
    few = read_source(CompositeSource(create_params((5, 3, 3)).data), [split])
    many = read_source(CompositeSource(create_params((80, 40, 40)).data), [split])
    for a, b in zip(few, many, strict=False):
        assert (a.id, a.groups, a.sha256) == (b.id, b.groups, b.sha256)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_samples_differ_from_each_other(create_params):
    source = CompositeSource(create_params((12, 6, 6)).data)
    images = [sample.image.tobytes() for sample in read_source(source, SPLITS)]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("size", [32, 96, 160, [96, 160], [160, 96]])
def test_showcase_animal_is_upright_large_and_complete(create_params, size):
    data = create_params(image_size=size).data
    (sample,) = read_source(CompositeSource(data), [SHOWCASE])
    height, width = sample.mask.shape
    assert [height, width] == (size if isinstance(size, list) else [size, size])
    rows, columns = np.nonzero(sample.mask != 1)  # animal and border
    # Half of the border is outside the animal, above and below.
    assert (np.ptp(rows) + 1) / min(height, width) == pytest.approx(SHOWCASE_HEIGHT + data.composition.border, abs=0.05)
    assert rows.min() > 0
    assert rows.max() < height - 1
    assert columns.min() > 0
    assert columns.max() < width - 1
    assert (sample.mask == ANIMAL).mean() > 0.1


def test_sample_has_sha256_of_both_files_and_the_size_of_the_background(composite_source, create_params):
    (sample,) = read_source(CompositeSource(create_params(path=composite_source).data), [SHOWCASE])
    files = [composite_source / name for name in ("animals/dog.webp", "backgrounds/aitzgorri.jpg")]
    content = b"".join(file.read_bytes() for file in files)
    assert sample.sha256 == hashlib.sha256(content).hexdigest()
    assert (sample.height, sample.width) == (48, 64)


def test_missing_folder_is_named(create_params, tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere/sources\.csv cannot be read"):
        CompositeSource(create_params(path=tmp_path / "nowhere").data)


def test_missing_and_invalid_animals_are_named(create_params, source_folder):
    image_file = source_folder() / "animals/cat.webp"
    content = image_file.read_bytes()
    for invalid in (b"", b"not an image", content[: len(content) // 2]):
        image_file.write_bytes(invalid)
        with pytest.raises(PipelineError, match=r"animals/cat\.webp cannot be read \(not a complete image\)"):
            CompositeSource(create_params(path=image_file.parents[1]).data)
    image_file.unlink()
    with pytest.raises(PipelineError, match=r"animals/cat\.webp cannot be read \(No such file"):
        CompositeSource(create_params(path=image_file.parents[1]).data)


def test_truncated_background_is_named(create_params, source_folder):
    image_file = source_folder() / "backgrounds/beach.jpg"
    content = image_file.read_bytes()
    image_file.write_bytes(content[: len(content) // 2])
    with pytest.raises(PipelineError, match=r"backgrounds/beach\.jpg cannot be read"):
        CompositeSource(create_params(path=image_file.parents[1]).data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no animal 'dog'"),
        ("kind,name\nanimal,cat\n", "not a CSV file in UTF-8 with the columns kind, name and group"),
        ("kind,name,group\nanimal,cat\n", "row 2 has no"),
        ("kind,name,group\nplant,ivy,ivy\n", "kind is 'plant', but must be one of animal, background"),
        ("kind,name,group\nanimal,cat,a;b\n", "group 'a;b'"),
    ],
)
def test_invalid_source_list_is_reported(create_params, source_folder, text, message):
    folder = source_folder()
    (folder / "sources.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError, match=message):
        CompositeSource(create_params(path=folder).data)


def test_too_few_groups_are_an_error(create_params, source_folder):
    folder = source_folder(animals=("ant", "bat1", "bat2"))
    with pytest.raises(PipelineError, match="names 2 groups of kind 'animal' besides the showcase's"):
        CompositeSource(create_params(path=folder).data)


def test_three_groups_are_enough(create_params, source_folder):
    folder = source_folder(animals=("ant", "bat", "cat"), backgrounds=("attic", "beach", "creek"))
    source = CompositeSource(create_params(path=folder).data)
    assert all(len(names) == 1 for names in read_groups(source, "animal").values())


def create_masks(create_params, **composition):
    data = create_params((40, 1, 1), image_size=64, composition=Composition.model_validate(composition)).data
    return np.array([sample.mask for sample in read_source(CompositeSource(data), ["train"])])


def create_images(create_params, **composition):
    data = create_params((10, 1, 1), image_size=64, composition=Composition.model_validate(composition)).data
    return np.array([sample.image for sample in read_source(CompositeSource(data), ["train"])])


@pytest.fixture(scope="module")
def default_masks(create_params):
    return create_masks(create_params)


@pytest.fixture(scope="module")
def default_images(create_params):
    return create_images(create_params)


def test_larger_scale_fills_more_and_touches_the_edge_more_often(create_params, default_masks):
    large = create_masks(create_params, scale=(0.9, 1.5), min_visible_fraction=0.5)
    assert (large == ANIMAL).mean() > 1.5 * (default_masks == ANIMAL).mean()
    assert (large[:, 0] == ANIMAL).mean() > (default_masks[:, 0] == ANIMAL).mean()


def test_narrower_border_keeps_the_contour(create_params):
    wide, narrow = (create_masks(create_params, border=border) for border in (7 / 128, 0.03))
    assert (narrow == BORDER).sum() < (wide == BORDER).sum()
    # Pixels farther from the contour keep their class.
    np.testing.assert_array_equal(narrow[wide != BORDER], wide[wide != BORDER])


def test_two_poses_prob_changes_every_mask(create_params):
    once, twice = create_masks(create_params, two_poses_prob=0.0), create_masks(create_params, two_poses_prob=1.0)
    assert (once != twice).any(axis=(1, 2)).all()


@pytest.mark.parametrize("option", [{"blur": 0.1}, {"color_jitter": 0.3}])
def test_blur_and_color_jitter_change_images_but_no_masks(create_params, option, default_masks, default_images):
    np.testing.assert_array_equal(create_masks(create_params, **option), default_masks)
    assert (create_images(create_params, **option) != default_images).any(axis=(1, 2, 3)).all()


def test_blur_affects_only_the_background(create_params):
    sharp, blurred = (
        create_images(create_params, two_poses_prob=0.0),
        create_images(create_params, two_poses_prob=0.0, blur=0.1),
    )
    # Pixels at least half a border's width from the contour.
    inside = create_masks(create_params, two_poses_prob=0.0)[:10] == ANIMAL
    change = abs(blurred.astype(int) - sharp)
    assert change[inside].mean() < 1  # fur is slightly transparent
    assert change[~inside].mean() > 5
