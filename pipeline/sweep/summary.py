"""Summarize a finished sweep: which runs were trained, up to date or failed, and which command to run next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pipeline.artifacts.project import Project
from pipeline.sweep.dvc_internals.stages import Refusal
from pipeline.sweep.worker import JobResult
from pipeline.wording import align_columns, pluralize


def summarize(
    results: list[JobResult],
    restored: list[str],  # runs with a stage that was restored from DVC's cache
    left: list[str],  # runs that were not started, because the user stopped the sweep
    num_current: int,  # runs that were up to date
    refused: Mapping[str, Refusal],  # stages that were not committed
    project: Project,
) -> str:
    """Format one row per run that was not up to date, a line of counts, and the command to run next."""
    names = [result.job.cell.name for result in results]
    rows = [(name, *_row(result)) for name, result in zip(names, results, strict=True)]
    rows += [(name, "restored", "", "from DVC's cache") for name in restored if name not in {*names, *left}]
    rows += [(name, "not started", "", "") for name in left]
    lines = align_columns(list(zip(*rows, strict=True)), left={0, 1, 3}) if rows else []
    counts = Counter({"up to date": num_current}) + Counter(action for _, action, _, _ in rows)
    parts = ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))
    lines.append(f"{pluralize(counts.total(), 'run')}: {parts}")
    failed = [result.job.cell.name for result in results if result.status == "failed"]
    if left or any(result.status == "stopped" for result in results):
        lines.append("To resume, run the same command again.")
    elif failed:
        lines.append("To retry only these: " + project.shell_command(" ".join(["pipeline sweep", *failed])))
    for reason in Refusal:
        if stages := [stage for stage, refusal in refused.items() if refusal is reason]:
            lines.append(f"Not recorded in DVC, because {reason.value}: {', '.join(stages)}")
    if refused:
        lines.append("Run the same command again.")
    return "\n".join(lines)


def _row(result: JobResult) -> tuple[str, str, str]:
    done = "trained" if result.trained else "evaluated"
    action = done if result.status == "finished" else result.status
    return action, f"{result.seconds:.0f} s", result.message.partition("\n")[0]
