"""A game without an engine: what an agent's messages do, what is recorded, and the score."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from skillopt.core.types import named_task
from skillopt.tasks.benchmarks.alfworld import engine as program
from skillopt.tasks.benchmarks.alfworld import engines
from skillopt.tasks.benchmarks.alfworld.engines import Engine, EngineError
from skillopt.tasks.benchmarks.alfworld.game import Game
from skillopt.tasks.benchmarks.alfworld.score import Judge
from skillopt.tasks.benchmarks.alfworld.steps import prompt, task_in


class FakeEngine:
    """Counts commands; the fourth one wins."""

    def __init__(self, most: int = 9) -> None:
        self.given: list[str | None] = []
        self.closed = 0
        self._most = most

    def answer(self, command: str | None = None) -> Mapping[str, Any]:
        self.given.append(command)
        count = len(self.given) - 1
        return {
            "observation": "Nothing happens." if command == "fly" else f"room {count}",
            "admissible": ["look", "help", f"go {count}"],
            "score": count,
            "done": count >= min(4, self._most),
            "won": count >= 4,
        }

    def close(self) -> None:
        self.closed += 1


def a_game(folder: Path, most: int = 9) -> tuple[Game, FakeEngine]:
    engine = FakeEngine(most)
    return Game(cast(Engine, engine), folder, most), engine


def test_each_message_has_its_answer(tmp_path: Path) -> None:
    game, engine = a_game(tmp_path)
    shown = {
        "observation": "room 0", "admissible": ["look", "go 0"], "step": 0, "max_steps": 9,
        "score": 0, "done": False, "won": False,
    }  # fmt: skip
    assert game.reply({}) == game.reply({"command": None}) == shown
    assert engine.given == [None], "the state at the start is asked for once"
    after = game.reply({"command": "  go 0 "})
    assert after == shown | {
        "observation": "room 1", "admissible": ["look", "go 1"], "step": 1, "score": 1,
    }  # fmt: skip
    odd: list[Any] = [1, [], True, {"a": 1}]
    for command in odd:
        assert set(game.reply({"command": command})) == {"error"}
    assert engine.given == [None, "go 0"]
    game.reply({"command": "x" * 1001})
    game.reply({"command": "\ud800"})
    assert engine.given[2:] == ["x" * 1000, "?"]
    assert game.reply({"command": "look"})["won"]
    over = game.reply({"command": "look"})
    assert over["error"] == "The game is over, and no command counts any more."
    assert over["step"] == 4 and len(engine.given) == 5
    assert game.reply({"reply": "<action>look</action>"}) == {} and len(engine.given) == 5
    game.close()
    assert engine.closed == 1


def test_the_record_has_each_command_with_what_followed(tmp_path: Path) -> None:
    game, _ = a_game(tmp_path, 3)
    game.reply({})
    start = {"observation": "room 0", "score": 0, "done": False, "won": False}
    record = {"format": 1, "max_steps": 3, "start": start, "steps": [], "fallbacks": 0}
    assert json.loads((tmp_path / "game.json").read_text()) == record
    game.reply({"command": "go 0"})
    game.reply({"reply": "Well."})
    record["steps"] = [
        {"command": "go 0", "observation": "room 1", "score": 1, "done": False, "won": False},
        {"command": "look", "observation": "room 2", "score": 2, "done": False, "won": False},
    ]
    record["fallbacks"] = 1
    assert json.loads((tmp_path / "game.json").read_text()) == record


def test_a_game_is_played_by_replies(tmp_path: Path) -> None:
    game, engine = a_game(tmp_path, 2)
    first = game.reply({"reply": None})["prompt"]
    assert engine.given == [None] and "'look'\n'go 0'" in first and "help" not in first
    second = game.reply({"reply": "<think>so</think><action>GO 0</action>"})["prompt"]
    assert engine.given == [None, "go 0"] and "Action 1: 'go 0'" in second
    assert game.reply({"reply": 7}) == {}, "it is over after two commands"
    assert engine.given == [None, "go 0", "look"]
    assert json.loads((tmp_path / "game.json").read_text())["fallbacks"] == 1


def test_a_prompt_has_the_task_and_the_last_two_steps() -> None:
    start = "Welcome. Your task is to: put a mug. "
    assert task_in(start) == "put a mug." and task_in("Welcome.") == ""
    seen, given = [start, "room 1", "room 2", "room 3"], ["a", "b", "c"]
    assert "step" not in prompt(seen[:1], [], ["look", "go"])
    assert prompt(seen[:1], [], ["x"]).startswith("You act in a household by text commands. What")
    for count, shown in ((1, [1]), (2, [1, 2]), (3, [2, 3])):
        text = prompt(seen[: count + 1], given[:count], ["look"])
        assert f"You have taken {count} steps. The last {len(shown)}, with" in text
        for n in range(1, 4):
            line = f"[Observation {n}: '{seen[n - 1]}', Action {n}: '{given[n - 1]}']"
            assert (line in text) is (n in shown)
        assert f"This is step {count + 1}. What you see now: {seen[count]}\n" in text
        assert "Your task is to: put a mug.\n" in text and "now:\n'look'\n" in text


def judged(folder: Path, steps: list[tuple[str, bool, bool]], fallbacks: int = 0) -> Any:
    """The reward of commands, each refused or not, won or not."""
    record = {
        "format": 1,
        "max_steps": 9,
        "fallbacks": fallbacks,
        "steps": [
            {"command": c, "observation": "Nothing happens." if refused else "a room", "won": won}
            for c, refused, won in steps
        ],
    }
    (folder / "game.json").write_text(json.dumps(record))
    return Judge()(named_task("t"), folder, "", folder)


LEFT = "The game was not won: it was left after {} of 9 steps."


@pytest.mark.parametrize(
    ("steps", "fallbacks", "won", "refused", "said"),
    [
        ([], 0, 0.0, 0, LEFT.format(0)),
        ([("a", False, True)], 1, 1.0, 0, ""),
        ([("a", False, True), ("b", False, False)], 0, 0.0, 0, LEFT.format(2)),
        ([("a", False, False)] * 9, 0, 0.0, 0, "The game was not won: all 9 steps were used."),
        ([("a", False, False)], 2, 0.0, 0,
         f"{LEFT.format(1)} 2 replies had no action and were taken as 'look'."),
        ([("fly", True, False), ("a", False, False), (" fly ", True, False), ("x", True, False)],
         0, 0.0, 3, f"{LEFT.format(4)} 3 of 4 commands were refused ('Nothing happens.'): 'fly' "
         "(2 times), 'x'."),
        ([(f"c{n}", True, False) for n in range(5)], 0, 0.0, 5,
         f"{LEFT.format(5)} 5 of 5 commands were refused ('Nothing happens.'): 'c0', 'c1', 'c2', "
         "'c3', 'c4'."),
        ([(f"c{n}", True, False) for n in range(7)], 0, 0.0, 7,
         f"{LEFT.format(7)} 7 of 7 commands were refused ('Nothing happens.'): 'c0', 'c1', 'c2', "
         "'c3', 'c4' and 2 others."),
        ([(f"c{n}", True, False) for n in range(6)], 0, 0.0, 6,
         f"{LEFT.format(6)} 6 of 6 commands were refused ('Nothing happens.'): 'c0', 'c1', 'c2', "
         "'c3', 'c4' and 1 others."),
        ([("x" * 90, True, False)], 0, 0.0, 1,
         f"{LEFT.format(1)} 1 of 1 commands were refused ('Nothing happens.'): '{'x' * 80}'."),
    ],
)  # fmt: skip
def test_a_game_is_won_or_not(
    steps: Any, fallbacks: int, won: float, refused: int, said: str, tmp_path: Path
) -> None:
    found = judged(tmp_path, steps, fallbacks)
    assert (found.soft, found.feedback) == (won, said)
    assert found.metrics == {"steps": len(steps), "refused": refused, "fallbacks": fallbacks}


def test_a_game_that_was_not_begun_is_not_won(tmp_path: Path) -> None:
    found = Judge()(named_task("t"), tmp_path, "", tmp_path)
    assert (found.soft, found.metrics) == (0.0, {"steps": 0.0}) and "not begun" in found.feedback


class Server:
    """The engine's process, as far as one game asks it."""

    def __init__(self, code: int | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.code: int | None = code
        self.channel: socket.socket | None = None
        self.fails = False

    def request(self, request: dict[str, Any], given: Any = ()) -> Any:
        self.requests.append(request)
        if self.fails:
            raise EngineError("the game engine ended: exit code 1")
        if "play" in request:
            self.channel = socket.socket(fileno=os.dup(given[0]))
            os.write(given[1], b"odd\nlast words\n" if self.code else b"")
            return {"game": "g1"}
        return {"code": self.code}


def test_a_games_answers_are_lines(tmp_path: Path) -> None:
    server = Server()
    game = Engine(tmp_path / "game", 5, tmp_path / "log", cast(Any, server))
    assert server.requests == [{"play": str(tmp_path / "game"), "max_steps": 5}]
    assert server.channel is not None
    server.channel.sendall(b'{"a": 1}\n{"b":')
    assert game.answer() == {"a": 1}
    server.channel.sendall(b" 2}\n")
    assert game.answer("go \u00fc") == {"b": 2}
    assert json.loads(server.channel.recv(100)) == "go \u00fc"
    game.close()
    game.close()
    assert server.requests[1:] == [{"end": "g1"}] and not (tmp_path / "log").exists()


def test_an_answer_may_come_in_pieces_until_its_time_is_over(tmp_path: Path) -> None:
    server = Server()
    game = Engine(tmp_path / "game", 5, tmp_path / "log", cast(Any, server))
    assert server.channel is not None
    later = [threading.Timer(0.03, server.channel.sendall, [b'{"a":']),
             threading.Timer(0.06, server.channel.sendall, [b" 1}\n"])]  # fmt: skip
    for one in later:
        one.start()
    assert game.answer() == {"a": 1}
    for one in later:
        one.join()
    game.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [(-9, "the game engine ended: exit code -9, last words"), (None, "it has closed its output")],
)
def test_how_a_game_ended_is_told(
    code: int | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_LAST_WORDS_S", 0.01)
    server = Server(code)
    game = Engine(tmp_path / "game", 5, tmp_path / "log", cast(Any, server))
    assert server.channel is not None
    server.channel.close()
    with pytest.raises(EngineError, match=said):
        game.answer()
    server.fails = True
    game.close()
    assert (tmp_path / "log").exists() is (code is not None), "it is kept if it says something"


def test_an_engine_that_is_silent_or_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "REPLY_S", 0.02)
    server = Server()
    game = Engine(tmp_path / "game", 5, tmp_path / "log", cast(Any, server))
    with pytest.raises(EngineError, match=r"has not answered within 0\.02 s"):
        game.answer("look")
    game.close()
    server.fails = True
    failed = Engine(tmp_path / "game", 5, tmp_path / "log", cast(Any, server))
    for _ in range(2):
        with pytest.raises(EngineError, match="exit code 1"):
            failed.answer()
    failed.close()
    assert server.requests[-1] != {"end": None}


class State(dict[str, Any]):
    feedback = "a room"


def test_a_state_is_a_line_of_plain_values() -> None:
    state = State(admissible_commands=("look", "go"), won=1)
    told = json.loads(program.line(state, cast(Any, 1.0), cast(Any, 1)))
    assert told == {
        "observation": "a room", "admissible": ["look", "go"], "score": 1, "done": True,
        "won": True,
    }  # fmt: skip
    assert program.line(state).endswith("}\n") and json.loads(program.line(state))["done"] is False


def test_a_game_is_played_until_its_socket_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    class Env:
        def reset(self) -> State:
            return State(admissible_commands=["look"], won=False)

        def step(self, command: str) -> Any:
            given.append(command)
            return State(admissible_commands=[], won=True), 1, True

    def started(file: str, most: int) -> Env:
        given.append((file, most, os.getcwd()))
        return Env()

    limits: list[Any] = []
    monkeypatch.setattr(program, "started", started)
    setrlimit = lambda kind, limit: limits.append((kind, limit))  # noqa: E731
    known = program.resource  # type: ignore[attr-defined]
    fake = SimpleNamespace(
        setrlimit=setrlimit, RLIMIT_AS=known.RLIMIT_AS, RLIMIT_CPU=known.RLIMIT_CPU
    )
    monkeypatch.setattr(program, "resource", fake)
    monkeypatch.chdir(tmp_path)
    ours, theirs = socket.socketpair()
    ours.sendall(b'"go 1"\n')
    ours.shutdown(socket.SHUT_WR)
    program.play(str(tmp_path / "game"), 7, theirs)
    lines = ours.makefile().read().splitlines()
    assert given == [(str(tmp_path / "game"), 7, str(tmp_path)), "go 1"]
    assert [json.loads(line)["won"] for line in lines] == [False, True]
    assert limits == [(known.RLIMIT_AS, (2 * 1024**3,) * 2), (known.RLIMIT_CPU, (1800, 1800))]


def test_games_are_processes_that_are_asked_for_by_their_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(file: str, most: int, channel: socket.socket) -> None:
        os.write(1, f"{file} of {most}, ".encode())
        os.write(2, b"odd, ")
        if file == "fails":
            raise ValueError("no game")
        with channel:
            channel.recv(1)

    monkeypatch.setattr(program, "play", play)
    ours, theirs = socket.socketpair()
    games = program.Games(theirs)
    with ours, theirs, (tmp_path / "log").open("wb") as log:

        def ask(request: dict[str, Any]) -> Any:
            given = []
            if "play" in request:
                given = [os.dup(channel.fileno()), os.dup(log.fileno())]
            answer = games._answer(request, given)
            assert not any(Path(f"/proc/self/fd/{one}").exists() for one in given), "not kept open"
            return answer

        mine, channel = socket.socketpair()
        first = ask({"play": "a", "max_steps": 5})["game"]
        second = ask({"play": "b", "max_steps": 5})["game"]
        assert first == f"{os.getpid()}-1" and second == f"{os.getpid()}-2"
        assert ask({"game": first}) == ask({"game": second}) == {"code": None}
        assert ask({"end": second}) == {"code": -9}
        mine.sendall(b"x")
        channel.close()
        mine.close()
        assert games._code(first, 0) == 0 and ask({"game": first}) == {"code": 0}
        assert ask({"end": first}) == {"code": 0} and ask({"game": first}) == {"code": -9}
        assert ask({"game": "of another"}) == ask({"end": "of another"}) == {"code": -9}
        mine, channel = socket.socketpair()
        failing = ask({"play": "fails", "max_steps": 7})["game"]
        assert games._code(failing, 0) == 1
        last = ask({"play": "c", "max_steps": 5})["game"]
        ours.sendall(json.dumps({"game": failing}).encode())
        ours.shutdown(socket.SHUT_WR)
        games.serve()
        assert json.loads(ours.recv(100)) == {"code": 1}
        assert games._code(last) == -9, "games end with their server"
        channel.close()
        mine.close()
    assert "fails of 7, odd, " in (tmp_path / "log").read_text()


ECHO = """\
import json, os, socket, sys
control = socket.socket(fileno=0)
print("what it prints", flush=True)
while True:
    request, given, _, _ = socket.recv_fds(control, 65536, 2)
    if not request:
        break
    asked = json.loads(request)
    if asked == "end":
        sys.exit(3)
    answer = json.dumps([asked, len(given), os.environ.get("SOME_API_KEY")]).encode() + b"\\n"
    control.sendall(answer)
"""


def test_the_engines_process_is_started_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    (tmp_path / "engine.py").write_text(ECHO)
    server = engines.EngineServer(tmp_path / "engine.py")
    assert server.pid is None
    try:
        found: Any = server.request({"a": 1})
        assert found == [{"a": 1}, 0, None]
        first = server.pid
        with (tmp_path / "log").open("wb") as log:
            found = server.request({"b": 2}, [log.fileno(), 1])
        assert found[:2] == [{"b": 2}, 2]
        assert server.pid == first
        with pytest.raises(EngineError, match="the game engine ended: exit code 3, what it prints"):
            server.request(cast(Any, "end"))
        assert server.request({"a": 1}) and server.pid != first
    finally:
        server.close()
    assert server.pid is None
    server.close()
