"""An agent's steps as the optimizer reads them, within a token budget.

Taken first is what decided the outcome: the end, what failed and what followed it, what was done
when the skill was opened. Then come the other steps from the end backwards, commands before files
that were only read.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skillopt.core.logs import excerpt, exit_code, reports_failure
from skillopt.core.text import CHARS_PER_TOKEN, estimate_tokens

if TYPE_CHECKING:
    from atif import Step, Trajectory

Clean = Callable[[str], str]
"""Makes a text fit to be shown: without the skill's own text, escapes and the like."""

LAST = 2
"""Steps at the end that come before all others."""
_LEAST_TOKENS = 30
"""A step is not shown with less."""
_LABEL_TOKENS = 5
_READERS = frozenset(
    {
        "cat", "head", "tail", "nl", "less", "more", "bat", "ls", "find", "fd", "tree", "pwd", "cd",
        "grep", "egrep", "rg", "ag", "wc", "file", "stat", "echo", "which", "sort", "uniq", "cut",
        "true", "xxd", "hexdump", "strings", "jq", "column", "tr",
    }
)  # fmt: skip
_GIT_READERS = frozenset({"diff", "log", "show", "status", "blame", "ls-files", "grep"})
_SEARCHERS = frozenset({"grep", "egrep", "rg", "ag", "diff", "cmp", "test", "["})
"""Programs whose exit code 1 says that nothing was found."""
_READING_TOOLS = frozenset(
    {"read", "readfile", "glob", "grep", "ls", "list", "viewimage", "view", "todowrite"}
)
_SKILL_TOOLS = frozenset({"skill"})
_NOISE = frozenset({"yield_time_ms", "max_output_tokens"})
"""Arguments that say nothing of what is done."""
_COMMANDS = ("command", "cmd", "script")
_HEADER = re.compile(
    r"Chunk ID: .*|Wall time: .*|Process exited with code \d+|Exit code:? \d+|Output:"
    r"|Original token count: .*|Error: Exit code \d+"
)
"""Lines that agents put around a command's output."""
_FOOTER = re.compile(r"\n?\[exit code \d+\]\s*\Z")


@dataclass(frozen=True)
class Action:
    """One tool call with its result."""

    call: str
    result: str
    failed: bool = False
    reads: bool = False
    """Whether it only looked at files."""
    opens: bool = False
    """Whether it opened a skill."""


@dataclass(frozen=True)
class ShownStep:
    """One step.

    Args:
        label: its number, such as ``step 3 of 12``.
        thought, said: what the model thought and wrote.
        actions: its tool calls.
        opens: whether it has opened the skill.
        main: whether it is the agent's own and not a sub-agent's.
    """

    label: str
    thought: str
    said: str
    actions: tuple[Action, ...]
    opens: bool = False
    main: bool = True

    @property
    def failed(self) -> bool:
        return any(action.failed for action in self.actions)

    @property
    def reads(self) -> bool:
        return bool(self.actions) and all(action.reads for action in self.actions)

    def text(self, tokens: int | None = None) -> str:
        """The step as text, within about ``tokens`` if that is given."""
        room = None if tokens is None else max(tokens, _LEAST_TOKENS) * CHARS_PER_TOKEN
        parts = [f"thought: {_fit(self.thought, room, 4)}"] if self.thought else []
        parts += [_fit(self.said, room, 3)] if self.said else []
        share = 2 * max(len(self.actions), 1)
        for action in self.actions:
            call = _fit(action.call, room, share)
            left = None if room is None else max(room // (share // 2) - len(call), 40)
            parts += [call, _fit(action.result, left, 1)]
        text = "\n".join(part for part in parts if part)
        return text if room is None else excerpt(text, room)


def _fit(text: str, room: int | None, share: int) -> str:
    return text if room is None else excerpt(text, room // share)


def agent_steps(trajectory: Trajectory | None, clean: Clean, note: str) -> list[ShownStep]:
    """The steps of an agent, and those of its sub-agents after the calls that started them.

    Args:
        trajectory: None if the model was never reached.
        clean: applied to each text.
        note: what ``clean`` puts in the place of the skill, which shows that it was opened.
    """
    if trajectory is None:
        return []
    subs = {sub.trajectory_id: sub for sub in trajectory.subagent_trajectories or ()}
    shown: list[ShownStep] = []
    named = 0
    own = [step for step in trajectory.steps if step.source == "agent"]
    for number, step in enumerate(own, start=1):
        label = f"step {number} of {len(own)}"
        shown.append(_shown(step, label, clean, note, main=True))
        for id in _started(step):
            if sub := subs.pop(id, None):
                named += 1
                shown += _sub_steps(sub, f"{label}, sub-agent {named}: ", clean, note)
    for sub in subs.values():
        named += 1
        shown += _sub_steps(sub, f"sub-agent {named}: ", clean, note)
    return shown


def _sub_steps(sub: Trajectory, prefix: str, clean: Clean, note: str) -> Iterator[ShownStep]:
    own = [step for step in sub.steps if step.source == "agent"]
    for number, step in enumerate(own, start=1):
        yield _shown(step, f"{prefix}step {number} of {len(own)}", clean, note, main=False)
    for deeper in sub.subagent_trajectories or ():
        yield from _sub_steps(deeper, f"{prefix}its sub-agent: ", clean, note)


def _started(step: Step) -> list[str | None]:
    results = step.observation.results if step.observation else []
    return [ref.trajectory_id for result in results for ref in result.subagent_trajectory_ref or ()]


def _shown(step: Step, label: str, clean: Clean, note: str, main: bool) -> ShownStep:
    results = step.observation.results if step.observation else []
    outputs = {result.source_call_id: _text(result.content) for result in results}
    actions = []
    for call in step.tool_calls or []:
        output = outputs.pop(call.tool_call_id, None)
        actions.append(_action(call.function_name, call.arguments, output, clean))
    actions += [Action("", f"got: {clean(text)}") for text in outputs.values() if text]
    said = _text(step.message)
    if any(said and said in action.call for action in actions):
        said = ""  # Some agents announce a command by the command.
    return ShownStep(
        label,
        clean(step.reasoning_content or ""),
        clean(said),
        tuple(actions),
        opens=any(action.opens or note in action.result for action in actions),
        main=main,
    )


def _action(name: str, arguments: dict[str, Any], output: str | None, clean: Clean) -> Action:
    call, command = _call(name, arguments)
    if output is None:
        return Action(clean(call), "got: no result", reads=_only_reads(name, command))
    code, shown = exit_code(output), clean(_bare(output))
    reads = _only_reads(name, command)
    head = f"got (exit code {code}): " if code else "got: "
    failed = _has_failed(command, code, shown, reads)
    opens = _plain(name) in _SKILL_TOOLS
    return Action(clean(call), head + shown, failed, reads, opens)


def _has_failed(command: str, code: int | None, output: str, reads: bool) -> bool:
    """Whether a command did not do what it was to do, by its exit code or its output, which does
    not count where files were only read."""
    if code == 1 and not output.strip() and _programs(command)[-1:] in [[s] for s in _SEARCHERS]:
        return False
    if not code and reads and (code == 0 or output.count("\n") > 3):
        return False
    return reports_failure(output, code)


def _only_reads(name: str, command: str) -> bool:
    """Whether a call only looks at files, by the tool's name or the programs of its command."""
    if not command:
        return _plain(name) in _READING_TOOLS | _SKILL_TOOLS
    if "<<" in command or re.search(r"(?<![0-9&])>(?!\s*/dev/null|&)", command):
        return False
    programs = _programs(command)
    return bool(programs) and all(program in _READERS for program in programs)


def _plain(name: str) -> str:
    """A tool's name without its group, in lower case and letters only."""
    return re.sub(r"[^a-z]", "", name.rpartition("__")[2].lower())


def _programs(command: str) -> list[str]:
    """The programs that a shell command runs; ``git log`` and ``sed -n`` count as ``cat``."""
    found = []
    for part in re.split(r"&&|\|\||[|;\n]", command):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        words = words[next((n for n, w in enumerate(words) if "=" not in w), len(words)) :]
        if not words:
            continue
        program = words[0].rpartition("/")[2]
        looks = program == "git" and any(word in _GIT_READERS for word in words[1:3])
        looks = looks or (program == "sed" and "-n" in words and "-i" not in words)
        found.append("cat" if looks else program)
    return found


def _call(name: str, arguments: dict[str, Any]) -> tuple[str, str]:
    """A call as a person would read it, and its shell command if it is one.

    Texts of several lines and commands stand as they are, below the other arguments.
    """
    texts = {
        key: " ".join(map(str, value[2:])) if _is_shell(value) else value
        for key, value in arguments.items()
        if key not in _NOISE
    }
    command = next((texts[k] for k in _COMMANDS if isinstance(texts.get(k), str)), "")
    long = [k for k, v in texts.items() if isinstance(v, str) and ("\n" in v or v == command != "")]
    if not long and len(texts) == 1:
        long = [key for key, value in texts.items() if isinstance(value, str)]
    others = {key: value for key, value in texts.items() if key not in long}
    more = ", ".join(f"{k}: {json.dumps(v, ensure_ascii=False)}" for k, v in others.items())
    head = f"called {name}" + (f" ({more})" if more else "")
    if len(long) == 1:
        text = str(texts[long[0]])
        gap = "\n" if "\n" in text and more else " "
        return f"{head}:{gap}{text}", command
    return "\n".join([head, *(f"{key}:\n{texts[key]}" for key in long)]), command


def _is_shell(value: object) -> bool:
    """Whether an argument is a command as ``["bash", "-lc", "…"]``."""
    return isinstance(value, list) and len(value) > 2 and str(value[1]) in ("-c", "-lc")


def _bare(output: str) -> str:
    """A command's own output, without what the agent puts around it."""
    if output.startswith('{"output":'):
        try:
            found = json.loads(output)["output"]
            return found if isinstance(found, str) else output
        except (ValueError, TypeError, KeyError, RecursionError):
            return output
    lines = output.split("\n")
    while lines and _HEADER.fullmatch(lines[0].strip()):
        del lines[0]
    return _FOOTER.sub("", "\n".join(lines))


def _text(content: Any) -> str:
    """The text of ATIF content, which is a string or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content if getattr(part, "text", None))


def render_steps(steps: Sequence[ShownStep], tokens: int) -> str:
    """The steps in their order, as many as fit into about ``tokens``, with notes on the others.

    Each gets a share of the budget first, so that one long step does not push out the others; what
    is left makes the most important ones whole.
    """
    order = by_importance(steps)
    shown: dict[int, str] = {}
    for index in order:
        share = min(max(tokens // 12 if steps[index].reads else tokens // 4, 50), max(tokens, 0))
        for room in (share, tokens - _LABEL_TOKENS):
            if room < _LEAST_TOKENS:
                break
            text = steps[index].text(room)
            if _cost(text) <= tokens:
                shown[index] = text
                tokens -= _cost(text)
                break
    for index in order:
        if index in shown:
            text, before = steps[index].text(), _cost(shown[index])
            if _cost(text) > tokens + before:
                text = steps[index].text(tokens + before - _LABEL_TOKENS)
            if before < _cost(text) <= tokens + before:
                shown[index] = text
                tokens -= _cost(text) - before
    lines: list[str] = []
    for index, step in enumerate(steps):
        if index in shown:
            lines.append(f"[{step.label}] {shown[index]}")
        elif index == 0 or index - 1 in shown:
            gap = next((n for n in range(index, len(steps)) if n in shown), len(steps)) - index
            lines.append(f"[… {gap} step{'s' * (gap > 1)} left out …]")
    return "\n".join(lines)


def _cost(text: str) -> int:
    return estimate_tokens(text) + _LABEL_TOKENS


def by_importance(steps: Sequence[ShownStep]) -> list[int]:
    own = [index for index, step in enumerate(steps) if step.main]
    last = set(own[-LAST:])
    first = own[:1]

    def rank(index: int) -> tuple[int, int]:
        step, before = steps[index], steps[index - 1] if index else None
        if index in last:
            return 0, -index
        if step.failed:
            return 1, -index
        if step.opens or (before is not None and (before.failed or before.opens)):
            return 2, -index
        if index in first:
            return 3, -index
        return (5, -index) if step.reads else (4, -index)

    return sorted(range(len(steps)), key=rank)
