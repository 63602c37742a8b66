"""The models that come with the package, as the tools name them."""

import argparse
from typing import Any, NoReturn

from i2sb_jax import zoo


class ListModels(argparse.Action):
    """An option that prints what is shipped, and ends."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *given: Any) -> NoReturn:
        """Prints the listing."""
        del given
        print(zoo.listing())
        parser.exit(0)
