#!/usr/bin/env python3
"""Runs cargo-mutants over the rooms `packet` and `session`, and compares what no test notices with
`survivors.toml`.

    tests/mutants/run.py                           all mutants, compared with the list
    tests/mutants/run.py --file src/packet/ids.rs  some, as cargo-mutants picks them: only told

The pure rooms import only each other. They are copied into a package of their own, so that a mutant
is compiled and tested in seconds, together with the tests that know nothing but them. It ends with
status 1 if too few mutants are caught, if one is missed that is not in the list, or if the list
names one that is not missed. `tests/run.sh long` installs cargo-mutants and runs this.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CARGO_TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
TOOL = CARGO_TARGET / "test-tools/cargo-mutants/bin/cargo-mutants"
TARGET = CARGO_TARGET / "mutants"
PACKAGE = TARGET / "package"
SURVIVORS = ROOT / "tests/mutants/survivors.toml"

MUTATED = ["packet", "session"]
ROOMS = ["topic", "time", "packet", "message", "change", "session"]
TESTS = ["packets", "session"]
DEPENDENCIES = ["ahash", "arcstr", "bytes", "slab", "smallvec", "thiserror"]
TEST_DEPENDENCIES = ["proptest", "serde", "toml"]
# The rooms below have tests that take longer than all of these.
TEST_ARGUMENTS = ["--", "--skip=topic::"]

CAUGHT_PERCENT_MIN = 90
# Twenty times what the tests take; what takes longer does not end.
MUTANT_SECONDS_MAX = 30
# Each compiles the dependencies in a copy of its own.
JOBS_MAX = 4


def main(arguments):
    write_package()
    test_unchanged()
    outcomes = run_mutants(arguments)
    counts = Counter(outcome["summary"] for outcome in outcomes)
    caught = counts["CaughtMutant"] + counts["Timeout"]
    missed = Counter(name(outcome) for outcome in outcomes if outcome["summary"] == "MissedMutant")
    viable = caught + counts["MissedMutant"]
    if viable == 0:
        sys.exit("no mutant was tested")
    percent = 100 * caught / viable
    print(
        f"{len(outcomes)} mutants: {counts['Unviable']} do not compile; of {viable} others"
        f" {caught} are caught ({counts['Timeout']} by time), {counts['MissedMutant']} missed:"
        f" {percent:.1f} % caught"
    )
    if arguments:
        print("\n".join(sorted(missed.elements())))
        return
    problems = compare(missed, survivors())
    if percent < CAUGHT_PERCENT_MIN:
        problems.append(f"less than {CAUGHT_PERCENT_MIN} % are caught")
    if problems:
        sys.exit("\n".join(problems))


def write_package():
    """Copies what changed, so that cargo compiles no more than that."""
    sources = {Path("Cargo.toml"): manifest().encode(), Path("src/lib.rs"): library().encode()}
    for room in ROOMS:
        sources |= contents(f"src/{room}")
    for test in TESTS:
        sources |= contents(f"tests/{test}")
    for path, content in sources.items():
        copy = PACKAGE / path
        if not copy.exists() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    for copy in [*PACKAGE.glob("src/**/*.*"), *PACKAGE.glob("tests/**/*.*")]:
        if copy.relative_to(PACKAGE) not in sources:
            copy.unlink()
    # With the versions that the broker has; cargo leaves out those that are not needed.
    shutil.copy(ROOT / "Cargo.lock", PACKAGE / "Cargo.lock")


def contents(stem):
    """The files of a room or a test: one, or a folder, or both."""
    files = [ROOT / f"{stem}.rs", *(ROOT / stem).rglob("*")]
    return {file.relative_to(ROOT): file.read_bytes() for file in files if file.is_file()}


def manifest():
    whole = tomllib.loads((ROOT / "Cargo.toml").read_text())
    known = whole["dependencies"] | whole["dev-dependencies"]
    package = whole["package"]
    lines = [
        "[package]",
        f'name = "{package["name"]}"',
        f'version = "{package["version"]}"',
        f'edition = "{package["edition"]}"',
        "[lib]",
        "doctest = false",
        "[dependencies]",
        *(f"{name} = {inline(known[name])}" for name in DEPENDENCIES),
        "[dev-dependencies]",
        *(f"{name} = {inline(known[name])}" for name in TEST_DEPENDENCIES),
        "[profile.dev]",
        "debug = 0",
        "[profile.dev.package.'*']",
        "opt-level = 2",
        # Not a member of whatever workspace the folder is in.
        "[workspace]",
    ]
    return "\n".join(lines) + "\n"


def inline(requirement):
    """A requirement as TOML: a version, or a table of strings, booleans and lists of strings."""
    if not isinstance(requirement, dict):
        return json.dumps(requirement)
    fields = (f"{key} = {json.dumps(value)}" for key, value in requirement.items())
    return "{ " + ", ".join(fields) + " }"


def library():
    return "".join(f"pub mod {room};\n" for room in ROOMS)


def environment(**others):
    # Each mutant meets the same random cases, whatever others failed by, so that it is caught always
    # or never; which is the smallest of them nobody asks.
    fixed = {
        "PROPTEST_RNG_SEED": "1",
        "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "1",
        "PROPTEST_MAX_SHRINK_ITERS": "0",
    }
    return os.environ | fixed | others


def test_unchanged():
    """What is green without tests proves nothing."""
    run = subprocess.run(
        ["cargo", "test", *TEST_ARGUMENTS],
        cwd=PACKAGE,
        env=environment(CARGO_TARGET_DIR=str(TARGET / "build")),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    results = [line.split() for line in run.stdout.splitlines() if line.startswith("test result:")]
    passed = [int(words[3]) for words in results]
    if run.returncode != 0:
        sys.exit(f"{run.stdout}\nthe tests fail without a mutant")
    if len(passed) != 1 + len(TESTS) or min(passed) == 0:
        sys.exit(f"{run.stdout}\ntests are missing: {passed} were run")
    print(f"{sum(passed)} tests pass without a mutant", flush=True)


def run_mutants(arguments):
    picked = arguments or [f"--file=src/{room}/**" for room in MUTATED]
    jobs = min(os.cpu_count() or 1, JOBS_MAX)
    command = [str(TOOL), "mutants", "--baseline=skip", "--no-shuffle", "--colors=never"]
    command += [f"--jobs={jobs}", f"--timeout={MUTANT_SECONDS_MAX}", f"--output={TARGET}", *picked]
    command += ["--", *TEST_ARGUMENTS]
    copies = TARGET / "copies"
    copies.mkdir(exist_ok=True)
    # A target directory that all copies share would be compiled anew for each mutant.
    alone = environment(TMPDIR=str(copies))
    alone.pop("CARGO_TARGET_DIR", None)
    status = subprocess.run(command, cwd=PACKAGE, env=alone, check=False).returncode
    # 2 and 3: mutants were missed, or ended by time.
    if status not in (0, 2, 3):
        sys.exit(f"cargo mutants failed with {status}")
    outcomes = json.loads((TARGET / "mutants.out/outcomes.json").read_text())["outcomes"]
    return [outcome for outcome in outcomes if outcome["scenario"] != "Baseline"]


def name(outcome):
    """As cargo-mutants names it, without the line, which changes with every edit."""
    path, _, _, mutation = outcome["scenario"]["Mutant"]["name"].split(":", 3)
    return f"{path}:{mutation}"


def survivors():
    listed = Counter()
    for group in tomllib.loads(SURVIVORS.read_text()).get("survivors", []):
        if group.keys() != {"file", "mutations", "reason"} or not group["reason"].strip():
            sys.exit(f"{SURVIVORS.name}: wants a file, mutations and a reason: {group}")
        listed.update(f"{group['file']}: {mutation}" for mutation in group["mutations"])
    return listed


def compare(missed, listed):
    """Counted: the same mutation may be made in several places of one function."""
    return [
        *(f"missed and not in {SURVIVORS.name}: {name}" for name in (missed - listed).elements()),
        *(f"in {SURVIVORS.name} but not missed: {name}" for name in (listed - missed).elements()),
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
