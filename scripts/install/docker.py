"""Docker: `runtimes.myrt`, and `default-runtime` if that is wanted, in /etc/docker/daemon.json."""

from files import Refused
from json_text import Object, parse

PATH = "/etc/docker/daemon.json"


def add(text, name, binary, default, _destdir):
    """The text with the runtime in it. A blank file is one without settings to dockerd, as no file is."""
    if text is None or not text.strip():
        text = "{}\n"
    settings = parse(text, name)
    top = Object(text, name)
    entry = {"path": binary}
    if "runtimes" not in settings:
        text = top.add("runtimes", {"myrt": entry})
    else:
        runtimes = Object(text, name, ["runtimes"])
        if "myrt" not in runtimes.members:
            text = runtimes.add("myrt", entry)
        elif settings["runtimes"]["myrt"] != entry:
            raise Refused(f"{name}: there is another runtime myrt: {settings['runtimes']['myrt']}; remove or rename it")
    if default and settings.get("default-runtime") != "myrt":
        top = Object(text, name)
        change = top.set if "default-runtime" in settings else top.add
        text = change("default-runtime", "myrt")
    meant = {**settings, "runtimes": {**_runtimes(settings), "myrt": entry}}
    if default:
        meant["default-runtime"] = "myrt"
    if parse(text, name) != meant:
        raise Refused(f"{name}: the change would touch more than it should; add the runtime by hand")
    return text


def take(text, name, record):
    """The text without what `add` put there; what others wrote since stays. None: there was no file before."""
    if record is None or not text.strip():
        return text
    blank = not (record["before"] or "").strip()
    before = {} if blank else parse(record["before"], name)
    now = parse(text, name)
    ours = {"path": record["binary"]}
    if _runtimes(now).get("myrt") == ours and "myrt" not in _runtimes(before):
        text = Object(text, name, ["runtimes"]).take("myrt")
        if len(now["runtimes"]) == 1 and "runtimes" not in before:
            text = Object(text, name).take("runtimes")
    if now.get("default-runtime") == "myrt" and before.get("default-runtime") != "myrt":
        top = Object(text, name)
        if "default-runtime" in before:
            text = top.set("default-runtime", before["default-runtime"])
        else:
            text = top.take("default-runtime")
    if not before and not Object(text, name).members:
        return record["before"]
    return text


def left(text, name):
    """What of myrt is still named in a text that the uninstall leaves, for a warning."""
    settings = parse(text, name) if text.strip() else {}
    if "myrt" in _runtimes(settings):
        return "runtimes.myrt, which was not written by this script or was changed since, is left"
    return None


def _runtimes(settings):
    found = settings.get("runtimes")
    return found if isinstance(found, dict) else {}
