#!/bin/sh
# tifffile 2026.3.3, imagecodecs 2026.3.6: 12-bit samples written big-endian are not those given.
#
# imwrite(..., bitspersample=12) packs the samples into bits, most significant first, as TIFF wants
# in either byte order. With byteorder=">" the bytes of each sample have been swapped before, so that
# the file holds other numbers, which tifffile itself and libtiff read alike: a valid file, and no
# warning. With the native order, and with whole 16 bits in either order, all is right.
#
# Seen: "< 12: kept / > 16: kept / > 12: 0 of 48 kept", and libtiff agrees with tifffile on each.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tifffile==2026.3.3 imagecodecs==2026.3.6
"$folder/venv/bin/python" - <<'PYTHON' >"$folder/seen"
import io

import imagecodecs
import numpy as np
import tifffile

VALUES = np.arange(1, 4000, 83, dtype=np.uint16)[:48].reshape(6, 8)  # none reads the same swapped


def kept(order, bits):
    file = io.BytesIO()
    tifffile.imwrite(
        file, VALUES, bitspersample=bits, byteorder=order, photometric="minisblack", metadata=None
    )
    read = tifffile.imread(io.BytesIO(file.getvalue()))
    assert np.array_equal(read, imagecodecs.tiff_decode(file.getvalue()))
    count = int((read == VALUES).sum())
    return "kept" if count == VALUES.size else f"{count} of {VALUES.size} kept"


CASES = (("<", 12), (">", 16), (">", 12))
print(" / ".join(f"{order} {bits}: {kept(order, bits)}" for order, bits in CASES))
PYTHON
cat "$folder/seen"
test "$(cat "$folder/seen")" = "< 12: kept / > 16: kept / > 12: 0 of 48 kept"
