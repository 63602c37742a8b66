"""`--degrade`: windows of clean pictures become what the same place of a whole file would."""

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions import make_corruption
from i2sb_jax.pictures import Notes, from_uint8
from i2sb_jax.restoration.degraded import DegradedPictures
from i2sb_jax.run import Run
from tests.picture_files import tiff
from tests.restoration.models import photo
from tests.training.tiny import make_config

SIZE = 24


@pytest.fixture
def pictures(tmp_path):
    """Two photographs of 96²; the middle of them begins at 36, on the grid of 16 at 32."""
    for number in range(2):
        Image.fromarray(photo(96, 96, seed=number)).save(tmp_path / f"{number}.png")
    return tmp_path


def opened(folder, **changes):
    config = make_config(image_size=SIZE, **changes)
    names = ["0.png", "1.png"]
    degraded = DegradedPictures(config, folder, names, seed=3, mask_file=None)
    return config, [degraded.open(name) for name in names]


def test_a_window_of_a_file_has_no_borders_of_its_own(pictures):
    config, subjects = opened(pictures, corruption="jpeg-file-30-60")
    whole = make_corruption("jpeg-file-30-60", image_size=96)
    plain = Run(config).corruption
    for number, subject in enumerate(subjects):
        photograph = from_uint8(photo(96, 96, seed=number))[None]
        index = np.array([number])  # which is 4:4:4, then 4:2:0
        there = np.s_[0, 32 : 32 + SIZE, 32 : 32 + SIZE]
        want = whole.degrade(photograph, index=index)[there]
        np.testing.assert_array_equal(subject.clean, photograph[there])
        np.testing.assert_array_equal(subject.degraded, want)
        np.testing.assert_array_equal(subject.corrupted.image, want)
    alone = plain.degrade(photograph[there][None], index=index)[0]
    assert np.abs(alone - want).max() > 1e-2


def test_what_is_not_read_is_told_once_a_kind(tmp_path):
    names, lines = [f"{number}.tif" for number in range(3)], []
    for name in names:
        pages = np.stack([photo(40, 40)] * 2)
        (tmp_path / name).write_bytes(tiff(pages, photometric="rgb"))
    notes = Notes(lines.append)
    config = make_config(image_size=32, corruption="jpeg-10")
    degraded = DegradedPictures(config, tmp_path, names, seed=3, mask_file=None, notes=notes)
    for name in names:
        degraded.open(name)
    notes.finish()
    told = "is read from page 1 of 2, and the others are left out"
    assert lines == [f"note: 0.tif {told}", f"note: 2 more as 0.tif, which {told}"]


def test_a_resized_square_has_no_margin(pictures):
    config, subjects = opened(
        pictures, corruption="jpeg-file-30-60", data={"source": "photos", "crop": "resize"}
    )
    for number, subject in enumerate(subjects):
        want = Run(config).corruption.degrade(subject.clean[None], index=np.array([number]))
        np.testing.assert_array_equal(subject.degraded, want[0])


def test_published_corruptions_are_shown_as_ever(pictures):
    config, subjects = opened(pictures, corruption="colorize")
    corruption = Run(config).corruption
    for subject in subjects:
        assert subject.clean.shape == (SIZE, SIZE, 3)
        want = corruption.degrade(subject.clean[None])[0]
        np.testing.assert_array_equal(subject.degraded, want)  # without the noise of X_1
        assert np.abs(subject.corrupted.image - want).mean() > 0.1
