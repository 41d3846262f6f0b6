"""Range, scale and ticks of a horizontal axis with positive values, which is logarithmic if they differ by a factor."""

from __future__ import annotations

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.report.figures.curve_data import LOG_MIN_RATIO

_MAX_DECADES = 3  # longer axes have ticks only at powers of ten


@dataclass(frozen=True)
class ValueRange:
    """The range of an axis."""

    low: float
    high: float
    log_min_ratio: float = LOG_MIN_RATIO  # the axis is logarithmic if the ratio of its ends is larger

    @property
    def is_log(self) -> bool:
        """Whether the axis is logarithmic, because a linear one would compress the lowest values."""
        return self.low > 0 and self.high / self.low > self.log_min_ratio

    def apply(self, axes: Axes, margin: float = 0.04) -> None:
        """Set the scale, limits and ticks of the horizontal axis, with a margin as a fraction of its length."""
        if self.is_log:
            axes.set_xscale("log")
            has_few = math.log10(self.high / self.low) <= _MAX_DECADES
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if has_few else (1,)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            factor = (self.high / self.low) ** margin
            axes.set_xlim(self.low / factor, self.high * factor)
        else:
            space = margin * (self.high - self.low)
            axes.set_xlim(self.low - space, self.high + space)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
