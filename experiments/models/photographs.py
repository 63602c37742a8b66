"""Fetches the photographs that the shipped models learn from, and reduces them.

    python -m experiments.models.photographs DIR

Debian's packages are fetched by `apt-get download` and unpacked by `dpkg -x`; nothing is installed.
The photographs are JPEG files: reduced by two or three, antialiased, they lose the traces of it.
Those of scikit-image and scikit-learn that nothing is measured on join them as they are. DIR
holds one PNG a photograph, and ATTRIBUTION.md.
"""

import argparse
import pathlib
import subprocess
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image

from i2sb_jax.data.photos import TRAIN, named_photos
from i2sb_jax.pictures import decode_rgb

_WALLPAPERS = "lomiri-wallpapers-16.04"
_BACKGROUNDS = "usr/share/backgrounds"
_PUZZLES = "usr/share/palapeli/collection"


class Photograph(NamedTuple):
    """One photograph of a Debian package.

    Attributes:
        package: that holds it.
        path: inside the package.
        by: the photographer.
        licence: as the package says.
        reduction: whole factor by which it becomes smaller.
    """

    package: str
    path: str
    by: str
    licence: str
    reduction: int = 2


def _wallpaper(name: str, by: str, licence: str = "CC-BY-4.0", reduction: int = 2) -> Photograph:
    return Photograph(_WALLPAPERS, f"{_BACKGROUNDS}/{name}.jpg", by, licence, reduction)


def _puzzle(name: str, by: str) -> Photograph:
    return Photograph("palapeli-data", f"{_PUZZLES}/{name}.jpg", by, "public domain")


# Left out: renderings, and what is under a licence that asks the weights to be under it, too.
PHOTOGRAPHS = (
    _wallpaper("aitzgorri_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _wallpaper("friends_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _wallpaper("life_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _wallpaper("picosdeeuropa_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _wallpaper("sunset_by_Aitzol_Berasategi", "Aitzol Berasategi"),
    _wallpaper("Picture_0B_by_freespace", 'Trevor "Freespace"'),
    _wallpaper("Picture_1A_by_freespace", 'Trevor "Freespace"'),
    _wallpaper("Wine_by_Jakkub_Mede", "Jakub Mede"),
    _wallpaper("seeding_by_Clements_Engelhardt", "Clemens Engelhardt", "CC0-1.0", 3),
    _puzzle("cincinnati-bridge", "Derek Jensen"),
    _puzzle("citrus-fruits", "US Department of Agriculture"),
    _puzzle("european-honey-bee", "John Severns"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetches, reduces and writes them all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=pathlib.Path, help="a new folder")
    output = parser.parse_args(arguments).output
    output.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        for package in sorted({photograph.package for photograph in PHOTOGRAPHS}):
            subprocess.run(["apt-get", "download", "-qq", package], cwd=folder, check=True)
            (file,) = pathlib.Path(folder).glob(f"{package}_*.deb")
            subprocess.run(["dpkg", "-x", str(file), folder], check=True)
        for photograph in PHOTOGRAPHS:
            file = pathlib.Path(folder) / photograph.path
            reduced(file.read_bytes(), photograph.reduction).save(output / f"{file.stem}.png")
    photos = named_photos(TRAIN)
    for number, name in enumerate(photos.names):
        picture = decode_rgb(photos.read(number).image)
        Image.fromarray(picture).save(output / f"{pathlib.Path(name).stem}.png")
    (output / "ATTRIBUTION.md").write_text(attribution())


def reduced(file: bytes, factor: int) -> Image.Image:
    """A photograph's file, smaller by a whole factor (box filter; what is left over is cut off)."""
    picture = Image.fromarray(decode_rgb(file))
    whole = [side // factor * factor for side in picture.size]
    return picture.crop((0, 0, *whole)).reduce(factor)


def attribution() -> str:
    """Who made the photographs, a line each, in Markdown."""
    lines = [
        f"- {pathlib.Path(each.path).name} (Debian's {each.package}): {each.by}, {each.licence}"
        for each in PHOTOGRAPHS
    ]
    lines.append("- china.jpg, flower.jpg (scikit-learn): danielbuechele, vultilion, CC-BY-2.0")
    others = ", ".join(name for name in TRAIN if name not in ("china.jpg", "flower.jpg"))
    lines.append(f"- {others} (scikit-image): see its skimage/data/README.txt")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
