"""Agents and verifiers that are root of their own containers: nothing more than that."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import replace

from tests.redteam.attempt import JUDGE, Attempt, Case
from tests.redteam.judging import PAY, WORK, WRITE

_OF_ROOT = 0x4_04FB
"""CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_CHROOT."""
_SOCKETS = (
    "python3 - <<'E'\nimport socket\n"
    "for family, kind, number in ((socket.AF_INET, socket.SOCK_RAW, 1), (17, 3, 768)):\n"
    "    try:\n        socket.socket(family, kind, number); print('open')\n"
    "    except PermissionError as error:\n        print('refused')\nE"
)


def _lost(attempt: Attempt) -> None:
    attempt.lost()


def _few_rights(attempt: Attempt) -> None:
    attempt.lost()
    assert "uid=0" in attempt.said
    found = dict(re.findall(r"^(\w+):\t(\w+)$", attempt.said, re.MULTILINE))
    assert {int(found[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {_OF_ROOT}
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


def _all_refused(attempt: Attempt) -> None:
    attempt.lost()
    assert "done" not in attempt.said and "open" not in attempt.said, attempt.said
    assert attempt.said.count("refused") == 2


def _harmless(attempt: Attempt) -> None:
    attempt.lost()
    run = attempt.folder / "workspace" / "run"
    assert not stat.S_IMODE(run.stat().st_mode) & (stat.S_ISUID | stat.S_ISGID)
    assert (attempt.folder / "workspace" / "d" / "f").read_text() == "kept\n"


def _lives(attempt: Attempt) -> None:
    attempt.lost()
    *_, processes, last = attempt.outputs[1].split()[:2]
    assert last == "lives" and int(processes) < 15, attempt.said


def _root_judged(attempt: Attempt) -> None:
    attempt.lost()
    assert "uid=0" in attempt.result.reward.feedback


def _case(
    name: str,
    expected: str,
    *commands: str,
    check: Callable[[Attempt], None] = _lost,
    judge: str = JUDGE,
) -> Case:
    case = Case(name, "root", expected, commands, check, judge=judge)
    return replace(case, agent="root", verifier="root")


ROOTED = [
    _case("rights", "few capabilities, no new privileges", "id; cat /proc/self/status",
          check=_few_rights),
    _case("devices, mounts, interfaces, raw sockets", "refused",
          "mount -t tmpfs x /mnt && echo done; mknod /root/d b 8 0 && echo done; "
          "ip link add a type dummy && echo done; ip addr add 10.0.0.1/8 dev lo && echo done; "
          "unshare -m true && echo done; echo 1 > /proc/sys/net/ipv4/ip_forward && echo done; "
          "swapoff -a 2>&1 | grep -q . ; hostname x && echo done", _SOCKETS, check=_all_refused),
    _case("the skill", "cannot be changed, unmounted or covered",
          'cd /skills 2>/dev/null || cd "$(dirname "$(find / -xdev -name SKILL.md | head -1)")"; '
          "for f in $(find / -name SKILL.md 2>/dev/null); do echo x > $f; rm -f $f; umount $f; "
          "mount --bind /tmp $(dirname $f); chmod 777 $f; done"),
    _case("files with root's bits", "lose them, and are readable outside",
          "cp /bin/true run; chmod 6755 run; mkdir d; echo kept > d/f; chmod 000 d d/f",
          check=_harmless),
    _case("programs of the image", "are those of the image again for the verifier",
          f"for p in bash sh cat env python3; do printf '#!/bin/sh\\n{PAY}\\n' > /tmp/p; "
          "chmod 755 /tmp/p; cp /tmp/p /usr/local/bin/$p; done; "
          f"echo '{PAY}' >> /etc/profile; echo '{PAY}' >> /etc/bash.bashrc"),
    _case("its own sandbox", "cannot be ended by it", "kill -9 -1; kill -9 1; kill -TERM 1",
          "for i in $(seq 50); do (sleep 0.1 &) ; done; sleep 0.5; ls /proc | grep -c ^[0-9]; "
          "echo lives", check=_lives),
    _case("the tests and the host", "are not there",
          "ls -a /tests /solution /skillopt /host; find / -xdev -name expected.txt; "
          "cat /proc/1/root/tests/expected.txt; cat /etc/shadow | head -1"),
    _case("a link to the answer", "removed before a verifier that is root reads it",
          "ln -s /tests/expected.txt answer.txt"),
    _case("a device for an answer", "not made, or removed",
          "mknod answer.txt c 1 5; mkfifo pipe; ln -s /dev/zero zero"),
    _case("the verifier is root", "and judges work of another user's",
          "echo wrong > answer.txt; chown 4321:4321 answer.txt; chmod 000 answer.txt",
          judge='id > "$VERIFIER_LOGS/feedback.txt"\n' + JUDGE, check=_root_judged),
    replace(
        _case("a program beside a root verifier", "reads no tests and writes no reward",
              f"printf '#!/bin/sh\\ncat $TESTS_DIR/expected.txt /tests/expected.txt\\n{PAY}\\n'"
              " > run.sh; chmod 755 run.sh",
              judge='"$UNTRUSTED" sh run.sh > out.txt 2>&1\n' + WORK
              + 'grep -q 4711 out.txt && r=1\n' + WRITE),
        extra="[metadata]\nuntrusted_programs = true\n",
    ),
]  # fmt: skip
"""Each outcome is the same for root and for an ordinary user on the host."""
