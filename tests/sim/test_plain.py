"""The simulated optimizer in free text: it finds what is wanted whatever method asks."""

from __future__ import annotations

import random
import re

import pytest

from harnesses.protocols.base import Conversation, Message, Tool
from skillopt.methods.prompting import render
from skillopt.sim.knowledge import BAD_RULES, HABITS
from skillopt.sim.plain import reply, wanted

LEDGER, RECONCILE = HABITS[0], HABITS[1]
SKILL = "# House rules\n\n- Be brief.\n\n```\nls -la\n```"
PLAIN = "# House rules\n\n- Be brief."
COMPLAINTS = (
    "3 amounts in parentheses were taken as positive. One id differs from the id only in leading "
    "zeros or letter case."
)
CASE = {"task": "Fix `book.xlsx`.", "shown": "It ran <td></td> a script.", "feedback": COMPLAINTS}


def asked(prompt: str, system: str = "") -> Conversation:
    messages = (Message("system", system), Message("user", prompt))
    return Conversation("sim-1", messages)


def said(prompt: str, harm: float = 0.0, seed: int = 0) -> str:
    found = wanted(asked(prompt))
    assert found is not None
    return reply(found, random.Random(seed), harm)


GEPA_LIKE = (
    "I provided an assistant with these instructions:\n```\n{skill}\n```\n\nExamples with "
    "feedback:\n```\n# Example 1\n## Feedback\n{complaints}\n```\n\nYour task is to write a new "
    "instruction for the assistant. Provide the new instructions within ``` blocks."
)
UNKNOWN = (
    "Please revise the prompt between the markers.\n<old>\n{skill}\n</old>\nPeople said: "
    "{complaints}\nAnswer as <new>...</new>"
)
REWRITES = {
    "fence": (GEPA_LIKE.format(skill=PLAIN, complaints=COMPLAINTS), r"```\n(.*)\n```", PLAIN),
    "tag": (UNKNOWN.format(skill=SKILL, complaints=COMPLAINTS), r"^<new>\n(.*)\n</new>$", SKILL),
    "textgrad": (
        render("textgrad_update", skill=SKILL, feedback=[COMPLAINTS, "none"]),
        r"^<IMPROVED_VARIABLE>\n(.*)\n</IMPROVED_VARIABLE>$",
        SKILL,
    ),
    "evoskill": (
        render("evoskill_generate", skill=SKILL, proposal=COMPLAINTS),
        r"^<NEW_SKILL>\n(.*)\n</NEW_SKILL>$",
        SKILL,
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_keeps_the_text_and_adds_what_complaints_call_for(name: str) -> None:
    prompt, form, skill = REWRITES[name]
    found = re.search(form, said(prompt), re.DOTALL)
    assert found is not None
    assert found[1].startswith(skill)
    assert LEDGER.rule_present(found[1]) and RECONCILE.rule_present(found[1])
    # With these rules there is nothing left to add.
    again = re.search(form, said(prompt.replace(skill, found[1])), re.DOTALL)
    assert again is not None and again[1] == found[1]


@pytest.mark.parametrize("name", REWRITES)
def test_harm_is_added_at_random(name: str) -> None:
    prompt, _, _ = REWRITES[name]
    replies = [said(prompt, harm=0.5, seed=seed) for seed in range(40)]
    bad = [any(rule.rule_present(text) for rule in BAD_RULES) for text in replies]
    assert 5 < sum(bad) < 35
    assert said(prompt, harm=0.5, seed=3) == said(prompt, harm=0.5, seed=3)


@pytest.mark.parametrize(
    "prompt",
    [
        render("textgrad_response", **CASE),
        render("textgrad_skill", skill=SKILL, criticism="- A verifier found: x.", **CASE),
        render(
            "evoskill_propose",
            skill=SKILL,
            failures=[CASE | {"family": "ledger", "score": 0.5}],
            history=[{"outcome": "discarded", "score": 0.1, "parent": 0.2, "text": "no"}],
        ),
        f"Give feedback on this prompt. Do not propose a new version.\n{COMPLAINTS}",
    ],
)
def test_criticism_says_what_verifiers_said(prompt: str) -> None:
    text = said(prompt)
    assert LEDGER.complaint.search(text) and RECONCILE.complaint.search(text)
    assert "- Be brief" not in text  # It does not write the text itself.


def test_without_complaints_nothing_changes() -> None:
    prompt = UNKNOWN.format(skill=SKILL, complaints="All is well.")
    assert said(prompt) == f"<new>\n{SKILL}\n</new>"
    assert "Nothing was found" in said("Give feedback on the skill: all went well.")


def test_an_empty_text_gets_its_first_rule() -> None:
    prompt = render("textgrad_update", skill="", feedback=[COMPLAINTS])
    assert LEDGER.rule in said(prompt) and "parentheses were taken" not in said(prompt)


@pytest.mark.parametrize(
    ("prompt", "tools"),
    [
        ("Fix the amounts in `book.xlsx`.", ()),
        ("Who wrote the new version of the instruction manual?", ()),
        ("Write a report. Answer in <answer></answer> tags.", ()),
        (REWRITES["tag"][0], (Tool("bash", "a shell", {}),)),
    ],
)
def test_work_for_an_agent_is_none_of_it(prompt: str, tools: tuple[Tool, ...]) -> None:
    shown = Conversation("sim-1", (Message("user", prompt),), tools=tools)
    assert wanted(shown) is None


def test_the_packages_own_prompt_is_understood() -> None:
    pytest.importorskip("gepa")
    from gepa.strategies.instruction_proposal import InstructionProposalSignature

    sample = {"Inputs": "Fix `book.xlsx`.", "Generated Outputs": "Done.", "Feedback": COMPLAINTS}
    prompt = InstructionProposalSignature.prompt_renderer(
        {"current_instruction_doc": PLAIN, "dataset_with_feedback": [sample] * 3}
    )
    text = InstructionProposalSignature.output_extractor(said(prompt))["new_instruction"]
    assert text.startswith(PLAIN) and LEDGER.rule_present(text) and RECONCILE.rule_present(text)
