"""Students of few steps beside their teacher's samplers."""
