"""Python's own unpickler, made inert: the reference that taper's unpickler is compared with.

`read(data)` gives the value and the number of bytes read, or raises. It is pickle._Unpickler with every opcode that
would call something recording it instead, as taper does, so that both must take exactly the same pickles and see the
same values. Where taper's rules are not Python's, the rule stands here with its reason:

Stricter than Python (`Stricter`):
- texts of numbers are plain: no "+5", " 5", "1_000", "0x10" in INT, LONG, FLOAT, PUT and GET
- memo numbers far beyond the number of values
- BUILD gives its state to an object, once, and not to a list, a class or a persistent id
- no mark is left open at STOP
- READONLY_BUFFER is refused with all that belongs to out-of-band buffers

More lenient than Python:
- nothing is hashed: keys and elements of sets may be lists
- keys that are equal are joined for scalars only, by Python's equality; tuples and classes are told apart by identity
- elements of sets are not joined
- names of globals may hold lone surrogates, and persistent ids of protocol 0 are UTF-8
- any class may be given any arguments, since nothing is called

Different by design: lone surrogates become U+FFFD; STRING and BINSTRING give text where they are UTF-8, else bytes;
bytearray reads as bytes; calls of copyreg's helpers read as the calls that they stand for.
"""

import io
import pickle
import re
import struct
import sys

MOST_MEMO = 1000  # taper's limit follows from the number of values, and is never less


class Stricter(Exception):
    """What Python would take and taper refuses."""


class Global:
    """A class or function by name."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Node:
    """A container, object or persistent id."""

    def __init__(self, tag, items=(), entries=()):
        self.tag = tag
        self.items = list(items)
        self.entries = list(entries)
        self.type = self.arguments = self.keywords = self.state = None


def pairs(values):
    """Keys with their values."""
    if len(values) % 2:
        raise pickle.UnpicklingError("a key has no value")
    return list(zip(values[::2], values[1::2], strict=True))


def whole_text(text):
    """The text with lone surrogates replaced."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


class Machine(pickle._Unpickler):
    """The unpickler; the opcodes that are not overridden are Python's."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, data):
        self.file = io.BytesIO(data)
        self.data = data
        super().__init__(self.file, encoding="bytes")

    def find_class(self, module, name):
        return Global(module, name)

    def persistent_load(self, pid):
        return Node("persistent", [pid])

    def checked_line(self, pattern):
        """The coming line, which stays where it is."""
        position = self.file.tell()
        line = self.file.readline()
        self.file.seek(position)
        if not line.endswith(b"\n"):
            raise EOFError
        if not re.fullmatch(pattern, line[:-1]):
            raise Stricter("a number in unusual writing")

    def need(self, count, kinds):
        """The last value, which must be one of `kinds`, with `count` values above it."""
        if len(self.stack) <= count or getattr(self.stack[-1 - count], "tag", None) not in kinds:
            raise pickle.UnpicklingError("the wrong thing on the stack")
        return self.stack[-1 - count]

    def call(self, kind, arguments, keywords=None):
        """An object that stands for the result of a call."""
        if not is_callable(kind) or getattr(arguments, "tag", None) != "tuple":
            raise pickle.UnpicklingError("not a call")
        node = Node("object")
        node.type, node.arguments, node.keywords = kind, arguments, keywords
        see_through_copyreg(node)
        self.append(node)


def is_callable(value):
    """Whether taper would let it be called."""
    return isinstance(value, Global) or (isinstance(value, Node) and value.tag in ("object", "persistent"))


def see_through_copyreg(node):
    """Calls of copyreg's helpers mean a class and the arguments of its __new__."""
    helper = node.type
    args = node.arguments.items
    if not isinstance(helper, Global) or helper.module not in ("copyreg", "copy_reg"):
        return
    if not args or not is_callable(args[0]):
        return
    if helper.name == "__newobj__":
        node.type, node.arguments = args[0], Node("tuple", args[1:])
    elif helper.name == "__newobj_ex__" and len(args) == 3 and getattr(args[1], "tag", None) == "tuple":
        node.type, node.arguments, node.keywords = args
    elif helper.name == "_reconstructor" and len(args) == 3:
        node.type, node.arguments = args[0], Node("tuple", [] if args[2] is None else [args[2]])


def opcode(code):
    """Registers a function as the meaning of an opcode."""

    def register(function):
        Machine.dispatch[code[0]] = function
        return function

    return register


def python_opcode(code):
    """Python's own meaning of an opcode."""
    return pickle._Unpickler.dispatch[code[0]]


def with_plain_line(code, pattern):
    """Python's opcode, for lines of plain numbers only."""

    @opcode(code)
    def run(self):
        self.checked_line(pattern)
        python_opcode(code)(self)


DECIMAL = rb"-?(0+|[1-9][0-9]*)"
with_plain_line(pickle.INT, rb"00|01|" + DECIMAL)
with_plain_line(pickle.LONG, DECIMAL + rb"L?")
with_plain_line(pickle.FLOAT, rb"(?i:-?([0-9]+\.?[0-9]*(e[-+]?[0-9]+)?|\.[0-9]+(e[-+]?[0-9]+)?|inf|infinity|nan))")
with_plain_line(pickle.GET, rb"[0-9]+")
with_plain_line(pickle.PUT, rb"[0-9]+")


def with_near_memo(code, size):
    """Python's opcode, for memo numbers that taper certainly takes."""

    @opcode(code)
    def run(self):
        position = self.file.tell()
        number = self.file.readline() if size == 0 else self.file.read(size)
        self.file.seek(position)
        python_or_plain = Machine.plain_put if size == 0 else python_opcode(code)
        if int(number) > MOST_MEMO if size == 0 else int.from_bytes(number, "little") > MOST_MEMO:
            raise Stricter("a memo number far from all others")
        python_or_plain(self)


Machine.plain_put = Machine.dispatch[pickle.PUT[0]]
with_near_memo(pickle.PUT, 0)
with_near_memo(pickle.LONG_BINPUT, 4)


def python2_text(code):
    """A str of Python 2: text where it is text, else bytes."""

    @opcode(code)
    def run(self):
        python_opcode(code)(self)
        try:
            self.stack[-1] = self.stack[-1].decode()
        except UnicodeDecodeError:
            pass


python2_text(pickle.STRING)
python2_text(pickle.BINSTRING)
python2_text(pickle.SHORT_BINSTRING)


@opcode(pickle.BYTEARRAY8)
def load_bytearray8(self):
    (length,) = struct.unpack("<Q", self.file.read(8))
    if length > len(self.data):
        raise EOFError
    self.append(bytearray(self.file.read(length)))


@opcode(pickle.FRAME)
def load_frame(self):
    """As in C: a frame is a hint, opcodes may cross its end."""
    (length,) = struct.unpack("<Q", self.file.read(8))
    if length > len(self.data) - self.file.tell():
        raise EOFError


@opcode(pickle.READONLY_BUFFER)
def load_readonly_buffer(self):
    raise Stricter("out-of-band buffers")


@opcode(pickle.STOP)
def load_stop(self):
    if self.metastack:
        raise Stricter("an open mark at the end")
    python_opcode(pickle.STOP)(self)


@opcode(pickle.PERSID)
def load_persid(self):
    line = self.file.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    self.append(self.persistent_load(line[:-1].decode("utf-8", "surrogatepass")))


@opcode(pickle.GLOBAL)
def load_global(self):
    module, name = (self.file.readline() for _ in range(2))
    if not name.endswith(b"\n"):
        raise EOFError
    self.append(Global(*(part[:-1].decode("utf-8", "surrogatepass") for part in (module, name))))


@opcode(pickle.STACK_GLOBAL)
def load_stack_global(self):
    name, module = self.stack.pop(), self.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise pickle.UnpicklingError("STACK_GLOBAL requires str")
    self.append(Global(module, name))


def empty(code, tag):
    """An opcode that makes an empty container."""
    opcode(code)(lambda self: self.append(Node(tag)))


empty(pickle.EMPTY_TUPLE, "tuple")
empty(pickle.EMPTY_LIST, "list")
empty(pickle.EMPTY_DICT, "dict")
empty(pickle.EMPTY_SET, "set")


def since_mark(code, tag):
    """An opcode that makes a sequence of what was pushed since the mark."""

    @opcode(code)
    def run(self):
        values = self.pop_mark()  # which changes where `append` goes
        self.append(Node(tag, values))


since_mark(pickle.TUPLE, "tuple")
since_mark(pickle.LIST, "list")
since_mark(pickle.FROZENSET, "frozenset")


@opcode(pickle.DICT)
def load_dict(self):
    values = self.pop_mark()
    self.append(Node("dict", entries=pairs(values)))


def small_tuple(code, count):
    """TUPLE1, TUPLE2, TUPLE3."""

    @opcode(code)
    def run(self):
        if len(self.stack) < count:
            raise pickle.UnpicklingError("the stack is empty")
        self.stack[-count:] = [Node("tuple", self.stack[-count:])]


small_tuple(pickle.TUPLE1, 1)
small_tuple(pickle.TUPLE2, 2)
small_tuple(pickle.TUPLE3, 3)


@opcode(pickle.APPEND)
def load_append(self):
    target = self.need(1, ("list", "object"))
    target.items.append(self.stack.pop())


@opcode(pickle.APPENDS)
def load_appends(self):
    values = self.pop_mark()
    self.need(0, ("list", "object")).items.extend(values)


@opcode(pickle.ADDITEMS)
def load_additems(self):
    values = self.pop_mark()
    self.need(0, ("set", "object")).items.extend(values)


@opcode(pickle.SETITEM)
def load_setitem(self):
    target = self.need(2, ("dict", "object"))
    value, key = self.stack.pop(), self.stack.pop()
    target.entries.append((key, value))


@opcode(pickle.SETITEMS)
def load_setitems(self):
    values = self.pop_mark()
    self.need(0, ("dict", "object")).entries.extend(pairs(values))


@opcode(pickle.REDUCE)
@opcode(pickle.NEWOBJ)
def load_reduce(self):
    arguments, kind = self.stack.pop(), self.stack.pop()
    self.call(kind, arguments)


@opcode(pickle.NEWOBJ_EX)
def load_newobj_ex(self):
    keywords, arguments, kind = self.stack.pop(), self.stack.pop(), self.stack.pop()
    if getattr(keywords, "tag", None) != "dict":
        raise pickle.UnpicklingError("no dict")
    self.call(kind, arguments, keywords)


@opcode(pickle.INST)
def load_inst(self):
    load_global(self)
    kind = self.stack.pop()
    arguments = self.pop_mark()
    self.call(kind, Node("tuple", arguments))


@opcode(pickle.OBJ)
def load_obj(self):
    kind, *arguments = self.pop_mark()
    self.call(kind, Node("tuple", arguments))


@opcode(pickle.BUILD)
def load_build(self):
    state = self.stack.pop()
    target = self.stack[-1]
    if getattr(target, "tag", None) != "object":
        raise Stricter("a state for what is no object")
    if target.state is not None:
        raise Stricter("two states")
    # None is a state too, and a second one is refused all the same.
    target.state = (state,)


def read(data):
    """The value and the number of bytes read."""
    machine = Machine(data)
    return machine.load(), machine.file.tell()


# ------------------------------------------------------------------------------------------------------- comparison


def key_of(key):
    """Equal for keys that are joined."""
    if isinstance(key, str):
        return "text", whole_text(key)
    if isinstance(key, bytes | bytearray):
        return "bytes", bytes(key)
    if key is None or (isinstance(key, int) and -(2**63) <= key < 2**63) or (isinstance(key, float) and key == key):
        return "scalar", key
    return "object", id(key)


def joined(entries):
    """As in a dict: a key keeps its first place and gets its last value."""
    result = {}
    for key, value in entries:
        first = result.get(key_of(key))
        result[key_of(key)] = (first[0] if first else key, value)
    return list(result.values())


class Flattener:
    """A value as taper_read prints it: nodes in the order of their discovery, breadth first."""

    def __init__(self):
        self.places = {}
        self.queue = []

    def flatten(self, root):
        start = self.refer(root)
        nodes = []
        while len(nodes) < len(self.queue):
            nodes.append(self.node(self.queue[len(nodes)]))
        return {"root": start, "nodes": nodes}

    def refer(self, value):
        scalar = self.scalar(value)
        if scalar is not None:
            return scalar
        if id(value) not in self.places:
            self.places[id(value)] = len(self.queue)
            self.queue.append(value)
        return self.places[id(value)]

    @staticmethod
    def scalar(value):
        if value is None:
            return ["none"]
        if isinstance(value, bool):
            return ["bool", value]
        if isinstance(value, int):
            return ["int", str(value)]
        if isinstance(value, float):
            return ["float", struct.pack(">d", value).hex()]
        if isinstance(value, str):
            return ["str", whole_text(value)]
        if isinstance(value, bytes | bytearray):
            return ["bytes", value.hex()]
        if isinstance(value, Global):
            return ["global", whole_text(value.module), whole_text(value.name)]
        if isinstance(value, Node) and value.tag == "tuple" and not value.items:
            return ["tuple", []]
        return None

    def all(self, values):
        return [self.refer(value) for value in values]

    def node(self, node):
        if node.tag == "dict":
            return ["dict", [self.all(pair) for pair in joined(node.entries)]]
        if node.tag == "persistent":
            return ["persistent", self.refer(node.items[0])]
        if node.tag != "object":
            return [node.tag, self.all(node.items)]
        refer = self.refer
        return [
            "object",
            refer(node.type),
            refer(node.arguments),
            None if node.keywords is None else refer(node.keywords),
            None if node.state is None else refer(node.state[0]),
            self.all(node.items),
            [self.all(pair) for pair in joined(node.entries)],
        ]


def flatten(value):
    """What taper_read prints for a value."""
    return Flattener().flatten(value)


def from_python(value):
    """The nodes of a value made of None, bools, numbers, texts, bytes, lists, tuples, sets and dicts."""
    made = {}
    kinds = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset", dict: "dict"}

    def convert(each):
        tag = kinds.get(type(each))
        if tag is None:
            return each
        if id(each) in made:
            return made[id(each)][0]
        node = Node(tag)
        made[id(each)] = node, each  # which stays alive, and so does its id
        if tag == "dict":
            node.entries = [(convert(key), convert(item)) for key, item in each.items()]
        else:
            node.items = [convert(item) for item in each]
        return node

    return convert(value)


def with_numbers_read(value):
    """What taper_read printed, big integers being read."""
    if isinstance(value, dict):
        return {key: with_numbers_read(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if value and value[0] == "two's complement":
        return ["int", str(int.from_bytes(bytes.fromhex(value[1]), "little", signed=True))]
    if value and value[0] == "decimal":
        return ["int", str(int(value[1]))]
    return [with_numbers_read(item) for item in value]


sys.setrecursionlimit(max(sys.getrecursionlimit(), 5000))
