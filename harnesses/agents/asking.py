"""Asks a command-line agent a question: one reply by a schema, without tools, in a sandbox.

For a model that is only asked, such as the optimizer. The agent's calls go through the gateway,
as those of a rollout do. The prompt is made of what others have written, so the agent has no
network besides, no skills, and a home that is new for each question.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from harnesses.agents.agent_clock import AgentClock
from harnesses.agents.cli_agent import HOME, AgentReportedError, Asking, Launch, Question
from harnesses.agents.registry import HarnessError, agent_kind
from harnesses.agents.toolchains import Toolchain
from harnesses.gateway.chat import ChatError
from harnesses.gateway.plan_upstreams import CLAUDE_ONLY
from harnesses.gateway.session import Session
from harnesses.harness import RolloutSite
from harnesses.protocols.base import Conversation, Message, Reply
from sandboxes.base import ExecResult, Mount, SandboxError, SandboxSpec
from sandboxes.engine import AGENT_BASE_IMAGE
from sandboxes.owner import scratch_dir
from sandboxes.trees import make_harmless, remove_tree

SLACK_S = 60.0
"""Seconds for its start and end, besides the model's thinking."""


class PromptTooLongError(ChatError):
    """The agent takes no prompt of this length."""


@dataclass(frozen=True)
class AskedAgent:
    """A command-line agent that is asked.

    Args:
        name: of the agent.
        toolchain: its program.
        asking: how it is asked.
    """

    name: str
    toolchain: Toolchain
    asking: Asking

    @property
    def label(self) -> Mapping[str, str]:
        """What of it decides its replies."""
        return {"name": self.name, "version": self.toolchain.version}


def asked_agent(name: str) -> AskedAgent:
    """The agent of that name, at the pinned version.

    Raises:
        HarnessError: there is none, or it cannot be asked.
    """
    kind = agent_kind(name)
    if kind.asking is None:
        raise HarnessError(f"{name!r} cannot be asked without a task; use claude-code or codex")
    return AskedAgent(name, kind.toolchain(None), kind.asking)


@dataclass(frozen=True)
class AgentChat:
    """One session's questions to an agent. Says what :class:`harnesses.gateway.chat.ChatClient`
    says.

    Args:
        agent: that is asked.
        session: with the token and the model.
        site: of the sandboxes, whose outlet leads to the gateway and nowhere else.
        silence_s: seconds for which a reply may think in silence.
    """

    agent: AskedAgent
    session: Session
    site: RolloutSite
    silence_s: float

    def say(self, shown: Conversation, schema: Mapping[str, Any] | None = None) -> Reply:
        """The agent's reply.

        Args:
            shown: the conversation so far, which the agent gets as one prompt.
            schema: JSON schema of the reply.

        Raises:
            PromptTooLongError: the agent takes no such prompt.
            ChatError: there is no reply.
        """
        system, prompt = _as_one(shown.messages)
        if len(system) + len(prompt) > self.agent.asking.most_chars:
            raise PromptTooLongError(
                f"{self.agent.name} takes prompts of {self.agent.asking.most_chars:,} characters, "
                f"and this one has {len(prompt):,}"
            )
        before = len(self.session.exchanges)
        try:
            network = self.site.network()
            question = Question(
                shown.model, system, prompt, schema, self.session.token, self.site.base_url,
                self.silence_s,
            )  # fmt: skip
            launch = self.agent.asking.launch(self.agent.toolchain, question)
            if (token := self.session.login) is not None:
                if self.agent.asking.on_plan is None or self.site.outside:
                    raise self._error(CLAUDE_ONLY)
                address = f"{self.site.base_url}{self.session.path}"
                launch = self.agent.asking.on_plan(launch, token, address)
            result = self._run(launch, network)
        except SandboxError as error:
            raise self._error(f"sandbox: {error}") from error
        return self._read(result, before)

    def _run(self, launch: Launch, network: str) -> ExecResult:
        home = Path(mkdtemp(prefix="question-", dir=scratch_dir()))
        try:
            launch.write_files(home)
            toolchain = self.agent.toolchain
            spec = SandboxSpec(
                image=AGENT_BASE_IMAGE,
                workdir=HOME,
                mounts=(
                    Mount(str(home), HOME, read_only=False, returned=False),
                    Mount(self.site.volume(toolchain.image), toolchain.target),
                ),
                env={"LANG": "C.UTF-8", "HOME": HOME, **launch.env},
                network=network,
                single_command=True,
            )
            # It may ask a second time by itself, if the first reply does not fit the schema.
            clock = AgentClock(2 * self.silence_s + SLACK_S, self.session.service_time)
            with self.site.sandbox(spec) as box:
                return box.run(
                    launch.started(launch.commands[0]),
                    deadline_s=clock.left_s,
                    uncounted=clock.uncounted(),
                )
        finally:
            make_harmless(home, links=False)
            remove_tree(home)

    def _read(self, result: ExecResult, before: int) -> Reply:
        """The reply that an agent printed.

        Args:
            result: how it ended.
            before: number of the session's exchanges when it was started.
        """
        if result.timed_out or result.limit:
            why = f"was stopped at its {result.limit} limit" if result.limit else "did not end"
            raise self._error(f"it {why} ({result.duration_s:.0f} s)")
        said = self.session.scrub.raw(result.stdout).decode("utf-8", "replace")
        try:
            text = self.agent.asking.read(said)
        except AgentReportedError as error:
            more = "" if result.stdout else result.stderr.decode("utf-8", "replace").strip()[-500:]
            what = f"exit code {result.exit_code}: {error}{more and f'; {more}'}"
            raise self._error(what) from error
        own = [exchange.reply for exchange in self.session.exchanges[before:] if exchange.reply]
        last = own[-1] if own else Reply()
        if not text.strip() and last.calls:
            # The agent refused to pass it on, as it did not fit the schema to the letter.
            text = json.dumps(dict(last.calls[-1].arguments))
        return Reply(text=text, stop=last.stop)

    def _error(self, what: str) -> ChatError:
        session = self.session
        last = session.exchanges[-1] if session.exchanges else None
        refused = ""
        if last is not None and last.blame:  # The service's words, not the agent's about them.
            refused = session.refused if last.blame == "service" else last.error
        known = session.failure or session.exhausted or refused or self.site.broken()
        own = f"{self.agent.name} {self.agent.toolchain.version}: {what}"
        return ChatError(session.scrub.text(known or own))


def _as_one(messages: Sequence[Message]) -> tuple[str, str]:
    """System prompt and prompt of a conversation. An earlier reply and what was wrong with it are
    quoted, as an agent takes no conversation that it has not had."""
    system = "\n\n".join(message.text for message in messages if message.role == "system")
    parts = []
    for message in messages:
        if message.role == "assistant":
            parts.append(f"# Your reply so far\n\n{message.text}")
        elif message.role == "user":
            parts.append(message.text)
    return system, "\n\n".join(parts)
