"""What users, agents and models wrote is printed as it is: no markup, emoji, or escapes."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from skillopt.cli.common import show_text
from skillopt.cli.progress import Display, say
from skillopt.core.resources import resource
from skillopt.run.records import Noted, StageStarted
from tests.helpers.command_line import skillopt
from tests.helpers.tiny import Tiny, command, tiny

__all__ = ["tiny"]
HOSTILE = "a:x: local:m: [bold]b[/] [/nothing] \x1b[31m :smile: 100:1:0"
SHOWN = HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize("terminal", [False, True])
def test_text_is_printed_as_it_is(terminal: bool) -> None:
    out = io.StringIO()
    show_text(Console(file=out, force_terminal=terminal, width=200), HOSTILE)
    assert out.getvalue() == f"{SHOWN}\n"


def test_progress_prints_it_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=200)) as display:
        display(Noted(text=HOSTILE))
    assert out.getvalue() == f"{SHOWN}\n"
    say(HOSTILE)
    assert capsys.readouterr().err == f"{SHOWN}\n"
    live = io.StringIO()
    with Display(Console(file=live, width=200, force_terminal=True)) as display:
        display(StageStarted(stage="a:x:", total=1))
    assert "a:x:" in live.getvalue() and "❌" not in live.getvalue()


def test_a_models_name_stays_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    done = skillopt("doctor", "--model", "openai:m")
    assert "BAD openai:m: " in done.stdout + done.stderr and "Ⓜ" not in done.stdout + done.stderr


def test_names_of_tasks_and_errors_do_too(tiny: Tiny) -> None:
    tiny.put("tasks/val/a:x:[bold]/task.toml", "x = [")
    done = command("tasks", "validate", "tasks")
    assert "a:x:[bold]: " in done.stdout


def test_there_is_one_function_for_it() -> None:
    folder = resource("configs").parent / "skillopt" / "cli"
    for file in sorted(folder.glob("*.py")):
        count = len(re.findall("markup=False", file.read_text()))
        assert count == (file.name == "common.py"), file
