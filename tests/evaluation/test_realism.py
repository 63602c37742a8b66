"""Evaluations between the first prediction and the end of the walk."""

import pytest

from i2sb_jax.evaluation.options import Options
from tests.training.tiny import make_config


def test_it_shapes_the_pictures_of_several_evaluations():
    config = make_config()
    resolved = Options(realism=0.5, nfes=(1, 5)).resolve(config)
    assert resolved.settings()["realism"] == 0.5
    assert [resolved.sampling(config, nfe).realism for nfe in resolved.nfes] == [0.5, 0.5]
    assert "realism" not in Options().resolve(config).settings()
    with pytest.raises(ValueError, match=r"^realism=0.5 lies between .*nfe=1"):
        Options(realism=0.5, nfes=(1,)).resolve(config)
    with pytest.raises(ValueError, match=r"^realism=-1 must lie in 0 … 1"):
        Options(realism=-1).resolve(config)
