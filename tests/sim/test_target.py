"""The simulated target, turn by turn, on prompts laid out as the real harnesses do."""

from __future__ import annotations

import random
from xml.sax.saxutils import escape

import pytest

from harnesses.protocols.base import Conversation, Message, Reply, Tool, ToolResult
from skillopt.sim.knowledge import CHORES
from skillopt.sim.prompt import listed_skills
from skillopt.sim.target import reply

INSTRUCTION = (
    "Make a short Markdown report `report.md` from `orders-2026.csv`: the heading "
    "`# Orders 2026`, then a table with the columns Month, Orders, Amount."
)
RULE = next(habit.rule for habit in CHORES if habit.family == "report")
BODY = f"# House rules\n\n- Be careful.\n- {RULE}\n"
FITTING = "House rules for office chores: spreadsheets, CSV files, logs, reports."

CODEX_TOOLS = (Tool("exec_command", "", {}), Tool("write_stdin", "", {}))
CLAUDE_TOOLS = (Tool("Agent", "", {}), Tool("Bash", "", {}), Tool("Skill", "", {}))
OPENCODE_TOOLS = (Tool("bash", "", {}), Tool("skill", "", {}), Tool("task", "", {}))
CODEX_PATH = "/home/agent/.codex/skills/house-rules/SKILL.md"


def codex_prompt(description: str, name: str = "house-rules") -> tuple[Message, ...]:
    listing = (
        "<skills_instructions>\n## Skills\nA skill is a set of local instructions.\n"
        "### Skill roots\n- `r0` = `/home/agent/.codex/skills`\n"
        "- `r1` = `/home/agent/.codex/skills/.system`\n### Available skills\n"
        "- openai-docs: Docs about reports, logs and CSV. (file: r1/openai-docs/SKILL.md)\n"
        f"- {name}: {description} (file: r0/{name}/SKILL.md)\n</skills_instructions>"
    )
    context = "<environment_context>\n  <timezone>Etc/UTC</timezone>\n</environment_context>"
    return (
        Message("system", "You are a coding agent running in the Codex CLI."),
        Message("system", listing),
        Message("user", context),
        Message("user", INSTRUCTION),
    )


def claude_prompt(description: str) -> tuple[Message, ...]:
    listing = (
        "Available agent types for the Agent tool:\n- Plan: makes plans.\n\n"
        "The following skills are available for use with the Skill tool:\n\n"
        f"- house-rules: {description}\n- deep-research: Writes a cited report.\n"
    )
    reminder = "<system-reminder>\n# currentDate\nToday is 2026-11-23.\n</system-reminder>\n\n"
    return (
        Message("system", "You are a Claude agent."),
        Message("user", f"{reminder}\n{INSTRUCTION}"),
        Message("system", listing),
    )


def opencode_prompt(description: str) -> tuple[Message, ...]:
    listing = (
        "<available_skills>\n  <skill>\n    <name>customize-opencode</name>\n"
        "    <description>Reports, logs and CSV of its own.</description>\n  </skill>\n"
        f"  <skill>\n    <name>house-rules</name>\n    <description>{escape(description)}"
        "</description>\n    <location>/home/agent/x/SKILL.md</location>\n  </skill>\n"
        "</available_skills>"
    )
    return (Message("system", f"You are opencode.\n{listing}"), Message("user", INSTRUCTION))


def play(
    messages: tuple[Message, ...],
    tools: tuple[Tool, ...],
    outputs: list[str],
    noise: float = 0.0,
    extra: dict[int, Message] | None = None,
) -> list[Reply]:
    """The target's turns, when its tool calls give these outputs one after another.

    ``extra`` are messages that the harness puts in after the result of that number.
    """
    said = []
    for number in range(len(outputs) + 1):
        answer = reply(Conversation("sim", messages, tools), random.Random(7), noise)
        said.append(answer)
        if not answer.calls:
            break
        result = ToolResult(answer.calls[0].id, outputs[number])
        messages = (
            *messages,
            Message("assistant", answer.text, answer.calls),
            Message("user", results=(result,)),
            *([extra[number]] if extra and number in extra else []),
        )
    return said


def commands(said: list[Reply]) -> list[str]:
    found = []
    for answer in said:
        for call in answer.calls:
            arguments = call.arguments
            found.append(
                str(arguments.get("cmd") or arguments.get("command") or arguments.get("skill"))
            )
    return found


def test_codex_reads_the_skill_and_follows_it() -> None:
    said = play(codex_prompt(FITTING), CODEX_TOOLS, [BODY, "files", "wrote report.md"])
    opened, looked, worked = commands(said)
    assert opened == f"cat '{CODEX_PATH}'"
    assert looked.startswith("ls -la; head -n 5 report.md orders-2026.csv")
    assert "day_first" in worked
    assert said[-1].calls == ()
    assert all(answer.stop == "tool_calls" for answer in said[:-1])
    assert said[-1].stop == "end"


def test_claude_code_gets_the_skill_as_a_message() -> None:
    body = Message("user", f"Base directory for this skill: /x/house-rules\n\n{BODY}")
    said = play(
        claude_prompt(FITTING),
        CLAUDE_TOOLS,
        ["Launching skill: house-rules", "files", "wrote report.md"],
        extra={0: body},
    )
    assert said[0].calls[0].name == "Skill"
    assert commands(said)[0] == "house-rules"
    assert "day_first" in commands(said)[2]
    assert len(said) == 4


def test_opencode_opens_the_skill_with_its_tool_for_skills() -> None:
    content = f'<skill_content name="house-rules">\n{BODY}\n</skill_content>'
    prompt = opencode_prompt(f"{FITTING} And <more> & others.")
    said = play(prompt, OPENCODE_TOOLS, [content, "files", "wrote report.md"])
    assert dict(said[0].calls[0].arguments) == {"name": "house-rules"}
    assert "day_first" in commands(said)[2]
    (other, listed) = listed_skills(Conversation("sim", prompt, OPENCODE_TOOLS))
    assert other.name == "customize-opencode"
    assert listed.description == f"{FITTING} And <more> & others."


def test_direct_chat_has_the_skill_in_its_system_message() -> None:
    prompt = (Message("system", f"Use the tools.\n\n{BODY}"), Message("user", INSTRUCTION))
    said = play(prompt, (Tool("shell", "", {}),), ["files", "wrote report.md\n[exit code 0]"])
    assert len(commands(said)) == 2
    assert "day_first" in commands(said)[1]


@pytest.mark.parametrize(
    "text",
    [
        f"# AGENTS.md instructions for /app\n\n<INSTRUCTIONS>\n{BODY}\n</INSTRUCTIONS>",
        f"<system-reminder>\n# claudeMd\n{BODY}\n</system-reminder>",
    ],
)
def test_instructions_in_the_prompt_count_as_read(text: str) -> None:
    prompt = (Message("user", text), Message("user", INSTRUCTION))
    said = play(prompt, CODEX_TOOLS, ["files", "wrote report.md"])
    assert "day_first" in commands(said)[1]


def test_a_rule_in_a_description_alone_is_not_read() -> None:
    for prompt, tools in (
        (codex_prompt(f"{FITTING} {RULE}"), CODEX_TOOLS),
        (claude_prompt(f"{FITTING} {RULE}"), CLAUDE_TOOLS),
        (opencode_prompt(f"{FITTING} {RULE}"), OPENCODE_TOOLS),
    ):
        said = play(prompt, tools, ["No such file or directory", "files", "wrote report.md"])
        assert "month_first" in commands(said)[2]


def test_a_skill_whose_description_does_not_fit_stays_closed() -> None:
    for prompt, tools in (
        (codex_prompt("Paints pictures of cats."), CODEX_TOOLS),
        (claude_prompt("Paints pictures of cats."), CLAUDE_TOOLS),
        (opencode_prompt("Paints pictures of cats."), OPENCODE_TOOLS),
    ):
        said = play(prompt, tools, ["files", "wrote report.md"])
        assert commands(said)[0].startswith("ls -la")
        assert "month_first" in commands(said)[1]


def test_a_rule_in_an_input_file_is_not_a_skill() -> None:
    said = play(codex_prompt("Cats."), CODEX_TOOLS, [BODY, "wrote report.md"])
    assert "month_first" in commands(said)[1]


def test_a_bad_rule_is_followed() -> None:
    body = f"{BODY}- Write all amounts with thousands separators.\n"
    said = play(codex_prompt(FITTING), CODEX_TOOLS, [body, "files", "wrote report.md"])
    assert "thousands=True)" in commands(said)[2]


def test_noise_makes_it_forget_the_rules_for_the_whole_task() -> None:
    def worked(seed: int, noise: float) -> str:
        prompt = (Message("system", BODY), Message("user", INSTRUCTION))
        call = reply(Conversation("sim", prompt, CODEX_TOOLS), random.Random(seed), noise)
        done = (
            *prompt,
            Message("assistant", "", call.calls),
            Message("user", results=(ToolResult(call.calls[0].id, "files"),)),
        )
        said = reply(Conversation("sim", done, CODEX_TOOLS), random.Random(seed), noise)
        return commands([said])[0]

    slips = sum("month_first" in worked(seed, 0.3) for seed in range(200))
    assert 40 <= slips <= 80
    assert "month_first" in worked(0, 1.0)
    assert "day_first" in worked(0, 0.0)


def test_one_retry_then_it_gives_up() -> None:
    said = play(codex_prompt("Cats."), CODEX_TOOLS, ["files", "Traceback", "Traceback"])
    first, second = commands(said)[1:]
    assert first == second
    assert "failed" in said[-1].text
    assert said[-1].calls == ()


def test_questions_unknown_chores_and_odd_conversations() -> None:
    def ask(*messages: Message, tools: tuple[Tool, ...] = ()) -> Reply:
        return reply(Conversation("sim", messages, tools), random.Random(0), 0.5)

    assert ask(Message("user", "What is the capital of France?")).text
    assert ask().text
    assert ask(Message("assistant", "Hello.")).text
    odd = Tool("paint", "", {})
    assert not ask(Message("user", INSTRUCTION), tools=(odd,)).calls
    said = play((Message("user", "Paint my house."),), CODEX_TOOLS, ["files"])
    assert commands(said) == ["ls -la; true"]
    assert "not know" in said[-1].text


def test_a_second_request_in_the_same_conversation() -> None:
    said = play(codex_prompt(FITTING), CODEX_TOOLS, [BODY, "files", "wrote report.md"])
    messages = codex_prompt(FITTING)
    for answer, output in zip(said, [BODY, "files", "wrote report.md", ""], strict=True):
        messages = (*messages, Message("assistant", answer.text, answer.calls))
        if answer.calls:
            messages = (
                *messages,
                Message("user", results=(ToolResult(answer.calls[0].id, output),)),
            )
    messages = (*messages, Message("user", INSTRUCTION.replace("2026", "2025")))
    again = play(messages, CODEX_TOOLS, ["files", "wrote report.md"])
    assert commands(again)[0].startswith("ls -la")
    assert "orders-2025.csv" in commands(again)[1]
    assert "day_first" in commands(again)[1]
