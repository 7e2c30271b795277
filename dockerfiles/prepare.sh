#!/usr/bin/env bash
# Makes Docker ready for the project: an engine that answers, and the project's images.
# Usage: prepare.sh SKILLOPT  (the skillopt program). None is started where DOCKER_HOST names one.
# Without an engine it says what is missing and succeeds, as much works without; with
# SKILLOPT_REQUIRE_ENGINE=1 it fails.
set -euo pipefail
skillopt=$1
here=$(cd "$(dirname "$0")" && pwd)

if ! "$skillopt" doctor --engine-only; then
    if [ -z "${DOCKER_HOST:-}" ] && [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then
        echo "prepare: no Docker engine answers: installing and starting one" >&2
        bash "$here/install-engine.sh" || true
    fi
fi
if "$skillopt" doctor --engine-only; then
    exec "$skillopt" images build
fi
echo "prepare: going on without Docker: install an engine, or start the one you have" >&2
[ "${SKILLOPT_REQUIRE_ENGINE:-}" != 1 ]
