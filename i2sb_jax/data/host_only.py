"""Hides accelerators from TensorFlow; importing this module does it.

TensorFlow claims all memory of every GPU it sees, and a TPU whole; both belong to JAX.
"""

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")
tf.config.set_visible_devices([], "TPU")
