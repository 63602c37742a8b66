"""Names of corruptions: which operator, and the range that its parameter is drawn from."""

import difflib
import re
from typing import NamedTuple

MIXTURE_NAMES = (
    "jpeg-5",
    "jpeg-10",
    "blur-uni",
    "blur-gauss",
    "sr4x-pool",
    "sr4x-bicubic",
    "inpaint-center",
    "inpaint-freeform1020",
    "inpaint-freeform2030",
)

PLAIN = (
    "sr4x-pool",
    "sr4x-bicubic",
    "blur-uni",
    "blur-gauss",
    "blur-uni-exact",
    "blur-gauss-exact",
    "colorize",
    "inpaint-center",
    "inpaint-freeform1020",
    "inpaint-freeform2030",
    "mixture",
    "sr2x-photo",
    "sr4x-photo",
    "real",
)


class _Ranged(NamedTuple):
    """A name with a range in it, KIND-LO-HI.

    Attributes:
      default: the range that the name alone stands for.
      numbers: what LO and HI are, for messages.
      lowest, highest: their bounds.
      number: a regular expression of one of them.
    """

    default: str
    numbers: str
    lowest: int
    highest: int
    number: str = r"\d{1,3}(?:\.\d{1,3})?"


_RANGED = {
    "jpeg-file": _Ranged("5-95", "two JPEG qualities", 1, 100, r"\d{1,3}"),
    "jpeg-told": _Ranged("5-95", "two JPEG qualities", 1, 100, r"\d{1,3}"),
    "blur-photo": _Ranged("0-3", "two widths in pixels", 0, 20),
    "noise": _Ranged("0-50", "two standard deviations in 8-bit levels", 0, 100),
    "noise-float": _Ranged("0-50", "two standard deviations in 8-bit levels", 0, 100),
}
_QUALITY = re.compile(r"jpeg-(-?\d+)", re.ASCII)


class CorruptionName(NamedTuple):
    """A name taken apart.

    Attributes:
      kind: the name without its numbers: "jpeg" of "jpeg-10", "jpeg-file", "sr4x-pool".
      low, high: the range of its parameter, both ends included; 0 where it has none.
    """

    kind: str
    low: float = 0
    high: float = 0


def corruption_names() -> tuple[str, ...]:
    """Every name `make_corruption` takes, the hundred JPEG qualities included.

    Of a name with a range, such as `jpeg-file-LO-HI`, there are thousands: the name without its
    range stands for all of them.
    """
    return (*PLAIN, *_RANGED, *(f"jpeg-{quality}" for quality in range(1, 101)))


def name_patterns() -> tuple[str, ...]:
    """Every name, with Q for a JPEG quality and LO-HI for a range, which may be left out."""
    return (*PLAIN, "jpeg-Q", *(f"{kind}-LO-HI" for kind in _RANGED))


def parse_name(name: str) -> CorruptionName:
    """Takes a name apart.

    Raises:
      ValueError: there is no such corruption (the nearest name and all patterns are told), or its
        numbers lie outside of what it takes.
    """
    if not isinstance(name, str):
        raise _unknown(name)
    if name in PLAIN:
        return CorruptionName(name)
    if match := _QUALITY.fullmatch(name):
        quality = int(match[1])
        if not 1 <= quality <= 100:
            raise ValueError(f"corruption {name!r}: a JPEG quality lies in 1...100")
        if name == f"jpeg-{quality}":
            return CorruptionName("jpeg", quality, quality)
    for kind in sorted(_RANGED, key=len, reverse=True):  # noise-float is no range of noise
        if name == kind or name.startswith(f"{kind}-"):
            return _range(kind, name)
    raise _unknown(name)


def is_within(name: str, wider: str) -> bool:
    """Whether all that one corruption makes is made by another too: a kind, and a range within."""
    one, other = parse_name(name), parse_name(wider)
    return one.kind == other.kind and other.low <= one.low and one.high <= other.high


def _range(kind: str, name: str) -> CorruptionName:
    ranged = _RANGED[kind]
    text = ranged.default if name == kind else name.removeprefix(f"{kind}-")
    match = re.fullmatch(f"({ranged.number})-({ranged.number})", text, re.ASCII)
    low, high = (float(match[1]), float(match[2])) if match else (-1, -1)
    if not ranged.lowest <= low <= high <= ranged.highest:
        raise ValueError(
            f"corruption {name!r}: {kind}-LO-HI takes {ranged.numbers} with "
            f"{ranged.lowest} <= LO <= HI <= {ranged.highest}, e.g. {kind}-{ranged.default}"
        )
    return CorruptionName(kind, low, high)


def _unknown(name: object) -> ValueError:
    nearest = difflib.get_close_matches(str(name), corruption_names(), n=1, cutoff=0)[0]
    known = ", ".join(name_patterns())
    return ValueError(f"unknown corruption {name!r}: did you mean {nearest!r}? Known: {known}")
