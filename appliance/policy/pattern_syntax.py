"""The syntax of `appliance.policy.pattern`: an expression's text to a program for its automaton (Thompson's construction)."""

from __future__ import annotations

from typing import Final, NoReturn

import msgspec

from appliance.errors import ApplianceError

MAX_PATTERN_CHARS: Final = 500
MAX_INSTRUCTIONS: Final = 1000
_MAX_DEPTH: Final = 20

_ALL: Final = frozenset(range(256))
_DIGIT: Final = frozenset(b"0123456789")
_WORD: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SPACE: Final = frozenset(b" \t\n\r\f\v")
_CLASSES: Final = {
    "d": _DIGIT,
    "D": _ALL - _DIGIT,
    "w": _WORD,
    "W": _ALL - _WORD,
    "s": _SPACE,
    "S": _ALL - _SPACE,
}
_CONTROLS: Final = {"n": 0x0A, "r": 0x0D, "t": 0x09, "f": 0x0C, "v": 0x0B}


class BadPattern(ApplianceError):
    """The text is no expression of the syntax, or one that is too large."""


class One(msgspec.Struct, frozen=True):
    """Consumes one byte of a set."""

    bytes: frozenset[int]


class Split(msgspec.Struct, frozen=True):
    """Goes on at each of these places."""

    to: tuple[int, ...]


class Begin(msgspec.Struct, frozen=True):
    """Passes at the beginning of the text."""


class End(msgspec.Struct, frozen=True):
    """Passes at the end of the text."""


class Accept(msgspec.Struct, frozen=True):
    """The expression matched."""


Instruction = One | Split | Begin | End | Accept
# Code whose `Split`s count from its own first instruction, so that it can be placed anywhere and repeated.
_Code = tuple[Instruction, ...]


def compile_pattern(text: str) -> tuple[Instruction, ...]:
    """The program of an expression. Raises `BadPattern`."""
    if len(text) > MAX_PATTERN_CHARS or not (text.isascii() and text.isprintable()):
        raise BadPattern(f"is longer than {MAX_PATTERN_CHARS} characters or not printable ASCII")
    return (*_Reader(text).read(), Accept())


def _moved(code: _Code, by: int) -> list[Instruction]:
    return [Split(tuple(to + by for to in i.to)) if isinstance(i, Split) else i for i in code]


def _joined(parts: list[_Code]) -> _Code:
    code: list[Instruction] = []
    for part in parts:
        code += _moved(part, len(code))
        if len(code) > MAX_INSTRUCTIONS:
            raise BadPattern(f"needs more than {MAX_INSTRUCTIONS} instructions")
    return tuple(code)


def _either(options: list[_Code]) -> _Code:
    code = options[-1]
    for option in reversed(options[:-1]):
        code = _joined([(Split((1, len(option) + 2)),), option, (Split((1 + len(code),)),), code])
    return code


def _any_number(code: _Code) -> _Code:
    # The jump back is placed after the code, so it counts from there: to the first instruction.
    return _joined([(Split((1, len(code) + 2)),), code, (Split((-len(code) - 1,)),)])


def _repeated(code: _Code, least: int, most: int | None) -> _Code:
    if max(least, most or 0) * len(code) > MAX_INSTRUCTIONS:
        # Before anything is built: a repetition of a repetition would be a million instructions.
        raise BadPattern(f"needs more than {MAX_INSTRUCTIONS} instructions")
    required = [code] * least
    if most is None:
        return _joined([*required, _any_number(code)])
    # Each repetition that is not required may be left out by going to the end of them all.
    size = len(code) + 1
    optional = [(Split((1, size * left)), *code) for left in range(most - least, 0, -1)]
    return _joined([*required, *optional])


class _Reader:
    """Recursive descent over an expression's text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self) -> _Code:
        code = self._alternation()
        if self._at < len(self._text):
            self._bad("has a parenthesis that was not opened")
        return code

    def _bad(self, rule: str) -> NoReturn:
        raise BadPattern(f"{rule} (at character {self._at + 1})")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            self._bad("ends too early")
        self._at += 1
        return character

    def _skip(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _alternation(self) -> _Code:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return _either(options)

    def _sequence(self) -> _Code:
        parts: list[_Code] = []
        while self._peek() and self._peek() not in "|)":
            parts.append(self._quantified(self._atom()))
        return _joined(parts)

    def _quantified(self, code: _Code) -> _Code:
        bounds = self._bounds()
        if bounds is None:
            return code
        self._skip("?")
        if self._bounds() is not None:
            self._bad("has a quantifier after a quantifier")
        return _repeated(code, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        if self._skip("*"):
            return 0, None
        if self._skip("+"):
            return 1, None
        if self._skip("?"):
            return 0, 1
        if not self._skip("{"):
            return None
        least = self._number()
        most: int | None = least
        if self._skip(","):
            most = None if self._peek() == "}" else self._number()
        if not self._skip("}") or (most is not None and most < least):
            self._bad("has a malformed repetition")
        return least, most

    def _number(self) -> int:
        begin = self._at
        while self._peek().isdigit():
            self._at += 1
        if not 0 < self._at - begin <= 3:
            self._bad("has a malformed repetition")
        return int(self._text[begin : self._at])

    def _atom(self) -> _Code:
        character = self._take()
        if character == "(":
            return self._group()
        if character == "[":
            return (One(self._class()),)
        if character == "\\":
            return self._escape()
        if character == ".":
            return (One(_ALL - {0x0A}),)
        if character in "^$":
            return (Begin() if character == "^" else End(),)
        if character in "*+?{}]":
            self._at -= 1
            self._bad(f"has a {character} that must be escaped here")
        return (One(frozenset(character.encode())),)

    def _group(self) -> _Code:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._bad(f"is nested more than {_MAX_DEPTH} deep")
        if self._skip("?") and not self._skip(":"):
            self._bad("has a group of a kind that is not supported")
        code = self._alternation()
        if not self._skip(")"):
            self._bad("has a parenthesis that is not closed")
        self._depth -= 1
        return code

    def _escape(self) -> _Code:
        character = self._take()
        if character in "AZ":
            return (Begin() if character == "A" else End(),)
        return (One(self._escaped(character)),)

    def _escaped(self, character: str) -> frozenset[int]:
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return frozenset({_CONTROLS[character]})
        if character.isalnum():
            self._bad(f"has the escape \\{character}, which is not supported")
        return frozenset(character.encode())

    def _class(self) -> frozenset[int]:
        negated = self._skip("^")
        members: set[int] = set()
        first = True
        while first or self._peek() != "]":
            first = False
            low = self._member()
            if len(low) == 1 and self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                high = self._member()
                if len(high) != 1 or min(high) < min(low):
                    self._bad("has a malformed range")
                low = frozenset(range(min(low), min(high) + 1))
            members |= low
        self._at += 1
        return _ALL - members if negated else frozenset(members)

    def _member(self) -> frozenset[int]:
        character = self._take()
        if character == "\\":
            return self._escaped(self._take())
        if character == "[":
            self._bad("has a [ in a class that must be escaped")
        return frozenset(character.encode())
