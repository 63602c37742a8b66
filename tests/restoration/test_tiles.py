"""Windows cover any picture, start on the grid of 16, and blend to what they were cut from."""

import numpy as np
import pytest

from i2sb_jax.restoration.tiles import Canvas, blend_weights, make_grid

RNG = np.random.default_rng(5)
CASES = [
    (1, 1, 64, 16), (64, 64, 64, 16), (65, 64, 64, 16), (1000, 1500, 256, 64), (8000, 50, 64, 16),
    (50, 3000, 128, 96), (300, 300, 64, 0), (95, 97, 32, 16),
    *(
        (*RNG.integers(1, 700, 2).tolist(), int(side), int(RNG.integers(0, side - 15)))
        for side in RNG.choice([16, 32, 64, 96, 256], 60)
    ),
]  # fmt: skip


def cut(picture, row, column, side):
    """A window, mirrored where it reaches beyond the picture."""
    part = picture[row : row + side, column : column + side]
    borders = [(0, side - length) for length in part.shape[:2]]
    return np.pad(part, (*borders, (0, 0)), mode="symmetric")


@pytest.mark.parametrize(("height", "width", "side", "overlap"), CASES)
def test_windows_cover_the_picture_from_multiples_of_sixteen(height, width, side, overlap):
    grid = make_grid(height, width, side=side, overlap=overlap)
    for starts, length in ((grid.rows, height), (grid.columns, width)):
        assert starts[0] == 0 and starts[-1] + side >= length
        assert all(start % 16 == 0 for start in starts)
        assert starts[-1] < length, "a window beyond the picture"
        gaps = np.diff(starts)
        assert (gaps > 0).all() and (side - gaps >= overlap).all()
        assert len(starts) == 1 or length > side


@pytest.mark.parametrize(("height", "width", "side", "overlap"), CASES)
def test_blending_returns_what_all_windows_agree_on(height, width, side, overlap):
    grid = make_grid(height, width, side=side, overlap=overlap)
    picture = RNG.uniform(-1, 1, (height, width, 2)).astype(np.float32)
    blended, written = np.full_like(picture, np.nan), []

    def write_rows(top, rows):
        written.append((top, len(rows)))
        blended[top : top + len(rows)] = rows

    canvas = Canvas(grid, write_rows)
    finished = [canvas.add(cut(picture, *origin, side)) for origin in grid.origins()]
    assert finished == [False] * (len(grid) - 1) + [True]
    np.testing.assert_allclose(blended, picture, atol=1e-6)
    ends = np.cumsum([count for _, count in written])
    assert [top for top, _ in written] == [0, *ends[:-1]] and ends[-1] == height


def test_weights_fall_smoothly_to_nothing_at_inner_borders():
    starts = make_grid(1000, 1, side=256, overlap=64).rows
    weights = blend_weights(starts, 256)
    assert weights[0, 0] == 1 and weights[-1, -1] == 1  # nothing to blend with at the picture's own
    inner = np.concatenate([weights[1:, 0], weights[:-1, -1]])
    assert (inner < 1e-3).all()
    assert np.abs(np.diff(weights, axis=1)).max() < 0.05
    total = np.zeros(starts[-1] + 256)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + 256] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_disagreeing_windows_leave_no_step():
    """Windows of two levels: the change is spread over the overlap; hard edges would jump."""
    grid = make_grid(64, 400, side=64, overlap=32)
    levels = [np.full((64, 64, 1), i % 2, np.float32) for i in range(len(grid))]
    out = np.zeros((64, 400, 1), np.float32)

    def write_rows(top, rows):
        out[top : top + len(rows)] = rows

    canvas = Canvas(grid, write_rows)
    for level in levels:
        canvas.add(level)
    assert np.abs(np.diff(out[0, :, 0])).max() < 0.12
    assert out.max() > 0.95 and out.min() < 0.05


def test_an_overlap_that_leaves_no_way_forward_is_an_error():
    with pytest.raises(ValueError, match=r"overlap=56 must lie in 0…48 for windows of 64 pixels"):
        make_grid(100, 100, side=64, overlap=56)
