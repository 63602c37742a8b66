"""What helps a small network to restore photographs, one remedy after the other."""
