"""Images left out because another split has them too are reported with their number, also in the shipped studies."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline import runs
from pipeline.prepare.dataset_stats import describe_leaks
from pipeline.prepare.stage import prepare
from pipeline.study.compose import compose
from pipeline.study.presets import find_preset
from tests.conftest import ROOT

PETS = ROOT.parent / "shared/data/oxford-pets-mini"


def test_leak_notice_counts_the_images_of_each_split() -> None:
    left_out = Counter({("train", "test"): 9, ("train", "validation"): 5, ("validation", "test"): 1})
    notice = describe_leaks(left_out, is_published=False)
    assert notice is not None
    assert notice.startswith(
        "14 images were left out of train, because validation or test has the same image too; 1 image was left out of "
        "validation, because test has the same image too: a leak between the splits of the data set."
    )


def test_leak_notice_names_the_showcase_and_is_absent_without_a_leak() -> None:
    assert "train, because the showcase has" in (describe_leaks(Counter({("train", runs.SHOWCASE): 1}), True) or "")
    assert describe_leaks(Counter(), is_published=True) is None


@pytest.mark.skipif(not PETS.is_dir(), reason="oxford-pets-mini is not next to the repository")
@pytest.mark.parametrize("name", ["exercise", "oxford_pets_mini", "recipe", "recipe_parts"])
def test_studies_of_pets_report_the_leak_of_the_data_set(name: str, tmp_path: Path) -> None:
    params = compose(find_preset(name, ROOT), ROOT, PETS).params
    data = params.data.model_copy(update={"path": str(PETS), "image_size": 32})
    prepare(params.model_copy(update={"data": data}), tmp_path / "prepared")
    notices = runs.Survey.read(tmp_path / "prepared").notices
    assert [notice.partition(":")[0] for notice in notices if "left out" in notice] == [
        "1 image was left out of train, because test has the same image too"
    ]
