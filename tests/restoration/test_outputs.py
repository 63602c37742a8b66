"""What becomes of windows: memory that a picture's size does not change."""

import tracemalloc

import numpy as np
import pytest

from i2sb_jax.bridge import Samples
from i2sb_jax.pictures import Picture
from i2sb_jax.restoration.inputs import picture_subject
from i2sb_jax.restoration.outputs import Job
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.restoration.tiles import make_grid
from tests.restoration.models import identity_model

EMPTY = np.zeros((0, 64, 64, 3), np.float32)


@pytest.fixture(scope="module")
def restorer(tmp_path_factory):
    return Restorer.from_workdir(identity_model(tmp_path_factory.mktemp("model"), "jpeg-10"))


def extra_memory(restorer, height, *, samples):
    """Peak bytes beyond a picture and its result while the picture's own windows are blended."""
    picture = Picture(np.zeros((height, 400, 3), np.uint8))
    subject = picture_subject(restorer, "a", picture)
    grid = make_grid(height, 400, side=64, overlap=16)
    tracemalloc.start()
    job = Job(subject, grid, samples=samples, states=0)
    for _ in range(samples):
        for origin in grid.origins():
            job.add(Samples(subject.cut(*origin, 64), EMPTY, EMPTY))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - job.restored().nbytes


def test_beyond_the_arrays_memory_does_not_grow_with_the_picture(restorer):
    small, large = (extra_memory(restorer, height, samples=1) for height in (512, 8192))
    assert large < 1.1 * small


def test_statistics_of_samples_do_take_memory_a_pixel(restorer):
    """The measurement sees what does grow: the mean and the squares, four bytes each."""
    small, large = (extra_memory(restorer, height, samples=2) for height in (512, 8192))
    assert large > small + 2 * 4 * 3 * 400 * (8192 - 512) * 0.8
