"""Render templates as a self-contained HTML file with a content security policy."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path

import jinja2
from markupsafe import Markup

from pipeline.artifacts.project import TEMPLATES, Project
from pipeline.errors import PipelineError
from pipeline.number_format import format_number, format_spread
from pipeline.report.figures import svg
from pipeline.report.formatting import mark_code

STYLE, SCRIPTS = "page.css", ("sort.js", "panel.js", "curves.js", "compare.js", "enlarge.js")

# Styles need 'unsafe-inline' because matplotlib's SVG has style attributes, which hashes in a policy do not cover.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; "
    "base-uri 'none'; form-action 'none'"
)


def render_html(template: str, page: object, project: Project, num_learning_rates: int = 1) -> str:
    """Render a page with the project's templates.

    Args:
        template: File name of the template.
        page: The object that the template shows.
        project: The project with the templates.
        num_learning_rates: Number of colors for loss curves.

    Returns:
        The HTML of the page.

    Raises:
        PipelineError: A template is missing or invalid.
    """
    environment = _open_templates((project.home / TEMPLATES).resolve())
    try:
        style, script = _read_source(environment, STYLE), "\n".join(_read_source(environment, name) for name in SCRIPTS)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        light, dark = svg.write_css_variables(num_learning_rates)
        return environment.get_template(template).render(
            page=page,
            policy=POLICY.format(script=f"sha256-{digest}"),
            style=Markup(style),
            light=Markup(light),
            dark=Markup(dark),
            script=Markup(script),
        )
    except jinja2.TemplateNotFound as error:
        raise PipelineError(
            f"{TEMPLATES / str(error.name)} is missing. Run the command in the folder of a project, or "
            f"restore the file: git checkout {TEMPLATES}"
        ) from None
    except jinja2.TemplateError as error:
        raise PipelineError(f"A template in {TEMPLATES} is invalid: {error}") from None


@functools.cache
def _open_templates(folder: Path) -> jinja2.Environment:
    """Create the Jinja environment of a folder, which recompiles only templates that have changed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": mark_code, "number": format_number, "spread": format_spread, "count": "{:,}".format}
    return environment


def _read_source(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0].strip()
