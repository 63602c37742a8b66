"""Options that do not go together, or with a run: one line each, before anything is loaded."""

import pytest

from i2sb_jax.restoration.options import Options
from tests.training.tiny import make_config

PAIRS = {"corruption": "pairs", "data": {"source": "pairs", "path": "p", "target_path": "q"}}


@pytest.mark.parametrize(
    "options, told",
    [
        ({"samples": 0}, "samples=0 must be at least 1"),
        ({"samples": 2, "trajectory": True}, "trajectory shows one sample"),
        ({"samples": 2, "preview": True}, "preview restores one crop once: leave out samples=2"),
        ({"quality": 101}, "quality=101 must lie in 1…100"),
        ({"dtype": "float16"}, "dtype='float16' must be 'float32' or 'bfloat16'"),
        ({"format": "gif"}, "format='gif' must be one of "),
    ],
)
def test_what_no_run_takes(options, told):
    with pytest.raises(ValueError, match=told):
        Options(**options)


@pytest.mark.parametrize(
    "run, options, told",
    [
        (PAIRS, {"strength": 0.5}, r"^strength=0\.5 needs a result of the input's kind"),
        (PAIRS, {"format": "same"}, "results of pairs are files as their targets"),
        ({}, {"samples": 2, "sampler": "ode"}, "samples=2 need noise, and sampler='ode'"),
        ({}, {"samples": 2, "nfe": 1}, r"a single evaluation \(nfe=1\) draws none"),
        ({}, {"side_by_side": True}, "side_by_side is for runs that learnt from"),
        ({}, {"degrade": True, "tile": 32}, "tile=32 is for pictures as they are"),
    ],
)
def test_what_a_run_does_not_take(run, options, told):
    with pytest.raises(ValueError, match=told):
        Options(**options).resolve(make_config(**run))
