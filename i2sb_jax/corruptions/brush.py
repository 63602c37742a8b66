"""Brush-stroke masks with a guaranteed area.

A mask is a few strokes of a round brush, each along a random walk. Every pixel is ranked by its
distance to the nearest stroke, relative to that stroke's width, and exactly the k nearest become
the hole: all brushes grow together until the area is right, so no draw can miss its interval.

From the corners of the walks onwards all is integer arithmetic: the same strokes give the same
pixels on NumPy, JAX and TensorFlow.
"""

import functools
import math
from types import ModuleType
from typing import NamedTuple

import numpy as np

from i2sb_jax.corruptions import numpy_backend
from i2sb_jax.corruptions.backend import Array

STROKES = 4
SEGMENTS = 5  # straight runs in a stroke
MAX_TURN = 0.45 * math.pi  # between two runs
MIN_RUN, MAX_RUN = 0.05, 0.15  # of the image's side
MIN_WIDTH = 0.5  # of the widest brush

_PER_STROKE = 4 + 2 * SEGMENTS  # x, y, heading, width; a turn and a length for each run
UNIFORMS = 1 + STROKES * _PER_STROKE

# Corners lie on a grid of 256×256. Runs are dotted with discs at eighths of their length, so on a
# grid of 2048×2048 all centres are integers. Squared distances times weights stay below 2³¹.
_CORNER_GRID = 256
_DOTS = 8
_GRID = _CORNER_GRID * _DOTS
_WEIGHT = 32  # of the widest brush; a brush of width r weighs _WEIGHT / r²

EVALUATION_MASKS = 10_000
_EVALUATION_SEED = 20230212


class Strokes(NamedTuple):
    """The strokes of a batch of masks.

    Attributes:
      corners: int32 [batch, STROKES, SEGMENTS + 1, 2], rows and columns in 0 ... 256.
      weights: int32 [batch, STROKES], the inverse square of the brush's width.
      area: float32 [batch] in [0, 1], the place of the hole's area between its bounds.
    """

    corners: Array
    weights: Array
    area: Array


def strokes_from_uniforms(xp: ModuleType, uniforms: Array) -> Strokes:
    """Random walks with bounded turns, reflected at the borders.

    Args:
      xp: the backend.
      uniforms: floats [batch, UNIFORMS] in [0, 1).

    Returns:
      The strokes of `batch` masks.
    """
    u = xp.reshape(uniforms[:, 1:], (-1, STROKES, _PER_STROKE))
    turns = u[:, :, 4 : 4 + SEGMENTS] * 2 - 1
    runs = u[:, :, 4 + SEGMENTS :] * (MAX_RUN - MIN_RUN) + MIN_RUN
    heading = u[:, :, 2:3] * (2 * math.pi) + xp.cumsum(turns * MAX_TURN, axis=2)

    rows = _walk(xp, u[:, :, 0:1], runs * xp.sin(heading))
    columns = _walk(xp, u[:, :, 1:2], runs * xp.cos(heading))
    corners = xp.round(xp.stack([rows, columns], axis=3) * _CORNER_GRID)

    width = u[:, :, 3] * (1 - MIN_WIDTH) + MIN_WIDTH
    weights = xp.round(_WEIGHT / (width * width))
    return Strokes(xp.cast(corners, "int32"), xp.cast(weights, "int32"), uniforms[:, 0])


@functools.cache
def evaluation_strokes() -> Strokes:
    """The fixed strokes that an index picks from: EVALUATION_MASKS of them, in NumPy."""
    rng = np.random.Generator(np.random.PCG64(_EVALUATION_SEED))
    # In float64 no machine's sine is far enough off to round a corner elsewhere.
    uniforms = rng.random((EVALUATION_MASKS, UNIFORMS))
    strokes = strokes_from_uniforms(numpy_backend, uniforms)
    return strokes._replace(area=strokes.area.astype(np.float32))


def paint(xp: ModuleType, strokes: Strokes, size: int, low: float, high: float) -> Array:
    """Masks float32 [batch, size, size, 1]; each covers from `low` to `high` of its image."""

    def one(xp, corners, weights, area):
        distance = xp.reshape(_distance(xp, corners, weights, size), (size * size,))
        nearest = _smallest(xp, distance, _hole_pixels(xp, area, size * size, low, high))
        return xp.reshape(xp.cast(nearest, "float32"), (size, size, 1))

    # One image at a time: the distances to every disc of a whole batch would not fit in memory.
    return xp.map_exact(one, tuple(strokes), (size, size, 1))


def _walk(xp, start, moves):
    """Positions [batch, STROKES, SEGMENTS + 1] in [0, 1] from a start and the moves after it."""
    steps = xp.concat([start, start + xp.cumsum(moves, axis=2)], axis=2)
    return 1 - xp.abs(1 - (steps - 2 * xp.floor(steps / 2)))


def _distance(xp, corners, weights, size):
    """Weighted squared distance of each pixel to its nearest stroke: int32 [size, size]."""
    pixels = xp.asarray(((2 * np.arange(size) + 1) * _GRID // (2 * size)).astype(np.int32)[None])
    strokes = []
    for stroke in range(STROKES):
        start, end = corners[stroke, :-1], corners[stroke, 1:]
        dots = xp.concat(
            [start * (_DOTS - dot) + end * dot for dot in range(_DOTS)] + [end[-1:] * _DOTS], axis=0
        )
        rows, columns = pixels - dots[:, 0:1], pixels - dots[:, 1:2]  # [dots, size]
        strokes.append(xp.min_plus(rows * rows, columns * columns) * weights[stroke])
    return functools.reduce(xp.minimum, strokes)


def _hole_pixels(xp, area, pixels, low, high):
    """A whole number of pixels between the bounds, both inclusive."""
    fewest, most = math.ceil(low * pixels), math.floor(high * pixels)
    more = xp.cast(xp.floor(area * (most - fewest + 1)), "int32")
    return fewest + xp.minimum(more, most - fewest)


def _smallest(xp, values, count):
    """Marks exactly `count` of the smallest values [n]; among equals, the first ones."""
    last = xp.kth_smallest(values, count)
    nearer, tied = values < last, values == last
    return nearer | (tied & (xp.cumsum(tied, axis=0) <= count - xp.sum(nearer)))
