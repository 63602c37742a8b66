"""Windows with a margin become what the same place of the whole photograph becomes."""

import dataclasses
import functools
import hashlib
import itertools
from typing import Any

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from i2sb_jax.corruptions import (  # noqa: E402
    CorruptionFacts,
    DeterministicCorruption,
    make_corruption,
)
from i2sb_jax.data import windows  # noqa: E402
from i2sb_jax.data.pipeline import Examples, Share, eval_batches, train_batches  # noqa: E402
from i2sb_jax.data.windows import central_window, window_at, window_corruption  # noqa: E402
from i2sb_jax.pictures import from_uint8, resize_short_side  # noqa: E402
from tests.data.pictures import ListSource, data_config, picture, png  # noqa: E402

SIDE, SIZE = 96, 32  # of the photograph, of its windows


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OnHost(DeterministicCorruption):
    """`fn` of each picture, which depends on pixels as far away as `declared` says."""

    fn: Any
    declared: CorruptionFacts

    @property
    def facts(self):
        return self.declared

    def transform(self, xp, images):
        return xp.map_on_host(self.fn, (images,), (self.image_size, self.image_size, 3))


def blurred(image):
    """The mean of 5×5 pixels, borders mirrored."""
    padded = np.pad(image.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="symmetric")
    shown = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
    return shown.mean(axis=(-2, -1)).astype(np.float32)


def reduced(image):
    """Blurred means of 4×4 pixels, each four by four times."""
    side = len(image) // 4
    small = blurred(image.reshape(side, 4, side, 4, 3).mean(axis=(1, 3)))
    return small.repeat(4, axis=0).repeat(4, axis=1)


def on_host(fn, **declared):
    facts = CorruptionFacts(natural_input="any picture", **declared)
    return OnHost(name=fn.__name__, image_size=SIZE, fn=fn, declared=facts)


BLUR = on_host(blurred, margin=2)
REDUCTION = on_host(reduced, margin=8, grid=4)


@pytest.fixture
def made(monkeypatch):
    """Lets the corruption of a test be made at another size; returns the sizes asked for."""
    sizes = []

    def make(name, *, image_size):
        sizes.append(image_size)
        for corruption in (BLUR, REDUCTION):
            if corruption.name == name:
                return dataclasses.replace(corruption, image_size=image_size)
        return make_corruption(name, image_size=image_size)

    monkeypatch.setattr(windows, "make_corruption", make)
    return sizes


def photograph(number=0):
    """uint8 [SIDE, SIDE, 3]: red tells the row, green the column, blue is noise."""
    image = picture(number, height=SIDE, width=SIDE)
    image[..., 0], image[..., 1] = np.mgrid[:SIDE, :SIDE]
    return image


TURNED = [
    np.rot90(photograph() if mirror else photograph()[:, ::-1], turns)
    for mirror in range(2)
    for turns in range(4)
]


def place(window, whole):
    """Where a clean window lies in a photograph, None if it is of another."""
    found = np.argwhere((whole[..., :2] == np.rint((window[0, 0, :2] + 1) * 127.5)).all(axis=-1))
    (top, left) = found[0]
    same = whole[top : top + SIZE, left : left + SIZE]
    return (top, left) if np.array_equal(from_uint8(same), window) else None


def train(corruption, count=10, *, source=None, **options):
    changes = {"crop": "window", "quarter_turns": True} | options.pop("changes", {})
    examples = Examples(corruption, data_config(**changes), SIZE)
    source = source or ListSource([photograph()])
    options = {"share": Share(8), "seed": 5} | options
    return list(itertools.islice(train_batches(source, examples, **options), count))


def misfits(corruption, batches):
    """(largest difference from the degraded whole, start) of each window."""
    whole = dataclasses.replace(corruption, image_size=SIDE)
    degraded = [whole.degrade(from_uint8(photo)[None])[0] for photo in TURNED]
    found = []
    for window, shown in itertools.chain.from_iterable(
        zip(batch.clean, batch.degraded, strict=True) for batch in batches
    ):
        ((top, left), there), *_ = (
            (at, after)
            for photo, after in zip(TURNED, degraded, strict=True)
            if (at := place(window, photo)) is not None
        )
        error = np.abs(there[top : top + SIZE, left : left + SIZE] - shown).max()
        found.append((error, (int(top), int(left))))
    return found


@pytest.mark.parametrize("corruption", [BLUR, REDUCTION], ids=["blur", "reduction"])
def test_a_window_is_the_same_place_of_the_degraded_photograph(corruption, made):
    found = misfits(corruption, train(corruption))
    assert max(error for error, _ in found) < 1e-5
    assert made == [SIZE + 2 * corruption.facts.margin]
    starts = [start for _, at in found for start in at]
    assert {0, SIDE - SIZE} <= set(starts)  # where the margin is mirrored
    # and without margin it is not, wherever the window does not end with the photograph
    bare = dataclasses.replace(corruption.facts, margin=0)
    bare = dataclasses.replace(corruption, declared=bare)
    assert np.median([error for error, _ in misfits(bare, train(bare))]) > 1e-2


def test_windows_start_on_the_grid(made):
    starts = {at for _, at in misfits(REDUCTION, train(REDUCTION))}
    assert all(top % 4 == left % 4 == 0 for top, left in starts) and len(starts) > 40
    anywhere = on_host(blurred, margin=2)
    starts = {at for _, at in misfits(anywhere, train(anywhere))}
    assert any(top % 4 and left % 4 for top, left in starts)


@pytest.mark.parametrize("start", [1, 3])
def test_a_stream_with_margin_starts_anywhere_and_is_shared(start, made):
    source = functools.partial(ListSource, [photograph(i) for i in range(5)])
    corruption = make_corruption("jpeg-file-20-40", image_size=SIZE)
    assert corruption.facts.margin and corruption.facts.grid > 1
    for operator in (REDUCTION, corruption):
        whole = train(operator, 4, source=source())
        late = train(operator, 4 - start, source=source(), start_step=start)
        parts = [train(operator, 4, source=source(), share=Share(8, i, 2)) for i in range(2)]
        for key in ("clean", "degraded", "name"):
            want = np.stack([getattr(batch, key) for batch in whole])
            got = np.stack([getattr(batch, key) for batch in late])
            np.testing.assert_array_equal(got, want[start:])
            joined = [np.stack([getattr(batch, key) for batch in part]) for part in parts]
            np.testing.assert_array_equal(np.concatenate(joined, axis=1), want)
        assert whole[0].degraded.shape == (8, SIZE, SIZE, 3)


@pytest.mark.parametrize("name", ["jpeg-file-60-60", "blur-photo-1-2", "sr2x-photo"])
def test_margins_of_the_library_suffice(name):
    side = 192
    photo = from_uint8(picture(3, height=side, width=side))[None]
    cut = window_corruption(make_corruption(name, image_size=SIZE), image_size=SIZE, crop="window")
    whole = make_corruption(name, image_size=side)
    assert cut.side <= side
    top = cut.margin
    square = photo[:, : cut.side, : cut.side]
    bare = make_corruption(name, image_size=SIZE)
    for index in (np.array([4]), np.array([5])):  # of both kinds of JPEG
        want = whole.degrade(photo, index=index)[:, top : top + SIZE, top : top + SIZE]
        got = cut.degrade(square, index=index)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
        clean, corrupted = cut(np.random.default_rng(0), square, index=index)
        assert corrupted.image.shape == got.shape and np.abs(corrupted.image - got).mean() < 0.1
        np.testing.assert_array_equal(clean, photo[:, top : top + SIZE, top : top + SIZE])
    without = bare.degrade(clean, index=np.array([5]))
    assert np.abs(without - want).max() > 1e-2


def evaluate(source, corruption, *, crop="window"):
    config = data_config(crop=crop)
    (batch,) = eval_batches(source, Examples(corruption, config, SIZE), Share(8))
    return batch


def test_evaluation_cuts_with_margin_on_the_grid(made):
    tall = photograph()[:, :70]  # the middle of 70 begins at 19
    batch = evaluate(ListSource([photograph(), tall]), REDUCTION)
    whole = dataclasses.replace(REDUCTION, image_size=SIDE).degrade(from_uint8(photograph())[None])
    np.testing.assert_allclose(batch.degraded[0], whole[0, 32:64, 32:64], atol=1e-5)
    np.testing.assert_array_equal(batch.clean[1], from_uint8(tall[32:64, 16:48]))
    np.testing.assert_allclose(batch.degraded[1], whole[0, 32:64, 16:48], atol=1e-5)


def test_pictures_smaller_than_a_window_are_enlarged_and_mirrored(made):
    small = picture(7, height=20, width=20)
    batch = evaluate(ListSource([small]), REDUCTION)
    enlarged = from_uint8(resize_short_side(small, SIZE))
    np.testing.assert_array_equal(batch.clean[0], enlarged)
    np.testing.assert_allclose(batch.degraded[0], reduced(enlarged), atol=1e-5)
    (batch,) = train(REDUCTION, 1, source=ListSource([small]))
    assert np.sort(batch.clean[0], axis=None).tolist() == np.sort(enlarged, axis=None).tolist()


def test_a_resized_square_is_the_picture_itself(made):
    source = ListSource([photograph()])
    batch = evaluate(source, REDUCTION, crop="resize")
    np.testing.assert_array_equal(batch.degraded[0], reduced(batch.clean[0]))
    (batch,) = train(REDUCTION, 1, source=source, changes={"crop": "resize"})
    np.testing.assert_array_equal(batch.degraded[0], reduced(batch.clean[0]))
    assert made == []


@pytest.mark.parametrize("margin", [0, 3, 30])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (4, 2), (2, 1)])
def test_beyond_the_picture_it_is_mirrored(top, left, margin):
    image = picture(2, height=12, width=10)
    padding = ((margin, margin), (margin, margin), (0, 0))
    padded = np.pad(image, padding, mode="symmetric")
    got = window_at(image, top, left, image_size=8, margin=margin)
    np.testing.assert_array_equal(got, padded[top:, left:][: 8 + 2 * margin, : 8 + 2 * margin])


def test_the_central_window_rounds_down_to_the_grid():
    image = picture(2, height=41, width=60)
    np.testing.assert_array_equal(central_window(image, image_size=8), image[16:24, 26:34])
    on_grid = central_window(image, image_size=8, grid=16)
    np.testing.assert_array_equal(on_grid, image[16:24, 16:24])


# of batches before there were margins
@pytest.mark.parametrize(
    ("crop", "want"),
    [
        ("window", ["04f891d04123c2df", "fa63ac43c0c61f17"]),
        ("resize", ["abcd4582d8218cb0", "123aeacffa6503c4"]),
    ],
)
def test_batches_of_published_corruptions_are_what_they_were(crop, want):
    sizes = [{"height": 40, "width": 48}] * 5 + [{"height": 20, "width": 30}]
    pictures = [png(n, **size) for n, size in zip([0, 1, 2, 3, 4, 9], sizes, strict=True)]
    config = data_config(crop=crop, quarter_turns=True, shuffle_channels=True)
    corruption = make_corruption("sr4x-pool", image_size=SIZE)
    examples = Examples(corruption, config, SIZE)
    source = ListSource(pictures)
    stream = train_batches(source, examples, Share(4), seed=3, start_step=2)
    assert digest(itertools.islice(stream, 5)) == want[0]
    assert digest(eval_batches(source, examples, Share(4))) == want[1]


def digest(batches):
    """Of names and of values in 16ths of a level, which the means of 16 pixels are anywhere."""
    found = hashlib.sha256()
    for batch in batches:
        for x in (batch.clean, batch.degraded):
            found.update(np.rint((x.astype(np.float64) + 1) * 127.5 * 16).astype("<i4").tobytes())
        found.update(b"".join(batch.name.tolist()))
    return found.hexdigest()[:16]
