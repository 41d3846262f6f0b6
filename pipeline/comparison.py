"""Transitional names of `pipeline.artifacts.comparison`."""

from pipeline.artifacts.comparison import BestSetting as Selection
from pipeline.artifacts.comparison import Finding, Summary
from pipeline.artifacts.comparison import Judgment as Judgement
from pipeline.artifacts.comparison import RunSummary as RunRow
from pipeline.artifacts.comparison import SettingSummary as RateRow

__all__ = ["Finding", "Judgement", "RateRow", "RunRow", "Selection", "Summary"]
