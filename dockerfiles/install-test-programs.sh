#!/usr/bin/env bash
# Installs what only tests need, where that is possible (root on Debian) and it is missing: Chromium,
# and OpenSSH. Without one it says so and succeeds: its tests are skipped then. With
# SKILLOPT_REQUIRE_ENGINE=1 it fails.
set -euo pipefail
PATH=$PATH:/usr/sbin

missing=()
look() {
    missing=()
    command -v chromium google-chrome >/dev/null || missing+=(chromium fonts-dejavu-core)
    command -v sshd >/dev/null && command -v ssh >/dev/null || missing+=(openssh-server openssh-client)
}

look
if [ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && [ -f /etc/debian_version ]; then
    echo "install-test-programs: installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # An engine may be installed at the same time.
    { flock /var/lock/skillopt-apt apt-get update \
        && flock /var/lock/skillopt-apt apt-get install -y --no-install-recommends "${missing[@]}"
    } >/dev/null || true
    look
fi
if [ "${#missing[@]}" -gt 0 ]; then
    echo "install-test-programs: going on without ${missing[*]}: install them" >&2
    [ "${SKILLOPT_REQUIRE_ENGINE:-}" != 1 ]
fi
