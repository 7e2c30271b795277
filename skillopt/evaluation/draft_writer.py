"""A model writes better drafts of tasks from what was harvested, one call for each draft.

It gets nothing but what is in the draft, from which secrets were taken out before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import jinja2
from pydantic import BaseModel, ConfigDict

from harnesses.base import ModelSpec, Usage
from harnesses.gateway.chat import ChatClient, ChatError
from harnesses.gateway.gateway import Gateway
from harnesses.gateway.session import Grant
from harnesses.protocols.base import Conversation, Message
from sandboxes.owner import scratch_dir
from skillopt.config.prices import Prices
from skillopt.config.upstreams import UpstreamConfig
from skillopt.core.text import estimate_tokens
from skillopt.optimizer.model import OptimizerReplyError, ask_with_repair
from skillopt.rollouts.upstreams import open_upstream, raise_own_error
from skillopt.tasks.drafts.drafts import Draft

EXPECTATIONS = 8
CHARS = 4000
"""The most characters of one text in a reply that are kept."""
SHOWN_CHARS = 12_000
"""The most characters of one session that the model is shown."""
SYSTEM = "You write tasks for coding agents from what people asked them to do."


class DraftReply(BaseModel):
    """A task for an agent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    needed: ClassVar[tuple[str, ...]] = ("instruction", "expectations")
    spare: ClassVar[tuple[str, ...]] = ("query",)

    instruction: str
    expectations: list[str]
    query: str


def prompt_for(draft: Draft) -> str:
    """What the model is shown of a draft."""
    session = {
        "request": draft.instruction[: SHOWN_CHARS // 2],
        "corrections": _fitting(draft.corrections, SHOWN_CHARS // 2),
        "accepted": draft.accepted_then,
        "files changed": list(draft.files_changed[:50]),
    }
    text = (Path(str(files("skillopt.evaluation"))) / "write_drafts.md").read_text("utf-8")
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text)
    # The texts cannot end the block: JSON has no line breaks of its own, and no backtick here.
    shown = json.dumps(session, ensure_ascii=False, indent=1).replace("`", "\\u0060")
    return template.render(most=EXPECTATIONS, session=shown)


def tokens_of(drafts: Sequence[Draft]) -> int:
    """About how many tokens the model is shown for some drafts."""
    return sum(estimate_tokens(prompt_for(draft)) for draft in drafts)


def write_with_model(
    drafts: Sequence[Draft],
    service: UpstreamConfig,
    prices: Prices,
    spec: ModelSpec,
    keep: Callable[[Draft], None],
) -> tuple[Usage, dict[str, str]]:
    """Have a model write drafts.

    Args:
        drafts: as they were harvested.
        service, prices, spec: the model and its service.
        keep: called with each draft that the model has written, as soon as it is.

    Returns:
        What it took, and by name the drafts that stay as they were, with the reason.

    Raises:
        SkillOptError: the service cannot be used.
    """
    left: dict[str, str] = {}
    with (
        open_upstream(service) as upstream,
        TemporaryDirectory(dir=scratch_dir()) as scratch,
        Gateway({spec.upstream: upstream}, Path(scratch) / "gateway.sock", prices.cost) as gateway,
        gateway.open(Grant(spec, seed=0)) as session,
    ):
        with ChatClient(session) as client:

            def send(messages: Sequence[Message]) -> str:
                shown = Conversation(spec.name, tuple(messages), schema_name="DraftReply")
                return client.say(shown, DraftReply.model_json_schema()).text

            for draft in drafts:
                try:
                    reply = ask_with_repair(send, SYSTEM, prompt_for(draft), DraftReply)
                except (ChatError, OptimizerReplyError) as error:
                    raise_own_error(gateway, spec.upstream)
                    left[draft.name] = str(error)
                    continue
                keep(_written(draft, reply, spec))
        return session.usage, left


def _written(draft: Draft, reply: DraftReply, spec: ModelSpec) -> Draft:
    """A draft with a model's texts, cut to their bounds. What the model left empty stays."""
    expectations = [text.strip()[:CHARS] for text in reply.expectations if text.strip()]
    trigger = draft.trigger
    if trigger is not None and reply.query.strip():
        trigger = trigger.model_copy(update={"query": reply.query.strip()[:CHARS]})
    return draft.model_copy(
        update={
            "instruction": reply.instruction.strip()[:CHARS] or draft.instruction,
            "expectations": tuple(expectations[:EXPECTATIONS]) or draft.expectations,
            "trigger": trigger,
            "notes": (*draft.notes, f"written by {spec.name}; the person's own words: "
                      f"{draft.instruction[:CHARS]}"),
        }
    )  # fmt: skip


def _fitting(texts: Sequence[str], chars: int) -> list[str]:
    """The texts that fit together into a number of characters."""
    found: list[str] = []
    for text in texts:
        if chars < len(text):
            break
        found.append(text)
        chars -= len(text)
    return found
