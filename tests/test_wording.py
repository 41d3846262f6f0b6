"""Counts, lists and suggestions in messages."""

from __future__ import annotations

import pytest

from pipeline.wording import find_closest, join_names, join_words, pluralize, suggest_closest


def test_pluralize_agrees_with_count() -> None:
    assert [pluralize(1, "seed"), pluralize(2, "seed")] == ["1 seed", "2 seeds"]
    assert [pluralize(count, "class is", "classes are") for count in (1, 1200)] == ["1 class is", "1,200 classes are"]


def test_join_words_lists_all_or_counts_rest() -> None:
    assert [join_words(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert (join_words("abcd", 3), join_words("abc", 3)) == ("a, b, c and 1 more", "a, b and c")


def test_join_names_escapes_line_breaks_and_counts_rest() -> None:
    assert join_names(["a\nb", 3]) == r"a\nb, 3"
    assert join_names(iter("abcd"), 2) == "a, b and 2 more"


@pytest.mark.parametrize(("name", "closest"), [("Unett", "unet"), ("RESNET43", "resnet34"), ("quite_other", None)])
def test_find_closest_ignores_case(name: str, closest: str | None) -> None:
    assert find_closest(name, ["unet", "resnet34"]) == closest


def test_suggest_closest_lists_known_names_without_close_one() -> None:
    assert suggest_closest("tinny", ["tiny", "all"]) == "did you mean tiny?"
    assert suggest_closest("zzz", ["tiny", "all"]) == "known names: all and tiny."
    assert suggest_closest("zzz", ["tiny"], "see the docs.") == "see the docs."
