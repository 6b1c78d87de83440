"""What an engine's file held before myrt was added to it, so that an uninstall brings that back.

One JSON file an engine below /var/lib/myrt-install, for root alone, since a configuration may hold secrets:
`before` (None: there was no file), `after`, `binary`, `folders` (made for the file, the outermost first).
"""

import json
import os

import files

FOLDER = "/var/lib/myrt-install"


def _path(destdir, engine):
    return f"{destdir}{FOLDER}/{engine}.json"


def load(destdir, engine):
    """The record of an engine, or None."""
    path = _path(destdir, engine)
    text = files.read(path)
    if text is None:
        return None
    try:
        record = json.loads(text)
        return {key: record[key] for key in ("before", "after", "binary", "folders")}
    except (ValueError, KeyError, TypeError) as error:
        raise files.Refused(f"{path}: this is no record of an installation; remove it, and myrt from {engine} by hand") from error


def save(destdir, engine, record):
    """Keeps a record; written before the engine's file is, so that a kill in between loses nothing."""
    os.makedirs(destdir + FOLDER, mode=0o700, exist_ok=True)
    files.replace(_path(destdir, engine), json.dumps(record, indent=1) + "\n", 0o600)


def forget(destdir, engine):
    """Removes a record, also one that was half written, and the folder with the last."""
    if not os.path.isdir(destdir + FOLDER):
        return
    files.remove(_path(destdir, engine))
    try:
        os.rmdir(destdir + FOLDER)
    except OSError:
        pass
