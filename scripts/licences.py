#!/usr/bin/env python3
"""Checks the dependencies of Cargo.lock: their licences, where they come from, and versions that are there twice.

  scripts/licences.py [--list]     --list prints what is linked, with versions and licences

It does what cargo-deny does with `licenses`, `sources` and `bans.multiple-versions`, and reads the same deny.toml; it
needs `cargo metadata` and nothing else from the network. It does not look at advisories: for those run `cargo deny check
advisories`, which fetches a database.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def allowed(expression, licences):
    """Whether an SPDX expression can be met with the allowed licences; `/` is the old way to write OR."""
    text = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", text)
    python = []
    skip = False
    for token in tokens:
        if skip:  # the name of an exception, which only widens a licence
            skip = False
        elif token == "WITH":
            skip = True
        elif token in ("(", ")"):
            python.append(token)
        elif token in ("AND", "OR"):
            python.append(token.lower())
        else:
            python.append(str(token in licences))
    return bool(eval(" ".join(python), {"__builtins__": {}}))  # only True, False, and, or, parentheses


def main():
    policy = tomllib.loads((ROOT / "deny.toml").read_text())
    licences = set(policy["licenses"]["allow"])
    skip = {entry["crate"].split("@")[0] for entry in policy["bans"].get("skip", [])}
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", policy["graph"]["targets"][0]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    packages = {package["id"]: package for package in metadata["packages"]}
    # Only what is linked or runs at build time: the tests' own dependencies may come twice.
    reached, queue = set(), [metadata["resolve"]["root"]]
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    while queue:
        package = queue.pop()
        if package in reached:
            continue
        reached.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                queue.append(dependency["pkg"])

    problems = []
    versions = {}
    for identity in sorted(nodes):
        package = packages[identity]
        name, version = package["name"], package["version"]
        licence = package["license"] or ""
        if "--list" in sys.argv[1:] and identity in reached:
            print(f"{name:30} {version:12} {licence}")
        if not licence or not allowed(licence, licences):
            problems.append(f"{name} {version}: the licence is {licence or 'not named'}, which deny.toml does not allow")
        if package["source"] and not package["source"].startswith("registry+"):
            problems.append(f"{name} {version}: comes from {package['source']}, not from the crate registry")
        if identity in reached:
            versions.setdefault(name, []).append(version)
    for name, found in versions.items():
        if len(found) > 1 and name not in skip:
            problems.append(f"{name}: linked in {len(found)} versions: {', '.join(sorted(found))}")
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print(f"{len(nodes)} crates, {len(reached) - 1} of them linked or run at build time: licences, sources, versions in order")
    return 1 if problems else 0


sys.exit(main())
