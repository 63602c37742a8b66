"""Hides accelerators from TensorFlow; importing this module does it.

TensorFlow claims all memory of every GPU it sees, and a TPU whole; both belong to JAX.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # not what its CPU kernels are

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")
tf.config.set_visible_devices([], "TPU")
