#!/bin/sh
# datasets 5.2.0, pyarrow 26.0.1: a folder of pictures that is loaded and written by to_parquet is a
# file without pictures.
#
# load_dataset("imagefolder") makes a column of structs of bytes and path, of which bytes is null and
# path is where the picture lies on this machine; Dataset.to_parquet writes just that, without a
# warning. Pictures read from the file are there for as long as the folder is. What push_to_hub
# uploads has the bytes; on disk they come by embed_table_storage, which is no method of a data set.
#
# Seen: "written: bytes 0 of 4 / embedded: bytes 4 of 4".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1 pillow==12.0.0
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
"$folder/venv/bin/python" - "$folder" <<'PYTHON' >"$folder/seen" 2>/dev/null
import pathlib
import sys

import datasets
import pyarrow.parquet as pq
from datasets.table import embed_table_storage
from PIL import Image

folder = pathlib.Path(sys.argv[1])
for i in range(4):
    place = folder / "pictures" / ("cat" if i < 2 else "dog")
    place.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (i, 0, 0)).save(place / f"{i}.png")
data = datasets.load_dataset("imagefolder", data_dir=str(folder / "pictures"), split="train")


def bytes_in(data, name):
    data.to_parquet(str(folder / name))
    images = pq.read_table(folder / name)["image"].to_pylist()
    assert all(image["path"] for image in images)
    return sum(image["bytes"] is not None for image in images)


written = bytes_in(data, "a.parquet")
embedded = data.with_format("arrow").map(embed_table_storage, batched=True)
embedded = bytes_in(embedded.with_format(None), "b.parquet")
print(f"written: bytes {written} of 4 / embedded: bytes {embedded} of 4")
PYTHON
cat "$folder/seen"
test "$(cat "$folder/seen")" = "written: bytes 0 of 4 / embedded: bytes 4 of 4"
