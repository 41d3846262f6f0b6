"""Segmentations side by side, and how the showcase's mask came to be."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipeline.errors import PipelineError
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.material import Material
from pipeline.report.primary_score import PrimaryScore
from pipeline.report.sections.gallery import Sample, class_legend, error_legend, side_by_side
from pipeline.report.selection import Chosen, leading
from pipeline.runs import SHOWCASE


@dataclass(frozen=True)
class Examples:
    """Segmentations side by side, and the showcase's mask while the leading run learned."""

    leading: str  # the run of the extremes; empty where there are none
    extremes: tuple[Sample, ...]  # its best, its median and its worst image
    runs: tuple[str, ...]
    samples: tuple[Sample, ...]
    score: str  # what the number below each prediction is
    classes: tuple[view.Key, ...]
    errors: tuple[view.Key, ...]
    left_out: str
    strip: tuple[view.Picture, ...]
    strip_run: str
    problems: tuple[view.Card, ...]


MOST_RUNS = 50  # with pictures: the page must stay small enough to mail
STRIP = 8  # masks of the showcase over epochs


def examples(material: Material, chosen: Chosen) -> Examples:
    """Pictures of the best of each variant, or of the runs that were named; at most `MOST_RUNS`.

    Raises `PipelineError` where the data are missing or no run has a picture.
    """
    names = _with_pictures(material, chosen)
    shown, problems = names[:MOST_RUNS], list[view.Card]()
    kept: dict[str, frozenset[str]] = {}
    for run in shown:
        try:
            kept[run] = material.examples(run)
        except PipelineError as error:
            problems.append(view.Card.of(f"{run}: no example pictures", error))
    foremost = leading(material.summary, chosen) or ""
    extremes = _extremes(material, foremost, kept[foremost], problems) if foremost in kept else ()
    samples = _samples(material, kept, {sample.id for sample in extremes}, problems)
    strip = _strip(material, foremost, problems) if foremost else ()
    if not samples and not extremes and not strip:
        if problems:
            raise PipelineError(" ".join(card.text for card in problems))
        raise view.NothingToShowError("No run that is shown has a model.")
    return Examples(
        leading=foremost,
        extremes=extremes,
        runs=tuple(kept),
        samples=samples,
        score=_explain_score([item.name for item in material.data.classes if item.foreground]),
        classes=class_legend([*extremes, *samples], material.data.classes),
        errors=error_legend([*extremes, *samples]),
        left_out=_left_out(len(names) - len(shown)),
        strip=strip,
        strip_run=foremost,
        problems=tuple(problems),
    )


def _explain_score(foreground: list[str]) -> str:
    primary = PrimaryScore.of(foreground)
    if primary.is_mean:
        return "Below each pair is mean IoU over the classes that the image has."
    return (
        f"Below each pair is the {primary.name}: the pixels found, of all that are in the mask, the prediction or both."
    )


def _with_pictures(material: Material, chosen: Chosen) -> list[str]:
    """The runs to show: those that were named, where they have a model, else the best of each variant."""
    if chosen.kind == "named":
        return [row.run for row in chosen.rows if row.best_epoch is not None]
    return [item.run for item in material.summary.best_of_variant if item.run in chosen.names]


def _left_out(count: int) -> str:
    return f"{wording.plural(count, 'further run')} would make the page too large: name fewer." if count > 0 else ""


def _extremes(material: Material, run: str, kept: frozenset[str], problems: list[view.Card]) -> tuple[Sample, ...]:
    """The validation images that a run does best, middling and worst at, as far as it keeps their masks."""
    try:
        losses = material.validation_losses(run)
    except PipelineError as error:
        problems.append(view.Card.of(f"{run}: its best and worst image are not known", error))
        return ()
    ordered = sorted(losses, key=lambda sample: losses[sample])  # of images with evaluated pixels
    if not ordered:
        return ()
    places = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    notes = {
        sample: f"{word}, loss {wording.number(losses[sample])}" for word, sample in places.items() if sample in kept
    }
    shown = side_by_side(material, {run: kept}, list(notes), problems)
    return tuple(replace(sample, note=notes[sample.id]) for sample in shown)


def _samples(
    material: Material, kept: dict[str, frozenset[str]], extremes: set[str], problems: list[view.Card]
) -> tuple[Sample, ...]:
    # Beside the samples that all runs keep, each keeps its own best and worst: side by side stand the common ones.
    validation = material.samples.get("validation", ())
    common = set(validation).intersection(*kept.values()) if kept else set()
    wanted = common or {sample for samples in kept.values() for sample in samples}
    if len(kept) == 1:
        wanted = wanted - extremes  # they stand above, of the same run
    return side_by_side(material, kept, [sample for sample in validation if sample in wanted], problems)


def _strip(material: Material, run: str, problems: list[view.Card]) -> tuple[view.Picture, ...]:
    """Draw a run's masks of the showcase at epochs spread over the training, the best one among them."""
    try:
        masks, kept = material.showcase_masks(run), material.record(run).best_epoch
        classes, frame = material.data.classes, material.frame(SHOWCASE, 0)
    except PipelineError as error:
        problems.append(view.Card.of(f"{run}: no masks of the showcase over epochs", error))
        return ()
    return tuple(
        pictures.mask(
            frame.crop(masks[epoch - 1]),
            classes,
            f"The showcase’s mask after epoch {epoch}",
            f"Epoch {epoch}, kept" if epoch == kept else f"Epoch {epoch}",
            frame,
        )
        for epoch in _epochs(len(masks), kept)
    )


def _epochs(last: int, kept: int | None) -> list[int]:
    """Epochs to show: dense at the beginning, where most is learned, with the last and the kept one."""
    ratio = [round(last ** (i / (STRIP - 1))) for i in range(STRIP)]
    spread = sorted({*ratio, *range(1, min(last, STRIP // 2) + 1), last})
    if kept is not None and 1 <= kept <= last and kept not in spread:
        near = min(
            (epoch for epoch in spread if epoch not in (1, last)), key=lambda epoch: abs(epoch - kept), default=1
        )
        spread = sorted({*spread} - {near} | {kept})
    return spread
