"""JSON that a person wrote, changed as a person would: a member is added or taken out, every other byte stays.

Taking out a member that was added here gives the text from before, but for white space in an object that was empty.
"""

import json
import re

from files import Refused, position

SPACE = " \t\r\n"


def parse(text, name):
    """The object that `text` holds; what is wrong is refused with its line and column."""

    def no_constant(word):
        at = next(found.start() for found in re.finditer(r'"(?:\\.|[^"\\])*"|' + word, text) if found.group() == word)
        raise Refused(f"{position(name, text, at)}: {word} is not JSON")

    try:
        value = json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise Refused(f"{position(name, text, error.pos)}: {error.msg[:1].lower()}{error.msg[1:]}") from error
    except RecursionError as error:
        raise Refused(f"{name}: nested too deeply") from error
    if not isinstance(value, dict):
        raise Refused(f"{position(name, text, _skip(text, 0))}: an object is expected ({{...}})")
    return value


class Object:
    """An object within a text that parses: where its braces and its members stand."""

    def __init__(self, text, name, keys=()):
        """The object that `keys` lead to from the top; each of them must be there."""
        self.text, self.name = text, name
        self._scan(_skip(text, 0))
        for key in keys:
            start = self.members[key][1]
            if text[start] != "{":
                raise Refused(f"{position(name, text, start)}: {key!r} should be an object ({{...}})")
            self._scan(start)

    def _scan(self, brace):
        text, decoder = self.text, json.JSONDecoder()
        self.open, self.members = brace, {}  # key: (start of the key, start and end of the value), in order
        at = _skip(text, brace + 1)
        while text[at] != "}":
            key, end = decoder.raw_decode(text, at)
            if key in self.members:
                raise Refused(f"{position(self.name, text, at)}: {key!r} stands here for the second time")
            start = _skip(text, _skip(text, end) + 1)
            _, end = decoder.raw_decode(text, start)
            self.members[key] = (at, start, end)
            at = _skip(text, end)
            if text[at] == ",":
                at = _skip(text, at + 1)
        self.close = at

    def add(self, key, value):
        """The text with one more member, the last, set out as its neighbours are."""
        text = self.text
        if not self.members:
            newline, unit = _newline(text), self._unit()
            outer = _indent(text, self.open)
            member = _member(key, value, newline + outer + unit, unit)
            return f"{text[: self.open + 1]}{newline}{outer}{unit}{member}{newline}{outer}{text[self.close :]}"
        *_, (start, _, end) = self.members.values()
        if "\n" not in text[self.open : start]:
            return f"{text[:end]}, {_member(key, value)}{text[end:]}"
        lead = _newline(text) + _indent(text, start)
        return f"{text[:end]},{lead}{_member(key, value, lead, self._unit())}{text[end:]}"

    def set(self, key, value):
        """The text with another value for a member that is there."""
        _, start, end = self.members[key]
        return f"{self.text[:start]}{json.dumps(value, ensure_ascii=False)}{self.text[end:]}"

    def take(self, key):
        """The text without a member and its comma."""
        text, keys = self.text, list(self.members)
        start, _, end = self.members[key]
        place = keys.index(key)
        if place > 0:
            return text[: self.members[keys[place - 1]][2]] + text[end:]
        if len(keys) > 1:
            return text[:start] + text[self.members[keys[1]][0] :]
        return text[: self.open + 1] + text[self.close :]

    def _unit(self):
        """One step of indentation: that of the first member of the whole text, else four blanks."""
        first = _skip(self.text, _skip(self.text, 0) + 1)
        return _indent(self.text, first) or "    "


def _skip(text, at):
    while at < len(text) and text[at] in SPACE:
        at += 1
    return at


def _newline(text):
    return "\r\n" if "\r\n" in text else "\n"


def _indent(text, at):
    """The white space at the beginning of the line in which `at` stands."""
    start = text.rfind("\n", 0, at) + 1
    end = start
    while end < at and text[end] in " \t":
        end += 1
    return text[start:end]


def _member(key, value, lead=None, unit=None):
    """`"key": value`, on one line, or with `lead` (line end and indentation) before each line but the first."""
    if lead is None:
        said = json.dumps(value, ensure_ascii=False)
    else:
        said = json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", lead)
    return f"{json.dumps(key)}: {said}"
