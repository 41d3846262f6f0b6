"""Pages in Chromium, driven by Playwright."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tests.optional import find_or_skip, import_or_skip

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

LIMIT = 10_000  # ms, for every wait of a page


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start Chromium for a block; skip the test if Chromium or Playwright is missing."""
    program = find_or_skip("chromium", "chromium-browser", "google-chrome")
    with import_or_skip("playwright.sync_api").sync_playwright() as playwright:
        # Containers do not permit Chromium's sandbox; only our own pages are opened.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=30_000)
        try:
            yield browser
        finally:
            browser.close()


def open_page(
    browser: Browser,
    report: Path,
    *,
    viewport: ViewportSize | None = None,
    color_scheme: Literal["light", "dark"] = "light",
    java_script_enabled: bool = True,
) -> tuple[Page, list[str]]:
    """Open a page and close the one before; return it with the list of its console messages, errors and dialogs."""
    for before in [page for context in browser.contexts for page in context.pages]:
        before.close()
    # One context for all tests, because a new one takes more time than a page.
    if not browser.contexts:
        browser.new_context()
    context = browser.contexts[0] if java_script_enabled else browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.emulate_media(color_scheme=color_scheme)
    if viewport:
        page.set_viewport_size(viewport)
    page.set_default_timeout(LIMIT)
    console_messages: list[str] = []
    page.on("console", lambda message: console_messages.append(message.text))
    page.on("pageerror", lambda error: console_messages.append(str(error)))
    page.on("dialog", lambda dialog: (console_messages.append(dialog.message), dialog.dismiss()))
    page.goto(report.as_uri())
    return page, console_messages
