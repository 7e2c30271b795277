"""One rollout's game: the companion that its agent talks to, and the engine behind it.

A message ``{"command": "look"}`` gives a command, ``{}`` shows the state again, and
``{"reply": "…"}`` plays by the reference's chat protocol (:mod:`.steps`). Whatever an agent sends
has an answer; an engine that fails raises, which ends the rollout as ``infra_error``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skillopt.core.files import to_json, write_atomic
from skillopt.tasks.benchmarks.alfworld import steps
from skillopt.tasks.benchmarks.alfworld.engines import Engine

RECORD = "game.json"
"""The file in a rollout's folder with each command and what followed."""
LOG = "game.log"
"""The file beside it with what the engine printed; removed if it is empty."""
FORMAT = 1
REFUSED = "Nothing happens."
"""The engine's answer to a command that is not possible."""
COMMAND_CHARS = 1000


@dataclass(frozen=True)
class Play:
    """Makes the game of a rollout; a task's ``companion``.

    Args:
        file: the game, which holds the goal and a walkthrough and never enters a sandbox.
        max_steps: the commands after which it is over.
    """

    file: Path
    max_steps: int

    def __call__(self, folder: Path) -> Game:
        return Game(Engine(self.file, self.max_steps, folder / LOG), folder, self.max_steps)


class Game:
    """The companion of one rollout.

    Args:
        engine: that plays the game.
        folder: of the rollout, in which the record is kept.
        max_steps: the commands after which the game is over.
    """

    def __init__(self, engine: Engine, folder: Path, max_steps: int) -> None:
        self._engine = engine
        self._record = folder / RECORD
        self._max_steps = max_steps
        self._states: list[Mapping[str, Any]] = []
        self._commands: list[str] = []
        self._fallbacks = 0

    def reply(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        """See :class:`harnesses.companion.Companion`.

        Raises:
            EngineError: the engine has failed.
        """
        if not self._states:
            self._states.append(self._engine.answer())
            self._keep()
        if "reply" in message:
            return self._next_prompt(message["reply"])
        command = message.get("command")
        if command is not None and not isinstance(command, str):
            return {"error": 'send {"command": "…"} with a text, or {} to see the state'}
        if command is not None and self._over:
            return {"error": "The game is over, and no command counts any more.", **self._shown()}
        if command is not None:
            self._give(command)
        return self._shown()

    def close(self) -> None:
        """End the engine."""
        self._engine.close()

    @property
    def _over(self) -> bool:
        return bool(self._states[-1]["done"])

    @property
    def _admissible(self) -> list[str]:
        return [command for command in self._states[-1]["admissible"] if command != "help"]

    def _shown(self) -> Mapping[str, Any]:
        state = self._states[-1]
        return {
            "observation": state["observation"],
            "admissible": self._admissible,
            "step": len(self._commands),
            "max_steps": self._max_steps,
            "score": state["score"],
            "done": state["done"],
            "won": state["won"],
        }

    def _next_prompt(self, reply: Any) -> Mapping[str, Any]:
        """The prompt after a reply, or before the first; nothing if the game is over."""
        if reply is not None and not self._over:
            told = steps.sent(reply if isinstance(reply, str) else "")
            self._fallbacks += told.fallback is not None
            self._give(told.command)
        if self._over:
            return {}
        observations = [state["observation"] for state in self._states]
        return {"prompt": steps.prompt(observations, self._commands, self._admissible)}

    def _give(self, command: str) -> None:
        """Give a command as the engine takes it: without blanks around it. A longer one than any
        that is possible is cut."""
        command = command.strip()[:COMMAND_CHARS].encode("utf-8", "replace").decode()
        self._states.append(self._engine.answer(command))
        self._commands.append(command)
        self._keep()

    def _keep(self) -> None:
        keys = ("observation", "score", "done", "won")
        kept = [{key: state[key] for key in keys} for state in self._states]
        given = [{"command": c, **after} for c, after in zip(self._commands, kept[1:], strict=True)]
        record = {
            "format": FORMAT,
            "max_steps": self._max_steps,
            "start": kept[0],
            "steps": given,
            "fallbacks": self._fallbacks,
        }
        write_atomic(self._record, to_json(record))
