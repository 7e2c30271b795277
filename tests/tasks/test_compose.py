"""Compose files of tasks: their own container is read, everything more is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from skillopt.tasks.compose import Compose, ComposeError, read_compose


def read(tmp_path: Path, text: str) -> Compose:
    file = tmp_path / "docker-compose.yaml"
    file.write_text(text)
    return read_compose(file)


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ("{}", Compose()),
        ("{build: .}", Compose()),
        ("{build: {context: '${CONTEXT_DIR}', dockerfile: Dockerfile}}", Compose()),
        ("{image: '${MAIN_IMAGE_NAME}', build: {context: .}}", Compose()),
        ("{image: 'a/b:1'}", Compose(image="a/b:1")),
        ("{image: 'a/b:${TAG:-2}'}", Compose(image="a/b:2")),
        ("{working_dir: /w, user: root}", Compose(workdir="/w", user="root")),
        ("{user: 0}", Compose(user="0")),
        ("{environment: {A: 1, B: true}}", Compose(env=(("A", "1"), ("B", "true")))),
        ("{environment: [A=x=y, 'B=${C-d}']}", Compose(env=(("A", "x=y"), ("B", "d")))),
        (
            "{environment: ['T=${TEST_DIR}', 'L=${ENV_VERIFIER_LOGS_PATH}/x', 'U=$TEST_DIR']}",
            Compose(env=(("L", "/logs/verifier/x"), ("T", "/tests"), ("U", "/tests"))),
        ),
        ("{command: [sh, -c, sleep infinity], tty: true}", Compose()),
        ("{command: /bin/sh -c 'while true; do sleep 1h; done'}", Compose()),
        ("{command: [tail, -f, /dev/null], entrypoint: null, ports: []}", Compose()),
        ("{<<: {environment: {A: x}}, x-more: [1]}", Compose(env=(("A", "x"),))),
        ("{environment: {A: $$x, B: '$${C}'}}", Compose(env=(("A", "$x"), ("B", "${C}")))),
    ],
)
def test_the_tasks_own_container(tmp_path: Path, service: str, found: Compose) -> None:
    assert read(tmp_path, f"services:\n  main: {service}\n") == found


@pytest.mark.parametrize(
    "key",
    [
        "command: [./serve]",
        "command: serve --debug=true",
        "command: [bash, -c, service nginx start && tail -f /dev/null]",
        "entrypoint: cat a; ./serve",
        "ports: [80]",
        "volumes: ['./a:/a']",
        "mem_limit: 8g",
        "networks: [a]",
        "deploy: {replicas: 2}",
    ],
)
def test_what_has_no_effect_is_noted(tmp_path: Path, key: str) -> None:
    (note,) = read(tmp_path, f"services:\n  main:\n    {key}\n").notes
    assert f"services.main.{key.partition(':')[0]}" in note


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("services: [", "cannot be read as YAML"),
        ("version: 3", "services: missing"),
        ("services: {main: {}, db: {}, cache: {}}", "services: db, cache: not supported"),
        ("services: {web: {}}", "services: web: not supported"),
        ("services: {main: 3}", "services.main: expected a mapping"),
        ("services: {main: {privileged: true}}", "services.main.privileged: not supported"),
        ("services: {main: {cap_add: [SYS_ADMIN]}}", "services.main.cap_add: not supported"),
        ("services: {main: {network_mode: host}}", "services.main.network_mode: not supported"),
        ("services: {main: {build: ..}}", "services.main.build: '..' is not supported"),
        ("services: {main: {build: {target: x}}}", "services.main.build.target: not supported"),
        (
            "services: {main: {build: {dockerfile: D2}}}",
            "services.main.build.dockerfile: not supported",
        ),
        ("services: {main: {environment: {A: '${KEY}'}}}", "environment.A: taking values"),
        ("services: {main: {environment: [HOME]}}", "environment.HOME: taking values"),
        ("services: {main: {environment: {A: '${B:?no}'}}}", "environment.A: taking values"),
        ("services: {main: {environment: {A: '${B:+x}'}}}", "environment.A: taking values"),
        ("services: {main: {environment: {A: [1]}}}", "environment.A: no variable"),
        ("services: {main: {environment: ['=x']}}", "environment.: no variable"),
        ("services: {main: {image: [x]}}", "image: expected a text"),
        ("services: {main: {extends: {service: a}}}", "services.main.extends: not supported"),
        ("services: {main: {env_file: .env}}", "services.main.env_file: not supported"),
        ("include: [a.yaml]\nservices: {main: {}}", "include: not supported"),
        ("services: {main: {environment: 3}}", "environment: expected a mapping or a list"),
        ("services: {main: {image: 'a:${TAG}'}}", "image: 'a:${TAG}' has a variable"),
    ],
)
def test_everything_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ComposeError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value) and "docker-compose.yaml" in str(raised.value)
