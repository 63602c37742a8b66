"""Hostile and broken files in PyTorch's format from before version 1.6.

Whole ones are the magic number, the version, what the machine was like, the object, the storages'
keys, and for each key a count and its numbers. Each case has one of these parts another way.
"""

import struct

from tests.interop import hostile
from tests.interop.hostile import ORDERED, TEXT, Case, call, pickled, short, tensor
from tests.interop.torch_writer import LEGACY_MAGIC, Pickler, integer

VALUE = Pickler().value
FLOATS = b"ctorch\nFloatStorage\n"


def reference(key=None, kind=FLOATS, count=None, view=b"N"):
    """The reference to a storage; without arguments to "0", of 16 floats."""
    key = TEXT("0") if key is None else key
    count = integer(16) if count is None else count
    return b"(" + TEXT("storage") + kind + key + TEXT("cpu") + count + view + b"tQ"


def built(shape=(4,), strides=(1,), offset=0, **others):
    """A call that builds a tensor over such a storage."""
    return tensor(shape, strides, offset, data=reference(**others))


def system(**others):
    return VALUE({"protocol_version": 1001, "little_endian": True, "type_sizes": {}, **others})


def stored(count=16, data=None):
    """A storage behind the pickles."""
    return short(count, "<q") + (bytes(64) if data is None else data)


PARTS = {
    "magic": integer(LEGACY_MAGIC),
    "version": integer(1001),
    "system": system(),
    "object": built(),
    "keys": VALUE(["0"]),
}


def legacy(data=None, **parts):
    """A file with some of its parts another way: pickles without their ends, and what follows."""
    pickles = b"".join(pickled(part, 4) for part in {**PARTS, **parts}.values())
    return pickles.replace(b"\x80\4", b"\x80\2", 1) + (stored() if data is None else data)


RUN = call("os", "system", hostile.COMMAND)
RUNS = [
    ("as the version", {"version": RUN}),
    ("as the system", {"system": RUN}),
    ("in the system", {"system": b"}" + TEXT("a") + hostile.STACKED + b"s"}),
    ("as the object", {"object": RUN}),
    ("in a list of pairs", {"object": ORDERED + b"]" + hostile.STACKED + b"a\x85R"}),
    ("as the type of a storage", {"object": reference(kind=hostile.STACKED)}),
    ("as the size of a storage", {"object": reference(kind=b"N", count=hostile.STACKED)}),
    ("as the view of a storage", {"object": reference(kind=b"N", view=RUN)}),
    ("as the keys", {"object": b"N", "keys": RUN}),
    ("in the keys", {"object": b"N", "keys": b"]" + hostile.STACKED + b"a"}),
]
PAIR = b"](" + TEXT("a") + b"K\1e"
TAKEN = ORDERED + b"h\0\x85R"
PARTIAL = VALUE(("1", 4, 8))
TWO = b"(" + built() + built(key=TEXT("1")) + b"t"
DEEP = b"]" * 20_000 + b"a" * 19_999

HEADS = [
    ("version 1000", {"version": integer(1000)}, "of version 1000, not 1001"),
    ("a version of 2040 bits", {"version": integer(2**2000)}, "of version 114813069527"),
    ("a version of text", {"version": TEXT("1001")}, "of version none, not 1001"),
    ("a version of lists", {"version": DEEP}, "of version none, not 1001"),
    ("big-endian", {"system": system(little_endian=False)}, "not said to be little-endian"),
    ("a byte order of 1", {"system": system(little_endian=1)}, "not said to be little-endian"),
    ("a byte order of lists", {"system": b"}" + TEXT("little_endian") + DEEP + b"s"}, "little-e"),
    ("no byte order", {"system": b"}"}, "not said to be little-endian"),
    ("a machine of lists", {"system": DEEP}, "not said to be little-endian"),
    ("a name in the version", {"version": ORDERED + b")R"}, "asks for 'collections.OrderedD"),
    ("a storage in the keys", {"keys": b"NQ"}, "a storage outside of its object"),
    ("a tensor in the keys", {"keys": built()}, "asks for 'torch._utils._rebuild_tensor_v2'"),
    ("a key of a number", {"keys": VALUE([0])}, "keys are not a list of texts"),
    ("keys of a text", {"keys": TEXT("0")}, "keys are not a list of texts"),
    ("keys of lists", {"keys": DEEP}, "keys are not a list of texts"),
    ("keys of a tuple", {"keys": VALUE(("0",))}, "keys are not a list of texts"),
    ("a key twice", {"keys": VALUE(["0", "0"])}, "has a storage '0' twice"),
    ("another key", {"keys": VALUE(["1"])}, "a storage '1' that no tensor refers to"),
    ("a key too much", {"keys": VALUE(["0", "1"])}, "a storage '1' that no tensor refers to"),
    ("a long key", {"keys": VALUE(["1" * 10**6])}, "has a storage '1111"),
    ("no key", {"keys": b"]"}, "there is no storage '0' in it"),
    ("a key missing", {"object": TWO}, "there is no storage '1' in it"),
    ("a text without an end", {"system": b"X" + short(2**32 - 1, "<I")}, "cut short"),
    ("a long text without an end", {"system": b"\x8d" + short(2**62, "<Q")}, "cut short"),
    ("a frame without an end", {"object": b"\x95" + short(2**62, "<Q")}, "within a frame"),
    ("a pickle of 16 MB", {"version": b"N" * (1 << 24)}, "more than 500000 instructions"),
    ("a text of 16 MB", {"system": TEXT("a" * (1 << 24))}, "more than 16777216 bytes"),
    ("a name of 16 MB", {"object": b"c" + b"a" * (1 << 24)}, "more than 16777216 bytes"),
    ("more after the keys", {"keys": b"NN"}, "ends with something left over"),
    ("a group of the keys", {"keys": b"(N"}, "ends with something left over"),
]
# Objects that refer to a storage, or end before that matters, and some that refer to none.
OBJECTS = [
    ("too long a tensor", built((17,)), "reaches 68 bytes into a storage of 64"),
    ("an offset too far", built((1,), (1,), 16), "reaches 68 bytes into a storage of 64"),
    ("huge strides", built((2,), (2**62,)), "into a storage of 64"),
    ("a negative stride", built((4,), (-1,), 3), "has a negative number"),
    ("expanded to a terabyte", built((2**38,), (0,)), "bytes if copied, from"),
    ("a view of a storage", built(view=PARTIAL), "storage '0' is part of another"),
    ("a view of nothing", built(view=b")"), "storage '0' is part of another"),
    ("a reference as in a zip", tensor((4,), (1,), data=hostile.storage()), "not a tensor's sto"),
    ("a module", b"(" + TEXT("module") + b"NNNtQ", "not a tensor's storage"),
    ("a storage of no text", built(key=b"K\0"), "not a tensor's storage"),
    ("a storage of a dtype", built(kind=b"ctorch\nfloat32\n"), "not a tensor's storage"),
    ("numbers of text", built(count=TEXT("16")), "not a tensor's storage"),
    ("huge numbers", built(count=integer(2**62)), "4611686018427387904 numbers of torch.FloatSt"),
    ("huger numbers", built(count=integer(2**2000)), "numbers of torch.FloatStorage does not"),
    ("negative numbers", built(count=integer(-16)), "-16 numbers of torch.FloatStorage does"),
    ("more numbers", built(count=integer(17)), "has 16 numbers, not 17 of torch.FloatStorage"),
    ("fewer numbers", built(count=integer(15)), "has 16 numbers, not 15 of torch.FloatStorage"),
    ("wider numbers", built(kind=b"ctorch\nDoubleStorage\n"), "cut short within storage '0'"),
    ("narrower numbers", built(kind=b"ctorch\nHalfStorage\n"), "goes on for 32 bytes after"),
    (
        "a storage of two sizes",
        b"(" + built() + built(count=integer(8)) + b"t",
        "storage '0' is said to be of two types or sizes",
    ),
    (
        "a storage of two types",
        b"(" + built() + built(kind=b"ctorch\nIntStorage\n") + b"t",
        "storage '0' is said to be of two types or sizes",
    ),
    ("a storage alone", reference(), "a storage without a tensor"),
    (
        "an early tensor with more",
        tensor((4,), (1,), data=reference(), call=b"_rebuild_tensor"),
        "conjugated or negated",
    ),
    ("pairs that are none", ORDERED + b"](K\1K\2e\x85R", "an OrderedDict from something"),
    ("pairs of three", ORDERED + b"](" + VALUE(["a", 1, 2]) + b"e\x85R", "from something"),
    ("pairs as tuples", ORDERED + b"](" + VALUE(("a", 1)) + b"e\x85R", "from something"),
    ("pairs in a tuple", ORDERED + b"(" + PAIR + b"t\x85R", "from something"),
    ("a pair with a list as a key", ORDERED + b"](](]Nee\x85R", "a list as a key"),
    ("pairs taken twice", b"(]\x94(" + PAIR + b"e" + TAKEN + TAKEN + b"t", "from something"),
    ("flags of a dict", b"}(\x88\x89Ntb", "fills a ndarray that is not one"),
    ("flags of texts", built() + b"(" + TEXT("a") + b"\x89Ntb", "(BUILD)"),
    ("flags of a list", built() + b"](\x88\x89Neb", "(BUILD)"),
    ("more flags", built() + b"(\x88\x89NNtb", "(BUILD)"),
    ("a state of a tensor", built() + b"}" + TEXT("_metadata") + b"Nsb", "fills a dict"),
    ("Python 2's text not UTF-8", b"U\2\xff\xfe", "not UTF-8"),
    ("Python 2's text without an end", b"U\xffa", "cut short"),
    ("Python 2's long number", b"I" + b"9" * 10**6 + b"\n", "the instruction INT"),
]
ALONE = [
    ("billion laughs", b"(]\x94" + hostile.LAUGHS + b"t", "itself into more than"),
    ("billion laughs of tuples", b"()\x94" + hostile.PAIRS + b"t", "itself into more than"),
    ("deep lists", DEEP, "nests more than 64 deep"),
    (
        "pairs that hold themselves",
        ORDERED + b"]\x94(" + PAIR + b"](" + TEXT("b") + b"h\0ee\x85R",
        "leaves collections.OrderedDict as it is",
    ),
]
TAILS = [
    ("nothing after the keys", b"", "cut short before storage '0'"),
    ("half a count", bytes(7), "cut short before storage '0'"),
    ("a count alone", stored(data=b""), "cut short within storage '0'"),
    ("a storage cut by a byte", stored(data=bytes(63)), "cut short within storage '0'"),
    ("a byte more", stored() + b"\0", "goes on for 1 bytes after its last storage"),
    ("a file more", stored() + legacy(), "bytes after its last storage"),
    ("a zip more", stored() + hostile.torch_zip(hostile.WHOLE), "bytes after its last storage"),
    ("a count of 2 ** 63 - 1", stored(2**63 - 1), "has 9223372036854775807 numbers, not 16"),
    ("a count of -16", stored(-16), "has -16 numbers, not 16"),
    ("a big-endian count", struct.pack(">q", 16) + bytes(64), "numbers, not 16"),
    ("a count of bytes", stored(64), "has 64 numbers, not 16"),
]
# The magic number is compared and not run: a file with anything else there is a bare pickle.
PROGRAMS = [
    Case("other bare pickle runs code", legacy(magic=RUN), "it is a bare pickle: load", True),
    *(
        Case(f"old format runs code {n}", legacy(**p), "asks for 'os.system'", True)
        for n, p in RUNS
    ),
]
FILES = [
    Case("old format with another magic", legacy(magic=integer(LEGACY_MAGIC + 1)), "not a zip as"),
    *(Case(f"old format with {name}", legacy(**parts), message) for name, parts, message in HEADS),
    *(Case(f"old format with {n}", legacy(object=body), message) for n, body, message in OBJECTS),
    *(Case(f"old format with {n}", legacy(b"", object=b, keys=b"]"), m) for n, b, m in ALONE),
    *(Case(f"old format with {name}", legacy(data), message) for name, data, message in TAILS),
]
