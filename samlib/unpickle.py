"""A pickle machine that only builds data: numbers, text, containers, arrays and inert records.

A pickle is a program for a stack machine, and the usual interpreter calls whatever the program names. This one knows
a fixed table of names, each with its own small builder, and refuses every other by name. It also keeps memory within
the file's size and a small constant: payloads are views into the file, claims are checked against it, and the number
of instructions, the text and the keys are bounded.
"""

import pickle as op
import struct
from dataclasses import dataclass, field

from .arrays import Array, CheckpointError, Dtype, brief, set_array_state

MAX_STEPS = 250_000  # instructions in a file; official checkpoints have fewer than 100,000
MAX_TEXT = 4 << 20  # bytes of text in a file, source code included (which is kept as text, never run)


@dataclass(slots=True)
class Record:
    """An object of somebody's class, reduced to the class's name and its attributes."""

    kind: str
    state: dict = field(default_factory=dict, repr=False)


@dataclass(slots=True, frozen=True)
class Name:
    """A global that may stand in a checkpoint, and the function that builds data in its place (None: only named)."""

    name: str
    build: object = field(default=None, repr=False)


def _code(opcode: bytes) -> int:
    return opcode[0]


CONSTANTS = {_code(op.NONE): None, _code(op.NEWTRUE): True, _code(op.NEWFALSE): False, _code(op.EMPTY_TUPLE): ()}
EMPTY = {_code(op.EMPTY_LIST): list, _code(op.EMPTY_DICT): dict, _code(op.EMPTY_SET): set}
NUMBERS = {_code(op.BININT): "<i", _code(op.BININT1): "<B", _code(op.BININT2): "<H", _code(op.BINFLOAT): ">d"}
TEXT = {_code(op.SHORT_BINUNICODE): "<B", _code(op.BINUNICODE): "<I", _code(op.BINUNICODE8): "<Q"}
BYTES = {_code(op.SHORT_BINBYTES): "<B", _code(op.BINBYTES): "<I", _code(op.BINBYTES8): "<Q"}
BYTES[_code(op.BYTEARRAY8)] = "<Q"
TUPLES = {_code(op.TUPLE1): 1, _code(op.TUPLE2): 2, _code(op.TUPLE3): 3}
GET = {_code(op.BINGET): "<B", _code(op.LONG_BINGET): "<I"}
PUT = {_code(op.BINPUT): "<B", _code(op.LONG_BINPUT): "<I"}
SKIP = {_code(op.PROTO): 1, _code(op.FRAME): 8}  # bytes of argument that say nothing about the data


class Machine:
    """Runs one pickle in `data` from `position` on; afterwards `position` is behind it.

    names: global -> Name; its `build` gets the arguments that the global would have been called with.
    persistent: builds what a persistent id stands for (the storages of PyTorch files); None: refused.
    """

    def __init__(self, data, names: dict, persistent=None, position: int = 0, steps: int = MAX_STEPS):
        self.data, self.names, self.persistent, self.position = memoryview(data), names, persistent, position
        self.stack, self.marks, self.memo, self.text, self.steps = [], [], {}, 0, steps

    def run(self):
        """The object that the pickle describes. CheckpointError whatever is wrong with it."""
        try:
            while (code := self.take(1)[0]) != _code(op.STOP):
                self.steps -= 1
                if self.steps < 0:
                    raise CheckpointError("more instructions than a checkpoint needs")
                self.step(code)
            return self.stack.pop()
        except CheckpointError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, struct.error, RecursionError) as e:
            raise CheckpointError(f"damaged, or not written by pickle ({type(e).__name__})") from None

    def take(self, count: int) -> memoryview:
        start, self.position = self.position, self.position + count
        if count < 0 or self.position > len(self.data):
            raise CheckpointError(f"ends early: {count:,} bytes announced, {max(len(self.data) - start, 0):,} left")
        return self.data[start : self.position]

    def number(self, layout: str):
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def string(self, count: int) -> str:
        self.text += count
        if self.text > MAX_TEXT:
            raise CheckpointError(f"more than {MAX_TEXT >> 20} MB of text")
        return str(self.take(count), "utf-8", "surrogatepass")

    def line(self) -> str:
        end = bytes(self.data[self.position : self.position + 300]).index(b"\n")
        return self.string(end + 1)[:-1]

    def step(self, code: int) -> None:
        push = self.stack.append
        if code in CONSTANTS:
            push(CONSTANTS[code])
        elif code in EMPTY:
            push(EMPTY[code]())
        elif code in NUMBERS:
            push(self.number(NUMBERS[code]))
        elif code in TEXT:
            push(self.string(self.number(TEXT[code])))
        elif code in BYTES:
            push(self.take(self.number(BYTES[code])))
        elif code in TUPLES:
            push(tuple(self.stack.pop() for _ in range(TUPLES[code]))[::-1])
        elif code in GET:
            push(self.memo[self.number(GET[code])])
        elif code in PUT:
            self.memo[self.number(PUT[code])] = self.stack[-1]
        elif code in SKIP:
            self.take(SKIP[code])
        elif code in RARER:
            RARER[code](self)
        else:
            raise CheckpointError(f"uses the pickle instruction {chr(code)!r}, which no checkpoint needs")

    def items(self) -> list:
        """What was pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def memoize(self):
        self.memo[len(self.memo)] = self.stack[-1]

    def integer(self):
        self.stack.append(int.from_bytes(self.take(min(self.number("<B"), 255)), "little", signed=True))

    def set_items(self, pairs: list):
        target = self.stack[-1]
        if type(target) is not dict:
            raise CheckpointError("sets an item of something that is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[_key(key)] = value

    def set_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        self.set_items([key, value])

    def extend(self, items: list):
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is set:
            target.update(map(_key, items))
        else:
            raise CheckpointError("adds to something that is neither list nor set")

    def find(self, module: str, name: str):
        known = f"{module}.{name}"
        if known not in self.names:
            raise CheckpointError(f"asks for {brief(known)}, which is not data; refused, and nothing was run")
        self.stack.append(self.names[known])

    def stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise CheckpointError("names a global by something that is not text")
        self.find(module, name)

    def call(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not Name or function.build is None or type(arguments) is not tuple:
            raise CheckpointError("calls something that is not in the table of data types")
        self.stack.append(function.build(*arguments))

    def build(self):
        """Attributes for the object on top: kept for records, dropped for dictionaries, decoded for arrays."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is Record and type(state) is dict:
            target.state = state
        elif type(target) is Array:
            set_array_state(target, *state)
        elif type(target) is Dtype:
            target.order = state[1]
        elif type(target) is not dict:
            raise CheckpointError("gives attributes to something that has none")

    def persistent_id(self):
        if self.persistent is None:
            raise CheckpointError("refers to data outside the file")
        self.stack.append(self.persistent(self.stack.pop()))


def _key(key):
    """Keys are short text and small numbers: hashing anything deeper can take for ever."""
    if (type(key) is str and len(key) <= 200) or (type(key) is int and abs(key) < 1 << 48):
        return key
    raise CheckpointError(f"has a dictionary key of type {type(key).__name__}; checkpoints use text and numbers")


RARER = {
    _code(op.MARK): lambda m: m.marks.append(len(m.stack)),
    _code(op.POP): lambda m: m.stack.pop(),
    _code(op.MEMOIZE): Machine.memoize,
    _code(op.LONG1): Machine.integer,
    _code(op.TUPLE): lambda m: m.stack.append(tuple(m.items())),
    _code(op.LIST): lambda m: m.stack.append(m.items()),
    _code(op.APPEND): lambda m: m.extend([m.stack.pop()]),
    _code(op.APPENDS): lambda m: m.extend(m.items()),
    _code(op.ADDITEMS): lambda m: m.extend(m.items()),
    _code(op.SETITEM): Machine.set_item,
    _code(op.SETITEMS): lambda m: m.set_items(m.items()),
    _code(op.GLOBAL): lambda m: m.find(m.line(), m.line()),
    _code(op.STACK_GLOBAL): Machine.stack_global,
    _code(op.REDUCE): Machine.call,
    _code(op.NEWOBJ): Machine.call,
    _code(op.BUILD): Machine.build,
    _code(op.BINPERSID): Machine.persistent_id,
}
