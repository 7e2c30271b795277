#!/usr/bin/env bash
# Installs Chromium where that is possible (root on Debian) and it is missing. Without one it says so
# and succeeds: its tests are skipped then. With SKILLOPT_REQUIRE_ENGINE=1 it fails.
set -euo pipefail

if ! command -v chromium google-chrome >/dev/null && [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then
    echo "install-browser: installing chromium" >&2
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        chromium fonts-dejavu-core; } >/dev/null || true
fi
if ! command -v chromium google-chrome >/dev/null; then
    echo "install-browser: going on without Chromium: install it" >&2
    [ "${SKILLOPT_REQUIRE_ENGINE:-}" != 1 ]
fi
