"""What tests fetch is fetched for the first verdicts of a task, not for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sandboxes.docker_backend import DockerBackend
from sandboxes.images import remove_image
from skillopt.config.network import access_to
from skillopt.core.types import Reward
from skillopt.tasks.environment import Environments
from skillopt.tasks.harbor import read_task
from skillopt.tasks.judging import Answers, judge, verifier_site

pytestmark = pytest.mark.engine

FETCH = 'curl -fsS --noproxy "" http://127.0.0.1:{port}/tool'
IN_CONTAINER = f"command -v tool > /dev/null || {FETCH} > /usr/local/bin/tool\n"
IN_HOME = f"[ -e ~/.cache/tool ] || {{{{ mkdir -p ~/.cache && {FETCH} > ~/.cache/tool; }}}}\n"
ALWAYS = f"{FETCH} > /tmp/tool\n"
ONCE_ONLY = f"{FETCH} > /tmp/tool; mkdir /opt/done || exit 3\n"
"""Tests that do not judge a second time in their own container."""
VERDICT = 'r=0; [ "$(cat answer.txt)" = 42 ] && r=1; echo $r > /logs/verifier/reward.txt\n'


class Host:
    """A host outside, played on loopback, which counts what is fetched."""

    def __init__(self) -> None:
        self.fetched = 0
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.fetched += 1
                self.send_response(200)
                self.send_header("content-length", "5")
                self.end_headers()
                self.wfile.write(b"tool\n")

            def log_message(self, *_: object) -> None:
                """Nothing to say."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    @contextmanager
    def serving(self) -> Iterator[Host]:
        thread = Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        yield self
        self.server.shutdown()
        self.server.server_close()


class Judged:
    """A task whose tests fetch something, judged as often as one likes."""

    def __init__(self, folder: Path, backend: DockerBackend, host: Host, script: str) -> None:
        self.folder, self.backend, self.host = folder, backend, host
        for name, text in {
            "task.toml": '[verifier]\nuser = "root"\n',
            "instruction.md": "x",
            "environment/Dockerfile": "FROM skillopt/agent-base:1\nWORKDIR /app\n",
            "tests/test.sh": script.format(port=host.port) + VERDICT,
        }.items():
            (folder / "task" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "task" / name).write_text(text)
        self.answers = Answers(folder / "answers", "mine")
        self.count = 0

    def judge(self, answer: str) -> Reward:
        self.count += 1
        place = self.folder / str(self.count)
        (place / "workspace").mkdir(parents=True)
        (place / "workspace" / "answer.txt").write_text(answer)
        access = access_to((f"127.0.0.1:{self.host.port}",), recorded=True)
        task, environments = read_task(self.folder / "task"), Environments(self.backend)
        with closing(self.backend.outlet(access, None)) as outlet:
            site = verifier_site(self.backend, outlet, self.answers)
            image = environments.image(task)
            return judge(task, place / "workspace", site, environments, image, place)

    @property
    def images(self) -> list[str]:
        found = self.backend.engine.api.images(filters={"reference": "skillopt/warm"})
        keys = [file.stem[:24] for file in (self.folder / "answers").glob("*.json")]
        tags = [tag for image in found for tag in image["RepoTags"] or ()]
        return [tag for tag in tags if tag.partition(":")[2] in keys]


@pytest.fixture
def host() -> Iterator[Host]:
    with Host().serving() as running:
        yield running


@pytest.mark.parametrize(
    ("script", "fetched", "kept"),
    [
        # For the first verdict, and for the one whose container is kept.
        (IN_CONTAINER, 2, True),
        (IN_HOME, 2, True),
        # These fetch again in what was kept: for its trial, and for two more verdicts.
        (ALWAYS, 5, True),
        # For the first verdict, for what would have been kept, its trial, and two more.
        (ONCE_ONLY, 5, False),
    ],
    ids=["in the container", "in the home", "always", "once only"],
)
def test_what_is_fetched_once(
    script: str, fetched: int, kept: bool, tmp_path: Path, backend: DockerBackend, host: Host
) -> None:
    case = Judged(tmp_path, backend, host, script)
    try:
        verdicts = [case.judge(answer).hard for answer in ("42", "41", "42")]
        assert verdicts == [1.0, 0.0, 1.0]
        assert host.fetched == fetched
        used = case.answers.start(read_task(tmp_path / "task"), "skillopt/agent-base:1")
        assert (used.image != "skillopt/agent-base:1") is kept
    finally:
        for image in case.images:
            remove_image(backend.engine, image)


def test_an_image_that_is_gone_is_made_again(
    tmp_path: Path, backend: DockerBackend, host: Host
) -> None:
    case = Judged(tmp_path, backend, host, IN_CONTAINER)
    try:
        assert case.judge("42").hard == 1.0
        (image,) = case.images
        remove_image(backend.engine, image)
        assert case.judge("42").hard == 1.0
        assert case.judge("41").hard == 0.0
        assert host.fetched == 4 and case.images == [image]
    finally:
        for image in case.images:
            remove_image(backend.engine, image)
