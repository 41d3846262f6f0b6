"""The temperature that calibrates a network: the number by which its logits are divided.

It is the temperature with the lowest cross-entropy on images that the network was not trained on (Guo, Pleiss, Sun and
Weinberger, On calibration of modern neural networks, ICML 2017). For logits z, the true class y and the inverse
temperature b, the cross-entropy log sum_c exp(b z_c) - b z_y is a convex function of b with the derivative

    sum_c p_c z_c - z_y,    p = softmax(b z),

so that its mean over pixels has at most one minimum, where the mean of the derivatives is 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import interpolate, optimize

Floats = npt.NDArray[np.float64]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.1, 10.0
INVERSES = np.geomspace(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE, 49)  # inverse temperatures with known derivatives
DECIMALS = 3  # of a temperature, so that rounding errors of different machines do not change it


def find_temperature(derivatives: Floats) -> float | None:
    """Find the temperature at which the cross-entropy is lowest, rounded to `DECIMALS`.

    Between `INVERSES`, the derivative is interpolated, which changes the temperature by less than 0.1%.

    Args:
        derivatives: Derivatives of the cross-entropy by the inverse temperature, at `INVERSES`; means or sums.

    Returns:
        The temperature; None if the cross-entropy is lowest at an end of the range.
    """
    if not derivatives[0] < 0 < derivatives[-1]:
        return None
    curve = interpolate.PchipInterpolator(INVERSES, derivatives)  # monotone, as the derivative is
    return round(1 / float(optimize.brentq(curve, INVERSES[0], INVERSES[-1])), DECIMALS)
