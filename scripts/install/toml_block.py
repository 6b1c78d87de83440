"""TOML that a person wrote, with one marked block of ours at its end. Only the block is written, moved or removed.

The standard library reads TOML and cannot write it; a block also leaves comments and order alone.
"""

import json
import tomllib

from files import Refused

BEGIN = "# BEGIN myrt: what stands up to its END is written by myrt's scripts/install.sh and removed by its --uninstall"
END = "# END myrt"


def parse(text, name):
    """The settings of a text; what is wrong is refused with its place as the parser tells it."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{name}: {error}") from error


def take(text, name):
    """The text without the block; the same text where there is none."""
    lines = text.splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if line.strip() == BEGIN]
    ends = [number for number, line in enumerate(lines) if line.strip() == END]
    if not begins and not ends:
        return text
    if len(begins) != 1 or len(ends) != 1 or ends[0] < begins[0]:
        raise Refused(f"{name}: the lines `{BEGIN}` and `{END}` are no longer one pair; remove them and what they enclose")
    rest = "".join(lines[: begins[0]] + lines[ends[0] + 1 :])
    parse(text, name)
    parse(rest, name)
    return rest


def put(text, name, lines, ours):
    """The text with a block of `lines` at its end.

    `ours` is what the block says, as nested tables. Text and block together must mean what the text meant and that.
    """
    before = parse(text, name)
    meant = _merged(before, ours, name, ())
    if text and not text.endswith("\n"):
        text += "\n"
    text += "\n".join([BEGIN, *lines, END, ""])
    try:
        after = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Refused(f"{name}: a table of it cannot be added to from the end of the file ({error}); write it as [a.b.c]") from error
    if after != meant:
        raise Refused(f"{name}: a block at its end would change more than it should; add the runtime by hand")
    return text


def string(value):
    """A TOML basic string. JSON's escapes are a part of TOML's; DEL alone is escaped by TOML only."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def array(values):
    """A TOML array of strings."""
    return "[" + ", ".join(map(string, values)) + "]"


def _merged(old, new, name, above):
    result = dict(old)
    for key, value in new.items():
        path = (*above, key)
        if key not in old:
            result[key] = value
        elif isinstance(value, dict) and isinstance(old[key], dict) and key != "myrt":
            result[key] = _merged(old[key], value, name, path)
        else:
            raise Refused(f"{name}: {'.'.join(path)} is already there, and not by this script; remove it first")
    return result
