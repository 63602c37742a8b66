"""The part of the pickle language that weight files use, read without running anything.

A pickle is a program for a small stack machine. This one knows the instructions that PyTorch's
`torch.save` writes for protocols 2 to 5, under Python 2 too, makes dicts, lists, tuples, strings
and numbers itself, and hands the rest to two functions: `find` for a name, `load` for a reference
to data outside of the pickle. What `find` returns is called only if it is a `Builder`. One that is
inert makes a `Marker`, whatever a program then does to it. Anything else is refused by its name.
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from i2sb_jax.interop.mapped import check_name, shown

MAX_PICKLE = 1 << 24  # bytes; a state dict takes about 200 a tensor
_MAX_STEPS = 500_000  # instructions, which bounds memory: none makes more than about 200 bytes
_MAX_KEY = 1 << 31  # of whole numbers as keys: larger ones could be made to collide
_PROTOCOLS = range(2, 6)
_LEFT_OVER = "its pickle ends with something left over"

# Those that are known to be refused, for the message; anything else is shown as a number.
_REFUSED = {
    **{ord("i"): "INST", ord("o"): "OBJ", 0x92: "NEWOBJ_EX"},
    **{0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", ord("P"): "PERSID"},
    **{ord("0"): "POP", ord("1"): "POP_MARK", ord("2"): "DUP", ord("g"): "GET", ord("p"): "PUT"},
    **{ord("I"): "INT", ord("L"): "LONG", ord("F"): "FLOAT", 0x8B: "LONG4"},
    **{ord("S"): "STRING", ord("T"): "BINSTRING", ord("V"): "UNICODE"},
    **{ord("B"): "BINBYTES", ord("C"): "SHORT_BINBYTES", 0x8E: "BINBYTES8", 0x96: "BYTEARRAY8"},
    **{0x8F: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET"},
    **{ord("d"): "DICT", ord("l"): "LIST", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER"},
}


@dataclass(frozen=True, eq=False)
class Marker:
    """A stand-in for what is neither data nor tensor in a file; only its name.

    Attributes:
        name: of what was not built.
    """

    name: str


class Builder(NamedTuple):
    """A name that may be called: `build` gets the tuple of arguments and checks it.

    Attributes:
        name: in full.
        build: from the arguments to the value.
        is_inert: its value is a marker, whose attributes and state are dropped.
    """

    name: str
    build: Callable[[tuple[Any, ...]], Any]
    is_inert: bool = False


class _Machine:
    """Stack, marked stacks below it, and what was put aside by number."""

    def __init__(
        self,
        program: bytes | mmap.mmap,
        start: int,
        find: Callable[[str, str], Any],
        load: Callable[[Any], Any],
    ):
        self.program, self.find, self.load = program, find, load
        self.position, self.end = start, min(len(program), start + MAX_PICKLE)
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > self.end:
            raise self.cut_short()
        taken, self.position = self.program[self.position : end], end
        return taken

    def number(self, kind: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def line(self) -> str:
        end = self.program.find(b"\n", self.position, self.end)
        if end < 0:
            raise self.cut_short()
        return _text(self.take(end + 1 - self.position)[:-1])

    def cut_short(self) -> ValueError:
        if self.end < len(self.program):
            return ValueError(f"its pickle has more than {MAX_PICKLE} bytes")
        return ValueError(f"its pickle is cut short at byte {self.position}")

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle takes from an empty stack")
        return self.stack.pop()

    def pop_marked(self) -> list[Any]:
        if not self.below:
            raise ValueError("its pickle ends a group that was not begun")
        items, self.stack = self.stack, self.below.pop()
        return items

    def top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"its pickle fills a {kind.__name__} that is not one")
        return self.stack[-1]

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise ValueError(f"its pickle refers to an object {number} that it has not made")
        self.stack.append(self.memo[number])

    def remember(self, number: int) -> None:
        if number > _MAX_STEPS:
            raise ValueError(f"its pickle keeps an object as number {number}")
        value = self.pop()
        self.memo[number] = value
        self.stack.append(value)


def run_pickle(program: bytes, find: Callable[[str, str], Any], load: Callable[[Any], Any]) -> Any:
    """Builds what a pickle describes.

    Args:
        program: the pickle, of at most MAX_PICKLE bytes, which is left to the caller.
        find: gets module and name, returns a `Builder` or a plain value, or raises ValueError.
        load: gets what the pickle says of data outside of it, returns that, or raises ValueError.

    Returns:
        The object: dicts, lists, tuples, strings, numbers, None, and what `find` and `load` gave.
        Objects may be shared, and a hostile pickle can make a list that holds itself.

    Raises:
        ValueError: an instruction or a name is refused, or the pickle is damaged or too long.
    """
    value, end = run_next_pickle(program, 0, find, load)
    if end != len(program):
        raise ValueError(_LEFT_OVER)
    return value


def run_next_pickle(
    buffer: bytes | mmap.mmap,
    start: int,
    find: Callable[[str, str], Any],
    load: Callable[[Any], Any],
) -> tuple[Any, int]:
    """Builds what the pickle at `start` describes, which other bytes may follow.

    Args:
        buffer: holds the pickle; not more than MAX_PICKLE bytes of it are looked at.
        start: where the pickle begins.
        find: as for `run_pickle`.
        load: as for `run_pickle`.

    Returns:
        (object, where the pickle ends).

    Raises:
        ValueError: as `run_pickle`.
    """
    machine = _Machine(buffer, start, find, load)
    if machine.number("<B") != 0x80 or machine.number("<B") not in _PROTOCOLS:
        raise ValueError("its pickle is not of protocol 2 to 5")
    for _ in range(_MAX_STEPS):
        code = machine.number("<B")
        if code == ord("."):
            if len(machine.stack) != 1 or machine.below:
                raise ValueError(_LEFT_OVER)
            return machine.stack[0], machine.position
        if code not in _INSTRUCTIONS:
            name = _REFUSED.get(code, f"number {code}")
            raise ValueError(f"its pickle has the instruction {name}{_named(machine, name)}")
        _INSTRUCTIONS[code](machine)
    raise ValueError(f"its pickle has more than {_MAX_STEPS} instructions")


def _named(machine: _Machine, instruction: str) -> str:
    """Returns the name that a refused instruction would have run, where it says so itself."""
    if instruction == "INST":
        return f" of {shown(machine.line() + '.' + machine.line())}"
    if instruction in ("EXT1", "EXT2", "EXT4"):
        code = int.from_bytes(machine.take(int(instruction[-1])), "little")
        return f", an entry {code} of the reader's registry"
    return ""


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"its pickle has the text {shown(raw[:80])}, not UTF-8") from None


def _push(make: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    """An instruction that leaves a new value on the stack."""
    return lambda machine: machine.stack.append(make(machine))


def _frame(machine: _Machine) -> None:
    if machine.number("<Q") > machine.end - machine.position:
        raise ValueError("its pickle is cut short within a frame")


def _mark(machine: _Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []


def _tuple(machine: _Machine) -> None:
    items = tuple(machine.pop_marked())
    machine.stack.append(items)


def _short_tuple(size: int) -> Callable[[_Machine], None]:
    def make(machine: _Machine) -> None:
        items = [machine.pop() for _ in range(size)]
        machine.stack.append(tuple(reversed(items)))

    return make


def _append(machine: _Machine) -> None:
    item = machine.pop()
    machine.top(list).append(item)


def _appends(machine: _Machine) -> None:
    items = machine.pop_marked()
    machine.top(list).extend(items)


def _set_item(machine: _Machine) -> None:
    value, key = machine.pop(), machine.pop()
    fill_dict(machine.top(dict), [key, value])


def _set_items(machine: _Machine) -> None:
    items = machine.pop_marked()
    fill_dict(machine.top(dict), items)


def fill_dict(target: dict, items: list[Any]) -> None:
    """Sets keys and values, which follow each other in `items`; ValueError where a key is none."""
    if len(items) % 2:
        raise ValueError("its pickle has a dict with a key that has no value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        # others, a deep tuple say, could take the hash function down with them
        if type(key) is not str and not (type(key) is int and 0 <= key < _MAX_KEY):
            raise ValueError(f"its pickle has a dict with a {type(key).__name__} as a key")
        if type(key) is str:
            check_name(key)
        target[key] = value


def _global(machine: _Machine) -> Any:
    module = machine.line()
    return machine.find(module, machine.line())


def _stack_global(machine: _Machine) -> Any:
    name, module = machine.pop(), machine.pop()
    if type(module) is not str or type(name) is not str:
        raise ValueError("its pickle names something by what is not text")
    return machine.find(module, name)


def _reduce(machine: _Machine) -> Any:
    arguments, target = machine.pop(), machine.pop()
    if type(target) is not Builder:
        raise ValueError("its pickle calls something that is not a function")
    if type(arguments) is not tuple:
        raise ValueError(f"its pickle calls {target.name} without a tuple of arguments")
    return target.build(arguments)


def _new_object(machine: _Machine) -> Any:
    """Makes an object without its initialiser (NEWOBJ): a marker, of inert names alone."""
    arguments, target = machine.pop(), machine.pop()
    if type(target) is not Builder or not target.is_inert or type(arguments) is not tuple:
        raise ValueError("its pickle has the instruction NEWOBJ")
    return target.build(arguments)


def _build(machine: _Machine) -> None:
    """Drops an object's attributes: a state dict's `_metadata`, its modules' version numbers.

    Before version 0.4 a parameter had some too: (requires_grad, volatile, hooks). A marker has
    none, whatever they are.
    """
    state = machine.pop()
    if machine.stack and type(machine.stack[-1]) is Marker:
        return
    match state:
        case dict(state) if list(state) == ["_metadata"]:
            machine.top(dict)
        case tuple((bool(), bool(), None | dict())):
            machine.top(np.ndarray)
        case _:
            raise ValueError("its pickle sets an object's attributes (BUILD)")


_INSTRUCTIONS: dict[int, Callable[[_Machine], None]] = {
    0x95: _frame,
    ord("("): _mark,
    ord("N"): _push(lambda machine: None),
    0x88: _push(lambda machine: True),
    0x89: _push(lambda machine: False),
    ord("J"): _push(lambda machine: machine.number("<i")),
    ord("K"): _push(lambda machine: machine.number("<B")),
    ord("M"): _push(lambda machine: machine.number("<H")),
    0x8A: _push(lambda m: int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    ord("G"): _push(lambda machine: machine.number(">d")),
    ord("U"): _push(lambda machine: _text(machine.take(machine.number("<B")))),
    ord("X"): _push(lambda machine: _text(machine.take(machine.number("<I")))),
    0x8C: _push(lambda machine: _text(machine.take(machine.number("<B")))),
    0x8D: _push(lambda machine: _text(machine.take(machine.number("<Q")))),
    ord(")"): _push(lambda machine: ()),
    ord("t"): _tuple,
    0x85: _short_tuple(1),
    0x86: _short_tuple(2),
    0x87: _short_tuple(3),
    ord("]"): _push(lambda machine: []),
    ord("a"): _append,
    ord("e"): _appends,
    ord("}"): _push(lambda machine: {}),
    ord("s"): _set_item,
    ord("u"): _set_items,
    ord("c"): _push(_global),
    0x93: _push(_stack_global),
    ord("R"): _push(_reduce),
    0x81: _push(_new_object),
    ord("b"): _build,
    ord("Q"): _push(lambda machine: machine.load(machine.pop())),
    ord("h"): lambda machine: machine.recall(machine.number("<B")),
    ord("j"): lambda machine: machine.recall(machine.number("<I")),
    ord("q"): lambda machine: machine.remember(machine.number("<B")),
    ord("r"): lambda machine: machine.remember(machine.number("<I")),
    0x94: lambda machine: machine.remember(len(machine.memo)),
}
