"""Commands on a terminal in a container, talked to through pexpect."""

from __future__ import annotations

import time
from collections.abc import Callable

import pexpect
import pytest

from sandboxes.base import ExecResult, Limits, Sandbox, SandboxError
from sandboxes.terminal import SocketTerminal as Terminal

pytestmark = pytest.mark.engine
MakeSandbox = Callable[..., Sandbox]


def talk_to(
    sandbox: Sandbox, script: str, talk: Callable[[Terminal], None], deadline_s: float = 20
) -> ExecResult:
    return sandbox.converse(["bash", "-c", script], talk, deadline_s=deadline_s)


def test_a_conversation_on_a_real_terminal(docker: MakeSandbox) -> None:
    heard = []

    def talk(terminal: Terminal) -> None:
        terminal.expect(b"name\\? ")
        terminal.send(b"Ada\r")
        terminal.expect(b"size: (.*?)\r\n")
        heard.append(terminal.match.group(1))  # type: ignore[union-attr]
        terminal.expect(pexpect.EOF)
        heard.append(terminal.before)

    script = "test -t 0; echo tty=$?; read -p 'name? ' name; sleep 0.2; "
    script += "echo size: $(stty size); echo bye $name; id -u; exit 3"
    result = talk_to(docker(), script, talk)
    assert (result.exit_code, result.timed_out, result.limit) == (3, False, None)
    size, rest = heard
    assert size == b"40 120" and b"bye Ada" in rest and b"\r\n0\r\n" not in rest


def wait_for_end(terminal: Terminal) -> None:
    terminal.expect(pexpect.EOF, timeout=60)


def test_the_deadline_kills_the_sandbox(docker: MakeSandbox) -> None:
    sandbox = docker()
    started = time.monotonic()
    result = talk_to(sandbox, "sleep 600", wait_for_end, deadline_s=1.5)
    assert (result.exit_code, result.timed_out) == (None, True)
    assert time.monotonic() - started < 10
    with pytest.raises(SandboxError, match="killed at its time limit"):
        sandbox.run(["true"], deadline_s=5)


def test_the_disk_limit_holds(docker: MakeSandbox) -> None:
    sandbox = docker(limits=Limits(disk_mb=20))
    script = "for i in $(seq 99); do head -c 3000000 /dev/zero > /var/tmp/$i; sleep 0.1; done"
    result = talk_to(sandbox, script, wait_for_end, deadline_s=30)
    assert (result.exit_code, result.limit) == (None, "disk")


def test_a_command_that_is_left_is_ended_with_its_sandbox(docker: MakeSandbox) -> None:
    sandbox = docker()
    result = talk_to(sandbox, "echo hi; sleep 600", lambda terminal: None)
    assert (result.exit_code, result.timed_out, result.limit) == (None, False, None)
    with pytest.raises(SandboxError, match="ended with its terminal"):
        sandbox.run(["true"], deadline_s=5)


def test_a_sandbox_that_is_stopped_ends_the_conversation(docker: MakeSandbox) -> None:
    sandbox = docker()

    def talk(terminal: Terminal) -> None:
        terminal.expect(b"hi")
        sandbox.stop()
        wait_for_end(terminal)

    with pytest.raises(SandboxError):
        talk_to(sandbox, "echo hi; sleep 600", talk)


def test_local_sandboxes_say_that_they_have_no_terminal(local: MakeSandbox) -> None:
    with pytest.raises(SandboxError, match=r"set sandbox\.kind to docker"):
        talk_to(local(), "true", wait_for_end)


def test_a_command_that_is_not_there_says_so(docker: MakeSandbox) -> None:
    heard = []

    def talk(terminal: Terminal) -> None:
        wait_for_end(terminal)
        heard.append(terminal.before)

    result = docker().converse(["/no/such/program"], talk, deadline_s=20)
    assert result.exit_code in (126, 127)
    assert b"/no/such/program" in heard[0].replace(b"\r\n", b"")
