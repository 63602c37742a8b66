"""The stream of batches: a pure function of (seed, step), whoever asks and wherever it starts."""

import itertools

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from i2sb_jax.corruptions import make_corruption  # noqa: E402
from i2sb_jax.data import make_source, pipeline  # noqa: E402
from i2sb_jax.data.pipeline import (  # noqa: E402
    Examples,
    Reading,
    Share,
    eval_batches,
    train_batches,
)
from i2sb_jax.data.reader import PictureReader, TooManyUnreadable  # noqa: E402
from i2sb_jax.pictures import Notes  # noqa: E402
from tests.data.pictures import (  # noqa: E402
    ListSource,
    data_config,
    flat_source,
    picture,
    png,
    tell_key,
)
from tests.picture_files import tiff  # noqa: E402


def take(stream, count):
    return list(itertools.islice(stream, count))


def examples(config=None, *, corruption=tell_key, image_size=8):
    return Examples(corruption, config or data_config(), image_size)


def train(source, steps=None, *, config=None, corruption=tell_key, image_size=8, **options):
    made = examples(config, corruption=corruption, image_size=image_size)
    options = {"share": Share(4), "seed": 7} | options
    stream = train_batches(source, made, **options)
    return stream if steps is None else take(stream, steps)


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for mine, its in zip(batch, other, strict=True):
            np.testing.assert_array_equal(mine, its)


def labels(batches):
    return np.concatenate([batch.label for batch in batches])


def random_source(count=10):
    return ListSource([png(i) for i in range(count)])


WINDOWS = data_config(crop="window", quarter_turns=True)


def test_a_batch():
    (batch,) = train(random_source(), 1, config=WINDOWS, image_size=16)
    assert batch.clean.shape == batch.degraded.shape == (4, 16, 16, 3)
    assert batch.clean.dtype == np.float32 and batch.label.dtype == np.int32
    assert -1 <= batch.clean.min() < -0.9 and 0.9 < batch.clean.max() <= 1
    assert batch.mask.shape == (4, 16, 16, 1) and batch.cond is None
    assert batch.name.tolist() == [f"p{label}".encode() for label in batch.label]


def test_values_are_those_of_the_picture():
    (batch,) = train(flat_source(10), 1)
    want = np.float32(batch.label) / np.float32(127.5) - np.float32(1)
    np.testing.assert_array_equal(
        batch.clean, np.broadcast_to(want[:, None, None, None], (4, 8, 8, 3))
    )


def test_every_epoch_shows_every_picture_once_in_another_order():
    seen = labels(train(flat_source(10), 25)).reshape(10, 10)
    assert (np.sort(seen, axis=1) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in seen.tolist()}) > 7


def test_the_same_seed_gives_the_same_batches_and_another_does_not():
    first, again = (train(random_source(), 6, config=WINDOWS) for _ in range(2))
    assert_same(first, again)
    other = train(random_source(), 6, config=WINDOWS, seed=8)
    assert labels(first).tolist() != labels(other).tolist()
    train(flat_source(3), 1, seed=-(2**70))  # any Python int is a seed


@pytest.mark.parametrize("start", [1, 4])
def test_a_stream_that_starts_later_is_the_rest_of_the_whole(start):
    whole = train(random_source(), 7, config=WINDOWS)
    assert_same(train(random_source(), 7 - start, config=WINDOWS, start_step=start), whole[start:])


@pytest.mark.parametrize("start", [10, 10**6, 10**9])
def test_starting_late_reads_nothing_of_what_went_before(start):
    source = flat_source(5)
    (batch,) = train(source, 1, start_step=start)
    assert len(batch.label) == 4 and len(source.reads) < 500


def test_processes_share_every_batch_of_one():
    whole = train(random_source(), 5, config=WINDOWS)
    parts = [
        train(random_source(), 5, config=WINDOWS, share=Share(4, index, 2)) for index in range(2)
    ]
    joined = [
        type(one)(
            *(None if a is None else np.concatenate([a, b]) for a, b in zip(one, two, strict=True))
        )
        for one, two in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)
    seen = [set(labels(part)[:5].tolist()) for part in parts]  # one epoch of ten pictures
    assert all(len(part) == 2 for part in (parts[0][0].label, parts[1][0].label)) and all(seen)


def test_windows_flips_and_turns_vary_and_stay_inside_the_picture():
    source = ListSource([picture(0, height=20, width=24)])
    batches = train(source, 10, config=WINDOWS, image_size=16)
    cuts = np.concatenate([batch.clean for batch in batches])
    assert len({cut.tobytes() for cut in cuts}) > 30
    whole = picture(0, height=20, width=24)
    windows = {
        np.rot90(base[r : r + 16, c : c + 16], turns).tobytes()
        for base in (whole, whole[:, ::-1])
        for r in range(5)
        for c in range(9)
        for turns in range(4)
    }
    squares = np.round((cuts + 1) * 127.5).astype(np.uint8)
    assert all(square.tobytes() in windows for square in squares)


def test_without_flip_the_paper_crop_is_always_the_same():
    source = ListSource([picture(0)])
    batches = train(source, 4, config=data_config(flip=False), image_size=16)
    assert len({cut.tobytes() for batch in batches for cut in batch.clean}) == 1
    batches = train(source, 4, config=data_config(flip=True), image_size=16)
    assert len({cut.tobytes() for batch in batches for cut in batch.clean}) == 2


def test_every_image_has_seeds_of_its_own():
    keys = np.concatenate([batch.mask[:, 0, 0, 0] for batch in train(flat_source(3), 20)])
    assert len(set(keys.tolist())) > 75


@pytest.mark.parametrize("cache_bytes", [0, 4 * 24 * 32 * 3, 2**29])
def test_the_cache_changes_nothing_but_the_reads(cache_bytes):
    source = random_source()
    config = data_config(crop="window", quarter_turns=True)
    stream = train(source, config=config, reading=Reading(cache_bytes=cache_bytes))
    assert_same(take(stream, 10), train(random_source(), 10, config=WINDOWS))
    if cache_bytes == 2**29:
        assert len(source.reads) <= 20  # ten pictures, two threads at most at once
    if not cache_bytes:
        assert len(source.reads) >= 40


@pytest.mark.parametrize("config", [data_config(max_unreadable=3), WINDOWS])
def test_replaced_pictures_move_no_position(config):
    config = data_config(max_unreadable=3, crop=config.crop, quarter_turns=config.quarter_turns)
    warnings = []
    good = labels(train(flat_source(10), 15))
    source = flat_source(10, broken=(2, 3), missing=(7,))
    stream = train(source, config=config, reading=Reading(warn=warnings.append))
    bad = labels(take(stream, 15))
    epochs = zip(good.reshape(6, 10), bad.reshape(6, 10), strict=True)
    for order, got in epochs:
        for place, (want, label) in enumerate(zip(order, got, strict=True)):
            following = [p for p in (*order[place:], *order[:place]) if p not in (2, 3, 7)]
            assert label == following[0]
            assert want in (2, 3, 7) or label == want
    assert set(stream.unreadable) == {"p2", "p3", "p7"}
    assert "no known picture format" in stream.unreadable["p2"]
    assert len(warnings) == 3 and sum("p7" in line for line in warnings) == 1


def test_too_many_unreadable_pictures_stop_with_one_line():
    stream = train(
        flat_source(10, broken=(1, 4)),
        config=data_config(max_unreadable=1),
        reading=Reading(warn=print),
    )
    with pytest.raises(
        TooManyUnreadable, match=r"^2 pictures are unreadable, the last of them p"
    ) as e:
        take(stream, 20)
    assert "max_unreadable=1" in str(e.value) and "\n" not in str(e.value)
    with pytest.raises(TooManyUnreadable):  # and it does not go on behind the gap
        next(stream)


def test_nothing_readable_at_all():
    stream = train(
        flat_source(2, broken=(0, 1)),
        config=data_config(max_unreadable=9),
        reading=Reading(warn=print),
    )
    with pytest.raises(TooManyUnreadable, match="none of the 2 pictures is readable"):
        next(stream)


def test_errors_that_are_no_broken_picture_come_through(capfd):
    class Wrong(ListSource):
        def read(self, index):
            raise ZeroDivisionError("a mistake in the source")

    with pytest.raises(ZeroDivisionError, match="a mistake in the source"):
        next(train(Wrong([b""])))
    assert "Traceback" not in capfd.readouterr().err


def test_the_reader_names_each_picture_once():
    lines = []
    config = data_config(crop="window", max_unreadable=1)
    reading = Reading(warn=lines.append)
    reader = PictureReader(flat_source(3, broken=(0,)), examples(config), reading=reading)
    for _ in range(3):
        assert reader.read([0, 1])[1:] == (1, "p1")
    assert len(lines) == 1 and lines[0].startswith("unreadable picture p0 is replaced")


def several_pages(count, *, plain):
    """Files of two pages each, but for some of one."""
    pages = [np.full((2, 8, 8, 3), number, np.uint8) for number in range(count)]
    return ListSource(
        [tiff(page[0] if number in plain else page, photometric="rgb")
         for number, page in enumerate(pages)]
    )  # fmt: skip


NOTE = "is read from page 1 of 2, and the others are left out"


@pytest.mark.parametrize("crop", ["resize", "window"])
def test_what_is_not_read_is_told_once_and_counted_after_an_epoch(crop):
    lines = []
    source, config = several_pages(10, plain=(3, 7)), data_config(crop=crop)
    stream = train(source, config=config, reading=Reading(notes=Notes(lines.append)), start_step=3)
    next(stream)
    assert len([line for line in lines if line.endswith(NOTE) and " more as " not in line]) == 1
    take(stream, 9)
    assert len(lines) == 2
    assert lines[1].startswith("note: 7 more as p") and lines[1].endswith(f", which {NOTE}")
    train(
        several_pages(4, plain=range(4)),
        3,
        config=config,
        reading=Reading(notes=Notes(lines.append)),
    )
    assert len(lines) == 2, "files of one page say nothing"


def test_an_evaluation_counts_at_its_end():
    lines = []
    batches = list(
        evaluate(several_pages(7, plain=(1,)), reading=Reading(notes=Notes(lines.append)))
    )
    assert sum(len(batch.label) for batch in batches) == 7
    assert len(lines) == 2 and lines[1].startswith("note: 5 more as p")


@pytest.mark.parametrize(
    ("share", "message"),
    [
        ((3, 0, 2), "batch_size=3 must be a positive multiple of the 2 processes"),
        ((0,), "batch_size=0"),
        ((4, 2, 2), "process_index=2"),
    ],
)
def test_wrong_sizes(share, message):
    with pytest.raises(ValueError, match=message):
        Share(*share)


def test_no_pictures():
    with pytest.raises(ValueError, match="no pictures"):
        train(ListSource([]))


def evaluate(source, *, config=None, corruption=tell_key, image_size=8, **options):
    made = examples(config, corruption=corruption, image_size=image_size)
    return eval_batches(source, made, **{"share": Share(4)} | options)


def test_evaluation_is_in_order_and_tells_the_index():
    batches = list(evaluate(flat_source(10)))
    assert [len(batch.label) for batch in batches] == [4, 4, 2]
    assert labels(batches).tolist() == list(range(10))
    index = np.concatenate([batch.degraded[:, 0, 0, 0] for batch in batches])
    assert index.tolist() == list(range(10))
    assert_same(batches, list(evaluate(flat_source(10))))


@pytest.mark.parametrize("crop", ["resize", "window"])
def test_evaluation_takes_the_central_square(crop):
    (batch,) = evaluate(
        ListSource([picture(0, height=16, width=20)]), config=data_config(crop=crop)
    )
    square = np.round((batch.clean[0] + 1) * 127.5).astype(np.uint8)
    if crop == "window":
        np.testing.assert_array_equal(square, picture(0, height=16, width=20)[4:12, 6:14])
    else:
        assert square.std() < picture(0).std()  # averaged


def test_evaluation_shared_by_processes():
    whole = list(evaluate(flat_source(11)))
    parts = [list(evaluate(flat_source(11), share=Share(4, i, 2))) for i in range(2)]
    assert labels(parts[0]).tolist() == [0, 1, 4, 5, 8, 9]
    assert labels(parts[1]).tolist() == [2, 3, 6, 7, 10]
    # What the corruption draws belongs to the picture, not to the process.
    keys = np.concatenate([b.mask[:, 0, 0, 0] for b in (*parts[0], *parts[1])])
    order = np.argsort(labels((*parts[0], *parts[1])))
    np.testing.assert_array_equal(keys[order], np.concatenate([b.mask[:, 0, 0, 0] for b in whole]))


def test_evaluation_replaces_unreadable_pictures():
    source = flat_source(5, broken=(1, 4))
    stream = evaluate(
        source, config=data_config(max_unreadable=2), reading=Reading(warn=lambda line: None)
    )
    assert labels(stream).tolist() == [0, 2, 2, 3, 0] and len(stream.unreadable) == 2


@pytest.mark.parametrize("name", ["sr4x-pool", "inpaint-freeform1020", "colorize", "mixture"])
def test_real_corruptions_in_the_graph(name):
    corruption = make_corruption(name, image_size=32)
    source = ListSource([png(i, height=40, width=48) for i in range(3)])
    batches = train(source, 2, corruption=corruption, image_size=32, config=WINDOWS)
    batches += list(evaluate(source, corruption=corruption, image_size=32))
    for batch in batches:
        assert batch.degraded.shape == batch.clean.shape and np.isfinite(batch.degraded).all()
        assert (batch.mask is not None) == corruption.has_mask
        assert (batch.cond is not None) == corruption.has_cond
    whole = train(source, 2, corruption=corruption, image_size=32, config=WINDOWS)
    assert_same(batches[:2], whole)


def test_photographs_make_batches():
    pytest.importorskip("skimage")
    config = data_config(crop="window")
    (batch,) = train(make_source(config, split="train"), 1, config=config, image_size=32)
    assert batch.clean.std() > 0.05
    assert sum(len(b.label) for b in evaluate(make_source(config, split="eval"))) == 4


def test_tensorflow_sees_no_accelerator():
    assert pipeline.host_only and not tf.config.get_visible_devices("GPU")
    assert not tf.config.get_visible_devices("TPU")
