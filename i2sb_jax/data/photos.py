"""Real photographs in the wheels of scikit-image and scikit-learn: data without a download.

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

# Of scikit-learn, CC BY 2.0: by danielbuechele (china) and vultilion (flower).
OF_SCIKIT_LEARN = ("china.jpg", "flower.jpg")

# Only photographs (microscope and telescope included): no text, drawings or test charts.
TRAIN = (
    "brick.png",
    "camera.png",
    "china.jpg",
    "coins.png",
    "flower.jpg",
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

_INSTALL = "pip install 'scikit-image>=0.22' scikit-learn"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotosSource:
    """Pictures of the two wheels.

    Attributes:
        names: file names.
        files: where the wheels keep them.
    """

    names: tuple[str, ...]
    files: tuple[epath.Path, ...]

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Record:
        name = self.names[index]
        try:
            return Record(name=name, image=self.files[index].read_bytes())
        except OSError as error:
            raise MissingPicture(name, error) from error


def photos_source(*, split: str) -> PhotosSource:
    """The photographs for "train" or "eval".

    Raises:
        ValueError: a wheel is missing, or does not have them all; one line with the remedy.
    """
    if split not in ("train", "eval"):
        raise ValueError(f"split={split!r} of photos must be 'train' or 'eval'")
    return named_photos(TRAIN if split == "train" else EVAL)


def named_photos(names: Sequence[str]) -> PhotosSource:
    """Some of the photographs, such as VALIDATION; raises as `photos_source`."""
    image, learn = _folder("skimage", "data"), _folder("sklearn", "datasets/images")
    places = {name: learn if name in OF_SCIKIT_LEARN else image for name in (*TRAIN, *EVAL, *names)}
    for name, folder in places.items():
        if not (folder / name).exists():
            raise ValueError(f"the installed wheel does not bring {name} in {folder}: {_INSTALL}")
    return PhotosSource(names=tuple(names), files=tuple(places[name] / name for name in names))


def _folder(package: str, folder: str) -> epath.Path:
    # A wheel is looked for, not imported: both bring SciPy and take a second.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            f"data.source='photos' are the pictures of scikit-image and scikit-learn: {_INSTALL}"
        )
    return epath.Path(spec.submodule_search_locations[0]) / folder
