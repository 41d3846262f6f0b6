"""Score the ensemble of the best setting's runs, and replace `ensemble/` atomically.

The setting was chosen on validation, and the temperature is fitted there. With cross-validation, the validation images
of a member are training images of others, so that only the test images are new to all members, and no temperature can
be fitted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.ensemble_folder import EnsembleCost, EnsembleFolder, EnsembleMember, EnsembleRecord, Temperature
from pipeline.artifacts.project import Project
from pipeline.params import Params

if TYPE_CHECKING:
    from pipeline.inference.trained_run import TrainedRun

NO_VALIDATION = Temperature(
    1.0,
    "No temperature was fitted, because the validation images of a run are training images of the runs of the "
    "other folds.",
)


def evaluate_ensemble(params: Params, project: Project | None = None) -> EnsembleRecord:
    """Score the ensemble of the best setting's runs, beside its members.

    Returns:
        The record that was written; without scores if the best setting has only one run, or no setting is ranked.

    Raises:
        PipelineError: The comparison, the prepared data or a run is missing or broken.
    """
    project = project or Project()
    summary = project.comparison.summary
    members = tuple(EnsembleMember(row.run, project.run(row.run).record.key) for row in summary.list_ensemble())
    with project.ensemble.replace() as new:
        if reason := summary.explain_missing_ensemble():
            found = EnsembleRecord.without_scores(members, reason)
        else:
            found = _evaluate(params, project, members, new)
        new.write_json(new.RECORD, found)
    return found


def _evaluate(
    params: Params, project: Project, members: tuple[EnsembleMember, ...], new: EnsembleFolder
) -> EnsembleRecord:
    """Score the ensemble and write all files except the record, which is returned."""
    # Imported here, because the imports take seconds and are not needed for a setting with one run.
    from pipeline.analysis.group_labels import create_labels
    from pipeline.ensemble.collect_predictions import collect_predictions, predict_maps
    from pipeline.ensemble.fit_temperature import fit_temperature
    from pipeline.ensemble.tabulate_scores import (
        compute_unscaled_scores,
        list_curve_rows,
        list_image_rows,
        list_scores,
        select_examples,
    )
    from pipeline.inference.trained_run import TrainedRun

    run = TrainedRun.load_ensemble(params, [member.run for member in members], project)
    names = ("validation", "test") if run.data.folds is None else ("test",)
    splits = {name: project.prepared.open_split(name) for name in names}
    samples = project.prepared.samples
    groups = {name: create_labels(samples.loc[samples["split"] == name, "groups"]) for name in names}
    temperature = NO_VALIDATION
    if "validation" in splits:
        temperature = fit_temperature(run, splits["validation"], groups["validation"])
    run = run.with_temperature(temperature.value)
    found = {name: collect_predictions(run, split) for name, split in splits.items()}
    shown = names[0]
    examples = select_examples(splits[shown].ids, found[shown], params.evaluation.examples)
    maps = predict_maps(run, splits[shown].take(np.array([index for index, _ in examples], np.int64)))
    new.write_examples(zip((example.id for _, example in examples), maps, strict=True))
    image_rows = (row for name in names for row in list_image_rows(name, splits[name].ids, found[name]))
    new.write_table(new.IMAGES, new.IMAGE_COLUMNS, image_rows)
    curve_rows = (row for name in names for row in list_curve_rows(name, found[name]))
    new.write_table(new.RISK_COVERAGE, new.RISK_COVERAGE_COLUMNS, curve_rows)
    return EnsembleRecord(
        members=members,
        key=run.key,
        reason="",
        images={name: len(split) for name, split in splits.items()},
        temperature=temperature,
        unscaled={name: compute_unscaled_scores(one) for name, one in found.items()},
        scores=tuple(row for name in names for row in list_scores(name, found[name], groups[name], run.data.classes)),
        cost=_measure_cost(run, project),
        example_split=shown,
        examples=tuple(example for _, example in examples),
    )


def _measure_cost(run: TrainedRun, project: Project) -> EnsembleCost:
    import torch

    from pipeline.models.operations import count_multiply_accumulates
    from pipeline.models.precision import get_device

    image = torch.zeros(1, run.preprocessing.channels, *run.input_size, device=get_device(run.network))
    return EnsembleCost(
        networks=len(run.members),
        multiply_accumulates=count_multiply_accumulates(run.network, image),
        parameters=sum(weight.numel() for weight in run.network.parameters()),
        model_bytes=sum(project.run(member.run).weights.stat().st_size for member in run.members),
    )
