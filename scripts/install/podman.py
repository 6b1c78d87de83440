"""Podman: a drop-in of containers.conf.

Podman knows what a runtime can do by its base name, from two lists; a list in a drop-in replaces the one before it. So
the drop-in repeats what was in force: the lists of the files that are read ahead of it, else Podman's own.
"""

import glob

import files
import toml_block

PATH = "/etc/containers/containers.conf.d/50-myrt.conf"

# Read in this order, the later over the earlier.
BEFORE = [
    "/usr/share/containers/containers.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
]

# Podman's own lists, of 4.3 and of later ones: a name that an older one does not know does no harm. The manual page says
# runtime_supports_nocgroups; what Podman reads has no s at its end.
LISTS = {
    "runtime_supports_json": ["crun", "runc", "kata", "runsc", "youki", "krun"],
    "runtime_supports_nocgroup": ["crun", "krun"],
}


def add(text, name, binary, default, destdir):
    """The text of the drop-in; what others added outside of our block stays."""
    engine = {key: [*_in_force(destdir, key, own), "myrt"] for key, own in LISTS.items()}
    if default:
        engine["runtime"] = "myrt"
    lines = ["[engine]"]
    for key, value in engine.items():
        lines.append(f"{key} = {toml_block.array(value) if isinstance(value, list) else toml_block.string(value)}")
    lines += ["[engine.runtimes]", f"myrt = {toml_block.array([binary])}"]
    return toml_block.put(text or "", name, lines, {"engine": {**engine, "runtimes": {"myrt": [binary]}}})


def _in_force(destdir, key, own):
    found = own
    for pattern in BEFORE:
        for path in sorted(glob.glob(glob.escape(destdir) + pattern)):
            if path >= destdir + PATH and pattern == BEFORE[-1]:
                continue
            value = toml_block.parse(files.read(path) or "", path).get("engine", {}).get(key)
            if isinstance(value, list):
                found = [item for item in value if isinstance(item, str)]
    return [item for item in found if item != "myrt"]
