"""Which file goes with which, by their names, and which of them are held out."""

import dataclasses
import re
from collections.abc import Sequence

from i2sb_jax.config import DataConfig
from i2sb_jax.data.name_list import shorten, without_suffix
from i2sb_jax.data.record import hold_out

_LISTED = 10  # unmatched names in a line


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching:
    """The pairs of two folders, or of one folder whose pictures hold both sides.

    Attributes:
        path: the sources' folder.
        target_path: the targets', "" where there is one folder.
        pairs: names of the source's and the target's file, sorted; equal in one folder.
        lone_sources: files without a target.
        lone_targets: files without a source.
    """

    path: str
    target_path: str
    pairs: Sequence[tuple[str, str]]
    lone_sources: Sequence[str] = ()
    lone_targets: Sequence[str] = ()

    def unmatched(self) -> list[str]:
        """A line for each folder that has files without a partner."""
        sides = (
            (self.path, self.lone_sources, "target in", self.target_path),
            (self.target_path, self.lone_targets, "source in", self.path),
        )
        return [
            f"{len(names)} files of {folder} have no {what} {other} and are left out: "
            f"{shorten(names, shown=_LISTED)}"
            for folder, names, what, other in sides
            if names
        ]


def match_names(
    sources: Sequence[str], targets: Sequence[str], *, path: str, target_path: str
) -> Matching:
    """Matches two folders by their files' relative names without suffix.

    Args:
        sources: relative to `path`.
        targets: relative to `target_path`.
        path: the sources' folder.
        target_path: the targets'.

    Raises:
        ValueError: nothing matches, or two files of a folder have the same name but for the suffix.
    """
    left, right = _by_stem(sources, path), _by_stem(targets, target_path)
    both = sorted(left.keys() & right.keys())
    if not both:
        raise ValueError(
            f"no file of {path} has its target in {target_path}: names must agree but for the "
            f"suffix, and there is {sources[0]} in one, {targets[0]} in the other"
        )
    return Matching(
        path=path,
        target_path=target_path,
        pairs=[(left[stem], right[stem]) for stem in both],
        lone_sources=sorted(left[stem] for stem in left.keys() - right.keys()),
        lone_targets=sorted(right[stem] for stem in right.keys() - left.keys()),
    )


def split_pairs(
    config: DataConfig, train: Matching, held_out: Matching | None
) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    """The pairs for training and for evaluation; no group is on both sides.

    Args:
        config: `group_pattern` tells a name's group; `eval_fraction` of the groups are held out.
        train: the pairs of `data.path`.
        held_out: those of `data.eval_path`, None where some of `train` are held out.

    Raises:
        ValueError: a name without a group, a group in both folders, or an empty side; one line.
    """
    groups = [_group(source, config) for source, _ in train.pairs]
    if held_out is not None:
        _check_disjoint(config, train, set(groups), held_out)
        return train.pairs, held_out.pairs
    if config.group_pattern and len(set(groups)) == 1:
        raise ValueError(
            f"data.group_pattern={config.group_pattern!r} puts all {len(groups)} pairs of "
            f"{train.path} into the group {groups[0]!r}, which cannot be split: change it, or give "
            "data.eval_path"
        )
    side = hold_out(groups, config.eval_fraction, split="train", origin=train.path)
    return [train.pairs[index] for index in side], held_out_of_pairs(config, train)


def held_out_of_pairs(config: DataConfig, matching: Matching) -> list[tuple[str, str]]:
    """Returns the pairs of one folder that `split_pairs` holds out; raises as it does."""
    groups = [_group(source, config) for source, _ in matching.pairs]
    side = hold_out(groups, config.eval_fraction, split="eval", origin=matching.path)
    return [matching.pairs[index] for index in side]


def _check_disjoint(config: DataConfig, train: Matching, groups: set[str], held_out: Matching):
    held_out_groups = {_group(source, config) for source, _ in held_out.pairs}
    # without a pattern names alone say nothing: 1.png may well be another picture there
    if config.group_pattern and (both := sorted(groups & held_out_groups)):
        raise ValueError(
            f"{len(both)} groups of data.group_pattern={config.group_pattern!r} are both in "
            f"{train.path} and in {held_out.path}: {shorten(both)}; keep each on one side"
        )


def _group(name: str, config: DataConfig) -> str:
    stem = without_suffix(name)
    if not config.group_pattern:
        return stem
    found = re.search(config.group_pattern, stem)
    if found is None:
        raise ValueError(f"data.group_pattern={config.group_pattern!r} does not match {stem!r}")
    group = found[1] if found.re.groups else found[0]
    if not group:
        raise ValueError(f"data.group_pattern={config.group_pattern!r} gives {stem!r} no group")
    return group


def _by_stem(names: Sequence[str], folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(without_suffix(name), name)
        if other != name:
            raise ValueError(f"{other} and {name} of {folder} would be the same side of one pair")
    return found
