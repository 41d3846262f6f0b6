"""The ensemble of the best setting's runs: its scores beside those of its members, and its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from pipeline.analysis.scores import name_foreground_iou
from pipeline.artifacts.comparison import Summary
from pipeline.artifacts.ensemble_folder import EnsembleExample, EnsembleRecord, EnsembleScore, UncertaintyMaps
from pipeline.number_format import format_number, format_spread
from pipeline.report.figures import image_html
from pipeline.report.figures.risk_coverage import draw_risk_coverage
from pipeline.report.formatting import SPLIT_NAMES
from pipeline.report.images import EmbeddedImage, LegendEntry
from pipeline.report.notices import NothingToShowError, Notice, collect_problem
from pipeline.report.page_context import PageContext
from pipeline.report.sections.gallery import SMALL_SIZE, Sample, build_class_legend, build_error_legend, build_sample
from pipeline.wording import join_words, pluralize

NAMES = {
    "loss": "Loss",
    "accuracy": "Accuracy",
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "confidence": "Mean confidence",
    "calibration_error": "Calibration error",
    "entropy": "Mean entropy",
    "disagreement": "Mean disagreement",
    "error_auroc": "AUROC of entropy against errors",
    "risk_coverage_area": "Area under the risk-coverage curve",
    "loss_correlation": "Rank correlation of entropy and loss",
}
COMPARED = {"loss": "a loss of", "mean_iou": "a mean IoU of", "calibration_error": "a calibration error of"}
MAX_CLASSES = 20  # classes with more are left out of the table; `ensemble.json` has them
LEFT_OUT = 0.2  # share of the pixels in the sentence on the risk-coverage curve
LEGEND_STEPS = 4
MAX_NAMED = 5
DIGITS = 4  # of scores with and without the temperature, which can differ little


@dataclass(frozen=True)
class ScoreLine:
    """A score of the ensemble, formatted."""

    name: str
    ensemble: str
    members: str  # mean ± standard deviation
    difference: str
    interval: str  # of the difference; may be empty


@dataclass(frozen=True)
class UncertainImage:
    """An image with the ensemble's prediction, its errors and its uncertainty."""

    sample: Sample
    disagreement: EmbeddedImage
    entropy: EmbeddedImage


@dataclass(frozen=True)
class HeatLegend:
    """Legend of a kind of maps."""

    name: str
    entries: tuple[LegendEntry, ...]


@dataclass(frozen=True)
class Ensemble:
    """The ensemble of the best setting's runs."""

    sentences: tuple[str, ...]
    tables: dict[str, tuple[ScoreLine, ...]]  # by title
    has_intervals: bool
    uncertainty: tuple[str, ...]  # sentences
    curve: Markup  # a figure; empty if it cannot be drawn
    has_validation: bool  # whether the validation images are scored
    images: tuple[UncertainImage, ...]
    samples: tuple[Sample, ...]  # of `images`
    image_split: str
    classes: tuple[LegendEntry, ...]
    errors: tuple[LegendEntry, ...]
    heat: tuple[HeatLegend, ...]
    problems: tuple[Notice, ...]


def build_ensemble(context: PageContext) -> Ensemble | None:
    """Build the section; None if the grid's best run is not on the page, or its setting has no ensemble.

    Raises:
        PipelineError: A file is missing, broken or out of date.
    """
    is_shown = context.shown_best_setting is not None and not context.selection.origin
    if not is_shown or context.summary.explain_missing_ensemble():
        return None
    record = context.project.read_ensemble_record()
    problems: list[Notice] = []
    curve = Markup("")
    uncertainty: tuple[str, ...] = ()
    with collect_problem(problems, "The risk-coverage curve is not shown"):
        curve, uncertainty = _build_uncertainty(context, record)
    images: tuple[UncertainImage, ...] = ()
    heat: tuple[HeatLegend, ...] = ()
    with collect_problem(problems, "The maps of the uncertainty are not shown"):
        images, heat = _build_examples(context, record)
    samples = [one.sample for one in images]
    return Ensemble(
        sentences=_describe(context.summary, record),
        tables={
            f"On the {SPLIT_NAMES[split]} images": _build_lines(context.summary, record, split)
            for split in record.splits
        },
        has_intervals=any(row.low is not None for row in record.scores),
        uncertainty=uncertainty,
        curve=curve,
        has_validation="validation" in record.splits,
        images=images,
        samples=tuple(samples),
        image_split=SPLIT_NAMES[record.example_split or "test"],
        classes=build_class_legend(samples, context.dataset.classes) if samples else (),
        errors=build_error_legend(samples),
        heat=heat,
        problems=tuple(problems),
    )


def _describe(summary: Summary, record: EnsembleRecord) -> tuple[str, ...]:
    members = join_words([member.run for member in record.members], MAX_NAMED)
    sentences = [f"The ensemble averages the class probabilities of {members}.", _describe_temperature(record)]
    if summary.folds is not None:
        sentences.append("For the same reason, the ensemble is scored on the test images only.")
    compared = [record.find_score("test", name) for name in COMPARED]
    phrases = [
        f"{noun} {_describe_difference(row)}"
        for noun, row in zip(COMPARED.values(), compared, strict=True)
        if row is not None and row.difference is not None
    ]
    if phrases:
        sentences.append(f"On the test images, the ensemble has {'; '.join(phrases)}.")
    sentences += _describe_confidence(record)
    if record.cost is not None:
        operations = record.cost.multiply_accumulates
        sentences.append(
            f"A prediction takes {operations / 1e9:.3g} billion multiply-accumulates, and about "
            f"{pluralize(record.cost.networks, 'time', 'times')} as long as with one network."
        )
    return tuple(sentences)


def _describe_temperature(record: EnsembleRecord) -> str:
    """Describe the temperature and its effect on the splits, or the reason why there is none."""
    if record.temperature.reason:
        return record.temperature.reason
    effects = []
    for split, before in record.unscaled.items():
        after = [record.find_score(split, name) for name in ("loss", "calibration_error")]
        changes = [
            f"the {noun} from {format_number(old, DIGITS)} to {format_number(new.ensemble, DIGITS)}"
            for noun, old, new in zip(
                ("loss", "calibration error"), (before.loss, before.calibration_error), after, strict=True
            )
            if old is not None and new is not None
        ]
        if changes:
            effects.append(f"{join_words(changes)} on the {SPLIT_NAMES[split]} images")
    return (
        "The logarithms of these means are divided by a temperature of "
        f"{format_number(record.temperature.value)}, which was fitted on the validation images. It changes no "
        f"predicted class, but {'; '.join(effects)}."
    )


def _describe_confidence(record: EnsembleRecord) -> list[str]:
    """Compare the mean confidence on the test images with the accuracy: averaging lowers the confidence."""
    confidence, accuracy = (record.find_score("test", name) for name in ("confidence", "accuracy"))
    if confidence is None or accuracy is None or confidence.ensemble is None or accuracy.ensemble is None:
        return []
    side = "under" if confidence.ensemble < accuracy.ensemble else "over"
    of_members = format_spread(confidence.members_mean, confidence.members_sd)
    return [
        f"Its mean confidence is {format_number(confidence.ensemble)} (its members: {of_members}) and its accuracy "
        f"{format_number(accuracy.ensemble)}: it is {side}confident on average."
    ]


def _describe_difference(row: EnsembleScore) -> str:
    """Describe a score and its difference from that of the members, without a claim that the interval does not make."""
    text = (
        f"{format_number(row.ensemble)} instead of {format_spread(row.members_mean, row.members_sd)} (difference "
        f"{format_number(row.difference)}"
    )
    if row.low is None or row.high is None:
        return f"{text})"
    may_differ = ", so it may have the other sign on other images" if row.low <= 0 <= row.high else ""
    return f"{text}, 95% interval {format_number(row.low)} to {format_number(row.high)}{may_differ})"


def _build_lines(summary: Summary, record: EnsembleRecord, split: str) -> tuple[ScoreLine, ...]:
    names = {**NAMES, "foreground_iou": name_foreground_iou(summary.foreground)}
    names["foreground_iou"] = names["foreground_iou"][0].upper() + names["foreground_iou"][1:]
    by_class = [row for row in record.scores if row.split == split and row.class_name]
    rows = [
        row
        for row in record.scores
        if row.split == split
        and (not row.class_name or len(by_class) <= MAX_CLASSES)
        and (row.score != "foreground_iou" or row.ensemble is not None)
    ]
    return tuple(
        ScoreLine(
            name=f"Dice of {row.class_name}" if row.class_name else names[row.score],
            ensemble=format_number(row.ensemble),
            members=format_spread(row.members_mean, row.members_sd),
            difference=format_number(row.difference),
            interval="" if row.low is None else f"{format_number(row.low)} to {format_number(row.high)}",
        )
        for row in rows
    )


def _build_uncertainty(context: PageContext, record: EnsembleRecord) -> tuple[Markup, tuple[str, ...]]:
    table = context.project.ensemble.read_risk_coverage().dropna()
    test = table[table["split"] == "test"]
    if test.empty:
        raise NothingToShowError("The test images have no evaluated pixels.")
    rates = test.set_index("coverage")["error_rate"]
    whole = float(rates.iloc[-1])
    kept = float(np.interp(1 - LEFT_OUT, rates.index.to_numpy(np.float64), rates.to_numpy(np.float64)))
    sentences = [
        f"If the {100 * LEFT_OUT:.0f}% of the test pixels with the highest entropy are left out, the error rate "
        f"changes from {whole:.1%} to {kept:.1%}."
    ]
    auroc = record.find_score("test", "error_auroc")
    if auroc is not None and auroc.ensemble is not None:
        sentences.append(
            "A wrong pixel has a higher entropy than a correct one with a probability of "
            f"{format_number(auroc.ensemble)} (AUROC; 0.5 by chance)."
        )
    else:
        sentences.append(f"The AUROC is undefined, because all pixels are {'correct' if whole == 0 else 'wrong'}.")
    correlation = record.find_score("test", "loss_correlation")
    if correlation is not None and correlation.ensemble is not None:
        sentences.append(
            "The rank correlation between the mean entropy and the loss of the test images is "
            f"{format_number(correlation.ensemble)} (Spearman)."
        )
    return draw_risk_coverage(table, context.project), tuple(sentences)


def _build_examples(
    context: PageContext, record: EnsembleRecord
) -> tuple[tuple[UncertainImage, ...], tuple[HeatLegend, ...]]:
    maps = [(example, context.project.ensemble.read_example(example.id)) for example in record.examples]
    if not maps:
        return (), ()
    # Disagreements are much smaller than entropies; 0 everywhere has no highest value.
    highest_disagreement = max(float(found.disagreement.max()) for _, found in maps) or 1.0
    highest_entropy = math.log(max(len(context.dataset.classes), 2))
    images = tuple(
        _build_image(context, example, found, highest_disagreement, highest_entropy) for example, found in maps
    )
    legends = (("Disagreement", highest_disagreement), ("Entropy", highest_entropy))
    return images, tuple(HeatLegend(name, _build_heat_entries(highest)) for name, highest in legends)


def _build_heat_entries(highest: float) -> tuple[LegendEntry, ...]:
    shares = [step / LEGEND_STEPS for step in range(LEGEND_STEPS + 1)]
    digits = 2 if highest > 0.1 else 3
    return tuple(
        LegendEntry(image_html.get_heat_color(share), f"{format_number(share * highest, digits)}") for share in shares
    )


def _build_image(
    context: PageContext,
    example: EnsembleExample,
    found: UncertaintyMaps,
    highest_disagreement: float,
    highest_entropy: float,
) -> UncertainImage:
    frame = replace(context.get_frame(*context.find_sample(example.id)), max_size=SMALL_SIZE)
    disagreement, entropy = (
        image_html.render_heatmap(frame.crop(values), highest, f"{kind} in {example.id}", frame=frame)
        for kind, values, highest in (
            ("Disagreement", found.disagreement, highest_disagreement),
            ("Entropy", found.entropy, highest_entropy),
        )
    )
    note = f"entropy {format_number(example.entropy)}, disagreement {format_number(example.disagreement)}"
    return UncertainImage(build_sample(context, example.id, found.prediction, note, "ensemble"), disagreement, entropy)
