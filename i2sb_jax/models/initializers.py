"""Initial weights."""

import flax.linen as nn

# PyTorch's default for convolutions and linear layers, U(-1/sqrt(fan_in), 1/sqrt(fan_in)): its
# variance is 1 / (3 fan_in). Unlike PyTorch's, biases start at zero.
fan_in_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
