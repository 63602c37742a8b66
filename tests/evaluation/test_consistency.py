"""Evaluations of runs whose predictions are held consistent with X_1."""

import pytest

from i2sb_jax.evaluation.options import Options
from tests.training.tiny import make_config


def test_only_what_x1_tells_is_evaluated_so():
    held = Options(consistency="projection")
    resolved = held.resolve(make_config(corruption="sr4x-pool"))
    assert resolved.settings()["consistency"] == "projection"
    assert resolved.sampling(make_config(), 1).consistency == "projection"
    with pytest.raises(ValueError, match="X_1 of jpeg-told alone"):
        held.resolve(make_config(corruption="jpeg-told"))
    plain = Options().resolve(make_config(corruption="sr4x-pool"))
    assert plain.consistency == "" and "consistency" not in plain.settings()
