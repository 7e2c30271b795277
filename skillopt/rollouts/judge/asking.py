"""Asks a judge through the gateway: recorded, priced, its key only on the host, and each question
once, as replies are kept with the rollout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.json_values import loads
from harnesses.protocols.base import Conversation, Message
from harnesses.protocols.tagged_thoughts import split_thoughts
from skillopt.core.files import digest_of, read_json, to_json, write_atomic
from skillopt.core.judgement import Judgement
from skillopt.core.types import Task
from skillopt.optimizer.reading import UnreadableReplyError, read_fitting
from skillopt.rollouts.judge.evidence import Evidence
from skillopt.rollouts.judge.question import (
    Question,
    Template,
    expectations_of,
    shown_numbers,
)
from skillopt.rollouts.judge.verdicts import Findings, decided, doubts_in, weighed
from skillopt.rollouts.upstreams import raise_own_error
from skillopt.tasks.verifier import VerifierError

FOLDER, REPLIES = "judge", "replies.json"
"""The folder of a rollout for the judge's exchanges, and the file in it with its replies."""
TRIES = 2
"""Requests for a reply that has the right form."""


class JudgeError(VerifierError):
    """The judge gave no verdict: an infrastructure failure.

    Args:
        message: what happened, and what to do.
        usage: what was spent all the same.
    """

    def __init__(self, message: str, usage: Usage = Usage()) -> None:  # Frozen.
        super().__init__(message)
        self.usage = usage


@dataclass(frozen=True)
class JudgeSpec:
    """Who judges, and how. Plain data.

    Args:
        model: the judge's.
        template: of its prompt.
        service: what else decides its replies, such as the service's address.
        when: whether it is asked only if all checks before it have passed.
        tokens: of the evidence that it is shown.
        silence_s: seconds for which a reply may think in silence.
    """

    model: ModelSpec
    template: Template
    service: Mapping[str, Any] = field(default_factory=dict)
    when: Literal["passed", "always"] = "passed"
    tokens: int = 16_000
    silence_s: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What identifies the judge: all that decides its verdicts."""
        return {
            "model": self.model.name,
            "sampling": dict(self.model.sampling),
            "service": dict(self.service),
            "prompt": self.template.digest,
            "when": self.when,
            "tokens": self.tokens,
        }


@dataclass
class Judge:
    """A judge of one rollout.

    Args:
        spec: who it is.
        gateway: its way to its model.
        folder: the rollout's; exchanges and replies are kept below it.
    """

    spec: JudgeSpec
    gateway: Gateway
    folder: Path
    _spent: Usage = Usage()

    def judge(self, task: Task, shown: Evidence) -> Judgement:
        """The verdict on a task's expectations.

        Raises:
            JudgeError: the judge's model cannot be reached, or its replies cannot be used.
            OwnCodeError: a user's own upstream raised.
        """
        numbered = shown_numbers(expectations_of(task))
        question = self.spec.template.question(task, numbered, shown)
        pairs = weighed(self._ask(question), list(numbered), shown)
        doubts = doubts_in(pairs)
        if doubts:
            left = {number: numbered[number] for number in doubts}
            question = self.spec.template.question(task, left, shown, doubts)
            pairs |= weighed(self._ask(question), list(left), shown)
        return Judgement(
            model=self.spec.model.name,
            expectations=tuple(
                decided(text, pairs[number], 1 + (number in doubts))
                for number, text in numbered.items()
            ),
            usage=self._spent,
        )

    def _ask(self, question: Question) -> Findings:
        """The reply to a question: the one that was kept, or a new one, which is kept."""
        model = self.spec.model
        asked = [question.system, question.prompt, Findings.model_json_schema()]
        id = digest_of([*asked, model.name, dict(model.sampling), dict(self.spec.service)])
        known = self._known()
        if id in known:
            with suppress(ValidationError):  # Else it is asked for again.
                return Findings.model_validate(known[id])
        found = self._new(question, int(id[:12], 16))
        kept = {"format": 1, "replies": {**known, id: found.model_dump(mode="json")}}
        write_atomic(self.folder / FOLDER / REPLIES, to_json(kept))
        return found

    def _known(self) -> dict[str, Any]:
        file = self.folder / FOLDER / REPLIES
        return dict(read_json(file, format=1)["replies"]) if file.is_file() else {}

    def _new(self, question: Question, seed: int) -> Findings:
        record = self.folder / FOLDER
        record.mkdir(exist_ok=True)
        spec = self.spec
        problem = ""
        for attempt in range(TRIES):
            grant = Grant(spec.model, seed + attempt, record, silence_s=spec.silence_s)
            with self.gateway.open(grant) as session:
                try:
                    with ChatClient(session) as client:
                        said = client.say(_conversation(spec, question), _SCHEMA)
                except ChatError as error:
                    raise_own_error(self.gateway, spec.model.upstream)
                    self._spent += session.usage
                    raise JudgeError(f"judge: {error}", self._spent) from error
                self._spent += session.usage
            try:
                return read_findings(said.text if said.text.strip() else said.reasoning)
            except UnreadableReplyError as error:
                problem = str(error)
        raise JudgeError(
            f"judge: {spec.model.name} gave no usable reply, also when asked again: {problem}; "
            "name another model (judge.name), or change judge.sampling",
            self._spent,
        )


def read_findings(text: str) -> Findings:
    """The findings in a reply, which must be a single JSON object, thoughts and prose around it
    aside: of two, one may be the agent's that the judge repeats.

    Raises:
        UnreadableReplyError: it is not.
    """
    _, said = split_thoughts([text])
    said = said if said.strip() else text
    try:
        value = loads(said[said.find("{") : said.rfind("}") + 1])
    except ValueError as error:
        raise UnreadableReplyError(f"it is not a single JSON object: {error}") from error
    if not isinstance(value, dict) or "findings" not in value:
        raise UnreadableReplyError("it has no 'findings'")
    return read_fitting(json.dumps(value), Findings)[0]


_SCHEMA = Findings.model_json_schema()


def _conversation(spec: JudgeSpec, question: Question) -> Conversation:
    form = "Reply with one JSON object that fits this JSON schema, and nothing else:"
    prompt = f"{question.prompt}\n# Reply\n\n{form}\n{to_json(_SCHEMA)}"
    return Conversation(
        spec.model.name,
        (Message("system", question.system), Message("user", prompt)),
        schema_name=Findings.__name__,
        stream=True,
    )
