"""What is read from scripts: which need root's rights, and which hosts they want."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.tasks.needs import Needs, needs_in, needs_of, places_of


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
