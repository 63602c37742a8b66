"""Nothing overwritten, nothing stale: whose place a result may take, and when it is made anew."""

import errno
import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from i2sb_jax import files
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import PREVIEW, SETTINGS
from i2sb_jax.restoration.results_list import RESULTS
from tests.picture_files import pillow
from tests.restoration.models import identity_model, photo

ONCE = Options(nfe=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture(scope="module")
def filling(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("filling"), "inpaint-center")


@pytest.fixture
def place(tmp_path):
    """A folder with in/a.png and in/b.png, smaller than a window."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.png", "b.png")):
        Image.fromarray(photo(16, 16, seed=number)).save(tmp_path / "in" / name)
    return tmp_path


def restore(model, source, out, options=ONCE):
    return restore_folder(model, source, out, options, quiet=True)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def change(path, seed=9):
    Image.fromarray(photo(16, 16, seed=seed)).save(path)
    os.utime(path, ns=(1, 1))  # a clock may be too coarse to see two writes


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("has_settings", [False, True])
@pytest.mark.parametrize("what", ["a.png", "a_trajectory.png"])
def test_a_picture_beside_the_input_is_no_target(model, tmp_path, overwrite, has_settings, what):
    """photos/a.jpg into photos/, where somebody's own a.png lies."""
    (tmp_path / "a.jpg").write_bytes(pillow(photo(16, 16), "JPEG"))
    (tmp_path / "c.jpg").write_bytes(pillow(photo(16, 16), "JPEG"))
    options = Options(nfe=2, overwrite=overwrite, trajectory=True)
    if has_settings:
        restore(model, tmp_path / "c.jpg", tmp_path, options)
        settings = json.loads((tmp_path / SETTINGS).read_text())
        settings["input"] = files.real_path(tmp_path)
        (tmp_path / SETTINGS).write_text(json.dumps(settings))
    (tmp_path / what).write_bytes(b"mine")
    with pytest.raises(ValueError, match=rf"{what} is there already, and no result of"):
        restore(model, tmp_path / "a.jpg", tmp_path, options)
    assert (tmp_path / what).read_bytes() == b"mine"


def test_what_is_listed_may_be_written_over(model, place):
    restore(model, place / "in", place / "out")
    lines = (place / "out" / RESULTS).read_text().splitlines()
    assert {file for line in lines for file in json.loads(line)["files"]} == {"a.png", "b.png"}
    again = restore(model, place / "in", place / "out", Options(nfe=1, overwrite=True))
    assert again.restored == 2


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_before_there_were_lists(model, place, overwrite):
    restore(model, place / "in", place / "out")
    (place / "out" / RESULTS).unlink()
    (place / "out" / "b.png").unlink()
    outcome = restore(model, place / "in", place / "out", Options(nfe=1, overwrite=overwrite))
    assert (outcome.restored, outcome.skipped) == ((2, 0) if overwrite else (1, 1))
    assert restore(model, place / "in", place / "out").skipped == 2
    change(place / "in" / "a.png")  # from now on it is known what they were made of
    assert restore(model, place / "in", place / "out").restored == 1


def test_a_list_does_not_make_a_picture_of_the_input_a_result(model, place):
    """The folder of an older job, copied into a folder of photographs with its settings alone."""
    restore(model, place / "in", place / "out")
    photos = place / "photos"
    shutil.copytree(place / "in", photos)
    (photos / "a.jpg").write_bytes(pillow(photo(16, 16), "JPEG"))
    settings = json.loads((place / "out" / SETTINGS).read_text())
    (photos / SETTINGS).write_text(json.dumps(settings | {"input": files.real_path(photos)}))
    before = (photos / "a.png").read_bytes()
    with pytest.raises(ValueError, match=r"a\.png is there already"):
        restore(model, photos / "a.jpg", photos, Options(nfe=1, overwrite=True))
    assert (photos / "a.png").read_bytes() == before


def test_a_changed_picture_is_restored_again(model, place, capsys):
    restore(model, place / "in", place / "out")
    old = read(place / "out" / "a.png")
    change(place / "in" / "a.png")
    outcome = restore_folder(model, place / "in", place / "out", ONCE)
    assert (outcome.restored, outcome.skipped) == (1, 1)
    assert "1 of them again, for they have changed" in capsys.readouterr().err
    assert not np.array_equal(read(place / "out" / "a.png"), old)
    np.testing.assert_array_equal(read(place / "out" / "a.png"), photo(16, 16, seed=9))
    assert restore(model, place / "in", place / "out").skipped == 2


@pytest.mark.parametrize("one_mask", [False, True])
def test_a_changed_mask_is_restored_again(filling, place, one_mask):
    masks = place / "masks"
    masks.mkdir()
    hole = np.zeros((16, 16), np.uint8)
    hole[4:8, 4:8] = 255
    for name in ("a.png", "b.png"):
        Image.fromarray(hole).save(masks / name)
    options = Options(nfe=1, masks=str(masks / "a.png" if one_mask else masks))
    assert restore(filling, place / "in", place / "out", options).restored == 2
    assert restore(filling, place / "in", place / "out", options).skipped == 2
    Image.fromarray(hole.T[::-1].copy()).save(masks / "a.png")
    os.utime(masks / "a.png", ns=(1, 1))
    outcome = restore(filling, place / "in", place / "out", options)
    assert outcome.restored == (2 if one_mask else 1)


def test_a_changed_picture_of_a_single_file(model, place):
    out = place / "x.png"
    assert restore(model, place / "in" / "a.png", out).restored == 1
    assert restore(model, place / "in" / "a.png", out).skipped == 1
    change(place / "in" / "a.png")
    assert restore(model, place / "in" / "a.png", out).restored == 1
    np.testing.assert_array_equal(read(out), photo(16, 16, seed=9))


def test_a_job_that_was_stopped_while_writing_is_done_again(model, place, monkeypatch):
    """A result that is there, but was never noted as finished, counts as none."""
    restore(model, place / "in", place / "out")
    lines = (place / "out" / RESULTS).read_text().splitlines()
    (place / "out" / RESULTS).write_text("\n".join(lines[:3]) + '\n{"files": ["b.p')
    outcome = restore(model, place / "in", place / "out")
    assert (outcome.restored, outcome.skipped) == (1, 1)


@pytest.mark.parametrize("length", [240, 250, 251])
def test_long_names(model, place, length):
    name = "b" * length + ".png"
    shutil.copy(place / "in" / "a.png", place / "in" / name)
    outcome = restore(model, place / "in", place / "out")
    assert (outcome.restored, outcome.unreadable) == (3, {})
    assert (place / "out" / name).exists() and len(list((place / "out").iterdir())) == 5


def test_a_name_too_long_for_what_goes_with_it_leaves_one_picture_out(model, place, capsys):
    name = "b" * 250 + ".png"
    shutil.copy(place / "in" / "a.png", place / "in" / name)
    outcome = restore(model, place / "in", place / "out", Options(nfe=2, trajectory=True))
    assert outcome.restored == 2 and list(outcome.unreadable) == [name]
    assert "File name too long" in outcome.unreadable[name]
    assert (place / "out" / "a_trajectory.png").exists()
    left = {path.name for path in (place / "out").iterdir()}
    assert left == {"a.png", "b.png", "a_trajectory.png", "b_trajectory.png", SETTINGS, RESULTS}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_loses_nothing(model, place, monkeypatch, error):
    restore(model, place / "in", place / "out")
    before = {path.name: path.read_bytes() for path in (place / "out").glob("*.png")}
    change(place / "in" / "a.png")
    with monkeypatch.context() as patch:
        opened = files.open_atomically

        def full(path):
            if str(path).endswith(".png"):
                raise OSError(error, os.strerror(error), str(path))
            return opened(path)

        patch.setattr(files, "open_atomically", full)
        with pytest.raises(OSError, match=os.strerror(error)):
            restore(model, place / "in", place / "out")
    after = {path.name: path.read_bytes() for path in (place / "out").glob("*.png")}
    assert after == before  # ... and is not taken for fresh:
    assert restore(model, place / "in", place / "out").restored == 1
    np.testing.assert_array_equal(read(place / "out" / "a.png"), photo(16, 16, seed=9))


def test_half_a_file_is_never_seen(tmp_path):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    with pytest.raises(OSError), files.open_atomically(target) as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_an_output_that_cannot_be_written_is_told_and_nothing_is_lost(model, place, monkeypatch):
    def refuse(path, data):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(files, "write_atomically", refuse)
    with pytest.raises(PermissionError):
        restore(model, place / "in", place / "out")
    assert not (place / "out").exists() and len(list((place / "in").iterdir())) == 2


def test_a_preview_is_never_written_over_a_picture(model, place):
    preview = Options(nfe=1, preview=True)
    Image.fromarray(photo(16, 16)).save(place / PREVIEW)
    (place / "a.jpg").write_bytes(pillow(photo(16, 16), "JPEG"))
    before = (place / PREVIEW).read_bytes()
    with pytest.raises(ValueError, match=r"preview\.png is there already, and not of i2sb"):
        restore(model, place / "a.jpg", place, preview)
    assert (place / PREVIEW).read_bytes() == before
    (place / PREVIEW).unlink()
    for _ in range(2):  # its own may be written over
        assert restore(model, place / "a.jpg", place, preview).written == (PREVIEW,)
