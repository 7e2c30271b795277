"""What a run is doing follows from its last event and from whether its process lives: one that was
stopped and started again is not shown as stopped (docs/faults, runs, kind 4)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import skillopt
from tests.helpers.tiny import Tiny, command, tiny

__all__ = ["tiny"]


def views(run: str) -> dict[str, dict[str, Any]]:
    """The run's summary as each view has it."""
    shown = command("show", f"runs/{run}", "--json")
    listed = command("runs", "list", "--json")
    page = command("report", f"runs/{run}", "-o", "page.html")
    assert shown.returncode == listed.returncode == page.returncode == 0, shown.stderr
    data = re.findall(r"<script [^>]*json[^>]*>(\{.*?\})</script>", Path("page.html").read_text())
    return {
        "show": json.loads(shown.stdout)["summary"],
        "runs list": next(row for row in json.loads(listed.stdout) if row["name"] == run),
        "report": json.loads(data[0])["runs"][0],
        "summary.json": json.loads(Path("runs", run, "summary.json").read_text()),
    }


def stop_by_a_limit(tiny: Tiny) -> None:
    assert tiny.train("--set", "limits.rollouts=5").returncode == 4


def stop_by_ctrl_c(tiny: Tiny) -> None:
    def interrupt(event: object) -> None:
        if getattr(event, "kind", "") == "baseline_done":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        skillopt.train(tiny.config, listeners=[interrupt])


def stop_by_a_failure(tiny: Tiny) -> None:
    code = (
        "class Broken(Writer):\n"
        "    def run(self, request, site):\n"
        "        return Outcome(Status.INFRA_ERROR, 'no', '', None, Usage(), True, '1', 0.0)\n"
    )
    tiny.own(code)
    tiny.write(harness__name="own:Broken")
    assert tiny.train().returncode == 3
    tiny.write(harness__name="own:Writer")


@pytest.mark.parametrize("stop", [stop_by_a_limit, stop_by_ctrl_c, stop_by_a_failure])
@pytest.mark.slow
def test_a_run_that_was_started_again(tiny: Tiny, stop: Any) -> None:
    stop(tiny)
    for where, summary in views("tiny").items():
        assert summary["stopped"] and not summary["done"], where
    seen: list[dict[str, dict[str, Any]]] = []
    texts: list[str] = []

    def look(event: object) -> None:
        if getattr(event, "kind", "") == "stage_started" and len(seen) < 2:
            seen.append(views("tiny"))
            texts.append(command("show", "tiny").stdout + command("runs", "list").stdout)

    result = skillopt.train(tiny.config, listeners=[look])
    assert result.done and len(seen) == 2
    for found in seen:
        assert [where for where, summary in found.items() if summary["stopped"]] == []
        assert {summary["state"] for summary in found.values()} == {"running"}
    for text in texts:
        assert "running" in text and "not done" not in text
    for where, summary in views("tiny").items():
        assert summary["state"] == "done" and summary["done"], where
