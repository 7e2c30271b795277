"""What the Agent Skills specification objects to in a skill, and what an agent would not load.

Objections are warnings: agents load skills in spite of nearly all of them. What each agent needs
is in its module (:class:`harnesses.agents.folders.SkillRules`), and was tried with its program.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from harnesses.agents.folders import SkillRules
from harnesses.agents.registry import CLI_AGENTS, agent_kind
from skillopt.core.front_matter import parse
from skillopt.core.skill import SKILL_FILE, Skill, SkillError

_NUMBER = re.compile(r"(?<!\+)\b\d+\b")
_DASHES = "the front matter contains '---', which ends it for some agents, such as Claude Code"


def objections(skill: Skill) -> tuple[str, ...]:
    """What the specification objects to in a skill, as ``skillopt skills check`` warns of it.

    Raises:
        SkillError: a change of the skill cannot be written.
    """
    from skills_ref.validator import validate_metadata

    document = parse(skill.text)
    found = []
    if document.front is None:
        found.append(f"{SKILL_FILE} must begin with front matter: '---', keys, '---'")
    else:
        described = document.texts.get("description")
        values = dict(document.values)
        if described is not None and isinstance(values["description"], str):
            values["description"] = " ".join(described.split())
        found += validate_metadata(values)
    if document.repeated:
        found.append(f"keys that occur more than once: {', '.join(document.repeated)}")
    odd = Counter(f"U+{ord(c):04X}" for c in skill.text if _is_control(c))
    found += [f"contains control characters: {c} ({n})" for c, n in sorted(odd.items())]
    if "---" in (document.front or ""):
        found.append(_DASHES)
    if skill.text.startswith("\ufeff"):
        found.append("begins with a byte order mark")
    if skill.folder != skill.name:
        found.append(f"the folder {skill.folder!r} is not named as the skill, {skill.name!r}")
    if skill.layout.file != SKILL_FILE:
        found.append(f"the file {skill.layout.file!r} is not named {SKILL_FILE}")
    return tuple(found)


def made_worse(before: Skill, after: Skill) -> tuple[str, ...]:
    """The objections to a skill that its last change has caused or made worse. What was there
    before is no reason to refuse the change.

    Raises:
        SkillError: the change cannot be written.
    """
    known = dict(map(_kind, objections(before)))
    worse = []
    for text in objections(after):
        kind, numbers = _kind(text)
        if kind not in known or numbers > known[kind]:
            worse.append(text)
    return tuple(worse)


def check_names(beside: Sequence[Skill], skill: Skill | None = None) -> None:
    """Refuse skills of which an agent could have only one, as names or folders are the same.

    Args:
        beside: those of ``skill.beside``.
        skill: the skill itself, if it is known.

    Raises:
        SkillError: two have the same name or folder.
    """
    for number, one in enumerate(beside):
        for other in beside[:number]:
            if name := _common_name(one, other):
                raise SkillError(f"skill.beside: two skills are named {name!r}; rename one of them")
        if skill is not None and (name := _common_name(one, skill)):
            raise SkillError(
                f"skill.beside: one of them is named {name!r} like the skill itself; an agent can "
                "have one of a name only"
            )


def _common_name(one: Skill, other: Skill) -> str:
    return next((n for n in (one.name, one.folder) if n in (other.name, other.folder)), "")


def not_loaded(skill: Skill, agent: str) -> str:
    """Why an agent would not load a skill from its folder of skills, and what to do; empty if it
    would. The folder is one that :func:`skillopt.core.skill.for_agents` has laid out.

    Args:
        skill: the skill.
        agent: name of a harness; one that is not a program of the project loads everything.
    """
    if agent not in CLI_AGENTS:
        return ""
    rules = agent_kind(agent).folders.loads
    reason = _reason(skill, rules)
    return f"{agent} does not load this skill: {reason}" if reason else ""


def check_loaded(skill: Skill, agent: str, mount: str = "native") -> None:
    """Refuse a skill that an agent would not load from its folder of skills.

    Args:
        skill: the skill.
        agent: name of a harness.
        mount: ``harness.mount``; as instructions, an agent has every skill.

    Raises:
        SkillError: it would not.
    """
    reason = "" if mount == "instructions" else not_loaded(skill, agent)
    if reason:
        raise SkillError(
            f"{skill.folder}: {reason}. Or give it as instructions: harness.mount: instructions"
        )


def not_offered(skill: Skill, agent: str) -> bool:
    """Whether an agent loads a skill for its user only, and does not offer it to the model."""
    disabled = skill.extra.get("disable-model-invocation") is True
    return agent in CLI_AGENTS and disabled and agent_kind(agent).folders.loads.hides_disabled


def _reason(skill: Skill, rules: SkillRules) -> str:
    document = parse(skill.text)
    values, texts = document.values, document.texts
    if document.opening.startswith("\ufeff") and not rules.byte_order_mark:
        return "it begins with a byte order mark; save it as UTF-8 without one"
    if rules.description and not values:
        return "it has no front matter; begin it with '---', 'name: …', 'description: …', '---'"
    if rules.description and not texts.get("description", "").strip():
        return "it has no description; add one to the front matter"
    if rules.name and not texts.get("name", "").strip():
        return "it has no name; add one to the front matter"
    for key in ("name", "description") if rules.texts_only else ():
        if not isinstance(values.get(key, ""), str):
            return f"its {key} is not a text; put it in quotes"
    if rules.name_chars is not None and len(skill.name) > rules.name_chars:
        return f"its name has more than {rules.name_chars} characters; shorten it"
    unique = document.repeated if rules.unique is None else rules.unique
    repeated = [key for key in document.repeated if key in unique]
    if repeated:
        return f"keys occur more than once: {', '.join(repeated)}; remove all but one"
    if rules.metadata and not isinstance(values.get("metadata"), Mapping | None):
        return "its metadata are not keys with values; write them as such, or remove them"
    return ""


def _kind(objection: str) -> tuple[str, list[int]]:
    """An objection without its numbers, and these: 'exceeds 1024 character limit (1300 chars)'
    is made worse by more, and not by less."""
    return _NUMBER.sub("#", objection), [int(number) for number in _NUMBER.findall(objection)]


def _is_control(char: str) -> bool:
    """Whether it is a control character or lone surrogate, which terminals obey and no reader
    shows."""
    return unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t\r"
