"""Choice of the epochs whose predictions are shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.analysis.epoch_selection import NUM_EPOCHS, choose_epochs


@given(st.integers(1, 500), st.data())
def test_choose_epochs_includes_first_last_and_best(last: int, data: st.DataObject) -> None:
    best = data.draw(st.integers(1, last))
    chosen = choose_epochs(last, best)
    assert {1, best, last} <= set(chosen) <= set(range(1, last + 1))
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= NUM_EPOCHS + 2


def test_choose_epochs_without_epochs_is_empty() -> None:
    assert choose_epochs(0, None) == []
