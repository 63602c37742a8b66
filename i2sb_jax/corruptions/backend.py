"""One operator code for NumPy, JAX and TensorFlow.

An operator asks `backend_of(images)` for the module that computes on its arrays and calls only the
functions below, which `numpy_backend`, `jax_backend` and `tf_backend` all offer. Constants are
NumPy arrays; `asarray` brings them over. Shapes hold `-1` for a batch whose size is not known when
a `tf.data` graph is traced.

As in NumPy: `asarray`, `reshape`, `repeat`, `stack`, `concat`, `zeros_like`, `where`, `abs`, `sin`,
`cos`, `floor`, `minimum`, `cumsum`, `round` (half to even), `take` (axis 0), `matrix_transpose` and
`matmul` (full float32 precision).

| function | meaning |
|---|---|
| `cast(x, dtype)` | `dtype` is "float32" or "int32" |
| `batch_positions(x)` | int32 [batch]: 0, 1, 2, ... |
| `image_keys(key, images)` | the caller's key, checked and split into one key an image |
| `normal, uniform(keys, stream, shape)` | float32 [batch, *shape], each image from its own key; |
| | `stream` tells the draws of one key apart |
| `map_exact(fn, elements, shape)` | `fn(xp, *element)` on one image at a time, of exact integer |
| | arithmetic: TensorFlow leaves it to NumPy, which is faster; float32 [batch, *shape] |
| `min_plus(rows, columns)` | the least rows[d, y] + columns[d, x] of any d: [h, w]; this, |
| `kth_smallest(values, k)` | this and `sum` are for `map_exact` alone, and TensorFlow has none |
| `map_on_host(fn, elements, shape)` | `fn(*element)` of NumPy code that cannot be traced, such as |
| | a codec; `fn` is deterministic, and there is no gradient |
| `switch_images(choice, branches, elements, shape)` | float32 [batch, *shape]: each branch on a |
| | batch of those images (and elements of theirs) whose `choice` [batch] is its number |

TensorFlow is imported only when one of its tensors comes in.
"""

import sys
from types import ModuleType
from typing import Any

import jax
import numpy as np

from i2sb_jax.corruptions import jax_backend, numpy_backend

Array = Any  # np.ndarray, jax.Array or tf.Tensor


def backend_of(array: Array) -> ModuleType:
    """Returns the module that computes on arrays of this type.

    Raises:
      ValueError: the array is of none of the three types.
    """
    if isinstance(array, np.ndarray):
        return numpy_backend
    if isinstance(array, jax.Array):
        return jax_backend
    tensorflow = sys.modules.get("tensorflow")  # whoever holds a tensor has imported it
    if tensorflow is not None and tensorflow.is_tensor(array):
        from i2sb_jax.corruptions import tf_backend

        return tf_backend
    raise ValueError(f"expected a numpy, jax or tensorflow array, got {type(array).__name__}")


def mix_channels(xp: ModuleType, matrix: np.ndarray, images: Array) -> Array:
    """y_d = Σ_c M_dc x_c: matrix [d, c], images [batch, h, w, c] to [batch, h, w, d]."""
    height, width, channels = images.shape[1:]
    mixed = xp.matmul(xp.reshape(images, (-1, channels)), xp.asarray(matrix.T))
    return xp.reshape(mixed, (-1, height, width, len(matrix)))
