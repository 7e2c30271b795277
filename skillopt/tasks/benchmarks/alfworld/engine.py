"""The game engine, in a process of its own: a command a line in, what follows a line out, as JSON.

It is started as a file and imports nothing of the project, so that it starts quickly and takes
little memory; alfworld and textworld are imported here alone. Its first line is the state before
the first command.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

MEMORY_BYTES = 2 * 1024**3
"""Address space of the process; a game takes 150 MB."""
CPU_S = 1800
"""Processor time of the process; a game takes some seconds."""


def started(game_file: str, max_steps: int) -> Any:
    """The environment of a game, as the public evaluation makes it, without its expert."""
    import textworld
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld.envs.pddl import PddlEnv
    from textworld.envs.wrappers import Limit

    infos = textworld.EnvInfos(won=True, admissible_commands=True)
    env = AlfredDemangler(Limit(PddlEnv(infos), max_episode_steps=max_steps))
    env.load(game_file)
    return env


def line(state: Any, score: int = 0, done: bool = False) -> str:
    """A state as a line; numbers and truth values are the engine's."""
    shown = {
        "observation": state.feedback,
        "admissible": list(state["admissible_commands"]),
        "score": int(score),
        "done": bool(done),
        "won": bool(state["won"]),
    }
    return json.dumps(shown) + "\n"


def main(game_file: str, max_steps: str) -> None:
    """Play one game until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # What the libraries print goes to the log; the lines have a descriptor of their own.
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    env = started(game_file, int(max_steps))
    lines.write(line(env.reset()))
    lines.flush()
    for command in sys.stdin:
        lines.write(line(*env.step(json.loads(command))))
        lines.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
