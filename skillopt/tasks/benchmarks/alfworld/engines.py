"""The game engine's process, which this one starts once, and the games that it plays."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harnesses.environment import without_keys
from sandboxes.errors import SkillOptError

REPLY_S = 50.0
"""The seconds that the engine may take for a command, its start included; the gateway gives a
companion 60."""
_SLOW = "the game engine has not answered within {:g} s"
_LAST_WORDS_S = 5.0
_LAST_WORDS_CHARS = 300
ENGINE = Path(__file__).with_name("engine.py")


class EngineError(SkillOptError):
    """The game engine ended, or did not answer in time: a failure of the infrastructure."""


class EngineServer:
    """The process that has loaded the engine and forks one for each game.

    It starts with the first game and ends with this process. If it fails, its games fail, and the
    next one starts it anew. All methods can be called from any thread.

    Args:
        program: the file that is started.
    """

    def __init__(self, program: Path = ENGINE) -> None:
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def request(self, message: Mapping[str, Any], given: Sequence[int] = ()) -> Mapping[str, Any]:
        """The answer to a request of :mod:`.engine`.

        Args:
            given: descriptors that go with it.

        Raises:
            EngineError: there is none; the process is ended then.
        """
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                socket.send_fds(self._control, [json.dumps(message).encode()], given)
                answer = self._control.recv(1024)
            except TimeoutError as error:
                self._stop(0.0)
                raise EngineError(_SLOW.format(REPLY_S)) from error
            except ConnectionError:
                answer = b""
            except OSError as error:
                raise EngineError(f"the game engine cannot be started: {error}") from error
            if not answer:
                raise EngineError(f"the game engine ended: {self._stop(_LAST_WORDS_S)}")
        found: Mapping[str, Any] = json.loads(answer)
        return found

    @property
    def pid(self) -> int | None:
        """The process; None if it does not run."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process, and all games with it."""
        with self._lock:
            self._stop(_LAST_WORDS_S)

    def _start(self) -> None:
        # Loading alfworld makes the folder ALFWORLD_DATA, so it is one that exists. Sets are in
        # one order in all processes.
        own = {
            "ALFWORLD_DATA": str(self._program.parent),
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
        }
        control, theirs = socket.socketpair()
        log = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(self._program)],
                stdin=theirs.fileno(), stdout=log, stderr=log,
                env=without_keys(**own), start_new_session=True,
            )  # fmt: skip
        except OSError:
            control.close()
            log.close()
            raise
        finally:
            theirs.close()
        control.settimeout(REPLY_S)
        self._control, self._log = control, log
        atexit.register(self.close)

    def _stop(self, patience_s: float) -> str:
        """End the process and its games; how it ended by itself."""
        process, self._process = self._process, None
        if process is None:
            return ""
        atexit.unregister(self.close)
        self._control.close()
        try:
            ended = f"exit code {process.wait(patience_s)}"
        except subprocess.TimeoutExpired:
            ended = "it has closed its output"
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with self._log as log:
            log.seek(0)
            return _with_last_line(ended, log.read())


SERVER = EngineServer()
"""The one of this process."""


class Engine:
    """One game, which loads while the agent starts.

    Args:
        file: the game.
        max_steps: the commands after which it is over.
        log: where the engine's messages go; the file is removed if there are none.
        server: the engine's process; None for the one of this process.
    """

    def __init__(
        self, file: Path, max_steps: int, log: Path, server: EngineServer | None = None
    ) -> None:
        self._server = server or SERVER
        self._log = log
        self._unread = b""
        self._channel, theirs = socket.socketpair()
        self._failed: EngineError | None = None
        self._game: str | None = None
        request = {"play": str(file), "max_steps": max_steps}
        with theirs, log.open("wb") as messages:
            try:
                given = [theirs.fileno(), messages.fileno()]
                self._game = self._server.request(request, given)["game"]
            except EngineError as error:  # Raised by the first answer: of this rollout alone.
                self._failed = error

    def answer(self, command: str | None = None) -> Mapping[str, Any]:
        """What follows a command; without one, the state at the start, once.

        Raises:
            EngineError: there is no answer.
        """
        if self._failed:
            raise self._failed
        deadline = time.monotonic() + REPLY_S
        try:
            self._channel.settimeout(REPLY_S)
            if command is not None:
                self._channel.sendall(json.dumps(command).encode() + b"\n")
            while b"\n" not in self._unread:
                self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
                piece = self._channel.recv(65536)
                if not piece:
                    raise EngineError(f"the game engine ended: {self._last_words()}")
                self._unread += piece
        except TimeoutError as error:
            raise EngineError(_SLOW.format(REPLY_S)) from error
        except ConnectionError as error:
            raise EngineError(f"the game engine ended: {self._last_words()}") from error
        line, _, self._unread = self._unread.partition(b"\n")
        answer: Mapping[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        deadline = time.monotonic() + _LAST_WORDS_S
        while (code := self._server.request({"game": self._game})["code"]) is None:
            if time.monotonic() > deadline:
                return "it has closed its output"
            time.sleep(0.02)
        return _with_last_line(f"exit code {code}", self._log.read_bytes())

    def close(self) -> None:
        """End the game's process."""
        self._channel.close()
        if self._game is not None:
            with suppress(EngineError):  # Then it has ended with the server.
                self._server.request({"end": self._game})
            self._game = None
        if self._log.is_file() and not self._log.stat().st_size:
            self._log.unlink()


def _with_last_line(ended: str, log: bytes) -> str:
    lines = log.decode("utf-8", "replace").strip().splitlines()
    return ended + (f", {lines[-1][:_LAST_WORDS_CHARS]}" if lines else "")
