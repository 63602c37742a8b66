"""Pictures for training and evaluation.

`sources` opens them (without TensorFlow for photographs and folders), `pipeline` turns them into
batches with tf.data.
"""

from i2sb_jax.data.record import MissingPicture, Record, Source
from i2sb_jax.data.shards import Columns
from i2sb_jax.data.sources import held_out_source, make_source, make_sources, open_source

__all__ = [
    "Columns",
    "MissingPicture",
    "Record",
    "Source",
    "held_out_source",
    "make_source",
    "make_sources",
    "open_source",
]
