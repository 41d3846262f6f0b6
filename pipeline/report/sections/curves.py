"""The loss curves: a panel a variant, a colour a learning rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.report import view, wording
from pipeline.report.figures import palette, svg
from pipeline.report.figures.lines import Axis, Line, axis, line
from pipeline.report.figures.panels import Key, Panel, Plot, panel
from pipeline.report.figures.readings import RunCurve
from pipeline.report.material import Material
from pipeline.report.references import References
from pipeline.report.selection import Chosen


@dataclass(frozen=True)
class RateKey:
    """A learning rate in the legend of the curves."""

    text: str
    place: int  # among the grid's rates
    colour: str  # CSS value
    marker: str  # SVG path in a box from -4 to 4


@dataclass(frozen=True)
class Curves:
    """A panel a variant, on shared axes."""

    rates: tuple[RateKey, ...]
    panels: tuple[Panel, ...]
    columns: int
    baseline: str
    seeds: bool  # whether more than one seed was trained, so that there is a band
    diverged: bool
    onsets: bool  # whether a run has an onset that is marked
    references: bool  # whether other people's curves are drawn
    axis: str


MOST_COLUMNS = 3  # panels side by side; in more, the ticks could not be read
SIZES = {1: (6.0, 3.3), 2: (5.2, 3.2), 3: (4.3, 3.1)}  # inches, by columns: text of one size, whatever a panel's width


def curves(material: Material, chosen: Chosen, references: References, root: Path) -> Curves:
    """The panels of the variants that are shown; raises `PipelineError` where there is nothing to draw."""
    variants = tuple(dict.fromkeys(row.variant for row in chosen.rows))
    plot = _plot(material, chosen, references)
    with svg.styled(root):
        columns = min(len(variants), MOST_COLUMNS)
        panels = tuple(panel(plot, variant, index, SIZES[columns]) for index, variant in enumerate(variants))
    return Curves(
        rates=tuple(
            RateKey(wording.rate(rate), index, f"var(--rate-{index})", palette.marker_path(index))
            for index, rate in enumerate(plot.rates)
            if any(key[1] == rate for key in (*plot.means, *plot.strays))
        ),
        panels=panels,
        columns=columns,
        baseline=wording.number(plot.baseline),
        seeds=len({row.seed for row in chosen.rows}) > 1,
        diverged=bool(plot.strays),
        onsets=bool(plot.onsets),
        references=bool(plot.references),
        axis=_axis_sentence(plot.axis),
    )


def _plot(material: Material, chosen: Chosen, references: References) -> Plot:
    means: dict[Key, Line] = {}
    strays: dict[Key, tuple[Line, ...]] = {}
    diverged = {row.run for row in chosen.rows if row.status == "diverged"}
    table = material.curves[material.curves["run"].isin(chosen.names)]
    for (variant, rate, split), rows in table.groupby(["variant", "learning_rate", "split"]):
        key = (str(variant), float(str(rate)), str(split))
        apart = rows["run"].isin(diverged)
        if (mean := line(rows[~apart])) is not None:
            means[key] = mean
        if found := tuple(stray for _, run in rows[apart].groupby("run") if (stray := line(run)) is not None):
            strays[key] = found
    lines = [*means.values(), *(stray for group in strays.values() for stray in group)]
    if not lines:
        raise view.NothingToShowError("No run has an epoch with a finite loss, so there is no curve to draw.")
    baseline = material.summary.baseline_loss
    return Plot(
        means=means,
        single=_single(table),
        strays=strays,
        rates=tuple(sorted({row.learning_rate for row in material.summary.runs})),
        axis=axis(lines, baseline),
        baseline=baseline,
        epochs=max(int(item.epochs.max()) for item in lines),
        onsets=_onsets(chosen),
        references=tuple((result.name, result.curves) for result in references.results if result.curves),
    )


def _onsets(chosen: Chosen) -> dict[tuple[str, float], tuple[tuple[int, int], ...]]:
    found: dict[tuple[str, float], tuple[tuple[int, int], ...]] = {}
    for row in chosen.rows:
        if row.judgement and row.judgement.onset:
            key = (row.variant, row.learning_rate)
            found[key] = (*found.get(key, ()), row.judgement.onset)
    return found


def _axis_sentence(shared: Axis) -> str:
    scale = f"The loss axis is {'logarithmic' if shared.log else 'linear'}"
    if not shared.clipped:
        return f"{scale} and the same in all panels."
    end = wording.number(shared.high, 2)
    return f"{scale}, the same in all panels, and ends at {end}; what lies above is named below its panel."


def _single(table: pd.DataFrame) -> dict[str, tuple[RunCurve, ...]]:
    """Each run's own curves by variant, at the epochs at which both sides have a finite loss."""
    found: dict[str, list[RunCurve]] = {}
    for (variant, rate, run), rows in table.groupby(["variant", "learning_rate", "run"], sort=False):
        sides = rows.pivot(index="epoch", columns="split", values="loss").reindex(columns=["validation", "train"])
        sides = sides.dropna().sort_index()
        curve = RunCurve(
            run=str(run),
            rate=float(str(rate)),
            epochs=tuple(int(epoch) for epoch in sides.index),
            validation=tuple(sides["validation"].astype(float)),
            training=tuple(sides["train"].astype(float)),
        )
        if curve.epochs:
            found.setdefault(str(variant), []).append(curve)
    return {variant: tuple(curves) for variant, curves in found.items()}
