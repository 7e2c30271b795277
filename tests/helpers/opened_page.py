"""A report's file, opened in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HOSTILE = """\
<script>window.hacked = 1</script><img src=x onerror="window.hacked=2">
<svg onload="window.hacked=3"><a href="javascript:window.hacked=4">go</a></svg>
<iframe srcdoc="<script>parent.hacked=5</script>"></iframe>
<style>*{display:none}</style><link rel=stylesheet href=http://attacker.invalid/x.css>
data:text/html,<script>window.hacked=6</script> {{7*7}} ${7*7} </script></pre></body>
\x1b]0;title\x07\x1b[31mred \u202egnp.exe\u202c \x00 &lt;b&gt; ]]> --> `"' end"""
"""Text that tries to do something wherever it is shown."""


class Page:
    """One page in a browser, with all that it complained of or asked for."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.problems.append(m.text)
                     if m.type in ("error", "warning") else None)  # fmt: skip
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append("a dialog opened"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = file.as_uri()
        self.page.goto(self.url)

    def go(self, place: str) -> None:
        self.page.goto(f"{self.url}#0/{place}")

    def texts(self, selector: str) -> list[str]:
        return [str(text) for text in self.page.locator(selector).all_inner_texts()]

    def check(self) -> None:
        """It asked for nothing but itself, and complained of nothing."""
        assert {url.partition("#")[0] for url in self.asked} == {self.url}
        assert self.problems == []
