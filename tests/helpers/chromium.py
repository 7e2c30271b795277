"""The browser that looks at the pages."""

from __future__ import annotations

import shutil


def chromium() -> str | None:
    """The program of the browser that the page's tests look with."""
    return shutil.which("chromium") or shutil.which("google-chrome")
