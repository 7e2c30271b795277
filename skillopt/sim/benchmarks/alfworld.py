"""Household games: the model plays by what the game shows, and knows no plan.

Without the rule it puts things down by ``put``, which the game refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harnesses.protocols.base import Reply, ToolCall
from skillopt.sim.habits import SHELL_ARGUMENTS, Seen, Statement
from skillopt.sim.prompt import turns

_TASK = re.compile(r"Your task is to: (.*)\.$", re.MULTILINE)
_GOALS = (
    re.compile(r"(?:put|find) two (?P<thing>\w+) (?:and put them )?in (?P<place>\w+)"),
    re.compile(r"put an? (?:(?P<change>clean|hot|cool) )?(?P<thing>\w+) in (?P<place>\w+)"),
    re.compile(r"put some (?P<thing>\w+) on (?P<place>\w+)"),
    re.compile(r"(?P<change>clean|heat|cool) some (?P<thing>\w+) and put it in (?P<place>\w+)"),
    re.compile(r"(?:look at|examine the) (?P<thing>\w+) (?:under|with) the (?P<lamp>\w+)"),
)
_TOOLS = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
_COMMAND = re.compile(
    r"^\s*((?:go to|open|close|take|move|clean|heat|cool|slice|use|examine) [\w ]+)$", re.MULTILINE
)
_GIVEN = re.compile(r'^\./step(?: "([^"]*)")?$')
_MADE = re.compile(r"You (clean|heat|cool) the ")
_TAKEN = re.compile(r"You pick up the (\w+ \d+) from")
_MOVED = re.compile(r"You move the (\w+ \d+) to the (\w+ \d+)")
_ARRIVED = re.compile(r"You (?:arrive at|open the) (?:the )?(\w+ \d+)\b")
_ATTEMPTS = 3
"""How often the model tries what is refused."""


@dataclass
class _Game:
    """What is known of the game, from all that its program has printed."""

    given: list[str] = field(default_factory=list)
    admissible: list[str] = field(default_factory=list)
    held: str = ""
    made: set[str] = field(default_factory=set)
    """What was done with the thing in the hand."""
    moved: set[str] = field(default_factory=set)
    """The things that were put somewhere."""
    seen_at: dict[str, str] = field(default_factory=dict)
    """What was last seen at each place."""
    last: str = ""

    def add(self, command: str, shown: str) -> None:
        """Add a command and what followed."""
        self.given.append(command)
        self.last = shown
        self.admissible = _COMMAND.findall(shown.partition("Possible now:")[2])
        if found := _MADE.search(shown):
            self.made.add(found[1])
        if found := _TAKEN.search(shown):
            self.held, self.made = found[1], set()
        if found := _MOVED.search(shown):
            self.held = ""
            self.moved.add(found[1])
        if found := _ARRIVED.search(shown):
            self.seen_at[found[1]] = shown.partition("Possible now:")[0]

    def possible(self, start: str) -> list[str]:
        """The possible commands that begin so."""
        return [command for command in self.admissible if command.startswith(start)]

    def search(self) -> list[str]:
        """The commands that show what was not seen yet."""
        unseen = [*self.possible("open "), *self.possible("go to ")]
        return [command for command in unseen if command not in self.given]

    def go_where(self, pattern: str) -> list[str]:
        """The ways to the places at which such a thing was seen."""
        places = [place for place, text in self.seen_at.items() if re.search(pattern, text)]
        return [way for place in places for way in self.possible(f"go to {place}")]


def turn(seen: Seen) -> Reply:
    """The next command, or a closing message."""
    task = _TASK.search(seen.instruction)
    goal = next((found for pattern in _GOALS if task and (found := pattern.match(task[1]))), None)
    if goal is None or seen.shell is None:
        return Reply("I do not know how to do this.")
    game = _Game()
    done = turns(seen.conversation.messages[seen.index + 1 :])
    for played in done:
        command = _GIVEN.match(str(played.call.arguments.get(SHELL_ARGUMENTS[seen.shell], "")))
        if command and played.result:
            game.add(command[1] or "", played.result.text)
    if not game.given:
        return _step(seen, "")
    if "The game is over" in game.last:
        return Reply("The game is over.")
    if sum(command.startswith("put ") for command in game.given) >= _ATTEMPTS:
        return Reply("I could not put it down.")
    command = next(_wanted(game, seen.knows, **goal.groupdict()), None)
    return _step(seen, command) if command else Reply("I have looked everywhere.")


def _wanted(
    game: _Game, knows: bool, thing: str, place: str = "", change: str = "", lamp: str = ""
) -> Iterator[str]:
    """Commands that help, the best first."""
    change = {"hot": "heat"}.get(change, change)
    if not game.held:
        moved = "|".join(name.split()[1] for name in game.moved) or "x"
        other = rf"\b{thing} (?!(?:{moved})\b)\d"
        yield from (take for take in game.possible(f"take {thing} ") if re.search(other, take))
        yield from game.go_where(other)
        yield from game.search()
    elif lamp:
        yield from game.possible(f"use {lamp} ")
        yield from game.go_where(rf"\b{lamp} \d")
        yield from game.search()
    elif change and change not in game.made:
        yield from game.possible(f"{change} {game.held} with ")
        yield from game.possible(f"go to {_TOOLS[change]} ")
    else:
        for move in game.possible(f"move {game.held} to {place} "):
            yield move if knows else move.replace("move ", "put ").replace(" to ", " in/on ")
        yield from game.possible(f"open {place} ")
        yield from game.possible(f"go to {place} ")


def _step(seen: Seen, command: str) -> Reply:
    assert seen.shell is not None
    said = f"I {command}." if command else "Let me see where I am."
    arguments: dict[str, str | int] = {
        SHELL_ARGUMENTS[seen.shell]: f'./step "{command}"' if command else "./step"
    }
    if seen.shell == "exec_command":
        arguments["yield_time_ms"] = 30_000  # By default Codex waits for 10 s.
    elif seen.shell in ("Bash", "bash"):
        arguments["description"] = said
    number = len(turns(seen.conversation.messages)) + 1
    call = ToolCall(f"call_{number:04d}", seen.shell, arguments)
    return Reply(said, (call,), stop="tool_calls")


@dataclass(frozen=True)
class Playing:
    """How the model plays; implements :class:`skillopt.sim.habits.Acting`."""

    family: str = "alfworld"
    topics: frozenset[str] = frozenset({"household", "game"})
    statement: Statement = Statement((r"\bput|\bplac(e|ing)\b|\bdown\b",), r"\bmove\b")
    complaint: re.Pattern[str] = re.compile(r"commands were refused .*'put ")
    rule: str = "In household games, put a thing down with the command `move T to F`; `put` is refused."

    def recognises(self, instruction: str) -> bool:
        return "`./step`" in instruction and _TASK.search(instruction) is not None

    def rule_present(self, text: str) -> bool:
        return self.statement.stated(text)

    def turn(self, seen: Seen) -> Reply:
        return turn(seen)


GAME = Playing()
