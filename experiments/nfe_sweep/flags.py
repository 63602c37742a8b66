"""Options of studies that measure sets of restored pictures, and how they speak."""

import argparse
import os
import sys

from i2sb_jax.cli import startup


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which pictures are measured, by what features, and where results go."""
    path, switch, add = os.path.expanduser, {"action": "store_true"}, parser.add_argument
    add("--data", required=True, type=path, help="folder of clean pictures, all held in memory")
    add("--list", type=path, help="file of names, a line each: these pictures")
    add("--output", required=True, type=path, help="folder for results")
    add("--seed", type=int, default=0, help="of all noise and of the intervals (default 0)")
    add("--limit", type=int, default=0, help="the first so many pictures; 0: all")
    add("--inception", type=path, help="its weights, for KID; without: block-DCT features")
    add("--any-weights", **switch, help="take a file of weights that is not the published one")
    parser.set_defaults(targets=None, eval_data=None, baseline=True)  # what data are opened with


def say(line: str) -> None:
    """A line for whoever watches."""
    print(startup.printable(line), file=sys.stderr, flush=True)
