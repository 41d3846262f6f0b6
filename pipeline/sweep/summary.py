"""What a sweep says when it is over: what ran, what was there, what failed, and the command for just that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.project import inside
from pipeline.sweep.ledger import Refusal
from pipeline.sweep.worker import Outcome


def summary(
    outcomes: list[Outcome],
    restored: list[str],
    left: list[str],
    current: int,
    refused: Mapping[str, Refusal],
    root: Path,
) -> str:
    """A row a run that something happened to, a line that counts, and what to do next.

    Args:
        outcomes: of the jobs that were begun, in the order to show them in.
        restored: runs that DVC's cache gave something of.
        left: runs that were not begun, since the sweep was asked to stop.
        current: how many runs were up to date.
        refused: DVC's stages that were not recorded, and why.
        root: the folder of the sweep.
    """
    names = [outcome.job.cell.name for outcome in outcomes]
    rows = [(outcome.job.cell.name, *_row(outcome)) for outcome in outcomes]
    rows += [(name, "restored", "from DVC's cache", "") for name in restored if name not in {*names, *left}]
    rows += [(name, "not begun", "", "") for name in left]
    lines = _table(rows) if rows else []
    counts = {"up to date": current}
    for _, what, _, _ in rows:
        counts[what] = counts.get(what, 0) + 1
    said = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()) if count)
    total = sum(counts.values())
    lines.append(f"{total} {'run' if total == 1 else 'runs'}: {said}")
    failed = [outcome.job.cell.name for outcome in outcomes if outcome.end == "failed"]
    if left or any(outcome.end == "stopped" for outcome in outcomes):
        lines.append("The same command goes on.")
    elif failed:
        lines.append("To do just that: " + inside(root, " ".join(["pipeline sweep", *failed])))
    for reason in Refusal:
        if stages := [stage for stage, why in refused.items() if why is reason]:
            lines.append(f"Not recorded, because {reason.value} while they ran: {', '.join(stages)}")
    if refused:
        lines.append("Run the same command again.")
    return "\n".join(lines)


def _row(outcome: Outcome) -> tuple[str, str, str]:
    did = [word for word, done in (("trained", outcome.trained), ("evaluated", outcome.evaluated)) if done]
    what = "trained" if did[:1] == ["trained"] and outcome.evaluated else " and ".join(did)
    if outcome.end != "finished":
        what = outcome.end
    return what, outcome.sentence.partition("\n")[0], f"{outcome.seconds:.0f} s"


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    names, whats, times = (max(len(row[place]) for row in rows) for place in (0, 1, 3))
    return [f"{name:{names}}  {what:{whats}}  {took:>{times}}  {said}".rstrip() for name, what, said, took in rows]
