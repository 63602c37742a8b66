"""Settings that hold for every test."""

import jax

# a silently broadcast [batch] against [batch, h, w, c] is the classic bug of this field
jax.config.update("jax_numpy_rank_promotion", "raise")
