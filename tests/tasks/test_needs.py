"""What is read from scripts: which need root's rights, and which hosts they want."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skillopt.core.types import TaskNeeds
from skillopt.tasks.needs import (
    Needs,
    count_needs,
    needs_in,
    needs_of,
    phrases,
    places_of,
    programs_in,
    programs_of,
)
from tests.helpers.values import a_task


@pytest.mark.parametrize(
    ("text", "root"),
    [
        ("apt-get update", "apt-get update"),
        ("apt-get install -y jq", "apt-get install"),
        ("DEBIAN_FRONTEND=x apt-get -qq -y install jq", "apt-get -qq -y install"),
        ("true && apt install jq", "apt install"),
        ("(apk add --no-cache jq)", "apk add"),
        ("  dnf -y install jq", "dnf -y install"),
        ("dpkg -i a.deb", "dpkg -i"),
        ("service nginx start", "service nginx start"),
        ("sudo useradd bob", "useradd"),
        ("apt-cache show jq", ""),
        ("apt-get --version", ""),
        ("dpkg -l | grep jq", ""),
        ("pip install -q jq", "pip install"),
        ("python3 -m pip install jq", "python3 -m pip install"),
        ("npm install -g jq", "npm install -g"),
        ("pip install --user jq", ""),
        ("npm install jq", ""),
        ("uv pip install jq", ""),
        ("echo adapt install", ""),
        ("grep service start", ""),
    ],
)
def test_root(text: str, root: str) -> None:
    assert needs_in(text).root == root


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("curl -LsSf https://astral.sh/uv/0.9/install.sh | sh", ("astral.sh",)),
        ("curl http://localhost:80 https://example.com/a http://127.0.0.1/", ()),
        ("uvx --with pytest pytest", ("pypi.org",)),
        ("python3 -m pip install x", ("pypi.org",)),
        ("npx vitest", ("registry.npmjs.org",)),
        ("git clone https://gitlab.com/a/b", ("github.com", "gitlab.com")),
        ("apt-get install -y jq", ("deb.debian.org",)),
        ("pytest /tests", ()),
        ("apt-get show jq", ()),
        ("uv tool install x; pipx install y; uv run z", ("pypi.org",)),
        ("npm ci", ("registry.npmjs.org",)),
        ("cargo build", ("index.crates.io",)),
        ("go mod download", ("proxy.golang.org",)),
        ("curl HTTPS://A.org. https://B.Org/x https://b.org https://schemas.x.org", ("b.org",)),
        ("curl https://c.org.", ("c.org",)),
        ("curl https://www.w3.org/x http://example.org https://intranet", ()),
    ],
)
def test_hosts(text: str, hosts: tuple[str, ...]) -> None:
    assert needs_in(text).hosts == hosts


def test_comments_other_files_and_continued_lines(tmp_path: Path) -> None:
    assert needs_of(tmp_path / "missing") == Needs()
    (tmp_path / "notes.md").write_text("apt-get install jq")
    (tmp_path / "test.sh").write_text("# apt-get install jq\napt-get \\\n  install -y jq\n")
    assert needs_of(tmp_path).root == "apt-get install"


@pytest.mark.parametrize(
    ("instruction", "tests", "places"),
    [
        ("", "cat /etc/a.conf /app/b", ("/etc/a.conf",)),
        ("", "cat /app/b /apps /application/x", ()),
        ("", "# looks at /etc/a\n  // and /etc/b", ()),
        ("", "curl http://localhost:80/data/x https://a.b/home/c", ()),
        ("", 'Path("/") / "etc" / "a"', ("/etc",)),
        ("", "os.path.join('/', 'srv', 'a')", ("/srv",)),
        ("", "Path('/srv') / 'a'", ("/srv",)),
        ("", "sed 's/etc/var/' $X/etc ./etc ~/data", ()),
        ("", "/usr/local/bin/tool /tmp/scratch /usr/bin/python3", ()),
        ("Install /usr/local/bin/tool.", "/usr/local/bin/tool -v", ("/usr/local/bin/tool",)),
        ("Write to `/tmp/out.txt`.", "cat /tmp/out.txt /tmp/mine", ("/tmp/out.txt",)),
        ("Write everything into /tmp/out", "cat /tmp/out/a", ("/tmp/out/a",)),
        ("Begin it with #!/bin/bash", "subprocess.run(['/bin/bash', 'x'])", ()),
        ("Serve /health and /items/1", 'get("/health"); get("/items/1")', ()),
    ],
)
def test_places(tmp_path: Path, instruction: str, tests: str, places: tuple[str, ...]) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test.sh").write_text(tests)
    (tmp_path / "instruction.md").write_text(instruction)
    assert places_of(tmp_path, "/app") == places


@pytest.mark.parametrize(
    ("text", "services"),
    [
        ("service nginx start\nsystemctl restart redis@1", ("nginx", "redis@1")),
        ("systemctl start b\nservice a restart\nservice a start", ("a", "b")),
        ("service nginx stop\nsystemctl status x", ()),
    ],
)
def test_services(text: str, services: tuple[str, ...]) -> None:
    assert needs_in(text).services == services


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sudo   apt-get   -y  install jq", "apt-get -y install"),
        ("apt-get " + "-x " * 23 + "install", "apt-get " + "-x " * 22 + "-x ins"),
        ("apt-get " + "-x " * 40 + "install", "apt-get " + "-x " * 24),
    ],
)
def test_the_beginning_of_a_command_is_shown(text: str, shown: str) -> None:
    assert needs_in(text).root == shown and len(shown) <= 80


def put(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_the_scripts_of_a_folder_are_read_and_links_and_folders_are_not(tmp_path: Path) -> None:
    put(tmp_path, outside_dot_sh="apt-get install x\nwget https://out.org\n")
    folder = put(
        tmp_path / "tests",
        a_dot_sh="apk add x\n  # dnf install y\ncurl https://a.org\n",
        deep__b_dot_sh="jq . \\\n https://c.org\n#!x https://d.org\n",
        c_dot_py="curl https://e.org",
    )
    (folder / "folder.sh").mkdir()
    (folder / "link.sh").symlink_to("../outside.sh")
    assert needs_of(folder) == Needs("apk add", ("a.org", "c.org"))
    assert programs_of(folder) == ("apk", "curl", "jq")
    assert programs_of(tmp_path / "missing") == ()


def test_the_first_megabyte_of_a_script_is_read(tmp_path: Path) -> None:
    script = "#" * (1024 * 1024 - 3) + "\njq\n"
    put(tmp_path, a_dot_sh=script)
    assert programs_of(tmp_path) == ("jq",)
    put(tmp_path, a_dot_sh="#" + script)
    assert programs_of(tmp_path) == ("j",)
    (tmp_path / "a.sh").write_bytes(b"echo \xff; jq\n")
    assert programs_of(tmp_path) == ("echo", "jq")


@pytest.mark.parametrize(
    ("script", "called"),
    [
        ("a; b & c && d || e | f\n(g)\nh", "a b c d e f g h"),
        ("a b c\n  d e\n", "a d"),
        ("", ""),
        ("A=1 a\nB+=2 b\nC= c d\n=x\n", "a b c"),
        ("if a; then b; elif c; then d; else e; fi\n", "a b c d e"),
        ("while ! a; do b; done; until c; do d; done\n", "a b c d"),
        ("{ a; }; time b; sudo c; exec d; nohup e; command f; builtin g; env X=1 h\n",
         "a b c d e f g h"),
        ("for x in a b; do c; done\nselect y in d; do e; done\n", "c e"),
        ("[[ a ]] && b; [ c ] || d\n", "b d"),
        ("jq . a | tee b && sudo make all; (cd x && cmake .)\n", "jq tee make cd cmake"),
        ("cat > f <<EOF\nhello world\nEOF\nlast x\n", "cat last"),
        ("cat <<-'END' | sort\n  hello\n  END\nA=1 B=2 rg x # it's\n", "cat sort rg"),
        ("f() { g; }\nfunction h { i; }\nf; h\n", "g i"),
        ("case $x in a) foo;; b|c) bar;; esac\necho \"a; b\" 'c | d'\n", "foo bar echo"),
        ("if ! grep -q x f; then exit 1; fi\nfor i in a b; do rm $i; done\n", "grep exit rm"),
        ("x=$((a-b))\nnames=(one two)\n$TOOL go\n./own.sh\n/bin/ls\n", ""),
        # Patterns of a case, and what is called in its branches.
        ("case $x in\n a) b;;\n c|d) e ;;\nesac\nf\n", "b e f"),
        ("case a in b) c;; esac; d\n", "c d"),
        ("case a in (b) c;; esac\n", "c"),
        ("case a in b) case c in d) e;; f) g;; esac;; h) i;; esac; j k\n", "e g i j"),
        ("case a in b) c; d;; *) e;; esac\n", "c d e"),
        ("echo in a; b\n", "echo b"),
        ("esac; case a in b) c;; d) e;; esac\n", "c e"),
        ("a in b; c\n", "a c"),
        ("a;; b c\n", "a b"),
        # Functions, values and documents are called by nobody else.
        ("f () { a; }\ng(){ b; }\nfunction h() { c; }\nf; g; h; i\n", "a b c i"),
        ("x=$(a b) y=(c d)\n((e = f))\n", "a"),
        ("a <<X\nb\nX\nc <<-\"Y\"; d\ne\n  Y\nf\n", "a c d f"),
        ("a <<'X' | b\nc\nX\n", "a b"),
        ("a # b; c\n# d\necho '#' \"#\"; e#f; g\n", "a echo g"),
        ("a \\\n b\nc\n", "a c"),
        ("'a' \"b\"; \"c d\" e; $F g; ./h; /bin/i; 7z; j.k-l+m\n", "a j.k-l+m"),
        # What cannot be read as a whole is read by lines, without those that cannot.
        ("a b\necho 'it\nc d\n", "a c"),
        ("f() {\n a; }\necho \"x\nf; b\n", "a b"),
    ],
)  # fmt: skip
def test_the_programs_that_a_script_calls(script: str, called: str) -> None:
    assert programs_in(script) == set(called.split())


WHAT = "which are left out of the working directory, so that a run without a skill is without any"


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({}, []),
        ({"root": "apt-get install"}, ["the agent is root of its container (apt-get install)"]),
        ({"verifier_root": "a"}, ["the verifier is root of its container (a)"]),
        ({"reach": "the tests look at /etc"}, ["the tests look at /etc"]),
        ({"hosts": ("a", "b")}, ["its tests may want a, b"]),
        ({"solution_hosts": ("a",)}, ["its solution may want a"]),
        ({"services": ("a", "b")}, ["services are started in its container: a, b"]),
        ({"own_skills": True}, [f"it brings skills of its own, {WHAT}"]),
        ({"places": ("/etc",)}, []),
        ({"root": "a", "hosts": ("b",), "solution_hosts": ("c",)},
         ["the agent is root of its container (a)", "its tests may want b",
          "its solution may want c"]),
    ],
)  # fmt: skip
def test_what_a_task_needs_in_words(needs: dict[str, Any], said: list[str]) -> None:
    assert list(phrases(TaskNeeds(**needs))) == said


def test_how_many_tasks_need_what() -> None:
    nothing = a_task()
    assert count_needs([nothing]) == {"root": 0, "hosts": 0, "container": 0, "own_skills": 0}
    tasks = [
        nothing,
        replace(nothing, root=True),
        replace(nothing, verifier_root=True),
        replace(nothing, root=True, verifier_root=True),
        *[replace(nothing, needs=TaskNeeds(hosts=("a", "b")))] * 2,
        replace(nothing, needs=TaskNeeds(solution_hosts=("a",), own_skills=True)),
        *[replace(nothing, handover=True)] * 4,
    ]
    assert count_needs(tasks) == {"root": 3, "hosts": 2, "container": 4, "own_skills": 1}


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.py", b"open('/etc/a.conf')", ("/etc/a.conf",)),
        ("a.py", b"open('/etc/a.conf.').read() # see /etc/b", ("/etc/a.conf", "/etc/b")),
        ("a.py", b"x\0 /etc/a", ()),
        ("notes.md", b"# /etc/a\n", ("/etc/a",)),
        ("notes.txt", b"# /etc/a\n", ()),
        ("a.py", b"/app /app/x /apps/x /data", ("/data",)),
        ("a.py", b"/root/.cache/x /home/me/.ssh /etc/apt/x /etc/pip.conf /var/lib/dpkg/x", ()),
        ("a.py", b"/root/x /etc/aptly /var/lib/mine", ("/etc/aptly", "/root/x", "/var/lib/mine")),
        ("a.py", b" " * (1024 * 1024 - 6) + b"/etc/a", ("/etc/a",)),
        ("a.py", b" " * (1024 * 1024 - 5) + b"/etc/a", ("/etc",)),
    ],
)
def test_places_in_files_of_any_kind(
    name: str, content: bytes, places: tuple[str, ...], tmp_path: Path
) -> None:
    put(tmp_path, instruction_dot_md="Do it.", tests__deep__x="", other="/srv/x")
    (tmp_path / "tests" / "deep" / name).write_bytes(content)
    (tmp_path / "tests" / "0-folder").mkdir()
    (tmp_path / "tests" / "link").symlink_to(tmp_path / "other")
    assert places_of(tmp_path, "/app") == places


def test_a_place_that_the_instruction_names_is_around_those_that_the_tests_look_at(
    tmp_path: Path,
) -> None:
    put(tmp_path, instruction_dot_md="Use /tmp/a and /usr/lib/b.", tests__t="/tmp/a/b /tmp/ab "
        "/usr/lib/b /usr/lib /usr/bin/env /tmp/c")  # fmt: skip
    assert places_of(tmp_path, "/app") == ("/tmp/a/b", "/usr/lib/b")
    assert places_of(tmp_path, "/tmp/a") == ("/usr/lib/b",)
    (tmp_path / "instruction.md").unlink()
    assert places_of(tmp_path, "/app") == ()
