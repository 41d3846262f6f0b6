"""The head of the page: what it is, what came out, and the showcase."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import runs
from pipeline.analysis.one_class import LABEL
from pipeline.analysis.seeds import spread
from pipeline.comparison import RateRow
from pipeline.errors import PipelineError
from pipeline.params import Params
from pipeline.report import view, wording
from pipeline.report.figures import pictures
from pipeline.report.material import Mask, Material
from pipeline.report.selection import Chosen
from pipeline.runs import Cutout, SegmentationClass


@dataclass(frozen=True)
class Showcase:
    """The image outside all splits that the report shows first."""

    pictures: tuple[view.Picture, ...]
    keys: tuple[view.Key, ...]
    verdict: str
    detail: str
    failed: bool


@dataclass(frozen=True)
class PhotographShown:
    """A photograph from outside the data, cut out."""

    title: str
    score: str  # empty where no mask is known
    pictures: tuple[view.Picture, ...]


@dataclass(frozen=True)
class Head:
    """Title, authorship, data and result."""

    title: str
    byline: str
    data: str
    credit: str
    result: str
    scope: str  # which part of the grid the page shows; empty where it shows all
    showcase: Showcase | None
    photographs: tuple[PhotographShown, ...]
    problems: tuple[view.Card, ...]


NAMED_CLASSES = 12  # in the sentence on the data; more are counted
CUT_OUT_WELL = 0.80  # foreground IoU of the showcase; below, holes and fringes are plain to see


def head(params: Params, material: Material, chosen: Chosen) -> Head:
    """Everything above the first section; whatever is missing becomes a card in it."""
    problems = []
    shown: Showcase | None = None
    data = credit = ""
    try:
        data, credit = _data(material), material.data.credit
    except PipelineError as error:
        problems.append(view.Card.of("The data set is not described", error))
    try:
        shown = _showcase(material)
    except PipelineError as error:
        problems.append(view.Card.of("The showcase is not shown", error))
    photographs: tuple[PhotographShown, ...] = ()
    try:
        photographs = _photographs(params, material, chosen)
    except PipelineError as error:
        problems.append(view.Card.of("The photographs are not shown", error))
    byline = " · ".join(part for part in (params.report.author.strip(), params.report.course.strip()) if part)
    return Head(
        title=params.report.title,
        byline=byline,
        data=data,
        credit=credit,
        result=_result(material, chosen),
        scope=_scope(material, chosen),
        showcase=shown,
        photographs=photographs,
        problems=tuple(problems),
    )


def _data(material: Material) -> str:
    counts = [(wording.SPLITS[split], len(material.samples.get(split, ()))) for split in runs.SPLITS]
    images = wording.listing([f"{wording.whole(count)} {name}" for name, count in counts if count])
    height, width = material.truth("train", 0).shape
    names = [item.name for item in material.data.classes]
    more = [f"{len(names) - NAMED_CLASSES} more"] if len(names) > NAMED_CLASSES else []
    classes = wording.listing([*names[: NAMED_CLASSES if more else None], *more])
    return f"{material.data.title}: {images} images of {width} × {height} pixels; classes {classes}."


def _result(material: Material, chosen: Chosen) -> str:
    best = material.summary.best
    if best is None:
        return "No learning rate finished all its seeds, so this page ranks nothing."
    row = next(
        (r for r in material.summary.rates if (r.variant, r.learning_rate) == (best.variant, best.learning_rate)), None
    )
    group = "these runs" if chosen.origin else "this grid"
    if row is not None and row.is_no_better:
        return _no_result(material, row, group)
    has_learned = row is None or row.val_loss_mean is None or row.val_loss_mean < material.summary.baseline_loss
    verb = "learned best" if has_learned else "has the lowest loss"
    start = f"Of {group}, {best.variant} at a learning rate of {wording.rate(best.learning_rate)} {verb}"
    if row is None:
        return f"{start}."
    seeds = f" over {wording.plural(row.seeds, 'seed')}" if row.seeds > 1 else ""
    sentence = (
        f"{start}: {wording.spread(row.val_loss_mean, row.val_loss_sd)} nats a pixel on validation{seeds}, where "
        f"knowing the classes’ shares alone gives {wording.number(material.summary.baseline.loss)}."
    )
    return f"{sentence} Some of its seeds are {LABEL}." if row.beats_baseline not in (None, 1.0) else sentence


def _no_result(material: Material, row: RateRow, group: str) -> str:
    """Write the sentence for a best setting that does no better than predicting one class everywhere."""
    summary = material.summary
    rows = [one for one in summary.runs if (one.variant, one.learning_rate) == (row.variant, row.learning_rate)]
    foreground, _ = spread([one.val_foreground_iou for one in rows if one.val_foreground_iou is not None])
    scores = [
        f"mean IoU {wording.number(row.val_mean_iou_mean)} (one class: {wording.number(summary.baseline.mean_iou)})"
    ]
    if foreground is not None and summary.baseline.foreground_iou is not None:
        of_one = wording.number(summary.baseline.foreground_iou)
        scores.append(f"foreground IoU {wording.number(foreground)} (one class: {of_one})")
    return (
        f"No result: {row.variant} at a learning rate of {wording.rate(row.learning_rate)} has the lowest validation "
        f"loss of {group}, {wording.spread(row.val_loss_mean, row.val_loss_sd)} nats per pixel, but its masks are "
        f"{LABEL}: {wording.listing(scores)} on validation."
    )


def _scope(material: Material, chosen: Chosen) -> str:
    if chosen.origin:
        count = wording.plural(len(chosen.rows), "run")
        return (
            f"This page shows {count} from MLflow ({chosen.origin}); ranks are among these, whatever other seeds there "
            "are."
        )
    total = len(material.summary.runs)
    if len(chosen.rows) == total:
        return ""
    count = f"{len(chosen.rows)} of the grid’s {wording.plural(total, 'run')}"
    return f"This page shows {count}; ranks are those of the whole grid."


def _showcase(material: Material) -> Showcase:
    best = material.summary.best
    if best is None:
        raise view.NothingToShowError(
            "No run is the best, so none is shown. A rate is ranked once all its seeds have finished."
        )
    ids = material.samples.get(runs.SHOWCASE, ())
    if not ids:
        raise PipelineError(f"{runs.PREPARED / runs.SAMPLES} names no showcase. `pipeline prepare` makes one.")
    classes = material.data.classes
    image, truth = material.image(runs.SHOWCASE, 0), material.truth(runs.SHOWCASE, 0)
    frame = material.frame(runs.SHOWCASE, 0)
    prediction = _prediction(material, best.run, ids[0])
    found = pictures.Errors.between(prediction, truth, classes)
    iou = next((row.showcase_iou for row in material.summary.runs if row.run == best.run), None)
    verdict, detail, failed = _verdict(iou, best.run, prediction, truth, classes)
    edges = wording.listing([item.name for item in classes if item.edge])
    shown = [(prediction, "The pixels predicted as foreground", "Cut-out")]
    is_scored = bool(found.counted.any())
    if is_scored:
        shown.append((truth, "The true foreground", "Truth"))
    return Showcase(
        pictures=(
            pictures.photograph(image, f"The showcase, {ids[0]}", "Image", frame=frame),
            *(
                pictures.cut_out(
                    image, pictures.opacity(mask, classes), f"{alt}, over a checkerboard", caption, frame=frame
                )
                for mask, alt, caption in shown
            ),
            *([pictures.errors(found, f"Errors: {found.describe()}", "Errors", frame=frame)] if is_scored else []),
        ),
        keys=pictures.ERROR_KEYS if is_scored else (),
        verdict=verdict,
        detail=f"{detail} Half transparent in both cut-outs: {edges}." if edges else detail,
        failed=failed,
    )


def _photographs(params: Params, material: Material, chosen: Chosen) -> tuple[PhotographShown, ...]:
    """The photographs of `report.showcase`, cut out by the grid's best run."""
    best = material.summary.best
    if not params.report.showcase or best is None or chosen.origin:  # those are cut out by the grid's best alone
        return ()
    found = material.cutouts
    asked = [(one.file, one.title or Path(one.file).stem, one.mask) for one in params.report.showcase]
    if found.run != best.run or [(one.file, one.title, one.mask) for one in found.photographs] != asked:
        raise PipelineError(
            f"{runs.CUTOUTS} is not of {best.run} and what report.showcase names. `pipeline showcase` renews it."
        )
    return tuple(_photograph(material, place, one) for place, one in enumerate(found.photographs))


def _photograph(material: Material, place: int, found: Cutout) -> PhotographShown:
    image, prediction, truth = material.cutout(place)
    classes = material.data.classes
    shown = [
        pictures.photograph(image, found.title, "Photograph"),
        pictures.cut_out(
            image, pictures.opacity(prediction, classes), f"{found.title}, cut out, over a checkerboard", "Cut-out"
        ),
    ]
    if truth is not None:
        wrong = pictures.Errors.between(prediction, truth, classes)
        shown += [
            pictures.cut_out(image, pictures.opacity(truth, classes), f"{found.title}, the true foreground", "Truth"),
            pictures.errors(wrong, f"Errors: {wrong.describe()}", "Errors"),
        ]
    return PhotographShown(found.title, _photograph_score(found, truth, classes), tuple(shown))


def _photograph_score(found: Cutout, truth: Mask | None, classes: tuple[SegmentationClass, ...]) -> str:
    if truth is None:
        return ""
    if found.iou is None:
        return "It has no foreground, and none was predicted: foreground IoU is not defined."
    score = f"Foreground IoU {wording.number(found.iou)}"
    return f"{score}." if pictures.foreground(truth, classes).any() else f"{score}: it has no foreground."


def _prediction(material: Material, run: str, sample: str) -> Mask:
    """The mask that was scored where evaluation kept it, else the same epoch's from training."""
    try:
        return material.example(run, sample)
    except PipelineError:
        epoch = material.record(run).best_epoch
        masks = material.showcase_masks(run)
        if epoch is None or not 1 <= epoch <= len(masks):
            raise
        mask: Mask = masks[epoch - 1]
        return mask


def _verdict(
    iou: float | None, run: str, prediction: Mask, truth: Mask, classes: tuple[SegmentationClass, ...]
) -> tuple[str, str, bool]:
    where = f"{run} never saw this image, nor was it chosen by it."
    evaluated = truth != runs.IGNORE
    if not evaluated.any():
        return "Not scored", f"Every pixel of this image’s mask is ignored, so no score is defined. {where}", False
    if not pictures.foreground(truth[evaluated], classes).any():
        share = float(pictures.foreground(prediction[evaluated], classes).mean())
        if share == 0:
            detail = f"This image has no foreground, so foreground IoU is not defined. {where}"
            return "No foreground, and none was predicted", detail, False
        detail = f"This image has no foreground, and {wording.percent(share)} of its pixels were predicted as such"
        return "False positive", f"{detail}: foreground IoU 0. {where}", True
    if iou is None:
        return "Not measured", f"The comparison holds no foreground IoU of the showcase for {run}.", True
    if iou < CUT_OUT_WELL:
        return (
            "The cut-out failed",
            f"Foreground IoU {wording.number(iou)}, below the {wording.number(CUT_OUT_WELL, 2)} that a clean cut-out "
            f"needs. {where}",
            True,
        )
    return "Cut out well", f"Foreground IoU {wording.number(iou)}. {where}", False
