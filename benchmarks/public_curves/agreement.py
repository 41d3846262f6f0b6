"""Measure the agreement of `pipeline judge` with two readers of published loss curves, which saw only the plots.

    python -m benchmarks.public_curves.agreement

Prints Cohen's kappa (A coefficient of agreement for nominal scales, Educational and Psychological Measurement 20, 1960)
and the share of equal verdicts, how many flat curves are judged as overfitting, and the runs with different verdicts. A
curve is flat if the validation losses of the second half of its epochs are within 5% of their median.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.analysis.verdict import judge
from pipeline.curve_readers.formats import read_curves

FOLDER = Path(__file__).parent
MIN_EPOCHS = 8  # shorter curves are not called flat
MAX_RANGE = 0.05


def load_verdicts() -> pd.DataFrame:
    """Load the sources and ratings, one row per run, with the verdict of `pipeline judge` as the column `verdict`."""
    words = {run.name: judge(run.curves).word for run in read_curves(FOLDER / "curves.csv")}
    sources = pd.read_csv(FOLDER / "sources.csv", keep_default_na=False)
    return sources.assign(verdict=sources["slug"].map(words))


def compute_kappa(first: Sequence[str], second: Sequence[str]) -> float:
    """Compute Cohen's kappa of two lists of verdicts: 1 for equal lists, 0 for the agreement expected by chance."""
    share = np.mean([one == other for one, other in zip(first, second, strict=True)])
    counts, others = Counter(first), Counter(second)
    expected = sum(counts[word] * others[word] for word in counts) / len(first) ** 2
    return float((share - expected) / (1 - expected))


def list_flat_runs() -> set[str]:
    """List the runs whose validation loss is flat in the second half of the epochs."""
    flat = set()
    for run in read_curves(FOLDER / "curves.csv"):
        val = run.curves.val
        late = val[len(val) // 2 :]
        is_complete = len(val) >= MIN_EPOCHS and np.isfinite(val).all()
        if is_complete and late.max() - late.min() < MAX_RANGE * abs(np.median(late)):
            flat.add(run.name)
    return flat


def main() -> None:
    """Print the agreement, overall and for the runs that were rated last."""
    table = load_verdicts()
    print(f"{'':28}{'runs':>6}{'kappa':>8}{'equal':>8}")
    for title, rows in (("all runs", table), ("hold-out", table[table["set"] == "hold-out"])):
        agreed = rows[rows["first_rating"] == rows["second_rating"]]
        for name, pair, chosen in (
            ("the two readers", ("first_rating", "second_rating"), rows),
            ("judge and the first", ("verdict", "first_rating"), rows),
            ("judge and the second", ("verdict", "second_rating"), rows),
            ("judge and both, if equal", ("verdict", "first_rating"), agreed),
        ):
            first, second = (chosen[column].tolist() for column in pair)
            equal = np.mean([one == other for one, other in zip(first, second, strict=True)])
            print(f"{name:28}{len(chosen):6}{compute_kappa(first, second):8.2f}{equal:8.0%}   {title}")
    flat = table[table["slug"].isin(list_flat_runs())]
    rejected = flat[(flat["first_rating"] != "overfitting") & (flat["second_rating"] != "overfitting")]
    wrong = (rejected["verdict"] == "overfitting").sum()
    print(f"flat runs that no reader calls overfitting: {len(rejected)}, judged as overfitting: {wrong}\n")
    different = table[(table["verdict"] != table["first_rating"]) | (table["verdict"] != table["second_rating"])]
    columns = ["slug", "epochs", "verdict", "first_rating", "first_alternative", "second_rating", "second_alternative"]
    print(different[columns].to_string(index=False))


if __name__ == "__main__":
    main()
