"""The game engine: a process that has loaded alfworld and textworld, and forks one for each game.

Loading the two takes most of the time of a short game. It is started as a file and imports nothing
of the project; alfworld and textworld are imported here alone. Its standard input is a socket, on
which each request has an answer, all in lines of JSON:

- ``{"play": FILE, "max_steps": N}``, with two descriptors, begins a game: ``{"game": ID}``. The
  first descriptor is the game's own socket: it sends the state before the first command, and
  what follows each command. What its libraries print goes to the second.
- ``{"game": ID}`` asks for its exit code: ``{"code": null}`` as long as it runs.
- ``{"end": ID}`` ends it: ``{"code": N}``.

All games end with this process, and it ends with its socket.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

MEMORY_BYTES = 2 * 1024**3
"""Address space of a game's process; a game takes 150 MB."""
CPU_S = 1800
"""Processor time of a game's process; a game takes some seconds."""
REQUEST_BYTES = 65536


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


def loaded() -> None:
    """Import what :func:`started` needs, for all games."""
    import_module("alfworld.agents.environment.alfred_tw_env")
    import_module("textworld.envs.pddl")
    gc.freeze()  # A game's process then shares these objects' memory.


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


def play(game_file: str, max_steps: int, channel: socket.socket) -> None:
    """Play one game until its socket ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    os.chdir(Path(game_file).parent)
    env = started(game_file, max_steps)
    with channel, channel.makefile("rw", encoding="utf-8") as lines:
        lines.write(line(env.reset()))
        lines.flush()
        for command in lines:
            lines.write(line(*env.step(json.loads(command))))
            lines.flush()


class Games:
    """The processes of games, by what was asked for on a socket.

    Args:
        control: the socket.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._processes: dict[str, int] = {}
        """Those that were running when last looked."""
        self._codes: dict[str, int] = {}
        """Exit codes of the others."""
        self._count = 0

    def serve(self) -> None:
        """Answer requests until the socket ends."""
        while True:
            request, given, _, _ = socket.recv_fds(self._control, REQUEST_BYTES, 2)
            if not request:
                break
            answer = self._answer(json.loads(request), given)
            self._control.sendall(json.dumps(answer).encode() + b"\n")
        for game in list(self._processes):
            self._end(game)

    def _answer(self, request: dict[str, Any], given: list[int]) -> dict[str, Any]:
        if "play" in request:
            return {"game": self._begin(request["play"], request["max_steps"], given)}
        if "end" in request:
            return {"code": self._end(request["end"])}
        return {"code": self._code(request["game"])}

    def _begin(self, game_file: str, max_steps: int, given: list[int]) -> str:
        channel, log = given
        process = os.fork()
        if process == 0:
            self._control.close()
            os.open(os.devnull, os.O_RDONLY)  # As standard input, which the socket was.
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = 1
            try:
                play(game_file, max_steps, socket.socket(fileno=channel))
                code = 0
            finally:  # Nothing of the parent's may run in its copy.
                if code != 0:
                    traceback.print_exc()
                sys.stderr.flush()
                os._exit(code)
        for descriptor in given:
            os.close(descriptor)
        self._count += 1
        # The id is of this process: games of one that ended are unknown to the next.
        game = f"{os.getpid()}-{self._count}"
        self._processes[game] = process
        return game

    def _code(self, game: str, options: int = os.WNOHANG) -> int | None:
        if (process := self._processes.get(game)) is not None:
            ended, status = os.waitpid(process, options)
            if not ended:
                return None
            del self._processes[game]
            self._codes[game] = os.waitstatus_to_exitcode(status)
        return self._codes.get(game, -signal.SIGKILL)

    def _end(self, game: str) -> int | None:
        if self._code(game) is None:
            os.kill(self._processes[game], signal.SIGKILL)
            self._code(game, 0)
        return self._codes.pop(game, -signal.SIGKILL)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    loaded()
    Games(socket.socket(fileno=0)).serve()
