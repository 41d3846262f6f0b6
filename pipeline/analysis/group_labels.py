"""Numbers of the groups that images belong to, as the bootstrap needs them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.artifacts.prepared_data import list_groups


def create_labels(groups: pd.Series[str]) -> tuple[npt.NDArray[np.int64], ...]:
    """Create one array of N group labels for each of the two kinds of groups with the fewest groups.

    An image without a group of some kind gets its own label. If there are no groups at all, every image gets its own.

    Args:
        groups: N strings such as `kind=name;kind=name`, one per image.
    """
    alone = pd.Series([f"\0{place}" for place in range(len(groups))], index=groups.index)
    kinds = [
        rows["name"].groupby(level=0).last().reindex(groups.index).fillna(alone)
        for _, rows in list_groups(groups).groupby("factor")
    ]
    coarsest = sorted(kinds, key=pd.Series.nunique)[:2] or [alone]
    return tuple(np.unique(kind, return_inverse=True)[1].astype(np.int64) for kind in coarsest)
