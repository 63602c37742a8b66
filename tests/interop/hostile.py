"""Hostile and broken pickles in PyTorch files that are whole, written instruction by instruction.

Each case is a name, the file's bytes and what the error must say. The files that would run
something touch a canary, whose path they are given.
"""

import io
import struct
from typing import NamedTuple

from tests.interop.torch_writer import Pickler, integer, write_zip

CANARY = "canary"  # relative: each test works in a folder of its own
TEXT = Pickler().text


class Case(NamedTuple):
    """A file that must be refused."""

    name: str
    data: bytes
    message: str
    runs: bool = False  # a reader that believes it would touch the canary


def short(number, kind):
    """A number as `struct` packs it."""
    return struct.pack(kind, number)


def pickled(body, protocol=2):
    """A whole pickle."""
    return b"\x80" + bytes([protocol]) + body + b"."


def torch_zip(program, storages=None, **others):
    """A PyTorch file with this pickle; storage 0 has 16 floats."""
    members = [("archive/data.pkl", program)]
    for key, data in ({"0": bytes(64)} if storages is None else storages).items():
        members.append((f"archive/data/{key}", data))
    members += [(f"archive/{name}", data) for name, data in others.items()]
    return zip_bytes(members)


def zip_bytes(members):
    file = io.BytesIO()
    write_zip(file, members)
    return file.getvalue()


def storage(key=None, kind=b"FloatStorage", count=None, module=b"torch"):
    """The reference to a storage."""
    key = TEXT("0") if key is None else key
    count = integer(16) if count is None else count
    named = TEXT("storage") + b"c" + module + b"\n" + kind + b"\n"
    return b"(" + named + key + TEXT("cpu") + count + b"tQ"


def tensor(shape, strides, offset=0, *, data=None, flags=b"", call=b"_rebuild_tensor_v2"):
    """A call that builds a tensor over storage 0."""
    value = Pickler().value
    shape = shape if isinstance(shape, bytes) else value(tuple(shape))
    numbers = integer(offset) + shape + value(tuple(strides))
    data = storage() if data is None else data
    return b"ctorch._utils\n" + call + b"\n(" + data + numbers + b"\x89}" + flags + b"tR"


def call(module, name, *arguments):
    """A call of a function by its name."""
    return f"c{module}\n{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def many_names():
    """One allowed view of 1 MB under a thousand names."""
    view = tensor((2**14, 16), (0, 1)) + b"q\1"
    return b"}(K\0" + view + b"".join(integer(1000 + i) + b"h\1" for i in range(1000)) + b"u"


# Pickles that name what they must not.
COMMAND = TEXT(f"touch {CANARY}")
CODE = TEXT(f"open({CANARY!r}, 'w')")
STACKED = TEXT("os") + TEXT("system") + b"\x93" + b"(" + COMMAND + b"tR"
WITHIN = TEXT("torch") + TEXT("_utils.os.system") + b"\x93" + b"(" + COMMAND + b"tR"
GETTER = call("builtins", "getattr", b"cos\n__name__\n", TEXT("system"))
ORDERED = b"ccollections\nOrderedDict\n"
LIVE = [
    ("os.system", call("os", "system", COMMAND), "asks for 'os.system'"),
    ("posix.system", call("posix", "system", COMMAND), "asks for 'posix.system'"),
    ("stack global", STACKED, "asks for 'os.system'"),
    ("inst", b"(" + COMMAND + b"ios\nsystem\n", "the instruction INST of 'os.system'"),
    ("obj", b"(cos\nsystem\n" + COMMAND + b"o", "asks for 'os.system'"),
    ("eval", call("builtins", "eval", CODE), "asks for 'builtins.eval'"),
    ("exec", call("builtins", "exec", CODE), "asks for 'builtins.exec'"),
    ("subprocess", call("subprocess", "getoutput", COMMAND), "asks for 'subprocess.getoutput'"),
    ("within a key", b"}(" + call("os", "system", COMMAND) + b"Nu", "asks for 'os.system'"),
    (
        "map",
        call("builtins", "list", call("builtins", "map", b"cos\nsystem\n", COMMAND + b"\x85")),
        "asks for 'builtins.list'",
    ),
]
STILL = [
    ("newobj", b"cos\nsystem\n" + COMMAND + b"\x85\x81", "asks for 'os.system'"),
    (
        "within a tensor",
        tensor((4,), (1,), data=call("os", "system", COMMAND)),
        "asks for 'os.system'",
    ),
    ("dotted name", WITHIN, "asks for 'torch._utils.os.system'"),
    ("getattr", GETTER, "asks for 'builtins.getattr'"),
    ("import", call("builtins", "__import__", TEXT("os")), "asks for 'builtins.__import__'"),
    ("attrgetter", call("operator", "attrgetter", TEXT("x")), "asks for 'operator.attrgetter'"),
    ("nested load", call("torch", "load", TEXT(CANARY)), "asks for 'torch.load'"),
    ("hub", call("torch.hub", "load", TEXT("x")), "asks for 'torch.hub.load'"),
    ("module", call("torch.nn.modules.linear", "Linear"), "'torch.nn.modules.linear.Linear'"),
    ("numpy", call("numpy", "load", TEXT(CANARY)), "asks for 'numpy.load'"),
    ("numpy scalar", b"cnumpy\ndtype\n", "asks for 'numpy.dtype'"),
    ("codecs", call("_codecs", "encode", TEXT("x")), "asks for '_codecs.encode'"),
    ("sparse", call("torch._utils", "_rebuild_sparse_tensor"), "a sparse tensor"),
    ("quantized", call("torch._utils", "_rebuild_qtensor"), "a quantized tensor"),
    ("long name", b"c" + b"a" * 10**6 + b"\nb\n", "asks for 'aaa"),
    ("name of two lines", TEXT("o\ns") + TEXT("x") + b"\x93", "asks for 'o\\ns.x'"),
    ("known class by obj", b"(" + ORDERED + b"o", "the instruction OBJ"),
    ("known class by newobj", ORDERED + b")\x81", "the instruction NEWOBJ"),
    ("newobj_ex", ORDERED + b")}\x92", "the instruction NEWOBJ_EX"),
    ("state", ORDERED + b")R}(" + TEXT("__class__") + b"Nub", "(BUILD)"),
    ("state of a list", b"]}(" + TEXT("_metadata") + b"Nub", "fills a dict that is not one"),
    ("state of a name", ORDERED + b"}(" + TEXT("_metadata") + b"Nub", "fills a dict"),
    (
        "ordered dict of something",
        ORDERED + b"](K\1K\2e\x85R",
        "OrderedDict from something",
    ),
    ("called class", b"ctorch\nFloatStorage\n)R", "calls something that is not a function"),
    ("called text", TEXT("os.system") + b")R", "calls something that is not a function"),
    ("called with a list", ORDERED + b"]R", "without a tuple of arguments"),
    ("uncalled", ORDERED, "leaves collections.OrderedDict as it is"),
    ("uncalled within", b"}(K\1" + ORDERED + b"u", "leaves collections.OrderedDict as it is"),
    ("names that are no text", b"K\1K\2\x93", "names something by what is not text"),
    ("registry 1", b"\x82\x05", "EXT1, an entry 5 of the reader's registry"),
    ("registry 2", b"\x83\x05\x01", "EXT2, an entry 261"),
    ("registry 4", b"\x84\x05\x00\x00\x01", "EXT4, an entry 16777221"),
    ("text reference", b"P0\n", "the instruction PERSID"),
    ("set", b"\x8f(K\1\x90", "the instruction EMPTY_SET"),
    ("no such instruction", b"\xff", "the instruction number 255"),
]
PROGRAMS = [
    *(Case(f"runs {n}", torch_zip(pickled(b, 4)), m, True) for n, b, m in LIVE),
    *(Case(f"asks for {n}", torch_zip(pickled(b, 4)), m) for n, b, m in STILL),
]


# Pickles that are damaged, lie about lengths, or are small and make something large.
LAUGHS = b"".join(b"](" + bytes([ord("h"), i]) * 10 + b"e\x94" for i in range(20))
PAIRS = b"".join(bytes([ord("h"), i]) * 2 + b"\x86\x94" for i in range(60))
DEEP = 20_000
DAMAGED = [
    ("billion laughs", b"(]\x94" + LAUGHS + b"t", "repeats itself into more than"),
    ("billion laughs of tuples", b"()\x94" + PAIRS + b"t", "repeats itself into more than"),
    ("holds itself", b"]\x94h\0a", "holds itself"),
    ("dict holds itself", b"}\x94K\1h\0s", "holds itself"),
    ("deep lists", b"]" * DEEP + b"a" * (DEEP - 1), "nests more than 64 deep"),
    ("deep tuples", b")" + b"\x85" * DEEP, "nests more than 64 deep"),
    ("deep dicts", b"}" + b"K\1}" * DEEP + b"s" * DEEP, "nests more than 64 deep"),
    (
        "deep by reference",
        b"(" + b"]" * 50 + b"a" * 49 + b"\x94" + b"]" * 50 + b"h\0" + b"a" * 50 + b"t",
        "nests more than 64 deep",
    ),
    ("deep tuple as a key", b"})" + b"\x85" * DEEP + b"Ns", "a dict with a tuple as a key"),
    ("list as a key", b"}]Ns", "a dict with a list as a key"),
    ("colliding keys", b"}" + integer(2**61 - 1) + b"Ns", "a dict with a int as a key"),
    ("key of two lines", b"}" + TEXT("a\nb") + b"Ns", "'a\\nb' is not printable text"),
    ("key with an escape", b"}" + TEXT("\x1b[31m") + b"Ns", "is not printable text"),
    ("long key", b"}" + TEXT("a" * 1001) + b"Ns", "is not printable text of at most 1000"),
    ("key without a value", b"}(K\1u", "a key that has no value"),
    (
        "many empty dicts",
        b"(" + b"}" * 499_000 + b"ccollections\nOrderedDict\nt",
        "leaves collections.OrderedDict as it is",
    ),
    ("endless", b"]" + b"Na" * 300_000, "more than 500000 instructions"),
    ("huge number of a reference", b"Nr" + short(2**32 - 1, "<I"), "as number 4294967295"),
    ("reference to nothing", b"h\7", "refers to an object 7"),
    ("long reference to nothing", b"j" + short(2**31, "<I"), "an object 2147483648"),
    ("text length", b"X" + short(2**32 - 1, "<I") + b"ab", "cut short"),
    ("long text length", b"\x8d" + short(2**63 - 1, "<Q") + b"ab", "cut short"),
    ("long text length, all bits", b"\x8d" + short(2**64 - 1, "<Q") + b"ab", "cut short"),
    ("number length", b"\x8a\xff\1", "cut short"),
    ("long number length", b"\x8b" + short(2**31 - 1, "<i"), "the instruction LONG4"),
    ("bytes length", b"\x8e" + short(2**62, "<Q"), "the instruction BINBYTES8"),
    ("bytearray length", b"\x96" + short(2**62, "<Q"), "the instruction BYTEARRAY8"),
    ("frame length", b"\x95" + short(2**63, "<Q") + b"N", "cut short within a frame"),
    ("name without an end", b"cos", "cut short"),
    ("text that is not UTF-8", b"X\2\0\0\0\xff\xfe", "not UTF-8"),
    ("half of a pair of characters", b"X\3\0\0\0\xed\xa0\x80", "not UTF-8"),
    ("nothing on the stack", b"", "ends with something left over"),
    ("two on the stack", b"NN", "ends with something left over"),
    ("open group", b"(N", "ends with something left over"),
    ("more after the end", b"N.N", "ends with something left over"),
    ("no group", b"Nt", "ends a group that was not begun"),
    ("empty stack", b"\x85", "takes from an empty stack"),
    ("append to a number", b"K\1Na", "fills a list that is not one"),
    ("items of a list", b"](NNu", "fills a dict that is not one"),
    ("kept from an empty stack", b"\x94", "takes from an empty stack"),
    ("protocol within", b"\x80\2N", "the instruction number 128"),
    ("copied", b"N2\x86", "the instruction DUP"),
    ("text number", b"I" + b"9" * 10**6 + b"\n", "the instruction INT"),
]
WHOLE = pickled(tensor((4,), (1,)))
PICKLES = [
    *(Case(f"pickle {n}", torch_zip(pickled(b, 4)), m) for n, b, m in DAMAGED),
    Case("pickle of protocol 0", torch_zip(b"(lp0\nI1\na."), "not of protocol 2 to 5"),
    Case("pickle of protocol 6", torch_zip(pickled(b"N", 6)), "not of protocol 2 to 5"),
    Case("pickle empty", torch_zip(b""), "cut short at byte 0"),
    Case("pickle without its end", torch_zip(WHOLE[:-1]), "cut short at byte"),
    Case("pickle cut in half", torch_zip(WHOLE[: len(WHOLE) // 2]), "cut short at byte"),
    Case("pickle huge", torch_zip(pickled(b"N" * (1 << 24))), "at most 16777216"),
]


# References to data and views of it that reach where they must not.
VALUE = Pickler().value
FAR, STEP = "reaches", "has a negative number"
VIEWS_OF_ONE = b"}(" + b"".join(
    integer(i) + tensor((16,), (1,)) + integer(1000 + i) + tensor((2**20, 16), (0, 1))
    for i in range(10)
)
VIEWS = [
    ("too long", tensor((17,), (1,)), "reaches 68 bytes into a storage of 64"),
    ("too far", tensor((16,), (1,), 1), "reaches 68 bytes into a storage of 64"),
    ("wide steps", tensor((4, 4), (5, 1)), "reaches 76 bytes into a storage of 64"),
    ("offset alone", tensor((), (), 16), "reaches 68 bytes into a storage of 64"),
    ("overflow of the step", tensor((2,), (2**62,)), FAR),
    ("overflow past 64 bits", tensor((2,), (2**64,)), FAR),
    ("overflow of the offset", tensor((1,), (1,), 2**63 - 1), FAR),
    ("overflow of the sizes", tensor((2**32, 2**32, 2**32), (0, 0, 0)), "larger than any"),
    ("overflow of sizes beside zero", tensor((0, 2**62, 2**62), (1, 1, 1)), "larger than any"),
    ("negative step", tensor((4,), (-1,), 3), STEP),
    ("negative steps past the start", tensor((4, 4), (-4, 1)), STEP),
    ("negative size", tensor((-4,), (1,)), STEP),
    ("negative offset", tensor((4,), (1,), -1), STEP),
    ("very negative offset", tensor((4,), (1,), -(2**63)), STEP),
    ("expanded to a terabyte", tensor((2**38,), (0,)), "bytes if copied, from"),
    ("overlapping windows", tensor((2**13, 2**13, 8), (0, 0, 1)), "bytes if copied, from"),
    ("many views of one storage", VIEWS_OF_ONE + b"u", "bytes if copied, from"),
    ("many names of one view", many_names(), "bytes if copied, from"),
    ("one step for two sizes", tensor((4, 4), (1,)), "has 2 axes and 1 strides"),
    ("many axes", tensor((1,) * 100, (1,) * 100), "has 100 axes"),
    ("a shape of texts", tensor(TEXT("4") + b"\x85", (1,)), "not made of integers"),
    ("a shape of floats", tensor(VALUE((4.0,)), (1,)), "not made of integers"),
    ("a shape of tuples", tensor(b")" + b"\x85" * 9999, (1,)), "not made of integers"),
    ("a shape of truths", tensor(b"\x88\x85", (1,)), "not made of integers"),
    ("a shape as a list", tensor(b"](K\4e", (1,)), "other arguments than a tensor's"),
    ("no storage", tensor((4,), (1,), data=b"N"), "other arguments than a tensor's"),
    ("no arguments", b"ctorch._utils\n_rebuild_tensor_v2\n)R", "other arguments than a"),
    ("conjugated", tensor((4,), (1,), flags=b"}(" + TEXT("conj") + b"\x88u"), "conjugated"),
    ("a tensor as flags", tensor((4,), (1,), flags=tensor((4,), (1,))), "conjugated"),
    (
        "v3 without a dtype",
        tensor((4,), (1,), call=b"_rebuild_tensor_v3"),
        "the tensor's dtype",
    ),
    ("a parameter of text", call("torch._utils", "_rebuild_parameter", TEXT("x")), "parameter"),
    ("a size of texts", call("torch", "Size", TEXT("x") + b"\x85"), "not whole numbers"),
    ("a device of a list", call("torch", "device", b"]"), "torch.device of something else"),
    ("a storage alone", storage(), "a storage without a tensor"),
]
REFERENCES = [
    ("unknown", storage(TEXT("7")), "no storage '7' in it"),
    ("path", storage(TEXT("../data/0")), "no storage '../data/0' in it"),
    ("path to the pickle", storage(TEXT("../data.pkl")), "no storage '../data.pkl' in it"),
    ("path from the root", storage(TEXT("/etc/passwd")), "no storage '/etc/passwd' in it"),
    ("of no text", storage(b"K\0"), "not a tensor's storage"),
    ("too many", storage(count=integer(17)), "has 64 bytes, not 17 numbers of torch.FloatSto"),
    ("too few", storage(count=integer(15)), "has 64 bytes, not 15 numbers"),
    ("negative", storage(count=integer(-16)), "has 64 bytes, not -16 numbers"),
    ("beyond 64 bits", storage(count=integer(2**64 + 16)), "not 18446744073709551632 numbers"),
    ("of texts", storage(count=TEXT("16")), "not a tensor's storage"),
    ("of another type", storage(kind=b"DoubleStorage"), "not 16 numbers of torch.DoubleStor"),
    ("of a quantized type", storage(kind=b"QInt8Storage"), "asks for 'torch.QInt8Storage'"),
    ("of a type that is none", storage(kind=b"float32"), "not a tensor's storage"),
    ("of os", storage(kind=b"system", module=b"os"), "asks for 'os.system'"),
    ("that is no tuple", b"NQ", "not a tensor's storage"),
    ("that is text", TEXT("storage") + b"Q", "not a tensor's storage"),
    ("that is short", b"(" + TEXT("storage") + b"tQ", "not a tensor's storage"),
]
TENSORS = [
    *(Case(f"tensor with {n}", torch_zip(pickled(b)), m) for n, b, m in VIEWS),
    *(
        Case(f"reference {n}", torch_zip(pickled(tensor((4,), (1,), data=b))), m)
        for n, b, m in REFERENCES
    ),
    Case("a storage cut short", torch_zip(pickled(tensor((4,), (1,))), {"0": bytes(63)}), "63"),
]
