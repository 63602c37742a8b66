"""What is known of a corruption by its name alone: nothing is built to learn it."""

import dataclasses
import functools
import math

from i2sb_jax.corruptions.names import MIXTURE_NAMES, CorruptionName, parse_name

JPEG_UNIT = 16  # side of what a 4:2:0 JPEG codes together
REAL_MARGIN = 48


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptionFacts:
    """What pipelines and messages need to know of a corruption.

    Attributes:
      has_mask: whether `Corrupted.mask` is not None.
      has_cond: whether `Corrupted.cond` is not None.
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
      natural_input: what a person has, one phrase for messages.
    """

    has_mask: bool = False
    has_cond: bool = False
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
    natural_input: str


def psf_radius(width: float) -> int:
    """Pixels from the centre of a blur of so many pixels' σ beyond which 1e-4 of its light lies.

    Along each axis 4.1 σ leave out 4e-5 of a Gaussian; the disc of the same second moment ends at
    2 σ.
    """
    return math.ceil(4.1 * width)


@functools.lru_cache(maxsize=256)
def corruption_facts(name: str) -> CorruptionFacts:
    """Returns the facts of a corruption.

    Args:
      name: as `make_corruption` takes it.

    Raises:
      ValueError: there is no such corruption; one line.
    """
    parsed = parse_name(name)
    kind, high = parsed.kind, parsed.high
    if kind in ("sr2x-photo", "sr4x-photo"):
        return _reduction(int(kind[2]))
    match kind:
        case "jpeg" | "jpeg-file":
            return _jpeg(parsed)
        case "sr4x-pool" | "sr4x-bicubic":
            return CorruptionFacts(
                unit=4, enlargement=4, enlarged_by="blocks", natural_input="a small picture"
            )
        case "blur-uni" | "blur-gauss" | "blur-uni-exact" | "blur-gauss-exact":
            return CorruptionFacts(keeps_light=False, natural_input="a blurred picture")
        case "inpaint-center" | "inpaint-freeform1020" | "inpaint-freeform2030":
            return CorruptionFacts(
                has_mask=True, is_random=True, natural_input="a picture with holes"
            )
        case "colorize":
            return CorruptionFacts(has_cond=True, is_random=True, natural_input="any picture")
        case "mixture":
            members = [parse_name(member) for member in MIXTURE_NAMES]
            qualities = [int(member.low) for member in members if member.kind == "jpeg"]
            return CorruptionFacts(
                is_random=True,
                unit=16,
                quality_range=(min(qualities), max(qualities)),
                natural_input="an input of one of its members",
            )
        case "blur-photo":
            return _photographic(margin=psf_radius(high), natural_input="a blurred picture")
        case "noise":
            return _photographic(natural_input="a noisy picture")
        case "noise-float":
            # six standard deviations beyond white
            bound = max(4.0, 1 + 6 * high / 127.5)
            return _photographic(bound=bound, natural_input="a noisy picture of floats")
        case "real":
            return _photographic(margin=REAL_MARGIN, grid=JPEG_UNIT, natural_input="any picture")
    raise AssertionError(f"{kind} has a name and no facts")


_photographic = functools.partial(CorruptionFacts, is_random=True, is_photographic=True)


def _jpeg(name: CorruptionName) -> CorruptionFacts:
    quality_range = (int(name.low), int(name.high))
    if name.kind == "jpeg":
        return CorruptionFacts(
            unit=JPEG_UNIT, quality_range=quality_range, natural_input="a JPEG file"
        )
    return _photographic(
        margin=JPEG_UNIT, grid=JPEG_UNIT, quality_range=quality_range, natural_input="a JPEG file"
    )


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
    )
