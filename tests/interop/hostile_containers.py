"""Hostile and broken zip and safetensors files, and files of other kinds."""

import gzip
import io
import json
import struct
import zipfile

from tests.interop.hostile import Case, pickled, tensor, torch_zip, zip_bytes
from tests.interop.torch_writer import WIDE, directory_entry, end_records

PROGRAM = pickled(tensor((4,), (1,)))
GOOD = torch_zip(PROGRAM)
MEMBERS = [("archive/data.pkl", PROGRAM), ("archive/data/0", bytes(64))]


def compressed(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return file.getvalue()


def directory_at(data):
    """(directory's start, end) of a file that `write_zip` made."""
    end = len(data) - 22 - 20 - 56
    return struct.unpack_from("<Q", data, end + 48)[0], end


def member(data, name):
    """A member's bytes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def changed(data, position, kind, *numbers):
    """The file with numbers written over what it has at a position, from the end if negative."""
    file = bytearray(data)
    struct.pack_into(kind, file, position % len(file), *numbers)
    return bytes(file)


def rewritten(entries, data=GOOD):
    """The file with another directory."""
    start, _ = directory_at(data)
    table = b"".join(entries)
    return data[:start] + table + end_records(len(entries), len(table), start)


def entries(data=GOOD):
    """The entries of the file's directory."""
    start, end = directory_at(data)
    found = []
    while start < end:
        size = 46 + sum(struct.unpack_from("<HHH", data, start + 28))
        found.append(data[start : start + size])
        start += size
    return found


def _long(entry):
    return changed(entry, 20, "<II", *2 * (struct.unpack_from("<I", entry, 20)[0] + 64,))


def _offset(entry, offset):
    return changed(entry, 42, "<I", offset)


def _named(entry, name):
    return entry[:46] + name + entry[46 + len(name) :]


def safetensors(header, data=b"", *, length=None):
    """A safetensors file; the header as text or as what JSON is made of."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(begin=0, end=16, shape=(4,), dtype="F32", **others):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **others}


# Zip files with a good pickle inside, where there is one.
FIRST, SECOND = entries()
START, END = directory_at(GOOD)
OFFSET = struct.unpack_from("<I", SECOND, 42)[0]
BOMB = [*MEMBERS[:1], ("archive/data/0", bytes(10**7))]
# a member within which another one lies, header and all: Fifield's quoted overlap
INNER = struct.pack("<4s5HIIIHH", b"PK\3\4", 0, 0x808, 0, 0, 0, 0, 0, 0, 14, 0) + b"archive/data/1"
QUOTING = torch_zip(PROGRAM, {"0": INNER + bytes(64 - len(INNER))})
AT = QUOTING.index(INNER)
TWIN = bytearray(SECOND)
TWIN[42:46] = FIRST[42:46]
WIDE_ENTRY = changed(SECOND, 20, "<II", WIDE, WIDE)
UNSAID = changed(GOOD, -6, "<I", WIDE)  # the directory's start only in the zip64 record
ZIP_CASES = [
    ("bomb", compressed(BOMB), "is compressed"),
    ("bomb in the pickle", compressed([("archive/data.pkl", bytes(10**7))]), "is compressed"),
    ("empty directory", end_records(0, 0, 0), "not a zip as PyTorch"),
    ("cut by a byte", GOOD[:-1], "no zip directory at its end"),
    ("cut in half", GOOD[: len(GOOD) // 2], "no zip directory at its end"),
    ("cut to its first bytes", GOOD[:4], "no zip directory at its end"),
    ("more after the end", GOOD + b"\0", "no zip directory at its end"),
    ("a second zip after it", GOOD + GOOD, "the zip64 record at its end is not where"),
    ("comment", changed(GOOD, -2, "<H", 1), "has a comment"),
    ("of two disks", changed(GOOD, END + 16, "<I", 1), "disagree"),
    ("records that disagree", changed(GOOD, -12, "<H", 7), "disagree"),
    ("other size of the directory", changed(GOOD, -10, "<I", 7), "disagree"),
    ("zip64 record elsewhere", changed(GOOD, END + 56 + 8, "<Q", 0), "not where it is said"),
    ("zip64 record far off", changed(GOOD, END + 64, "<Q", 2**64 - 1), "not where it is said"),
    ("2 ** 60 members", GOOD[:END] + end_records(2**60, END - START, START), "at most 100000"),
    ("too many members", GOOD[:END] + end_records(3, END - START, START), "is damaged"),
    ("too few members", GOOD[:END] + end_records(1, END - START, START), "goes on after its 1"),
    ("directory elsewhere", changed(UNSAID, END + 48, "<Q", START - 7), "does not end where"),
    ("directory far off", changed(UNSAID, END + 48, "<Q", 2**64 - 1), "does not end where"),
    ("name out of the directory", changed(GOOD, START + 28, "<H", 999), "reaches out of it"),
    ("one name twice", rewritten([FIRST, SECOND, SECOND]), "two members are named 'archive/d"),
    ("one place for two", rewritten([FIRST, bytes(TWIN)]), "is called otherwise"),
    (
        "a member within a member",
        rewritten([*entries(QUOTING), directory_entry(b"archive/data/1", AT, 8)], QUOTING),
        "'archive/data/0' and 'archive/data/1' overlap",
    ),
    ("overlap by a long member", rewritten([_long(FIRST), SECOND]), "overlap"),
    ("member out of the file", rewritten([FIRST, _offset(SECOND, START - 8)]), "not where the"),
    (
        "member far off",
        rewritten([FIRST, _offset(SECOND, 2**32 - 2)]),
        "not where the directory",
    ),
    ("member in a member", rewritten([FIRST, _offset(SECOND, OFFSET + 4)]), "not where the"),
    ("zip64 field missing", rewritten([FIRST, WIDE_ENTRY]), "no whole zip64 field"),
    ("encrypted", rewritten([FIRST, changed(SECOND, 8, "<H", 0x809)]), "encrypted"),
    ("on another disk", rewritten([FIRST, changed(SECOND, 34, "<H", 1)]), "on another disk"),
    ("two sizes", rewritten([FIRST, changed(SECOND, 24, "<I", 32)]), "32 bytes stored as 64"),
    ("other name inside", changed(GOOD, OFFSET + 30, "<B", 65), "is called otherwise"),
    ("other method inside", changed(GOOD, OFFSET + 8, "<H", 8), "is called otherwise"),
    ("other size inside", changed(GOOD, OFFSET + 18, "<I", 32), "has another size"),
    ("no data.pkl", zip_bytes(MEMBERS[1:]), "without one data.pkl"),
    ("two data.pkl", zip_bytes([*MEMBERS, ("b/data.pkl", PROGRAM)]), "without one data.pkl"),
    ("data.pkl deeper", zip_bytes([("a/b/data.pkl", PROGRAM)]), "without one data.pkl"),
    ("TorchScript", torch_zip(PROGRAM, **{"constants.pkl": b""}), "a TorchScript program"),
    ("big-endian", torch_zip(PROGRAM, byteorder=b"big"), "its byte order is 'big'"),
    ("long byte order", torch_zip(PROGRAM, byteorder=b"l" * 10**6), "its byte order is 'llll"),
]
PATHS = (
    "../../x",
    "/etc/passwd",
    "archive/../../x",
    "archive//x",
    "a\\b",
    "c:x",
    "a/\0",
    "./x",
)
ZIP_CASES += [
    (f"path {path!r}", zip_bytes([*MEMBERS, (path, b"")]), "is not a path inside the file")
    for path in PATHS
]
ZIP_CASES += [("name not UTF-8", rewritten([FIRST, _named(SECOND, b"\xff" * 14)]), "not UTF-8")]
ZIPS = [Case(f"zip {name}", data, message) for name, data, message in ZIP_CASES]


# Safetensors files with headers that lie.
PAIR = {"a": entry(), "b": entry(16, 32)}
TOLD = json.dumps(entry()).encode()
GOOD_ONE = safetensors(PAIR, bytes(32))
HEADERS = [
    ("overlap", {"a": entry(), "b": entry(8, 24)}, 24, "'b' at byte 8 overlaps"),
    ("one place for two", {"a": entry(), "b": entry()}, 16, "'b' at byte 0 overlaps"),
    ("hole", {"a": entry(), "b": entry(20, 36)}, 36, "'b' at byte 20 leaves a hole"),
    ("hole at the start", {"a": entry(4, 20)}, 20, "'a' at byte 4 leaves a hole"),
    ("more data", PAIR, 33, "its tensors take 32 bytes, and it has 33"),
    ("less data", PAIR, 31, "its tensors take 32 bytes, and it has 31"),
    ("no data", {"a": entry(0, 2**40, (2**38,))}, 0, "its tensors take 1099511627776 bytes"),
    ("wrong size", {"a": entry(0, 12)}, 12, "of shape [4] and dtype F32 has 12 bytes"),
    ("wrong dtype", {"a": entry(dtype="F64")}, 16, "of shape [4] and dtype F64 has 16 bytes"),
    ("unknown dtype", {"a": entry(dtype="Q4")}, 16, "the dtype 'Q4', which is not read"),
    ("a dtype to run", {"a": entry(dtype="O")}, 16, "the dtype 'O', which is not read"),
    ("long dtype", {"a": entry(dtype="F" * 10**6)}, 16, "the dtype 'FFFF"),
    ("offsets reversed", {"a": entry(16, 0)}, 16, "the data_offsets 16 to 0"),
    ("negative offset", {"a": entry(-16, 0)}, 16, "the data_offsets -16 to 0"),
    ("offset past 64 bits", {"a": entry(0, 10**25)}, 16, "a number of 26 digits"),
    ("negative shape", {"a": entry(shape=(-2, -2))}, 16, "a shape that is not whole numbers"),
    ("shape of floats", {"a": entry(shape=(4.0,))}, 16, "a shape that is not whole numbers"),
    ("shape of truths", {"a": entry(0, 4, (True,))}, 4, "a shape that is not whole numbers"),
    ("overflowing shape", {"a": entry(shape=(2**63, 2**63, 4))}, 16, "has 16 bytes"),
    ("shape that wraps to 4", {"a": entry(shape=(2**32, 2**32, 4))}, 16, "has 16 bytes"),
    ("empty and large", {"a": entry(0, 0, (0, 2**62, 2**62))}, 0, "larger than any memory"),
    ("many axes", {"a": entry(0, 4, (1,) * 99)}, 4, "has 99 axes"),
    ("very many axes", {"a": entry(0, 4, (1,) * 10**5)}, 4, "has 100000 axes"),
    # refused for their number: their product alone would take minutes
    ("many huge axes", {"a": entry(0, 4, (10**19,) * 300_000)}, 4, "has 300000 axes"),
    ("no dtype", {"a": {"shape": [4], "data_offsets": [0, 16]}}, 16, "no dtype, shape"),
    ("one offset", {"a": {**entry(), "data_offsets": [16]}}, 16, "no dtype, shape"),
    ("offsets of texts", {"a": entry("0", "16")}, 16, "no dtype, shape"),
    ("an entry too much", {"a": entry(code="x")}, 16, "more than dtype, shape"),
    ("entry as text", {"a": "F32"}, 0, "no dtype, shape"),
    ("metadata as text", {"__metadata__": "x"}, 0, "__metadata__ is not a table of texts"),
    ("metadata of numbers", {"__metadata__": {"a": 1}}, 0, "__metadata__ is not a table"),
    ("metadata within", {"__metadata__": {"a": {}}}, 0, "__metadata__ is not a table"),
    ("name of two lines", {"a\nb": entry()}, 16, "'a\\nb' is not printable text"),
    ("name of half a pair", b'{"\\ud800":%s}' % TOLD, 16, "is not printable text"),
    ("not JSON", b"{'a': 1}", 0, "its header is not JSON"),
    ("half of JSON", b'{"a":', 0, "its header is not JSON"),
    ("two of JSON", b"{}{}", 0, "its header is not JSON"),
    ("not UTF-8", b'{"\xff":1}', 0, "its header is not JSON"),
    ("nested", b'{"a":' * 10**5, 0, "nests too deep"),
    ("nested lists", b'{"a":' + b"[" * 10**6, 0, "nests too deep"),
    ("many lists", b'{"a":[%s[]]}' % (b"[]," * 2_700_000), 0, "no dtype, shape"),
    ("a name twice", b'{"a":%s,"a":%s}' % (TOLD, TOLD), 16, "has 'a' twice"),
    ("a dtype twice", b'{"a":{"dtype":"F32",%s}' % TOLD[1:], 16, "has 'dtype' twice"),
    ("NaN", b'{"a":NaN}', 0, "the number NaN"),
    ("long number", b'{"a":%s}' % (b"9" * 10**6), 0, "a number of 1000000 digits"),
]
ST_CASES = [(name, safetensors(header, bytes(n)), m) for name, header, n, m in HEADERS]
ST_CASES += [
    ("huge header", safetensors({"__metadata__": {"a": "x" * 2**23}}), "at most 8388608"),
    ("header longer than the file", safetensors({}, length=3), "said to have 3 bytes"),
    ("header of 2 ** 63", safetensors(PAIR, length=2**63), "said to have 9223372036854775808"),
    ("header of 2 ** 64 - 1", safetensors(PAIR, length=2**64 - 1), "said to have 18446744"),
    ("header cut short", GOOD_ONE[:40], "said to have"),
    ("data cut short", GOOD_ONE[:-5], "its tensors take 32 bytes, and it has 27"),
    ("header too short", safetensors(PAIR, bytes(32), length=9), "its header is not JSON"),
    ("array as header", safetensors(b"[]"), "its header is not JSON"),
    ("space before the header", safetensors(b" {}"), "its header is not JSON"),
    ("seven bytes", b"\1\0\0\0\0\0\0", "cut short, or not safetensors"),
]
SAFETENSORS = [Case(f"safetensors {n}", data, message) for n, data, message in ST_CASES]


# Files that are something else.
OTHER_CASES = [
    ("nothing", b"", "is empty"),
    ("bare pickle", PROGRAM, "a bare pickle: load it with PyTorch"),
    ("tar of the first PyTorch", b"././@PaxHeader" + bytes(1000), "a tar file, as PyTorch wrote"),
    ("web page", b"<!DOCTYPE html><html></html>", "a web page: the download failed"),
    ("gzip", gzip.compress(GOOD), "compressed with gzip"),
    ("Git LFS", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(50), "it is HDF5"),
    ("numpy", b"\x93NUMPY\1\0" + bytes(50), "one numpy array"),
    ("zeros", bytes(1000), "neither a PyTorch file nor safetensors"),
    ("text", b"weights", "neither a PyTorch file nor safetensors"),
]
OTHERS = [Case(f"other {name}", data, message) for name, data, message in OTHER_CASES]
