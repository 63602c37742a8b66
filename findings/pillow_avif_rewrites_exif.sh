#!/bin/sh
# pillow 13.0.0: EXIF handed over as bytes is written as it is, but not into AVIF files.
#
# image.save(file, exif=data) copies the block into JPEG, PNG and WebP files byte for byte. The AVIF
# writer makes the orientation a property of the file, and where there is one, as in any camera's
# file, writes the block anew without it: text that is not ASCII, such as a photographer's name in
# UTF-8, becomes question marks, without a warning. A block without orientation is kept.
#
# Seen: "JPEG kept / PNG kept / WEBP kept / AVIF b'??. Example'".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON' >"$folder/seen"
import io
import re
import struct

from PIL import Image

NAME = "Ä. Example".encode() + b"\0"  # tag 0x013B, Artist
upright = struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0)
artist = struct.pack("<HHII", 0x013B, 2, len(NAME), 38)
EXIF = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + upright + artist + bytes(4) + NAME


def told(kind):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, kind, exif=EXIF)
    data = file.getvalue()
    if NAME in data:
        return "kept"
    return str(re.search(rb"[^\0]{2}\. Example", data)[0])


print(" / ".join(f"{kind} {told(kind)}" for kind in ("JPEG", "PNG", "WEBP", "AVIF")))
PYTHON
cat "$folder/seen"
test "$(cat "$folder/seen")" = "JPEG kept / PNG kept / WEBP kept / AVIF b'??. Example'"
