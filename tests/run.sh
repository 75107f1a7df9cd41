#!/usr/bin/env bash
# Everything that must be green: installs what the tests need, then format, lints and all tests.
# Works from any folder, on a bare Debian with Rust; only what is missing is installed.
# `tests/run.sh long` then breaks the code in every way cargo-mutants knows, to see whether a test
# notices, runs the simulation with 10,000 seeds, and kills and starves the broker many times more.
set -euo pipefail

readonly root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly tools="${CARGO_TARGET_DIR:-$root/target}/test-tools"
readonly form="${1:-short}"
readonly cargo_mutants_version=27.1.0
readonly simulation_seeds=10000
readonly durability_rounds=100
readonly open_files_wanted=20000

case "$form" in
    short) readonly seconds_max=900 ;;
    long) readonly seconds_max=14400 ;;
    *)
        printf 'usage: tests/run.sh [long]\n' >&2
        exit 2
        ;;
esac

declare -a finished=()
current="start"
started=0
child=""

fail() {
    printf 'tests/run.sh: %s\n' "$1" >&2
    exit 1
}

report() {
    local status=$?
    if [ -n "$child" ]; then kill "$child" 2>/dev/null || true; fi
    printf '\n%-12s %8s\n' stage seconds
    if [ ${#finished[@]} -gt 0 ]; then printf '%s\n' "${finished[@]}"; fi
    if [ "$status" -eq 0 ]; then
        printf '%-12s %8s\n' together "$SECONDS"
    else
        printf '%-12s %8s  FAILED\n' "$current" "$((SECONDS - started))"
    fi
    exit "$status"
}
trap report EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

stage() {
    current="$1"
    started=$SECONDS
    shift
    printf '\n== %s: %s\n' "$current" "$*"
    "$@"
    finished+=("$(printf '%-12s %8s' "$current" "$((SECONDS - started))")")
    printf '== %s: %s s\n' "$current" "$((SECONDS - started))"
}

# Runs a command for as long as is left of the time for everything. In the background, so that a
# signal to this script is handled at once.
limited() {
    local left=$((seconds_max - SECONDS)) status=0
    [ "$left" -gt 0 ] || fail "no time left of $seconds_max s"
    timeout --kill-after=10 "$left" "$@" &
    child=$!
    wait "$child" || status=$?
    child=""
    [ "$status" -ne 124 ] || fail "$* did not end within $seconds_max s"
    return "$status"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "needs root or sudo for: $*"
    fi
}

apt_updated=""
# apt_install TOOL PACKAGE...: the packages, if the tool is not there.
apt_install() {
    local tool="$1"
    shift
    if ! command -v apt-get >/dev/null; then
        fail "$tool is missing and there is no apt-get to install it: install $* yourself"
    fi
    printf 'installing %s for %s\n' "$*" "$tool"
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -q || fail "apt-get update failed, wanted $* for $tool"
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" \
        || fail "could not install $* for $tool"
}

# need TOOL PACKAGE...
need() {
    command -v "$1" >/dev/null || apt_install "$@"
}

# installed FOLDER LIST: whether the libraries in the folder are those of this list.
installed() {
    cmp -s "$1/installed" "$2"
}

install_tools() {
    need cc gcc libc6-dev
    need mosquitto_sub mosquitto-clients
    cc -E - <<<'#include <MQTTClient.h>' >/dev/null 2>&1 || apt_install "Paho for C" libpaho-mqtt-dev
    need python3 python3
    # Some tests make and mount file systems of their own, if root runs them.
    if [ "$(id -u)" -eq 0 ]; then
        need mkfs.ext4 e2fsprogs
        need mount mount
    fi
    command -v node >/dev/null || apt_install node nodejs npm
    need npm npm
    command -v cargo >/dev/null || fail "cargo is missing: install Rust with rustup"
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt \
        || fail "could not add rustfmt"
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy \
        || fail "could not add clippy"

    local python="$tools/python" list="$root/tests/interop/paho_python/requirements.txt"
    if ! installed "$python" "$list" || [ ! -d "$python/paho" ]; then
        python3 -m pip --version >/dev/null 2>&1 || apt_install pip python3-pip
        rm -rf "$python"
        python3 -m pip install --disable-pip-version-check --root-user-action=ignore --no-deps \
            --require-hashes --target "$python" --requirement "$list" \
            || fail "could not install paho-mqtt by pip"
        cp "$list" "$python/installed"
    fi

    local node="$tools/node" lock="$root/tests/interop/mqttjs/package-lock.json"
    if ! installed "$node" "$lock" || [ ! -d "$node/node_modules/mqtt" ]; then
        rm -rf "$node"
        mkdir -p "$node"
        cp "$root/tests/interop/mqttjs/package.json" "$lock" "$node/"
        npm ci --prefix "$node" --ignore-scripts --no-audit --no-fund \
            || fail "could not install MQTT.js by npm"
        cp "$lock" "$node/installed"
    fi
}

install_cargo_mutants() {
    local folder="$tools/cargo-mutants"
    if [ "$("$folder/bin/cargo-mutants" mutants --version 2>/dev/null)" \
        != "cargo-mutants $cargo_mutants_version" ]; then
        cargo install --locked --version "$cargo_mutants_version" --root "$folder" cargo-mutants \
            || fail "could not install cargo-mutants"
    fi
}

raise_open_file_limit() {
    local hard
    hard="$(ulimit -Hn)"
    if [ "$hard" = unlimited ] || [ "$hard" -gt "$open_files_wanted" ]; then
        hard=$open_files_wanted
    fi
    ulimit -Sn "$hard"
}

cd "$root"
raise_open_file_limit
stage tools install_tools
stage format limited cargo fmt --check
stage clippy limited cargo clippy --all-targets --locked -- -D warnings
stage test limited cargo test --locked
if [ "$form" = long ]; then
    stage install install_cargo_mutants
    stage mutants limited tests/mutants/run.py
    export DUNLIN_SIMULATION_SEEDS=$simulation_seeds
    stage simulation limited cargo test --locked --release --test simulation
    export DUNLIN_DURABILITY_ROUNDS=$durability_rounds
    stage durability limited cargo test --locked --release --test durability -- --nocapture \
        --test-threads=1
fi
