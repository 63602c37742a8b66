"""Configurations: values only. `base` has every key, each other file changes some.

They are installed as `i2sb_jax.configs`; config files that import them as `configs`, as they were
called before, are told once.
"""

import sys

if __name__ == "configs":
    print("warning: write from i2sb_jax.configs import …, not from configs", file=sys.stderr)
