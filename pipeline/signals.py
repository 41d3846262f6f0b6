"""Being told to end, as an exception that whatever is under way can answer."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable


def exit_on_sigterm() -> Callable[[], None]:
    """End by SystemExit on SIGTERM, so that what is under way is told: MLflow of its run, workers of their end.

    Returns:
        A check that ends likewise where SIGTERM came before. Python drops an exception that is raised while a finaliser
        or a callback runs, so what works for long asks again now and then.
    """
    told = False

    def leave(*_: object) -> None:
        nonlocal told
        told = True
        check()

    def check() -> None:
        if told:
            sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, leave)
    return check
