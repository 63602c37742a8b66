"""Two bridges in the plane whose answer is known, and how far each sampler stays from it."""
