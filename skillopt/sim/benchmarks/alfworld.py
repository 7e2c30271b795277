"""Household games: the model plays by what the game shows, and knows no plan.

Without the rule it puts things down by ``put``, which the game refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from harnesses.protocols.base import Reply
from skillopt.sim.habits import Seen, Statement
from skillopt.sim.prompt import SHELLS, shell_call, turns

_TASK = re.compile(r"Your task is to: (.*)\.$", re.MULTILINE)
_PROMPTED = re.compile(r"^You act in a household by text commands\.")
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
_STEP = re.compile(r"\[Observation \d+: '(.*?)', Action \d+: '(.*?)'\]", re.DOTALL)
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
    at: str = ""

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
            self.at = found[1]
            self.seen_at[found[1]] = shown.partition("Possible now:")[0]

    def possible(self, start: str) -> list[str]:
        """The possible commands that begin so."""
        return [command for command in self.admissible if command.startswith(start)]

    def search(self) -> list[str]:
        """The commands that show what was not seen yet, as far as is known; first what comes next
        in the order of names."""
        ways = self.possible("go to ")
        later = [way for way in ways if way > f"go to {self.at}"]
        unseen = [*self.possible("open "), *later, *(way for way in ways if way not in later)]
        return [command for command in unseen if command not in self.given]

    def go_where(self, pattern: str) -> list[str]:
        """The ways to the places at which such a thing was seen."""
        places = [place for place, text in self.seen_at.items() if re.search(pattern, text)]
        return [way for place in places for way in self.possible(f"go to {place}")]


def turn(seen: Seen) -> Reply:
    """The next command, or a closing message."""
    task = _TASK.search(seen.instruction)
    goal = next((found for pattern in _GOALS if task and (found := pattern.match(task[1]))), None)
    if goal is None:
        return Reply("I do not know how to do this.")
    if _PROMPTED.search(seen.instruction):
        game = _prompted(seen.instruction, goal["thing"])
        command = next(_wanted(game, seen.knows, **goal.groupdict()), "look")
        return Reply(f"<think>I {command}.</think><action>{command}</action>")
    if seen.shell is None:
        return Reply("I do not know how to do this.")
    game = _Game()
    done = turns(seen.conversation.messages[seen.index + 1 :])
    for played in done:
        given = _GIVEN.match(str(played.call.arguments.get(SHELLS[seen.shell], "")))
        if given and played.result:
            game.add(given[1] or "", played.result.text)
    if not game.given:
        return _step(seen, seen.shell, "")
    if "The game is over" in game.last:
        return Reply("The game is over.")
    if sum(command.startswith("put ") for command in game.given) >= _ATTEMPTS:
        return Reply("I could not put it down.")
    for command in _wanted(game, seen.knows, **goal.groupdict()):
        return _step(seen, seen.shell, command)
    return Reply("I have looked everywhere.")


def _prompted(prompt: str, thing: str) -> _Game:
    """What is known of the game from one prompt of the chat protocol, which has two steps."""
    history, _, now = prompt.rpartition("What you see now: ")
    shown, _, possible = now.partition("The commands that are possible now:")
    steps = _STEP.findall(history)
    game = _Game()
    after = [observation for observation, _ in steps[1:]] + [shown]
    if steps:
        game.add("", steps[0][0])
    for (_, command), observation in zip(steps, after, strict=False):
        game.add(command, observation)
    game.admissible = re.findall(r"^'(.*)'$", possible, re.MULTILINE)
    # Only a thing in the hand can be examined.
    held = [command.removeprefix("examine ") for command in game.possible(f"examine {thing} ")]
    game.held = held[0] if held else ""
    return game


def _wanted(
    game: _Game, knows: bool, thing: str, place: str = "", change: str = "", lamp: str = ""
) -> Iterator[str]:
    """Commands that help, the best first."""
    change = {"hot": "heat"}.get(change, change)
    if not game.held:
        moved = "|".join(name.split()[1] for name in game.moved) or "x"
        other = rf"\b{thing} (?!(?:{moved})\b)\d"
        for take in game.possible(f"take {thing} "):
            if re.search(other, take) and not (place and f" from {place} " in take):
                yield take
        yield from (way for way in game.go_where(other) if not (place and f" {place} " in way))
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


def _step(seen: Seen, shell: str, command: str) -> Reply:
    said = f"I {command}." if command else "Let me see where I am."
    return shell_call(
        shell, f'./step "{command}"' if command else "./step", said, seen.conversation
    )


@dataclass(frozen=True)
class Playing:
    """How the model plays; implements :class:`skillopt.sim.habits.Acting`."""

    family: str
    topics: frozenset[str]
    statement: Statement
    complaint: re.Pattern[str]
    rule: str

    def recognises(self, instruction: str) -> bool:
        played = "`./step`" in instruction or _PROMPTED.search(instruction) is not None
        return played and _TASK.search(instruction) is not None

    def rule_present(self, text: str) -> bool:
        return self.statement.stated(text)

    def turn(self, seen: Seen) -> Reply:
        return turn(seen)


GAME = Playing(
    family="alfworld",
    topics=frozenset({"household", "game"}),
    statement=Statement((r"\bput|\bplac(e|ing)\b|\bdown\b",), r"\bmove\b"),
    complaint=re.compile(r"commands were refused .*'put "),
    rule="In household games, put a thing down by the command `move T to F`; `put` is refused.",
)
