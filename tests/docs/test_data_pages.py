"""YAML examples of data sections: complete examples have every key, with its default."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.params.data.composites import Composition
from pipeline.params.data.image_data import AnnotatedData, ExternalTestFolder, FoldedSplits, FolderData

GUIDES = Path(__file__).parents[2] / "docs/how-to"


def read_data_sections(page: str) -> list[dict[str, Any]]:
    text = (GUIDES / page).read_text(encoding="utf-8")
    return [YAML(typ="safe").load(block)["data"] for block in re.findall("```yaml\n(.*?)```", text, re.DOTALL)]


def test_folder_of_images_has_every_key() -> None:
    (section,) = read_data_sections("folder-of-images.md")
    assert set(section) == set(FolderData.model_fields)
    assert set(section["splits"]) == set(FoldedSplits.model_fields)


def test_coco_annotations_has_every_key_that_folders_do_not_have() -> None:
    (section,) = read_data_sections("coco-annotations.md")
    assert set(AnnotatedData.model_fields) - set(section) <= set(FolderData.model_fields)
    data = AnnotatedData.model_validate(section)
    assert data.classes[0].categories == ("cell", "dividing cell")


def test_train_on_composites_has_every_key_and_the_default_composition() -> None:
    test, composition = read_data_sections("train-on-composites.md")
    assert set(test["external_test"]) == set(ExternalTestFolder.model_fields)
    assert set(composition["composition"]) == set(Composition.model_fields)
    assert Composition.model_validate(composition["composition"]) == Composition()
