"""Real photographs that come with scikit-image: a data set without a download.

Whole pictures are held out, and the two views of the stereo pair are on one side: a patch of a
picture, or the same scene from six centimetres to the left, is no test of anything. What is chosen
(a network, a setting, a number of steps) is chosen on VALIDATION by runs on TUNING, and EVAL is
measured once, at the end.
"""

import dataclasses
import importlib.util
from collections.abc import Sequence

from etils import epath

from i2sb_jax.data.record import MissingPicture, Record

# Only photographs (microscope and telescope included): no text, drawings or test charts.
TRAIN = (
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "retina.jpg",
)
EVAL = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

# Of TRAIN, for experiments: what runs that settle something are measured on and learn from.
VALIDATION = ("camera.png", "motorcycle_left.png", "motorcycle_right.png")
TUNING = tuple(name for name in TRAIN if name not in VALIDATION)

_INSTALL = "pip install 'scikit-image>=0.22'"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotosSource:
    """Pictures of scikit-image's wheel.

    Attributes:
        folder: where the wheel keeps them.
        names: file names.
    """

    folder: epath.Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        name = self.names[index]
        try:
            return Record(name=name, image=(self.folder / name).read_bytes())
        except OSError as error:
            raise MissingPicture(name, error) from error


def photos_source(*, split: str) -> PhotosSource:
    """The photographs for "train" or "eval".

    Raises:
        ValueError: scikit-image is missing, or does not have them all; one line with the remedy.
    """
    if split not in ("train", "eval"):
        raise ValueError(f"split={split!r} of photos must be 'train' or 'eval'")
    return named_photos(TRAIN if split == "train" else EVAL)


def named_photos(names: Sequence[str]) -> PhotosSource:
    """Some photographs of scikit-image's wheel, such as VALIDATION; raises as `photos_source`."""
    # The wheel is looked for, not imported: scikit-image brings SciPy and takes a second.
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"data.source='photos' are the pictures of scikit-image: {_INSTALL}")
    folder = epath.Path(spec.submodule_search_locations[0]) / "data"
    for name in (*TRAIN, *EVAL, *names):
        if not (folder / name).exists():
            raise ValueError(f"this scikit-image does not bring {name} in {folder}: {_INSTALL}")
    return PhotosSource(folder=folder, names=tuple(names))
