"""Facts about a corruption by its name alone: nothing is built to learn them."""

import dataclasses
import functools
import math

from i2sb_jax.corruptions.names import MIXTURE_NAMES, parse_name

JPEG_UNIT = 16  # side of what a 4:2:0 JPEG codes together
REAL_MARGIN = 48
_MIN_SIZE = 8  # the bicubic filter mirrors eight pixels
FILE_SETTINGS = 4  # numbers that say how a JPEG was made (`jpeg_file.file_settings`)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionFacts:
    """The facts about a corruption that pipelines and messages need.

    Attributes:
      has_mask: whether `Corrupted.mask` is not None.
      cond_channels: of `Corrupted.cond`; 0 where it is None.
      adds_noise: whether X_1 is the condition with N(0, 1) added.
      is_random: whether a call needs a key.
      unit: image_size must be a multiple of it.
      margin: pixels around a window that X_1 in it depends on. 0: none, or the window is the whole
        picture by definition, as it is for the published operators.
      grid: windows of a photograph start at multiples of so many pixels; margin is one of them.
      enlargement: the restored picture is so many times as large as its natural input.
      enlarged_by: how the natural input becomes X_1: "blocks" or "smooth"; "" where it is X_1.
      quality_range: the lowest and the highest JPEG quality that it makes; None where JPEG is not
        what it is about.
      keeps_light: whether a flat picture stays as bright as it was.
      is_photographic: whether X_1 is what a person has, noise included (of a reduction the small
        picture, enlarged): pixels of whole 8-bit levels, but for noise-float.
      bound: the largest absolute value of a natural input that is still taken for [-1, 1].
      is_float: whether what a person has may be an array of floats, whose values leave [-1, 1].
      members: of a mixture, what is known of each of which by its own name.
      natural_input: what a person has, one phrase for messages.
      baseline: the classical repair that a network has to beat; "" where none is customary.
    """

    has_mask: bool = False
    cond_channels: int = 0
    adds_noise: bool = False
    is_random: bool = False
    unit: int = 1
    margin: int = 0
    grid: int = 1
    enlargement: int = 1
    enlarged_by: str = ""
    quality_range: tuple[int, int] | None = None
    keeps_light: bool = True
    is_photographic: bool = False
    bound: float | None = 1.5
    is_float: bool = False
    members: tuple[str, ...] = ()
    natural_input: str
    baseline: str = ""

    @property
    def is_told(self) -> bool:
        """Whether the condition is how the file was made, the same at every pixel."""
        return self.has_cond and not self.adds_noise

    @property
    def has_cond(self) -> bool:
        """Whether `Corrupted.cond` is not None."""
        return self.cond_channels > 0


def psf_radius(width: float) -> int:
    """Pixels from the centre of a blur of so many pixels' σ beyond which 1e-4 of its light lies.

    Along each axis 4.1 σ leave out 4e-5 of a Gaussian; the disc of the same second moment ends at
    2 σ.
    """
    return math.ceil(4.1 * width)


_published = CorruptionFacts
_photographic = functools.partial(CorruptionFacts, is_random=True, is_photographic=True)

_BLOCKS = _published(
    unit=4,
    enlargement=4,
    enlarged_by="blocks",
    natural_input="a small picture",
    baseline="bicubic upsampling",
)
_DARKENED = _published(
    keeps_light=False, natural_input="a blurred picture", baseline="brightness matching"
)
_HOLES = _published(
    has_mask=True,
    is_random=True,
    natural_input="a picture with holes",
    baseline="biharmonic filling",
)
_DEBLURRING = "Wiener filter and thresholding"
_THRESHOLDING = "cosine thresholding"


def _reduction(factor: int) -> CorruptionFacts:
    # Sixteen small pixels at the border feel it (the reduction's kernel, then the JPEG blocks that
    # it reaches); interpolating colour and enlarging reach into the next sixteen.
    return _photographic(
        unit=factor,
        margin=2 * JPEG_UNIT * factor,
        grid=JPEG_UNIT * factor,
        enlargement=factor,
        enlarged_by="smooth",
        natural_input="a small picture",
        baseline="bicubic and Wiener filter",
    )


def _mixture() -> CorruptionFacts:
    members = [parse_name(member) for member in MIXTURE_NAMES]
    qualities = [int(member.low) for member in members if member.kind == "jpeg"]
    return _published(
        is_random=True,
        unit=JPEG_UNIT,
        quality_range=(min(qualities), max(qualities)),
        members=MIXTURE_NAMES,
        natural_input="an input of one of its members",
    )


# by name, of those that have no numbers in it
PLAIN = {
    "sr4x-pool": _BLOCKS,
    "sr4x-bicubic": _BLOCKS,
    "blur-uni": _DARKENED,
    "blur-gauss": _DARKENED,
    "blur-uni-exact": _DARKENED,
    "blur-gauss-exact": _DARKENED,
    "colorize": _published(
        cond_channels=3, adds_noise=True, is_random=True, natural_input="any picture"
    ),
    "inpaint-center": _HOLES,
    "inpaint-freeform1020": _HOLES,
    "inpaint-freeform2030": _HOLES,
    "mixture": _mixture(),
    "sr2x-photo": _reduction(2),
    "sr4x-photo": _reduction(4),
    "real": _photographic(
        margin=REAL_MARGIN, grid=JPEG_UNIT, natural_input="any picture", baseline=_DEBLURRING
    ),
}


def _of_range(kind: str, low: float, high: float) -> CorruptionFacts:
    qualities = (int(low), int(high))
    match kind:
        case "jpeg":
            return _published(unit=JPEG_UNIT, quality_range=qualities, natural_input="a JPEG file")
        case "jpeg-file" | "jpeg-told":
            return _photographic(
                cond_channels=FILE_SETTINGS if kind == "jpeg-told" else 0,
                margin=JPEG_UNIT,
                grid=JPEG_UNIT,
                quality_range=qualities,
                natural_input="a JPEG file",
                baseline=_THRESHOLDING,
            )
        case "blur-photo":
            return _photographic(
                margin=psf_radius(high), natural_input="a blurred picture", baseline=_DEBLURRING
            )
        case "noise":
            return _photographic(natural_input="a noisy picture", baseline=_THRESHOLDING)
        case "noise-float":
            bound = max(4.0, 1 + 6 * high / 127.5)  # six standard deviations beyond white
            return _photographic(
                bound=bound,
                is_float=True,
                natural_input="a noisy picture of floats",
                baseline=_THRESHOLDING,
            )
    raise AssertionError(f"{kind} has a name and no facts")


@functools.lru_cache(maxsize=256)
def corruption_facts(name: str) -> CorruptionFacts:
    """Returns the facts of a corruption.

    Args:
      name: as `make_corruption` takes it.

    Raises:
      ValueError: there is no such corruption; one line.
    """
    parsed = parse_name(name)
    return PLAIN[name] if name in PLAIN else _of_range(*parsed)


def check_image_size(name: str, image_size: int) -> None:
    """Raises ValueError, in one line, unless there is such a corruption of pictures of that size.

    Args:
      name: as `make_corruption` takes it.
      image_size: height and width in pixels.
    """
    unit = corruption_facts(name).unit
    if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < _MIN_SIZE:
        raise ValueError(
            f"image_size of {name} must be an integer of at least {_MIN_SIZE}, got {image_size!r}"
        )
    if image_size % unit:
        below = image_size // unit * unit
        nearest = f"{below} or {below + unit}" if below >= _MIN_SIZE else f"{below + unit}"
        raise ValueError(
            f"image_size of {name} must be a multiple of {unit}, got {image_size}: try {nearest}"
        )
