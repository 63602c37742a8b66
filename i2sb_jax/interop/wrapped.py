"""Weights as people have them: state dicts within what trainers wrap around them.

DistributedDataParallel puts `module.` before every name, torch.compile `_orig_mod.`, Lightning the
attribute that holds the network, ema-pytorch `ema_model.` and `online_model.`; and the state dict
itself may be an entry of a larger dict, as `state_dict` is. Whatever stands around them, a network
of guided-diffusion's is found by the name of its first convolution.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from i2sb_jax.interop.torch_pickle import Marker

FIRST_KERNEL = "input_blocks.0.0.weight"
WRAPPERS = ("module.", "_orig_mod.")
_MAX_DEPTH = 3  # of dicts within dicts in which a state dict is looked for
_SHOWN = 3  # how many names a note lists


class Unwrapped(NamedTuple):
    """The contents of a file, freed of what was around them.

    Attributes:
        contents: a state dict with guided-diffusion's names where one was found, else what was
            given.
        notes: lines that say what was taken off, chosen and left out.
    """

    contents: Any
    notes: tuple[str, ...]


class _Found(NamedTuple):
    """A network in a file: the keys that lead to its state dict, which, and its names' prefix."""

    path: tuple[str, ...]
    table: Mapping[str, Any]
    prefix: str

    @property
    def name(self) -> str:
        return ".".join((*self.path, self.prefix)).rstrip(".") or "the file itself"

    @property
    def is_average(self) -> bool:
        """Whether it is called a moving average."""
        return "ema" in self.name.lower().replace("_", ".").split(".")


def unwrap(contents: Any, *, weights: str | None = None) -> Unwrapped:
    """Finds the state dict in what a file of weights holds.

    Args:
        contents: what `read_weights_file` returned.
        weights: "ema" (also if None) or "net", where there is an average beside the network.

    Returns:
        The state dict. A file without guided-diffusion's names is returned as it is.

    Raises:
        ValueError: there are several networks, and nothing tells which.
    """
    notes = unread(contents)
    found = list(_search(contents, ()))
    if not found:
        return Unwrapped(contents, notes)
    chosen = found[0] if len(found) == 1 else _choose(found, weights)
    if chosen.path:
        notes += (f"the state dict is its entry {'.'.join(chosen.path)!r}",)
    if len(found) > 1:
        others = ", ".join(repr(one.name) for one in found if one is not chosen)
        notes += (f"of its networks {chosen.name!r} is taken, {others} left out",)
    if not chosen.prefix:
        return Unwrapped(chosen.table, notes)
    notes += (f"{chosen.prefix!r} is taken off its tensors' names",)
    start = len(chosen.prefix)
    inside = {name[start:]: x for name, x in chosen.table.items() if _begins(name, chosen.prefix)}
    taken = tuple(one.prefix for one in found if one.table is chosen.table)
    beside = [name for name in chosen.table if not _begins(name, taken)]
    if beside:
        more = ", …" if len(beside) > _SHOWN else ""
        names = ", ".join(map(str, beside[:_SHOWN]))
        notes += (f"{len(beside)} entries beside them are left out: {names}{more}",)
    return Unwrapped(inside, notes)


def without_wrappers(names: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under names without `module.` and `_orig_mod.`, however often repeated.

    Raises:
        ValueError: two names become one.
    """
    plain: dict[str, Any] = {}
    for name, value in names.items():
        short = str(name)
        while short.startswith(WRAPPERS):
            short = short.partition(".")[2]
        if short in plain:
            raise ValueError(f"it names {short} twice, with and without {' or '.join(WRAPPERS)}")
        plain[short] = value
    return plain


def unread(contents: Any) -> tuple[str, ...]:
    """Returns the line that names what a file's markers stand for; none where it has none."""
    names, seen, waiting = set(), set(), [contents]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Marker):
            names.add(value.name)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
    if not names:
        return ()
    return (f"{', '.join(sorted(names))} in it: passed over, and never built",)


def _search(contents: Any, path: tuple[str, ...]) -> Iterator[_Found]:
    if not isinstance(contents, Mapping):
        return
    prefixes = [
        name.removesuffix(FIRST_KERNEL)
        for name in contents
        if isinstance(name, str) and name.endswith(FIRST_KERNEL)
    ]
    for prefix in prefixes:
        if not prefix or prefix.endswith("."):
            yield _Found(path, contents, prefix)
    if len(path) < _MAX_DEPTH:
        for name, value in contents.items():
            yield from _search(value, (*path, str(name)))


def _choose(found: list[_Found], weights: str | None) -> _Found:
    averages = [one for one in found if one.is_average]
    those = [one for one in found if not one.is_average] if weights == "net" else averages
    if len(those) == 1:
        return those[0]
    names = ", ".join(repr(one.name) for one in found)
    raise ValueError(
        f"it holds {len(found)} networks, {names}, and nothing tells which: save one of them alone"
    )


def _begins(name: Any, prefixes: str | tuple[str, ...]) -> bool:
    return isinstance(name, str) and name.startswith(prefixes)
