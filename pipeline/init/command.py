"""Writes a `params.yaml` for a folder: the project's own with another section `data`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from ruamel.yaml import YAML

from pipeline.errors import PipelineError
from pipeline.files import write_text
from pipeline.init.look import look
from pipeline.init.proposal import Proposal
from pipeline.init.text import section_text, with_section
from pipeline.params.file import PARAMS_FILE, check_params, read_sections

BEFORE = Path("params.before.yaml")  # what stood there
_BATCHES = ((500, 4), (2_000, 8), (10_000, 16))  # up to so many images, so many a step
_LARGEST_BATCH = 32


def init(folder: Path) -> str:
    """Write `params.yaml` for a folder, and say what was found; what stood there is kept beside it.

    Raises:
        PipelineError: There is no `params.yaml` to start from, nothing can be proposed for the folder, or the file
            beside is taken.
    """
    read_sections(PARAMS_FILE)
    before = PARAMS_FILE.read_text(encoding="utf-8")
    proposal = look(folder)
    text = _written(before, proposal)
    check_params(YAML(typ="safe").load(text), f"{PARAMS_FILE} for {folder}")
    if BEFORE.exists():
        raise PipelineError(
            f"{BEFORE} is there already, and is where the present {PARAMS_FILE} would go. Remove it, or rename it."
        )
    write_text(BEFORE, before)
    write_text(PARAMS_FILE, text)
    classes = [item["name"] for item in proposal.section.get("classes", ())]
    of_classes = f", {len(classes)} classes: {', '.join(classes)}" if classes else ""
    return (
        f"{folder}: {proposal.found}{of_classes}.\n"
        f"{PARAMS_FILE} has a section for it; read its comments, and give the classes their names.\n"
        f"What stood there is in {BEFORE}.\n"
        f"Then:\n"
        f"  pipeline data --check {shlex.quote(str(folder))}\n"
        f"  make report"
    )


def _written(before: str, proposal: Proposal) -> str:
    text = with_section(before, section_text(proposal))
    batch = next((size for most, size in _BATCHES if proposal.images <= most), _LARGEST_BATCH)
    text = re.sub(r"(?m)^(  batch_size: )\d+", rf"\g<1>{batch}", text, count=1)
    if proposal.channels != 3:
        text = _without_pretrained(text)
    return text


def _without_pretrained(text: str) -> str:
    """The grid without the variants that need three channels."""
    content = YAML(typ="safe").load(text)
    variants = content.get("variants") or {}
    fit = [
        name
        for name in content["grid"]["variant"]
        if not ((variants.get(name) or {}).get("model") or {}).get("pretrained")
    ]
    return re.sub(r"(?m)^(  variant: )\[.*\]", lambda found: f"{found[1]}[{', '.join(fit)}]", text, count=1)
