"""Mutated weight files: each is read, or refused with a ValueError of one line. Nothing else.

I2SB_FUZZ_SECONDS sets how long it goes on, I2SB_FUZZ_SEED where it begins. A file that failed is
left where the failure says.
"""

import argparse
import collections
import io
import os
import pathlib
import re
import struct
import time
import zipfile

import ml_dtypes
import numpy as np
import safetensors.numpy

from i2sb_jax.interop import read_weights_file
from tests import golden
from tests.interop.hostile import zip_bytes
from tests.interop.hostile_containers import directory_at
from tests.interop.torch_writer import Parameter, Saved, write_legacy_file, write_torch_file

SECONDS = float(os.environ.get("I2SB_FUZZ_SECONDS", "4"))
SEED = int(os.environ.get("I2SB_FUZZ_SEED", "0"))
FUZZ_REPORT = "I2SB_FUZZ_SECONDS" in os.environ  # a run of one's own tells what it met
LEAST_A_SECOND = 10  # files; some hundred on an idle machine

ODD_NUMBERS = (
    *(0, 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1),
    *(2**47, 2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
# instructions, brackets, and parts of signatures
ODD_BYTES = (
    *(b"\0", b"\xff", b".", b"(", b"t", b"R", b"Q", b"b", b"o", b"i", b"c", b"\x93", b"\x81"),
    *(b"e", b"u", b"s", b"a", b"]", b"}", b")", b"\x85", b"h\0", b"q\0", b"\x8a\x09", b"PK\3\4"),
    *(b"PK\1\2", b"PK\5\6", b'"', b"{", b"[", b"-", b"1", b"e9", b"../", b"cos\nsystem\n", b"N"),
)


def honest_files(folder):
    """Small files of every kind that is read, as bytes."""
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state = collections.OrderedDict({"a": whole, "view": whole[:, 1:, ::2], "tied": whole})
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    value = {
        "net": state,
        "ema": {"decay": 0.99, "num_updates": 3, "shadow_params": [whole.T], "none": None},
        "half": [whole.astype(np.float16), whole.astype(ml_dtypes.bfloat16)],
        "optimizer": {"state": {0: {"step": np.array(3.0, np.float32)}}, "betas": (0.9, 0.999)},
        "parameter": Parameter(np.arange(5)),
        "args": Saved(argparse.Namespace(lr=np.float64(0.1), out=pathlib.PurePosixPath("a/b"))),
    }
    for protocol in (2, 4):
        for write in (write_torch_file, write_legacy_file):
            write(folder / "seed", value, protocol=protocol)
            yield (folder / "seed").read_bytes()
    yield (golden.FOLDER / "torch_legacy_python2.pt").read_bytes()
    flat = {"a": whole, "b": whole.astype(np.float16), "empty": whole[:0]}
    yield safetensors.numpy.save(flat, metadata={"format": "pt"})


def mutated(rng, data):
    """(what was hit, a file with a few changes there)."""
    if rng.integers(4) == 0:
        return "anywhere", changed(rng, data)
    if data[:1] == b"\x80":
        start = data.index(b"\x19.") + 2  # of the pickle after the magic number
        return "old format", data[:start] + changed(rng, data[start:])
    if data[:4] != b"PK\3\4":
        end = 8 + int.from_bytes(data[:8], "little")
        header = changed(rng, data[8:end])
        return "header", struct.pack("<Q", len(header)) + header + data[end:]
    if rng.integers(3):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        members["archive/data.pkl"] = changed(rng, members["archive/data.pkl"])
        return "pickle", zip_bytes(members.items())
    start, _ = directory_at(data)
    place = rng.choice([match.start() for match in re.finditer(b"PK[\1-\7]", data)])
    if rng.integers(2):
        return "headers", data[:place] + changed(rng, data[place : place + 80]) + data[place + 80 :]
    return "directory", data[:start] + changed(rng, data[start:])


def changed(rng, data):
    """The bytes with a few mostly small changes."""
    file = bytearray(data)
    for _ in range(rng.geometric(0.6)):
        at, other = (int(place) for place in rng.integers(len(file) + 1, size=2))
        match rng.integers(16):
            case 0 | 1 | 2:
                bit = 1 << int(rng.integers(8))
                file[at : at + 1] = bytes(byte ^ bit for byte in file[at : at + 1])
            case 3 | 4:
                file[at : at + 1] = rng.bytes(1)
            case 5 | 6 | 7 | 8:
                odd = ODD_BYTES[rng.integers(len(ODD_BYTES))]
                file[at : at + (len(odd) if rng.integers(2) else 0)] = odd
            case 9 | 10 | 11:
                kind = ("<H", "<I", "<Q")[rng.integers(3)]
                number = ODD_NUMBERS[rng.integers(len(ODD_NUMBERS))]
                size = struct.calcsize(kind)
                file[at : at + size] = struct.pack(kind, number & (256**size - 1))
            case 12:
                del file[at : at + int(rng.integers(1, 40))]
            case 13 | 14:
                file[at:at] = file[other : other + int(rng.integers(1, 60))]
            case 15:
                del file[at:]
    return bytes(file)


def arrays(value):
    """All arrays of what was read."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from arrays(item)


def outcome(path):
    """What became of a file: "read", or what it was refused for without the particulars."""
    try:
        value = read_weights_file(path)
    except ValueError as error:
        line = str(error)
        assert line.startswith(str(path)) and line.isprintable() and len(line) < 500, line
        return re.sub(r"'[^']*'?|\d+", "*", line.removeprefix(str(path)))[:60]
    total = 0
    for array in arrays(value):
        total += array.nbytes
        if array.size:
            array[(0,) * array.ndim], array[(-1,) * array.ndim]  # both ends are within the map
        if array.nbytes < 1 << 16:
            array.tobytes()
    assert total <= 5 * os.path.getsize(path) + (1 << 26)
    return "read"


def test_nothing_but_a_value_error_of_one_line(tmp_path, capsys):
    seeds = list(honest_files(tmp_path))
    rng = np.random.Generator(np.random.PCG64(SEED))
    path = tmp_path / "mutant"
    outcomes, hits = collections.Counter(), collections.Counter()
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        part, data = mutated(rng, seeds[rng.integers(len(seeds))])
        path.write_bytes(data)
        try:
            result = outcome(path)
        except BaseException as error:
            error.add_note(f"file {sum(hits.values())} of seed {SEED}, left at {path}")
            raise
        outcomes[result] += 1
        hits[part, result == "read"] += 1
    total = sum(hits.values())
    if FUZZ_REPORT:
        with capsys.disabled():
            print(f"\n{total} files in {SECONDS:.0f} s, seed {SEED}", dict(hits))
            print(*(f"{count:9d} {what}" for what, count in outcomes.most_common()), sep="\n")
    assert total > LEAST_A_SECOND * SECONDS
    # neither too wild nor too tame, or the run shows nothing
    assert 0.01 < outcomes["read"] / total < 0.5 and len(outcomes) > 30
