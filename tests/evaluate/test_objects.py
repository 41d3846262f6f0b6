"""Scores of objects in an evaluation: the files agree, undefined scores stay undefined, and mistakes are explained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.lib.format import open_memmap

from pipeline.artifacts.evaluation_folder import EvaluationFolder, RunEvaluation
from pipeline.artifacts.image_stack import ImageStack
from pipeline.artifacts.object_scores import ObjectScores
from pipeline.artifacts.prepared_data import SPLITS, PreparedData, SegmentationClass, Split
from pipeline.artifacts.project import PREPARED
from pipeline.errors import PipelineError
from pipeline.evaluate.evaluate_run import evaluate_run
from pipeline.evaluate.objects import find_worst_images, match_split
from pipeline.imaging import IGNORE
from pipeline.imaging.instances import classify_instances
from pipeline.imaging.objects import label_objects
from pipeline.inference.objects import ObjectSettings, find_object_settings
from pipeline.params import Evaluation, Params
from pipeline.params.file import read_params
from pipeline.prepare.prepare_data import prepare
from pipeline.train.train_cell import train_cell
from tests.conftest import TRAINED, write_params
from tests.nuclei import COCO_SECTION, annotate_nuclei, draw_nuclei, write_nuclei, write_nuclei_params

SETTINGS = ObjectSettings(("nucleus",), (1,), (2,), 0, is_numbered=True)
CLASSES = (
    SegmentationClass("background", "#000000", foreground=False),
    SegmentationClass("nucleus", "#ff0000", foreground=True),
    SegmentationClass("border", "#0000ff", foreground=False, is_boundary=True),
)


@pytest.fixture(scope="module")
def trained_nuclei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder with a run that is trained on nuclei; tests must not change it."""
    root = tmp_path_factory.mktemp("nuclei")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_nuclei(Path("nuclei"))
        params = write_nuclei_params(root)
        prepare(params)
        train_cell(params.cell("unet", 0.01, 0))
    return root


@pytest.fixture
def nuclei(trained_nuclei: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A copy of the project `trained_nuclei`, as the current folder."""
    shutil.copytree(trained_nuclei, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return read_params()


def list_counts(scores: ObjectScores) -> dict[str, int]:
    names = ("objects", "predicted", "matched", "merges", "splits", "missed", "false_objects")
    return {name: getattr(scores, name) for name in names}


def test_evaluate_run_scores_the_numbered_objects_of_three_splits(nuclei: Params) -> None:
    evaluation = evaluate_run(nuclei, TRAINED)
    found = evaluation.objects
    assert found is not None
    assert (found.classes, found.is_numbered) == (("nucleus",), True)
    folder = EvaluationFolder(Path("evaluation") / TRAINED)
    assert folder.metrics == evaluation
    rows = folder.read_objects()
    scored = pd.read_csv(folder.path / "per_image.csv")
    for split in SPLITS:
        scores: ObjectScores = getattr(found, split)
        of_split = rows[rows["split"] == split]
        assert of_split[[*list_counts(scores)]].sum().to_dict() == list_counts(scores)
        assert len(of_split) == scores.images
        samples = PreparedData(PREPARED).open_split(split)
        assert set(of_split["id"]) <= set(samples.ids)
        assert samples.instances is not None
        by_id = dict(zip(samples.ids, samples.instances, strict=True))
        expected = [len(np.unique(by_id[name][by_id[name] > 0])) for name in of_split["id"]]
        assert of_split["objects"].tolist() == expected
    assert len(rows[rows["split"] == "train"]) == len(rows[rows["split"] == "validation"])  # the compared ones
    assert (scored["split"] == "validation").sum() == found.validation.images
    f1 = 2 * rows["matched"] / (rows["objects"] + rows["predicted"])
    assert rows["f1"].to_numpy() == pytest.approx(f1.to_numpy())


def test_evaluate_run_keeps_the_masks_of_the_worst_images(nuclei: Params) -> None:
    evaluate_run(nuclei, TRAINED)
    folder = EvaluationFolder(Path("evaluation") / TRAINED)
    rows = folder.read_objects().query("split == 'validation'").dropna(subset=["panoptic_quality"])
    assert set(rows.sort_values("panoptic_quality", kind="stable")["id"].head(2)) <= folder.list_examples()


def test_evaluate_run_again_gives_the_same_objects(nuclei: Params) -> None:
    path = Path("evaluation") / TRAINED / "objects.csv"
    evaluate_run(nuclei, TRAINED)
    before = path.read_bytes()
    evaluate_run(nuclei, TRAINED)
    assert path.read_bytes() == before


def test_evaluate_run_without_objects_writes_none(nuclei: Params) -> None:
    evaluation = evaluate_run(write_nuclei_params(Path(), objects=[]), TRAINED)
    assert evaluation.objects is None
    assert not (Path("evaluation") / TRAINED / "objects.csv").exists()


def test_evaluate_run_of_images_without_objects_has_undefined_scores(nuclei: Params) -> None:
    for path in (PREPARED / "validation" / name for name in (PreparedData.MASKS, PreparedData.INSTANCES)):
        open_memmap(path, "r+")[:] = 0
    found = evaluate_run(
        nuclei.model_copy(update={"evaluation": Evaluation(examples=2, min_object_area=64**2 + 1)}), TRAINED
    )
    assert found.objects is not None
    scores = found.objects.validation
    assert (scores.f1, scores.panoptic_quality, scores.mean_average_precision) == (None, None, None)
    assert scores.images_without_objects == scores.images > 0
    rows = EvaluationFolder(Path("evaluation") / TRAINED).read_objects().query("split == 'validation'")
    assert rows[["f1", "panoptic_quality", "aggregated_jaccard"]].isna().all(axis=None)


def test_evaluate_run_reads_an_evaluation_from_before_objects_were_scored(nuclei: Params) -> None:
    evaluate_run(nuclei, TRAINED)
    path = Path("evaluation") / TRAINED / "metrics.json"
    content = json.loads(path.read_text())
    del content["objects"]
    path.write_text(json.dumps(content))
    metrics: RunEvaluation = EvaluationFolder(path.parent).metrics
    assert metrics.objects is None


def test_evaluate_run_scores_the_objects_of_coco_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_nuclei(Path("nuclei"))
    annotate_nuclei(Path("nuclei"))
    params = write_nuclei_params(tmp_path, data=COCO_SECTION)
    prepare(params)
    train_cell(params.cell("unet", 0.01, 0))
    found = evaluate_run(params, TRAINED).objects
    assert found is not None
    assert (found.classes, found.is_numbered) == (("nucleus",), True)
    samples = PreparedData(PREPARED).open_split("validation")
    assert samples.instances is not None
    assert found.validation.objects == sum(len(np.unique(numbers)) - 1 for numbers in samples.instances)
    assert found.validation.objects > sum(label_objects(mask, [1]).count for mask in samples.masks)  # nuclei touch


def test_evaluate_run_scores_regions_of_named_classes(project: Path) -> None:
    params = read_params(write_params(project, {"evaluation": {"objects": ["animal"], "min_object_area": 4}}))
    train_cell(params.cell("unet", 0.01, 0))
    found = evaluate_run(params, TRAINED).objects
    assert found is not None
    assert (found.classes, found.is_numbered, found.min_area) == (("animal",), False, 4)
    samples = PreparedData(PREPARED).open_split("validation")
    names = [item.name for item in PreparedData(PREPARED).dataset.classes]
    counts = [label_objects(mask, [names.index("animal")], [names.index("border")]).count for mask in samples.masks]
    assert found.validation.objects == sum(counts)


def test_match_split_of_perfect_masks_finds_all_objects_with_an_inside() -> None:
    samples = [draw_nuclei(np.random.default_rng(seed)) for seed in range(4)]
    masks = [classify_instances(numbers, 1) for _, numbers in samples]
    split = Split(
        ImageStack.of([image[..., None] for image, _ in samples]),
        ImageStack.of(masks),
        tuple("abcd"),
        ImageStack.of([numbers for _, numbers in samples]),
    )
    for found, mask, (_, numbers) in zip(match_split(split, split.masks, SETTINGS), masks, samples, strict=True):
        whole = [number for number in np.unique(numbers)[1:] if (mask[numbers == number] == 1).any()]
        assert len(found.true_numbers) == len(np.unique(numbers)) - 1
        assert len(found.ious) >= 0.8 * len(whole)
        assert found.missed + found.false_objects <= 1


def test_match_split_leaves_out_ignored_pixels() -> None:
    mask = np.zeros((1, 8, 8), np.uint8)
    mask[0, 1:3, 1:3], mask[0, 5:7, 5:7] = 1, IGNORE
    predicted = np.zeros((1, 8, 8), np.uint8)
    predicted[0, 1:3, 1:3] = predicted[0, 5:7, 5:7] = 1
    (found,) = match_split(Split.of(np.zeros((1, 8, 8, 1), np.uint8), mask), ImageStack.of(predicted), SETTINGS)
    assert (len(found.predicted_numbers), len(found.ious), found.false_objects) == (1, 1, 0)


def test_find_worst_images_leaves_out_images_without_objects() -> None:
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[1:, 0, 0] = 1
    predicted = np.zeros((3, 4, 4), np.uint8)
    predicted[1, 0, 0] = 1
    split = Split.of(np.zeros((3, 4, 4, 1), np.uint8), masks)
    assert find_worst_images(match_split(split, ImageStack.of(predicted), SETTINGS)) == [2, 1]


@pytest.mark.parametrize(
    ("names", "classes", "message"),
    [
        (["nucleus"], CLASSES[1:2], "the data has only one class, so nothing separates objects"),
        (["nucleus"], CLASSES[::2], "no class is foreground, so there are no objects"),
        (["border"], CLASSES, "'border' is not a foreground class of the data; write nucleus"),
        (["nucleus", "nucleus"], CLASSES, "'nucleus' is repeated; remove one"),
    ],
)
def test_find_object_settings_explains_mistakes_in_one_sentence(
    names: list[str], classes: tuple[SegmentationClass, ...], message: str
) -> None:
    with pytest.raises(PipelineError, match=message) as caught:
        find_object_settings(Evaluation(examples=2, objects=names), classes, is_numbered=False)
    assert str(caught.value).startswith("evaluation.objects: ")
    assert len(str(caught.value).splitlines()) == 1


def test_find_object_settings_default_depends_on_numbers() -> None:
    default = Evaluation(examples=2)
    assert find_object_settings(default, CLASSES, is_numbered=False) is None
    assert find_object_settings(default, CLASSES, is_numbered=True) == SETTINGS
    assert find_object_settings(Evaluation(examples=2, objects=[]), CLASSES, is_numbered=True) is None
