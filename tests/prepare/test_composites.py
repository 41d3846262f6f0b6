import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.gap_interval import MIN_GROUPS
from pipeline.artifacts.prepared_data import SHOWCASE, SPLITS
from pipeline.errors import PipelineError
from pipeline.params.data.composites import Composition
from pipeline.prepare.sources.composites import SHOWCASE_HEIGHT, CompositeSource
from pipeline.prepare.sources.compositing import ANIMAL, BORDER


def read(source, splits):
    samples = []
    source.read(lambda _, sample: samples.append(sample), splits)
    return samples


def groups(source, factor):
    return {split: {sample.groups[factor] for sample in read(source, [split])} for split in (*SPLITS, SHOWCASE)}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**63))
def test_no_group_stands_in_two_splits(tiny, asking, seed):
    source = CompositeSource(asking((9, 5, 5), tiny, image_size=16, seed=seed).data)
    for factor, shown in (("animal", "dog"), ("background", "aitzgorri")):
        found = groups(source, factor)
        assert found[SHOWCASE] == {shown}
        assert sum(map(len, found.values())) == len(set().union(*found.values()))


@pytest.mark.parametrize(("factor", "wanted"), [("animal", [0.6, 0.2, 0.2]), ("background", [0.5, 0.25, 0.25])])
def test_groups_are_divided_and_all_are_used(asking, factor, wanted):
    source = CompositeSource(asking((60, 20, 20), image_size=16).data)
    found = groups(source, factor)
    total = sum(len(found[split]) for split in SPLITS)
    assert [len(found[split]) / total for split in SPLITS] == pytest.approx(wanted, abs=0.04)
    assert min(len(found[split]) for split in SPLITS) >= MIN_GROUPS  # or the gap has no interval


def test_another_seed_splits_otherwise(asking):
    first, second = (CompositeSource(asking((60, 20, 20), image_size=16, seed=seed).data) for seed in (0, 1))
    assert groups(first, "animal")["test"] != groups(second, "animal")["test"]


@pytest.mark.parametrize("split", SPLITS)
def test_more_samples_keep_the_earlier_ones(asking, split):
    few = read(CompositeSource(asking((5, 3, 3)).data), [split])
    many = read(CompositeSource(asking((80, 40, 40)).data), [split])
    for a, b in zip(few, many, strict=False):
        assert (a.id, a.groups, a.sha256) == (b.id, b.groups, b.sha256)
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.mask, b.mask)


def test_samples_differ_from_each_other(asking):
    source = CompositeSource(asking((12, 6, 6)).data)
    images = [sample.image.tobytes() for sample in read(source, SPLITS)]
    assert len(set(images)) == len(images)


@pytest.mark.parametrize("size", [32, 96, 160])
def test_the_dog_stands_upright_large_and_whole(asking, size):
    (shown,) = read(CompositeSource(asking(image_size=size).data), [SHOWCASE])
    rows, columns = np.nonzero(shown.mask != 1)  # animal and border
    # Half of the border lies outside the animal, above and below.
    assert (np.ptp(rows) + 1) / size == pytest.approx(SHOWCASE_HEIGHT + 7 / 128, abs=0.05)
    assert rows.min() > 0
    assert rows.max() < size - 1
    assert columns.min() > 0
    assert columns.max() < size - 1
    assert (shown.mask == ANIMAL).mean() > 0.1


def test_sha256_is_of_both_files_and_the_size_is_the_photographs(tiny, asking):
    (shown,) = read(CompositeSource(asking(path=tiny).data), [SHOWCASE])
    content = (tiny / "animals/dog.webp").read_bytes() + (tiny / "backgrounds/aitzgorri.jpg").read_bytes()
    assert shown.sha256 == hashlib.sha256(content).hexdigest()
    assert (shown.height, shown.width) == (48, 64)


def test_missing_folder_is_named(asking, tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere/sources\.csv cannot be read"):
        CompositeSource(asking(path=tmp_path / "nowhere").data)


def test_missing_and_broken_pictures_are_named(asking, source_folder):
    picture = source_folder() / "animals/cat.webp"
    whole = picture.read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2]):
        picture.write_bytes(content)
        with pytest.raises(PipelineError, match=r"animals/cat\.webp cannot be read \(not a whole image\)"):
            CompositeSource(asking(path=picture.parents[1]).data)
    picture.unlink()
    with pytest.raises(PipelineError, match=r"animals/cat\.webp cannot be read \(No such file"):
        CompositeSource(asking(path=picture.parents[1]).data)


def test_half_a_photograph_is_named(asking, source_folder):
    picture = source_folder() / "backgrounds/beach.jpg"
    whole = picture.read_bytes()
    picture.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PipelineError, match=r"backgrounds/beach\.jpg cannot be read"):
        CompositeSource(asking(path=picture.parents[1]).data)


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
def test_broken_lists_are_named(asking, source_folder, text, message):
    folder = source_folder()
    (folder / "sources.csv").write_text(text, encoding="utf-8")
    with pytest.raises(PipelineError, match=message):
        CompositeSource(asking(path=folder).data)


def test_too_few_groups_are_an_error(asking, source_folder):
    folder = source_folder(animals=("ant", "bat1", "bat2"))
    with pytest.raises(PipelineError, match="names 2 groups of kind 'animal' besides the showcase's"):
        CompositeSource(asking(path=folder).data)


def test_three_groups_are_enough(asking, source_folder):
    folder = source_folder(animals=("ant", "bat", "cat"), backgrounds=("attic", "beach", "creek"))
    source = CompositeSource(asking(path=folder).data)
    assert all(len(found) == 1 for found in groups(source, "animal").values())


def masks(asking, **composition):
    data = asking((40, 1, 1), image_size=64, composition=Composition.model_validate(composition)).data
    return np.array([sample.mask for sample in read(CompositeSource(data), ["train"])])


def images(asking, **composition):
    data = asking((10, 1, 1), image_size=64, composition=Composition.model_validate(composition)).data
    return np.array([sample.image for sample in read(CompositeSource(data), ["train"])])


def test_larger_animals_fill_more_and_touch_the_edge_more_often(asking):
    usual, large = masks(asking), masks(asking, scale=(0.9, 1.5), min_visible_fraction=0.5)
    assert (large == ANIMAL).mean() > 1.5 * (usual == ANIMAL).mean()
    assert (large[:, 0] == ANIMAL).mean() > (usual[:, 0] == ANIMAL).mean()


def test_a_narrower_border_leaves_the_contour_where_it_is(asking):
    usual, narrow = masks(asking), masks(asking, border=0.03)
    assert (narrow == BORDER).sum() < (usual == BORDER).sum()
    # What was animal or background further from the contour stays it.
    np.testing.assert_array_equal(narrow[usual != BORDER], usual[usual != BORDER])


def test_one_pose_or_two(asking):
    once, twice = masks(asking, two_poses_prob=0.0), masks(asking, two_poses_prob=1.0)
    assert (once != twice).any(axis=(1, 2)).all()


@pytest.mark.parametrize("knob", [{"blur": 0.1}, {"color_jitter": 0.3}])
def test_blur_and_tint_change_the_light_and_move_nothing(asking, knob):
    np.testing.assert_array_equal(masks(asking, **knob), masks(asking))
    assert (images(asking, **knob) != images(asking)).any(axis=(1, 2, 3)).all()


def test_blur_is_of_the_background_only(asking):
    sharp, blurred = images(asking, two_poses_prob=0.0), images(asking, two_poses_prob=0.0, blur=0.1)
    inside = masks(asking, two_poses_prob=0.0)[:10] == ANIMAL  # half a border's width from the contour
    change = abs(blurred.astype(int) - sharp)
    assert change[inside].mean() < 1  # fur lets a little through
    assert change[~inside].mean() > 5
