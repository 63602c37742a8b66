"""Configurations: values only. `base` has every key, each other file changes some."""
