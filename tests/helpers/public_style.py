"""Ten tasks in the style of public sets: what their files do, these do. The content is our own."""

from __future__ import annotations

from pathlib import Path

REWARD = "if [ $? -eq 0 ]; then echo 1; else echo 0; fi > /logs/verifier/reward.txt\n"
"""The end of the tests of most public sets: the last command's exit code is the verdict."""
HAS_42 = "def test_answer():\n    assert open('answer.txt').read().strip() == '42'\n"
BASE = "FROM skillopt/agent-base:1\n"

TASKS: dict[str, dict[str, str]] = {
    # The tests fetch their tools, as root, and end with the exit code of the last command.
    "apt-in-tests": {
        "environment/Dockerfile": f"{BASE}WORKDIR /app\n",
        "tests/test.sh": "apt-get update -qq\napt-get install -y -qq jq\n"
        f"test \"$(jq .answer answer.json)\" = 42\n{REWARD}",
        "solution/solve.sh": "echo '{\"answer\": 42}' > answer.json\n",
    },
    "uv-in-tests": {
        "task.toml": '[verifier.env]\nUV_NATIVE_TLS = "1"  # As other programs of the image do.\n',
        "environment/Dockerfile": f"{BASE}USER root\nRUN apt-get update -qq "
        "&& apt-get install -y -qq python3-venv && python3 -m venv /opt/venv\n"
        "ENV PATH=/opt/venv/bin:$PATH\nWORKDIR /app\n",
        "tests/test.sh": "pip install -q uv\n"
        f"uvx -q --with pytest==8.4.1 pytest -q -p no:cacheprovider /tests/test_it.py\n{REWARD}",
        "tests/test_it.py": HAS_42,
        "solution/solve.sh": "echo 42 > answer.txt\n",
    },
    # Programs of the image are found by its own PATH.
    "path-of-the-image": {
        "environment/Dockerfile": f"{BASE}USER root\nRUN mkdir /opt/tools "
        "&& printf '#!/bin/sh\\necho 42\\n' > /opt/tools/answer && chmod 755 /opt/tools/answer\n"
        "ENV PATH=/opt/tools:$PATH\nWORKDIR /app\n",
        "tests/test.sh": f"test \"$(cat answer.txt)\" = \"$(answer)\"\n{REWARD}",
        "solution/solve.sh": "answer > answer.txt\n",
    },
    "workdir-by-variables": {
        "environment/Dockerfile": f"{BASE}USER root\nARG NAME=deep\nENV ROOT=/srv/work\n"
        "WORKDIR ${ROOT}\nWORKDIR ${NAME:-x}\nRUN echo seed > seed.txt\n",
        "tests/test.sh": 'test "$PWD" = /srv/work/deep && cmp seed.txt copy.txt\n' + REWARD,
        "solution/solve.sh": "cp seed.txt copy.txt\n",
    },
    "state-outside-of-the-working-directory": {
        "task.toml": '[agent]\nuser = "root"\n',
        "environment/Dockerfile": f"{BASE}WORKDIR /app\n",
        "tests/test.sh": "grep -q '^port = 8080$' /etc/thing/thing.conf"
        f" && test -x /usr/local/bin/thing && thing | grep -q 8080\n{REWARD}",
        "solution/solve.sh": "mkdir -p /etc/thing\necho 'port = 8080' > /etc/thing/thing.conf\n"
        "printf '#!/bin/sh\\ncat /etc/thing/thing.conf\\n' > /usr/local/bin/thing\n"
        "chmod 755 /usr/local/bin/thing\n",
    },
    "a-service-in-the-container": {
        "environment/Dockerfile": f"{BASE}WORKDIR /app\nCOPY data /app/data\n",
        "environment/data/a.txt": "a\n",
        "tests/test.sh": "python3 -m http.server 8000 --bind 127.0.0.1 > /dev/null 2>&1 &\n"
        "for i in $(seq 50); do sleep 0.1; curl -fs localhost:8000 > /dev/null && break; done\n"
        f"curl -fs http://127.0.0.1:8000/data/b.txt | grep -q b\n{REWARD}",
        "solution/solve.sh": "echo b > data/b.txt\n",
    },
    "root-by-key": {
        "task.toml": '[agent]\nuser = "root"\n[verifier]\nuser = "root"\n',
        "environment/Dockerfile": f"{BASE}WORKDIR /app\n",
        "tests/test.sh": "useradd -m checker\n"
        f"su checker -c 'test $(id -un) = checker' && test $(cat by.txt) = 0\n{REWARD}",
        "solution/solve.sh": "id -u > by.txt\nchown 4321:4321 by.txt\nchmod 600 by.txt\n",
    },
    "tests-with-an-image-of-their-own": {
        "environment/Dockerfile": f"{BASE}WORKDIR /app\n",
        "tests/Dockerfile": f"{BASE}USER root\n"
        "RUN printf '#!/bin/sh\\ncmp $1 $2\\n' > /usr/bin/same && chmod 755 /usr/bin/same\n",
        "tests/expected.txt": "42\n",
        "tests/test.sh": f"same answer.txt /tests/expected.txt\n{REWARD}",
        "solution/solve.sh": "echo 42 > answer.txt\n",
    },
    "compose-with-main": {
        "task.toml": '[verifier]\nenvironment_mode = "separate"\n'
        '[verifier.env]\nWANTED = "${WANTED:-42}"\n',
        "environment/docker-compose.yaml": "services:\n  main:\n    build: {context: .}\n"
        "    working_dir: /work\n    environment:\n      - UNIT=m\n      - TEST_DIR=${TEST_DIR}\n"
        "    command: [sh, -c, sleep infinity]\n",
        "environment/Dockerfile": f"{BASE}USER root\nRUN mkdir /work\n",
        "tests/expected.txt": "42 m\n",
        "tests/test.sh": "test \"$WANTED\" = 42 && cmp \"$TEST_DIR/expected.txt\" answer.txt\n"
        f"{REWARD}",
        "solution/solve.sh": "echo \"42 $UNIT\" > answer.txt\n",
    },
    "an-image-that-cannot-be-had": {
        "task.toml": '[environment]\ndocker_image = "localhost:9/private/image:1"\n',
        "environment/Dockerfile": f"{BASE}WORKDIR /app\nRUN true\n",
        "tests/test.sh": "#!/usr/bin/env python3\nimport os, json\n"
        "reward = {'reward': float(os.path.exists('answer.txt')), 'tests': ['a']}\n"
        "json.dump(reward, open('/logs/verifier/reward.json', 'w'))\n",
        "solution/solve.sh": "echo 42 > answer.txt\n",
    },
}  # fmt: skip
"""Their files, by name. Each is solved by its solution and by nothing less."""
WITH_NETWORK = ("apt-in-tests", "uv-in-tests")


def write_task(folder: Path, name: str) -> Path:
    """One of them, in a folder of its own in ``folder``."""
    files = {"task.toml": 'schema_version = "1.1"\n', "instruction.md": "Do it.\n"} | TASKS[name]
    for path, text in files.items():
        place = folder / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return folder / name
