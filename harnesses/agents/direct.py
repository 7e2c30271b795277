"""Direct chat: a plain loop over a model's chat API. With a workspace, its one tool is a shell in a
sandbox like any agent's; for questions it has no tool.
"""

from __future__ import annotations

import base64
import mimetypes
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harnesses.agents.agent_clock import AgentClock
from harnesses.agents.outcome import recorded, services_fault
from harnesses.base import Outcome, Request, Status
from harnesses.companion import companion_env
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.session import Session
from harnesses.harness import RolloutSite
from harnesses.protocols.base import (
    Conversation,
    Image,
    Message,
    Reply,
    Tool,
    ToolCall,
    ToolResult,
)
from harnesses.skills import SKILL_FILES, as_instructions, headline, sandbox_copy, skill_text
from sandboxes.base import CopyRefusedError, ExecResult, Mount, Sandbox, SandboxError, SandboxSpec

SHELL = Tool(
    "shell",
    "Run a bash command in the working directory. Returns its output and exit code.",
    {
        "type": "object",
        "properties": {"command": {"type": "string", "description": "The command."}},
        "required": ["command"],
        "additionalProperties": False,
    },
)

SYSTEM = """\
You complete a task for the user. Work with the tools you have; when the task is done, reply \
with a short closing message and no tool call."""

OFFER = """\
<skills_instructions>
Where one of these skills fits the task, read its file before you begin, and follow it.
{skills}
</skills_instructions>"""
QUESTION = "Answer the user's question."
"""The system message for a question, which has no tools."""

Shell = Callable[[], Sandbox]

COMMAND_TIMEOUT_S = 120
OUTPUT_CHARS = 16_000
VERSION = "3"
"""The version of this loop and its prompt, part of a rollout's identity."""


class _LimitError(Exception):
    """A limit ended the sandbox; the message names it."""


@dataclass(frozen=True)
class Direct:
    """The direct chat harness.

    Args:
        max_turns: number of model replies after which the rollout ends as ``agent_error``.
    """

    name: str = "direct"
    max_turns: int = 40

    def version(self) -> str:
        return VERSION

    def run(self, request: Request, site: RolloutSite) -> Outcome:
        def act(session: Session) -> tuple[Status, str]:
            return self._run(request, site, session)

        return recorded(request, site, self.name, VERSION, act)

    def _run(self, request: Request, site: RolloutSite, session: Session) -> tuple[Status, str]:
        try:
            with ChatClient(session) as client:
                if request.led and request.companion is not None:
                    return self._led(request, session, client)
                if request.workspace is None or request.question:
                    return self._chat(request, session, client, None)
                spec = _shell_spec(request, request.workspace, site, session)
                with _starting(site.sandbox(spec)) as shell:
                    return self._chat(request, session, client, shell)
        except CopyRefusedError as error:
            return Status.AGENT_ERROR, f"agent was stopped at its disk limit: {error}"
        except SandboxError as error:
            return Status.INFRA_ERROR, f"sandbox: {error}"
        except ChatError as error:
            if service := services_fault(session):
                return Status.INFRA_ERROR, service
            return Status.AGENT_ERROR, str(error)
        except _LimitError as error:
            return Status.AGENT_ERROR, str(error)

    def _led(self, request: Request, session: Session, client: ChatClient) -> tuple[Status, str]:
        """The companion gives each prompt, until it gives none."""
        system = Message("system", _system(request, None))
        clock = AgentClock(request.timeout_s, session.service_time)
        session.expired = clock.over
        said: str | None = None
        while True:
            began = time.monotonic()
            prompt = client.companion({"reply": said}).get("prompt")
            clock.allow(time.monotonic() - began)  # The companion's time is not the model's.
            if not isinstance(prompt, str):
                return Status.COMPLETED, ""
            asked = Conversation(request.model.name, (system, Message("user", prompt)))
            reply = _reply(client, asked, clock, session)
            if reply is None:
                return Status.AGENT_TIMEOUT, clock.message()
            said = reply.text

    def _chat(
        self, request: Request, session: Session, client: ChatClient, shell: Shell | None
    ) -> tuple[Status, str]:
        messages = [
            Message("system", _system(request, shell)),
            _asked(request),
        ]
        left = list(request.follow_ups)
        tools = (SHELL,) if shell else ()
        clock = AgentClock(request.timeout_s, session.service_time)
        session.expired = clock.over
        most = request.max_turns or self.max_turns
        for _ in range(most):
            asked = Conversation(request.model.name, tuple(messages), tools)
            reply = _reply(client, asked, clock, session)
            if reply is None:
                return Status.AGENT_TIMEOUT, clock.message()
            if not reply.calls or shell is None:
                if not left:
                    return Status.COMPLETED, ""
                messages.append(Message("assistant", reply.text))
                messages.append(Message("user", left.pop(0)))
                continue
            results = []
            began = time.monotonic()
            box = shell()
            clock.allow(time.monotonic() - began)  # Waiting for the sandbox costs it no time.
            for call in reply.calls:
                result = _execute(call, box, clock)
                if result is None:
                    return Status.AGENT_TIMEOUT, clock.message()
                results.append(result)
            messages.append(Message("assistant", reply.text, reply.calls, thoughts=reply.thoughts))
            messages.append(Message("user", results=tuple(results)))
        return Status.AGENT_ERROR, f"agent had not finished after {most} turns"


def _reply(
    client: ChatClient, asked: Conversation, clock: AgentClock, session: Session
) -> Reply | None:
    """The model's next reply; None if the agent's time is over.

    Raises:
        ChatError: there is none for another reason.
    """
    try:
        reply = client.say(asked)
    except ChatError:
        if clock.over() and not session.failure:
            return None
        raise
    return None if clock.over() else reply


def _asked(request: Request) -> Message:
    """The user's message, with the pictures that belong to it."""
    if request.workspace is None or not request.pictures:
        return Message("user", request.instruction)
    shown = tuple(Image(_data_url(request.workspace / name)) for name in request.pictures)
    return Message("user", request.instruction, content=(request.instruction, *shown))


def _data_url(picture: Path) -> str:
    kind = mimetypes.guess_type(picture.name)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _shell_spec(
    request: Request, workspace: Path, site: RolloutSite, session: Session
) -> SandboxSpec:
    """The sandbox of the shell. The chat itself is outside of it, so that a network is needed only
    for a companion or for what may be reached outside."""
    companion = request.companion
    network = site.network() if site.outside or companion is not None else "none"
    env = companion_env(companion, session.token, site.base_url)
    return SandboxSpec(
        image=request.image,
        workdir=request.workdir,
        mounts=(
            Mount(str(workspace), request.workdir, read_only=False),
            *request.folder_mounts,
            *_skill_mounts(request),
        ),
        env={**request.env, **env},
        limits=request.limits,
        network=network,
        one_shell=True,
        root=request.root,
        keep_as=request.keep_as,
    )


@contextmanager
def _starting(box: Sandbox) -> Iterator[Shell]:
    """A sandbox that starts while the model thinks; its first use waits for it."""
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(box.start)

        def shell() -> Sandbox:
            started.result()
            return box

        try:
            yield shell
        finally:
            wait([started])
            box.stop()


def _skill_mounts(request: Request) -> list[Mount]:
    """The skill folders that the prompt names; a single skill is in the prompt itself."""
    own = [request.skill] if request.skill else []
    if request.mount == "native" and not request.beside:
        return []
    return [
        Mount(str(sandbox_copy(skill, request)), f"{SKILL_FILES}/{skill.name}")
        for skill in (*request.beside, *own)
    ]


def _system(request: Request, shell: Shell | None) -> str:
    """The system message. It contains a single skill. If there are several to choose from, and a
    shell to read them with, they are offered as other agents do it."""
    own = [request.skill] if request.skill else []
    if shell is None or (request.mount == "native" and not request.beside):
        system = QUESTION if shell is None else SYSTEM
        return "\n\n".join([system, *(_whole(skill) for skill in (*request.beside, *own))])
    parts = [SYSTEM]
    offered = [*request.beside, *(own if request.mount != "instructions" else [])]
    if offered:
        lines = [
            f"- {skill.name}: {_described(skill)} (file: {_place(skill, shell)}/SKILL.md)"
            for skill in offered
        ]
        parts.append(OFFER.format(skills="\n".join(lines)))
    if request.skill and request.mount != "native":
        parts.append(as_instructions(request.skill, _place(request.skill, shell)))
    return "\n\n".join(parts)


def _described(skill: Path) -> str:
    text = skill_text(skill)
    return " ".join(text.description.split()) or headline(text.body)


def _whole(skill: Path) -> str:
    text = (skill / "SKILL.md").read_text("utf-8")
    return f"Follow this skill where it applies.\n\n{text}"


def _place(skill: Path, shell: Shell) -> str:
    return shell().path(f"{SKILL_FILES}/{skill.name}")


def _execute(call: ToolCall, box: Sandbox, clock: AgentClock) -> ToolResult | None:
    """Run one command; None if the rollout's time ended first."""
    command = call.arguments.get("command")
    if call.name != SHELL.name or not isinstance(command, str):
        text = f"There is only the tool {SHELL.name} with a string argument 'command'."
        return ToolResult(call.id, text, is_error=True)
    # ``timeout`` ends only the command; the sandbox's own deadline would end the rollout.
    argv = ["timeout", "-s", "KILL", str(COMMAND_TIMEOUT_S), "bash", "-c", command]
    result = box.run(argv, deadline_s=max(0.1, min(clock.left_s, COMMAND_TIMEOUT_S + 10)))
    if result.timed_out:
        return None
    if result.exit_code is None:
        raise _LimitError(f"agent was stopped at its {result.limit} limit")
    return ToolResult(call.id, _shown(result), is_error=result.exit_code != 0)


def _shown(result: ExecResult) -> str:
    text = (result.stdout + result.stderr).decode("utf-8", "replace")
    if len(text) > OUTPUT_CHARS:
        half = OUTPUT_CHARS // 2
        text = f"{text[:half]}\n[{len(text) - OUTPUT_CHARS} characters left out]\n{text[-half:]}"
    return f"{text}\n[exit code {result.exit_code}]"
