"""The simulated optimizer asked in plain words: criticism, or a text rewritten, in free text.

A test instrument like the rest of :mod:`skillopt.sim`. It does not know which method asks: it looks
for what is wanted, in which form, the text that it is about, and what verifiers complained of.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from harnesses.protocols.base import Conversation
from skillopt.sim.knowledge import BAD_RULES, HABITS

RULES = 2
"""The most rules that a rewrite adds because of complaints."""
_NOUNS = r"(instruction|skill|prompt|variable|document|guide|text)s?\b"
_REWRITES = re.compile(
    rf"\b(improv|rewrit|revis|updat|new\b|better\b)\w*\W+(\w+\W+){{0,4}}?{_NOUNS}", re.IGNORECASE
)
_SUBJECTS = rf"({_NOUNS}|(agent|response|output)\b)"
_CRITICISES = re.compile(
    rf"\b(feedback|critici[sz]\w*|critiqu\w*)\W+(\w+\W+){{0,6}}?{_SUBJECTS}", re.IGNORECASE
)
_TAG = re.compile(r"<([A-Za-z][\w-]*)>(.*?)</\1>", re.DOTALL)
_FENCE = re.compile(r"^(`{3,})[^\n`]*\n(.*?)\n?^\1$", re.DOTALL | re.MULTILINE)
_FENCED = re.compile(r"(within|inside|between|in) (a )?(triple backticks|```)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{.*\}|\[.*\]|\.\.\.|…", re.DOTALL)
"""What stands between tags that only show the form of a reply."""


@dataclass(frozen=True)
class Wanted:
    """What a prompt asks for in plain words.

    Args:
        rewrite: whether the text itself, and not only criticism of it.
        text: the text that it is about.
        rest: the prompt without it.
        tag: name of the tag for the reply; empty if it is to be in a fence, or has no form.
        fenced: whether it is to be in a fence.
    """

    rewrite: bool
    text: str
    rest: str
    tag: str = ""
    fenced: bool = False


def wanted(shown: Conversation) -> Wanted | None:
    """What a conversation asks for; None if it is a task for an agent, or nothing that is known."""
    if shown.tools or shown.schema_name:
        return None
    prompt = "\n".join(message.text for message in shown.messages if message.role == "user")
    tag, fenced = _tag_of(prompt), bool(_FENCED.search(prompt))
    if _REWRITES.search(prompt) and (tag or fenced):
        text = _text_in(prompt, tag)
        return Wanted(True, text, prompt.replace(text, "", 1) if text else prompt, tag, fenced)
    if _CRITICISES.search(prompt):
        text = _text_in(prompt, "")
        return Wanted(False, text, prompt)
    return None


def reply(asked: Wanted, rng: random.Random, harm: float) -> str:
    """The reply in the form that is asked for.

    Args:
        asked: from :func:`wanted`.
        rng: decides, together with what is asked, what is added.
        harm: share of rewrites that also add a harmful rule, in [0, 1].
    """
    complaints = Counter(
        match for habit in HABITS for match in map(_said, habit.complaint.finditer(asked.rest))
    )
    if not asked.rewrite:
        lines = [f"- A verifier found: {text}." for text, _ in complaints.most_common()]
        return "\n".join(lines or ["Nothing was found that should be different."])
    # Not the whole prompt: trajectories contain durations, which differ from run to run.
    rng = random.Random(f"{rng.random()}/{asked.text}/{sorted(complaints.items())}")
    body = asked.text.rstrip() + "".join(f"\n- {rule}" for rule in _added(asked, rng, harm))
    if asked.tag:
        return f"<{asked.tag}>\n{body.strip()}\n</{asked.tag}>"
    return f"Here it is.\n```\n{body.strip()}\n```"


def _added(asked: Wanted, rng: random.Random, harm: float) -> Iterator[str]:
    """Rules that the text lacks and complaints call for; sometimes one that does harm."""
    found = Counter(
        {
            habit.rule: len(habit.complaint.findall(asked.rest))
            for habit in HABITS
            if habit.complaint.search(asked.rest) and not habit.rule_present(asked.text)
        }
    )
    yield from (rule for rule, _ in found.most_common(RULES))
    harmful = [bad.rule for bad in BAD_RULES if not bad.rule_present(asked.text)]
    if rng.random() < harm and harmful:
        yield rng.choice(harmful)


def _said(match: re.Match[str]) -> str:
    return match[0]


def _tag_of(prompt: str) -> str:
    """The tag that the reply is to stand in: the last one that the prompt shows with a placeholder
    in it."""
    forms = [m[1] for m in _TAG.finditer(prompt) if _PLACEHOLDER.fullmatch(m[2].strip())]
    named = re.findall(r"between (?:the )?<([A-Za-z][\w-]*)> (?:and </\1> )?tags", prompt)
    return str((named or forms or [""])[-1])


def _text_in(prompt: str, tag: str) -> str:
    """The text that a prompt is about: of what stands in tags the first that looks like a document,
    or an empty one; else, or if the reply is not to stand in tags, what is in the first fence."""
    tagged = [m[2].strip() for m in _TAG.finditer(prompt) if m[1] != tag]
    documents = [text for text in tagged if not text or re.search(r"^(#|- )", text, re.MULTILINE)]
    fences = [m[2] for m in _FENCE.finditer(prompt)]
    found = [*documents, *fences] if tag else [*fences, *documents]
    return next(iter([*found, *tagged]), "")
