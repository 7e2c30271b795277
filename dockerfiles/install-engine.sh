#!/usr/bin/env bash
# Installs and starts a Docker engine, and what builds a base image without a registry, on a
# Debian-like machine as root. Does only what is still missing; running it again is harmless.
set -euo pipefail

readonly LOG=/var/log/dockerd.log
readonly WAIT_S=60

say() { printf 'install-engine: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

engine_answers() {
    # Asks the socket itself: the docker command need not be there, nor dockerd be local to it.
    [[ -S /var/run/docker.sock ]] \
        && curl --silent --fail --max-time 5 --unix-socket /var/run/docker.sock \
            http://localhost/_ping >/dev/null
}

install_missing() {
    local missing=()
    command -v dockerd >/dev/null || missing+=(docker.io)
    command -v iptables >/dev/null || missing+=(iptables)
    command -v debootstrap >/dev/null || missing+=(debootstrap)
    command -v curl >/dev/null || missing+=(curl ca-certificates)
    if ((${#missing[@]} == 0)); then
        return
    fi
    command -v apt-get >/dev/null \
        || die "this machine has no apt-get; install ${missing[*]} by its own means"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The tests' own programs may be installed at the same time.
    flock /var/lock/skillopt-apt apt-get update -qq || die "apt-get update failed; are the package sources reachable?"
    flock /var/lock/skillopt-apt apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 \
        || die "apt-get could not install ${missing[*]}"
}

start_engine() {
    if [[ -d /run/systemd/system ]] && command -v systemctl >/dev/null; then
        say "starting docker.service"
        systemctl enable --now docker.service || die "see: journalctl -u docker.service"
    elif pgrep -x dockerd >/dev/null; then
        say "dockerd runs already, waiting for it"
    else
        say "starting dockerd without a service manager; its log is ${LOG}"
        # A session of its own, so that it outlives this shell.
        setsid dockerd >>"${LOG}" 2>&1 </dev/null &
    fi
}

wait_for_engine() {
    local second
    for ((second = 0; second < WAIT_S; second++)); do
        if engine_answers; then
            return
        fi
        sleep 1
    done
    if [[ -r "${LOG}" ]]; then
        tail -n 15 "${LOG}" >&2
    fi
    die "no engine answers after ${WAIT_S} s; does this machine allow containers inside of it?"
}

[[ "$(id -u)" == 0 ]] || die "must be run as root; or use an engine that somebody else runs here"
[[ "$(uname -s)" == Linux ]] || die "is for Linux; on other systems install Docker Desktop or Colima"
install_missing
if engine_answers; then
    say "an engine is running already"
else
    start_engine
    wait_for_engine
    say "the engine is ready"
fi
