"""`pipeline judge` agrees with readers of published loss curves."""

from __future__ import annotations

from benchmarks.public_curves.agreement import compute_kappa, list_flat_runs, load_verdicts


def test_verdicts_agree_with_both_readers() -> None:
    table = load_verdicts()
    assert len(table) == 121
    for rating in ("first_rating", "second_rating"):
        assert compute_kappa(table["verdict"].tolist(), table[rating].tolist()) >= 0.8


def test_flat_curves_are_not_judged_as_overfitting() -> None:
    table = load_verdicts().set_index("slug")
    flat = table.loc[sorted(list_flat_runs())]
    flat = flat[(flat["first_rating"] != "overfitting") & (flat["second_rating"] != "overfitting")]
    assert len(flat) >= 20
    assert not (flat["verdict"] == "overfitting").any()
