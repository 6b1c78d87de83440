#!/usr/bin/env python3
"""Adds the runtime myrt to the configuration of engines, or takes it out. install.sh calls it.

  configure.py check|add BINARY ENGINE... [--default] [--destdir DIR]
  configure.py remove ENGINE... [--destdir DIR]

Everything is read, checked and planned for all engines before the first file is written; `check` stops there. An engine's
file is replaced whole or not at all. The names of engines whose file was changed go to stdout, one a line; what was done to
stderr. It needs Python 3.11, for its TOML parser, and nothing else.
"""

import os
import sys

if sys.version_info < (3, 11):
    sys.exit(f"configure.py: Python 3.11 or later is needed, this is {sys.version.split()[0]}")

import containerd
import crio
import docker
import files
import podman
import record
import toml_block

ENGINES = {"docker": docker, "podman": podman, "containerd": containerd, "crio": crio}


class Plan:
    """What is to become of one engine's file: `old` is what it holds, `new` what it will (None: no file)."""

    def __init__(self, name, destdir):
        self.name, self.engine, self.destdir = name, ENGINES[name], destdir
        self.path = files.locate(destdir, self.engine.PATH)
        self.old = self.new = files.read(self.path)
        self.record = record.load(destdir, name)

    def without(self):
        """The text as it would be had myrt never been added."""
        known = self.record
        if self.old is None:
            return None
        if known and self.old == known["after"]:
            return known["before"]
        if self.engine is docker:
            return docker.take(self.old, self.path, known)
        text = toml_block.take(self.old, self.path)
        return None if known and known["before"] is None and not text.strip() else text

    def add(self, binary, default):
        """Plans to add the runtime. What an earlier run wrote is taken out first, so that a second run changes nothing."""
        before = self.without()
        self.new = self.engine.add(before, self.path, binary, default, self.destdir)
        made = self.record["folders"] if self.record else files.missing_folders(self.path)
        self.record = {"before": before, "after": self.new, "binary": binary, "folders": made}

    def write(self):
        """Carries out `add`. The record comes first: after a kill in between, a second run or an uninstall finds its way."""
        if self.new == self.old:
            say(f"{self.name}: {self.path} has the runtime already")
            return
        record.save(self.destdir, self.name, self.record)
        for folder in files.missing_folders(self.path):
            os.mkdir(folder, 0o755)
        files.replace(self.path, self.new)
        say(f"{self.name}: added the runtime myrt to {self.path}")
        print(self.name)

    def remove(self):
        """Carries out the way back."""
        if self.new is None and self.old is not None:
            files.remove(self.path)
        elif self.new != self.old:
            files.replace(self.path, self.new)
        files.clean(self.path)
        for folder in reversed(self.record["folders"] if self.record else []):
            try:
                os.rmdir(folder)
            except OSError:
                break  # somebody uses it by now
        record.forget(self.destdir, self.name)
        if self.engine is docker and self.new and (left := docker.left(self.new, self.path)):
            say(f"{self.name}: {self.path}: {left}")
        if self.new == self.old:
            say(f"{self.name}: {self.path} has nothing that this script wrote")
        else:
            say(f"{self.name}: took the runtime myrt out of {self.path}")
            print(self.name)


def say(words):
    print(f"==> {words}", file=sys.stderr)


def main(verb, *words):
    words = list(words)
    destdir, default = "", "--default" in words
    if "--destdir" in words:
        place = words.index("--destdir")
        destdir = words.pop(place + 1).rstrip("/")
        words.pop(place)
    words = [word for word in words if word != "--default"]
    binary = words.pop(0) if verb != "remove" else ""
    plans = [Plan(name, destdir) for name in words]
    for plan in plans:
        if verb == "remove":
            plan.new = plan.without()
        else:
            plan.add(binary, default)
    for plan in plans:
        if verb == "add":
            plan.write()
        elif verb == "remove":
            plan.remove()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except files.Refused as refused:
        sys.exit(f"install.sh: {refused}")
    except OSError as error:
        sys.exit(f"install.sh: {error.filename or 'a file'}: {error.strerror}")
