"""Copies the photographs that training never saw into a folder.

python -m experiments.quickstart.held_out FOLDER
"""

import sys

from i2sb_jax import image_io
from i2sb_jax.data import open_source


def main(folder: str) -> None:
    """Writes each held-out photograph as a PNG."""
    source = open_source("photos", split="eval")
    for index in range(len(source)):
        record = source.read(index)
        name = record.name.rsplit(".", 1)[0]
        image_io.write_png(f"{folder}/{name}.png", image_io.decode_rgb(record.image))


if __name__ == "__main__":
    main(sys.argv[1])
