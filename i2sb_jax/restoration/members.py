"""Which member of a mixture a person's picture suffered from.

A mixture's network is told nothing, but each member has its own natural input: a small picture is
enlarged, a hole is filled, a blurred picture is darkened as in training. A JPEG file says what it
is, and so does a mask; a picture of a quarter of the run's size is there to be enlarged; of any
other picture only a person can tell.
"""

from collections.abc import Iterable

from i2sb_jax.config import PAIRS
from i2sb_jax.corruptions import CorruptionFacts, corruption_facts


def check_member(task: str, member: str | None) -> None:
    """Raises ValueError, in one line, where a member is named that a run on `task` has not got."""
    if member is None:
        return
    members = corruption_facts(task).members
    if not members:
        raise ValueError(f"member={member!r} is for runs on a mixture, and this is one on {task}")
    if member not in members:
        raise ValueError(f"member={member!r} must be one of {', '.join(members)}")


def chosen_task(
    run: str, member: str | None, *, has_mask: bool
) -> tuple[str, CorruptionFacts | None]:
    """Returns what arrays suffered from, of which nothing but a mask tells.

    Args:
        run: the corruption of the run, or "pairs".
        member: of a mixture, as it was given.
        has_mask: whether a mask was given.

    Returns:
        The corruption and its facts; None of paired data.

    Raises:
        ValueError: a member is missing or needless, or a mask is; one line.
    """
    if run == PAIRS:
        if member is not None or has_mask:
            given = "no mask" if member is None else f"no member={member!r}"
            raise ValueError(f"{run} takes {given}")
        return run, None
    check_member(run, member)
    members = corruption_facts(run).members
    task = member or (find_member(members, has_mask=has_mask) if members else run)
    if task is None:
        raise ValueError(
            f"{run}: nothing tells which of them the images suffered from: name it by member=…, "
            f"one of {', '.join(members)}"
        )
    facts = corruption_facts(task)
    if facts.has_mask != has_mask:
        needs = "takes no mask" if has_mask else "needs a mask of its holes (1 = hole)"
        raise ValueError(f"{task} {needs}")
    return task, facts


def find_member(
    members: Iterable[str],
    *,
    quality: int | None = None,
    has_mask: bool = False,
    longest_side: int | None = None,
    image_size: int = 0,
) -> str | None:
    """Returns the member that a picture tells by itself, or None where it does not.

    Args:
        members: of the mixture.
        quality: of a JPEG file; the member of the nearest one is taken.
        has_mask: whether its holes are named by a mask.
        longest_side: of the picture, pixels.
        image_size: of the run; a picture of no more than this over a member's enlargement is one to
            be enlarged.
    """
    facts = {member: corruption_facts(member) for member in members}
    if has_mask:
        return next((name for name, fact in facts.items() if fact.has_mask), None)
    if quality is not None:
        ranges = {name: fact.quality_range for name, fact in facts.items() if fact.quality_range}
        return min(ranges, key=lambda name: _distance(quality, *ranges[name]), default=None)
    if longest_side is None:
        return None
    small = [
        name
        for name, fact in facts.items()
        if fact.enlargement > 1 and longest_side * fact.enlargement <= image_size
    ]
    return small[-1] if small else None  # the last of the published ones is what people reduce by


def _distance(quality: int, low: int, high: int) -> int:
    return max(low - quality, quality - high, 0)
