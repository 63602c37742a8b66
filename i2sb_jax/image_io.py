"""Pictures in and out: whatever Pillow reads becomes uint8 RGB, and PNGs are written whole.

Training and restoring share this module, so a photograph looks the same to both: EXIF orientation
is applied, transparency is laid over white, grey and palettes become RGB, CMYK is converted without
a colour profile, 16-bit grey is scaled (not clipped), and of an animation the first frame is taken.
"""

import io
import itertools
import os
from collections.abc import Iterator

import numpy as np
from etils import epath
from PIL import Image

# Formats are named, so that a stray file never starts Ghostscript or some exotic parser.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000")
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"),
    *(".gif", ".bmp", ".ppm", ".pgm", ".jp2"),
)
# The size from which Pillow itself refuses to open a picture; at half of it Pillow warns.
MAX_PIXELS = 178_956_970

_ORIENTATION_TAG = 0x0112
# What turns a picture stored with EXIF orientation 2…8 upright (1 is upright).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(ValueError):
    """Bytes that do not hold a picture; the message is one line that says why."""


def decode_rgb(data: bytes, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decodes an encoded picture.

    Args:
        data: a whole JPEG, PNG, WebP, TIFF, GIF, BMP, PPM or JPEG 2000 file.
        max_pixels: refuse larger pictures. The header is asked, before any pixel is decoded.

    Returns:
        uint8 [h, w, 3], upright; possibly read-only.

    Raises:
        UnreadableImage: empty, truncated, unknown, too large or broken in any other way.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImage(
                    f"{width}x{height} pixels are more than the {max_pixels} that are allowed"
                )
            # Loading first: EXIF may follow the pixels, and TIFF turns itself upright on loading.
            image.load()
            orientation = _orientation(image)
            upright = _flatten(image)
    except (UnreadableImage, MemoryError):
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage("no known picture format") from None
    except Exception as error:  # broken bytes make Pillow raise nearly anything
        raise UnreadableImage(_one_line(error)) from error
    if orientation in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[orientation])
    return np.asarray(upright)


def resize_short_side(image: np.ndarray, size: int) -> np.ndarray:
    """Scales so that the shorter side is `size`; bilinear with Pillow's antialiasing.

    The longer side is truncated to whole pixels, as torchvision's Resize does.

    Args:
        image: uint8 [h, w, 3].
        size: pixels.

    Returns:
        uint8 [size, w', 3] or [h', size, 3]; `image` itself if it already fits.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    if short == size:
        return image
    new_size = (max(size, size * width // short), max(size, size * height // short))
    return np.asarray(Image.fromarray(image).resize(new_size, Image.Resampling.BILINEAR))


def center_crop(image: np.ndarray, size: int) -> np.ndarray:
    """The central [size, size, c] of `image` [h, w, c], offsets rounded as torchvision does."""
    top, left = (round((side - size) / 2) for side in image.shape[:2])
    return image[top : top + size, left : left + size]


def to_uint8(x: np.ndarray) -> np.ndarray:
    """[-1, 1] to uint8 by (x + 1) · 127.5, clamped and truncated.

    Truncation is the evaluation protocol of I²SB. Saved pictures follow it too, so that there is
    one convention; it may darken a value by one level where rounding would not.

    Args:
        x: float array of any shape; values outside [-1, 1] are clamped.
    """
    scaled = (np.asarray(x, np.float32) + np.float32(1)) * np.float32(127.5)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def from_uint8(image: np.ndarray) -> np.ndarray:
    """uint8 of any shape to float32 in [-1, 1] by image / 127.5 - 1."""
    return np.asarray(image).astype(np.float32) / np.float32(127.5) - np.float32(1)


def encode_png(image: np.ndarray) -> bytes:
    """PNG bytes of a uint8 [h, w, 3] or [h, w] picture."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write_png(path: epath.PathLike, image: np.ndarray) -> None:
    """Writes a uint8 [h, w, 3] or [h, w] picture as PNG; a reader never sees half of it."""
    write_atomically(path, encode_png(image))


def write_atomically(path: epath.PathLike, data: bytes) -> None:
    """Writes under a temporary name beside `path`, then renames; makes the folder if needed."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def list_images(folder: epath.PathLike) -> list[str]:
    """Names of all pictures below a folder, told by their suffix.

    Args:
        folder: local or gs://. Hidden files and folders are skipped, links are followed.

    Returns:
        Sorted names relative to `folder`, with '/' between parts.

    Raises:
        ValueError: the folder is missing or holds no picture; one line that names it.
    """
    names = sorted(_walk(require_folder(folder)))
    if not names:
        raise ValueError(f"no pictures in {folder} (suffixes: {' '.join(IMAGE_SUFFIXES)})")
    return names


def require_pictures(folder: epath.PathLike, *, at_least: int = 1) -> None:
    """Raises ValueError, in one line, unless a folder holds so many pictures; stops counting there.

    For those who want to know before they list a tree of a million.
    """
    found = len(list(itertools.islice(_walk(require_folder(folder)), at_least)))
    if found < at_least:
        what = "no pictures" if not found else f"only {found} of the {at_least} pictures needed"
        raise ValueError(f"{what} in {folder} (suffixes: {' '.join(IMAGE_SUFFIXES)})")


def require_folder(folder: epath.PathLike) -> epath.Path:
    """`folder` as a path, ~ expanded; ValueError in one line if it is no directory."""
    path = epath.Path(folder).expanduser()
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise ValueError(f"{path} {kind}: name a directory of pictures")
    return path


def require_new_folder(folder: epath.PathLike) -> epath.Path:
    """`folder` as a path, ~ expanded; ValueError in one line if anything is there already."""
    path = epath.Path(folder).expanduser()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path} is not empty: name a new directory")
    return path


def is_remote(path: epath.PathLike) -> bool:
    """Whether a path is a bucket's, such as gs://…"""
    return "://" in str(path)


def _walk(folder: epath.Path) -> Iterator[str]:
    """Names of pictures below a folder, in no order."""
    files = _walk_remote(folder) if is_remote(folder) else _walk_local(folder)
    return (name for name in files if name.lower().endswith(IMAGE_SUFFIXES))


def _walk_local(folder: epath.Path) -> Iterator[str]:
    # scandir knows a directory without asking for each file: minutes on a tree of a million.
    pending = [("", ())]
    while pending:
        prefix, above = pending.pop()
        real = os.path.realpath(folder / prefix)
        if real in above:  # a link that leads back up
            continue
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    pending.append((f"{prefix}{entry.name}/", (*above, real)))
                else:
                    yield prefix + entry.name


def _walk_remote(folder: epath.Path) -> Iterator[str]:
    for root, _, files in folder.walk():
        for file in files:
            name = (root / file).relative_to(folder).as_posix()
            if not any(part.startswith(".") for part in name.split("/")):
                yield name


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF is no reason to lose a picture whose pixels are sound
        return 1


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to RGB."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image.convert("RGB")
    if image.mode == "F":
        raise UnreadableImage("a floating-point picture has no stated range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # 16-bit grey; Pillow's own conversion would clip at 255.
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
