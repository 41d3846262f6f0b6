"""Look up runs and settings of the comparison, and format their numbers for the findings."""

from __future__ import annotations

from pipeline.artifacts.comparison import BestSetting, RunSummary, SettingSummary, Summary


def find_runs(summary: Summary, setting: SettingSummary | BestSetting) -> list[RunSummary]:
    """Return the runs of a setting, one per seed."""
    return [row for row in summary.runs if (row.variant, row.learning_rate) == (setting.variant, setting.learning_rate)]


def list_names(summary: Summary, setting: SettingSummary) -> tuple[str, ...]:
    """Return the names of a setting's runs."""
    return tuple(row.run for row in find_runs(summary, setting))


def get_losses(summary: Summary, setting: SettingSummary) -> dict[int, float]:
    """Return the validation loss by seed."""
    return {row.seed: row.val_loss for row in find_runs(summary, setting) if row.val_loss is not None}


def find_setting(summary: Summary, variant: str, learning_rate: float) -> SettingSummary:
    """Return the summary of a variant at a learning rate of the grid."""
    return next(row for row in summary.settings if (row.variant, row.learning_rate) == (variant, learning_rate))


def require(value: float | None) -> float:
    """Return a number that every ranked setting has."""
    assert value is not None, "ranked settings have all their numbers"
    return value


def format_mean(mean: float | None, sd: float | None) -> str:
    """Format mean ± standard deviation; the mean alone if there is one seed."""
    return f"{require(mean):.3f}" + (f" ± {sd:.3f}" if sd is not None else "")


def format_signed(value: float | None) -> str:
    """Format a number with its sign."""
    return f"{require(value):+.3f}"


def format_seeds(count: int) -> str:
    """Format a number of seeds."""
    return f"{count} seed" + ("" if count == 1 else "s")
