"""The models that ship: their photographs, how they are trained, and what they are worth."""
