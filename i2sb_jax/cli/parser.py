"""The parser of a tool: options in groups, one name each, and examples in its help."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from i2sb_jax.cli.startup import Parser


class Example(NamedTuple):
    """A command line, and what it does in one sentence."""

    command: str
    meaning: str


class ToolParser(Parser):
    """A parser whose help ends with examples.

    Attributes:
        examples: that the help shows.
    """

    def __init__(
        self,
        *,
        prog: str,
        usage: str,
        description: str,
        examples: Sequence[Example],
        former: Mapping[str, str] | None = None,
        more: str = "",
        allow_abbrev: bool = True,
    ):
        """Takes what the help says.

        Args:
            prog: the tool's name.
            usage: what has to be given, and [options]; without the name.
            description: what the tool does, one sentence.
            examples: of its use.
            former: spellings of options that still work -> those of now.
            more: what else there is to say, shown before the examples.
            allow_abbrev: whether options may be cut short.
        """
        shown = [f"  {meaning}\n    {command}" for command, meaning in examples]
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            description=description,
            epilog=(more and f"{more}\n\n") + "\n".join(["examples:", *shown]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=allow_abbrev,
            add_help=False,
        )
        self.add_argument("-h", "--help", action="help", help="Print this help.")
        self.examples = tuple(examples)
        self._former = dict(former or {})

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parses as argparse does, former spellings taken for those of now."""
        args = None if args is None else [self._of_now(each) for each in args]
        return super().parse_known_args(args, namespace)

    def _of_now(self, argument: str) -> str:
        option, equals, value = argument.partition("=")
        return self._former.get(option, option) + equals + value
