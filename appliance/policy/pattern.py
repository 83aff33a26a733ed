"""Regular expressions that cannot backtrack: a search in time linear in the text, within a budget of work.

The syntax is the common part of Python's and RE2's: printable ASCII, `.`, classes, `\\d \\w \\s` and their opposites,
groups, `|`, `* + ?`, `{n}` `{n,}` `{n,m}` (a lazy `?` after them changes nothing here), `^ $ \\A \\Z` as the ends of the text.
No back-references, look-around, word boundaries or flags. Bytes are matched, `.` is any byte but a line feed.
"""

from __future__ import annotations

from typing import Final

from appliance.errors import ApplianceError
from appliance.policy.pattern_syntax import Accept, Begin, End, Instruction, One, Split, compile_pattern

MAX_WORK: Final = 400_000
MAX_STATES: Final = 2000


class WorkExceeded(ApplianceError):
    """The search of this text would take more work than is allowed."""


class Pattern:
    """A compiled expression. Raises `appliance.policy.pattern_syntax.BadPattern` where the text is none."""

    def __init__(self, text: str) -> None:
        self._program = compile_pattern(text)

    def search(self, text: bytes) -> bool:
        """Whether the expression matches anywhere in `text`. Raises `WorkExceeded`."""
        return _Search(self._program).run(text)


class _State:
    """A set of places in the program where a match may stand, after some prefix of the text."""

    __slots__ = ("accepts", "next", "places")

    def __init__(self, places: frozenset[int], accepts: bool) -> None:
        self.places = places
        self.accepts = accepts
        self.next: dict[int, _State] = {}


class _Search:
    """One search: a deterministic automaton made as it is needed, so that repeated text costs a look-up per byte."""

    def __init__(self, program: tuple[Instruction, ...]) -> None:
        self._program = program
        self._states: dict[frozenset[int], _State] = {}
        self._work = 0

    def run(self, text: bytes) -> bool:
        state = self._state(self._closure([0], at_begin=True, at_end=not text))
        for byte in text:
            if state.accepts:
                return True
            following = state.next.get(byte)
            if following is None:
                following = state.next[byte] = self._step(state, byte)
            state = following
        return state.accepts or self._accepts_at_end(state)

    def _step(self, state: _State, byte: int) -> _State:
        # A match may also begin after this byte, at the start of the program.
        targets = [0]
        for place in state.places:
            instruction = self._program[place]
            if isinstance(instruction, One) and byte in instruction.bytes:
                targets.append(place + 1)
        self._spend(len(state.places))
        return self._state(self._closure(targets, at_begin=False, at_end=False))

    def _accepts_at_end(self, state: _State) -> bool:
        ends = [place for place in state.places if isinstance(self._program[place], End)]
        return self._state(self._closure([place + 1 for place in ends], at_begin=False, at_end=True)).accepts

    def _closure(self, targets: list[int], *, at_begin: bool, at_end: bool) -> frozenset[int]:
        """Every place reached without a byte. An end of the text stays in the set, to be tried when the text ends."""
        seen: set[int] = set()
        while targets:
            place = targets.pop()
            if place in seen:
                continue
            seen.add(place)
            instruction = self._program[place]
            if isinstance(instruction, Split):
                targets += instruction.to
            elif (isinstance(instruction, Begin) and at_begin) or (isinstance(instruction, End) and at_end):
                targets.append(place + 1)
        self._spend(len(seen))
        return frozenset(seen)

    def _state(self, places: frozenset[int]) -> _State:
        state = self._states.get(places)
        if state is None:
            if len(self._states) >= MAX_STATES:
                raise WorkExceeded("the expression has too many states on this text")
            accepts = any(isinstance(self._program[place], Accept) for place in places)
            state = self._states[places] = _State(places, accepts)
        return state

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > MAX_WORK:
            raise WorkExceeded("the expression takes too much work on this text")
