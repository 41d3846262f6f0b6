"""The last lines of a sweep: what ran, what was up to date, what failed, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.artifacts.project import Project
from pipeline.sweep.dvc_internals.stages import Refusal
from pipeline.sweep.worker import JobResult


def summarize(
    results: list[JobResult],
    restored: list[str],
    left: list[str],
    num_current: int,
    refused: Mapping[str, Refusal],
    root: Path,
) -> str:
    """Return one row per run that was not up to date, a line of counts, and what to do next.

    Args:
        results: of the jobs that were started, in the order to show them in.
        restored: runs that DVC's cache had a stage of.
        left: runs that were not started, because the user stopped the sweep.
        num_current: number of runs that were up to date.
        refused: DVC's stages that were not committed, and why.
        root: the folder of the sweep.
    """
    names = [result.job.cell.name for result in results]
    rows = [(result.job.cell.name, *_row(result)) for result in results]
    rows += [(name, "restored", "from DVC's cache", "") for name in restored if name not in {*names, *left}]
    rows += [(name, "not started", "", "") for name in left]
    lines = _table(rows) if rows else []
    counts = {"up to date": num_current}
    for _, action, _, _ in rows:
        counts[action] = counts.get(action, 0) + 1
    parts = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()) if count)
    total = sum(counts.values())
    lines.append(f"{total} {'run' if total == 1 else 'runs'}: {parts}")
    failed = [result.job.cell.name for result in results if result.status == "failed"]
    if left or any(result.status == "stopped" for result in results):
        lines.append("To resume, run the same command again.")
    elif failed:
        lines.append("To retry only these: " + Project(root).shell_command(" ".join(["pipeline sweep", *failed])))
    for reason in Refusal:
        if stages := [stage for stage, refusal in refused.items() if refusal is reason]:
            lines.append(f"Not recorded, because {reason.value} while they ran: {', '.join(stages)}")
    if refused:
        lines.append("Run the same command again.")
    return "\n".join(lines)


def _row(result: JobResult) -> tuple[str, str, str]:
    done = [word for word, is_done in (("trained", result.trained), ("evaluated", result.evaluated)) if is_done]
    action = "trained" if result.trained and result.evaluated else " and ".join(done)
    if result.status != "finished":
        action = result.status
    return action, result.message.partition("\n")[0], f"{result.seconds:.0f} s"


def _table(rows: list[tuple[str, str, str, str]]) -> list[str]:
    names, actions, times = (max(len(row[column]) for row in rows) for column in (0, 1, 3))
    return [
        f"{name:{names}}  {action:{actions}}  {time:>{times}}  {text}".rstrip() for name, action, text, time in rows
    ]
