"""Runs a function in a process of its own with little memory and time.

For reading files of an agent: a few kilobytes can unpack to more than a machine has. The process
gets no secrets of this one.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

MEMORY_MB = 3072
SECONDS = 180
_NO_MEMORY = 75
"""The exit code of a process that may not have more memory."""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Libraries that openpyxl loads reserve memory for each thread."""


class LimitError(Exception):
    """The function took more than it may have; the message says of what."""


def limited(
    function: Callable[[Any], Any], given: Any, memory_mb: int = MEMORY_MB, seconds: int = SECONDS
) -> Any:
    """Call a function of a module in another process.

    Args:
        function: takes and returns JSON.
        given: its argument.
        memory_mb, seconds: what it may have, in megabytes and in seconds of work.

    Raises:
        LimitError: it took more.
        VerifierError: it failed otherwise.
    """
    # Of no use in the other process.
    from harnesses.environment import without_keys
    from skillopt.tasks.rewards import VerifierError

    name = f"{function.__module__}:{function.__qualname__}"
    argv = [sys.executable, "-P", "-m", __name__, name, str(memory_mb), str(seconds)]
    env = without_keys(**_ONE_THREAD)
    try:
        done = subprocess.run(
            argv, input=json.dumps(given).encode(), capture_output=True, timeout=4 * seconds,
            env=env, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LimitError(f"took more than {4 * seconds} s") from error
    if done.returncode == -signal.SIGXCPU:
        raise LimitError(f"took more than {seconds} s of work")
    if done.returncode in (_NO_MEMORY, -signal.SIGSEGV, -signal.SIGABRT):
        raise LimitError(f"took more than {memory_mb} MB of memory")
    if done.returncode != 0:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise VerifierError(f"{name} ended with {done.returncode}: {''.join(last)}")
    return json.loads(done.stdout)


def main(name: str, memory_mb: int, seconds: int) -> int:
    """Call the function with the JSON on standard input, and print what it returns."""
    import resource

    module, _, function = name.partition(":")
    call = getattr(import_module(module), function)
    memory = memory_mb * 1024 * 1024
    with contextlib.suppress(ValueError, OSError):  # Not every system can limit both.
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        result = json.dumps(call(json.load(sys.stdin)))
    except MemoryError:
        return _NO_MEMORY
    print(result)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
