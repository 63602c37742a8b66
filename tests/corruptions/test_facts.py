"""What is known of a corruption by its name, and that its operator agrees."""

import pytest

from i2sb_jax.corruptions import corruption_facts, corruption_names, factory
from i2sb_jax.corruptions import make_corruption as make
from i2sb_jax.corruptions.classical_settings import best_repair
from i2sb_jax.corruptions.facts import check_image_size
from i2sb_jax.corruptions.names import is_within, name_patterns, parse_name
from tests.corruptions.cases import cached_corruption

PHOTOGRAPHIC = (
    *(
        "jpeg-file",
        "jpeg-told",
        "blur-photo",
        "noise",
        "noise-float",
        "sr2x-photo",
        "sr4x-photo",
        "real",
    ),
)
DARKENING = ("blur-uni", "blur-gauss", "blur-uni-exact", "blur-gauss-exact")


@pytest.mark.parametrize("name", corruption_names())
def test_operators_agree_with_their_facts(name):
    facts = corruption_facts(name)
    corruption = cached_corruption(name, image_size=32)
    assert corruption.facts is facts
    assert corruption.has_mask == facts.has_mask
    assert corruption.has_cond == facts.has_cond
    assert corruption.is_random == facts.is_random
    assert corruption.quality_range == facts.quality_range


@pytest.mark.parametrize("name", corruption_names())
def test_facts_are_consistent(name):
    facts = corruption_facts(name)
    assert facts.margin % facts.grid == 0
    assert facts.margin == 0 or facts.grid % facts.unit == 0
    assert (facts.enlargement > 1) == (facts.enlarged_by != "")
    assert facts.natural_input
    best = best_repair(name)
    assert best is None or best.name == facts.baseline
    assert (best is not None) == facts.is_photographic
    kind = parse_name(name).kind
    assert facts.is_photographic == (kind in PHOTOGRAPHIC)
    assert facts.keeps_light == (kind not in DARKENING)


@pytest.mark.parametrize(
    "name, expected",
    (
        ("jpeg-10", dict(unit=16, quality_range=(10, 10))),
        ("jpeg-file-20-90", dict(margin=16, grid=16, quality_range=(20, 90))),
        ("mixture", dict(unit=16, quality_range=(5, 10))),
        ("blur-photo-0.5-2", dict(margin=9, grid=1, unit=1)),
        ("blur-photo", dict(margin=13)),
        ("noise-10-10", dict(margin=0, bound=1.5)),
        ("noise-float-0-50", dict(margin=0, bound=4.0)),
        ("sr2x-photo", dict(unit=2, margin=64, grid=32, enlargement=2, enlarged_by="smooth")),
        ("sr4x-photo", dict(unit=4, margin=128, grid=64, enlargement=4, enlarged_by="smooth")),
        ("sr4x-pool", dict(unit=4, enlargement=4, enlarged_by="blocks", margin=0)),
        ("real", dict(margin=48, grid=16, unit=1)),
    ),
)
def test_values(name, expected):
    facts = corruption_facts(name)
    assert {key: getattr(facts, key) for key in expected} == expected


def test_facts_build_nothing(monkeypatch):
    def refuse(name, **options):
        raise AssertionError(name)

    monkeypatch.setattr(factory, "make_corruption", refuse)
    corruption_facts.cache_clear()
    for name in corruption_names():
        corruption_facts(name)
        check_image_size(name, 256)


def test_sizes_are_those_that_operators_are_made_for():
    for name in ("sr4x-pool", "jpeg-10", "mixture", "sr2x-photo", "real", "colorize"):
        unit = corruption_facts(name).unit
        for size in (0, 7, 8, 100, 256, 256 + unit, 256 + unit - 1, 64.0, True):
            lines = []
            for check in (check_image_size, lambda name, size: make(name, image_size=size)):
                try:
                    check(name, size)
                    lines.append("")
                except ValueError as error:
                    lines.append(str(error))
            assert lines[0] == lines[1] and "\n" not in lines[0]
            fits = isinstance(size, int) and size >= 8 and size % unit == 0
            assert (lines[0] == "") == fits, (name, size)


@pytest.mark.parametrize("name", ("jpg-file", "jpeg-file-5", "blur-photo-3-1", None, "jpeg-0"))
def test_unknown_names(name):
    with pytest.raises(ValueError, match=repr(name)) as error:
        corruption_facts(name)
    assert "\n" not in str(error.value)


def test_patterns_stand_for_every_name():
    kinds = {parse_name(name).kind for name in corruption_names()}
    patterns = {pattern.removesuffix("-LO-HI").removesuffix("-Q") for pattern in name_patterns()}
    assert kinds == patterns


@pytest.mark.parametrize(
    ("name", "wider", "expected"),
    [
        ("noise-10-20", "noise", True),
        ("noise", "noise-0-50", True),
        ("noise-10-60", "noise", False),
        ("noise-10-20", "noise-float", False),
        ("jpeg-10", "jpeg-10", True),
        ("jpeg-10", "jpeg-5", False),
        ("jpeg-told-10-20", "jpeg-file-5-95", False),
        ("sr4x-pool", "sr4x-pool", True),
        ("jpeg-10", "mixture", False),
    ],
)
def test_a_range_lies_within_another(name, wider, expected):
    assert is_within(name, wider) is expected
