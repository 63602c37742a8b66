"""One output folder, one kind of results: what is there is left alone, and nothing is mixed in."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.restoration import folder as folder_lib
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import PREVIEW, SETTINGS, SHEET
from tests.restoration.models import identity_model, photo

ONCE, TWICE = Options(nfe=1), Options(nfe=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture
def pictures(tmp_path):
    """A folder with a.png, b.png, c.png."""
    (tmp_path / "in").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        Image.fromarray(photo(20, 20, seed=number)).save(tmp_path / "in" / name)
    return tmp_path / "in"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def restore(model, source, out, options=ONCE):
    return restore_folder(model, source, out, options, quiet=True)


class Stopped(Exception):
    """What an interrupt is in these tests."""


def stopped_after(count, monkeypatch):
    """Restoring is interrupted once so many pictures are written."""
    written = []
    write = folder_lib._Work._write

    def counted(self, job):
        write(self, job)
        written.append(job)
        if len(written) == count:
            raise Stopped

    monkeypatch.setattr(folder_lib._Work, "_write", counted)


def test_what_is_there_is_skipped_and_other_settings_are_not_mixed_in(model, pictures, out, capsys):
    restore(model, pictures, out)
    before = (out / "a.png").stat().st_mtime_ns
    (out / "b.png").unlink()
    again = restore_folder(model, pictures, out, ONCE)
    assert (again.restored, again.skipped) == (1, 2)
    assert "1 picture (2 already there)" in capsys.readouterr().err
    assert (out / "a.png").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="nfe is 1 there, 2 here"):
        restore(model, pictures, out, TWICE)
    third = restore(model, pictures, out, Options(nfe=2, overwrite=True))
    assert third.restored == 3
    assert json.loads((out / SETTINGS).read_text())["nfe"] == 2


def test_an_overwriting_that_was_stopped_leaves_no_old_result(model, pictures, out, monkeypatch):
    restore(model, pictures, out)
    with monkeypatch.context() as patch:
        stopped_after(1, patch)
        with pytest.raises(Stopped):
            restore(model, pictures, out, Options(nfe=2, overwrite=True))
    assert [path.name for path in out.glob("*.png")] == ["a.png"]
    rest = restore(model, pictures, out, TWICE)
    assert (rest.restored, rest.skipped) == (2, 1)


def test_what_goes_with_old_results_goes_with_them(model, pictures, out):
    restore(model, pictures, out, Options(nfe=2, trajectory=True))
    assert (out / "a_trajectory.png").exists()
    restore(model, pictures, out, Options(nfe=2, overwrite=True))
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png", "c.png"]


def test_overwriting_with_the_same_settings_loses_nothing(model, pictures, out):
    restore(model, pictures, out)
    (pictures / "b.png").write_bytes(b"broken")
    again = restore(model, pictures, out, Options(nfe=1, overwrite=True))
    assert (again.restored, list(again.unreadable)) == (2, ["b.png"])
    assert (out / "b.png").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_files_that_are_no_results_are_neither_taken_for_them_nor_lost(
    model, pictures, out, overwrite
):
    out.mkdir()
    (out / "b.png").write_bytes(b"mine")
    options = Options(nfe=1, overwrite=overwrite)
    with pytest.raises(ValueError, match=r"b\.png is there already, and no result of i2sb-restore"):
        restore(model, pictures, out, options)
    assert (out / "b.png").read_bytes() == b"mine" and len(list(out.iterdir())) == 1


def test_overwriting_a_part_does_not_make_the_rest_its_own(model, pictures, out):
    restore(model, pictures, out)
    part = Options(nfe=2, overwrite=True)
    with pytest.raises(ValueError, match=r"holds b\.png and others too, .*nfe is 1 there, 2 here"):
        restore(model, pictures / "a.png", out, part)
    assert len(list(out.glob("*.png"))) == 3
    same = restore(model, pictures / "a.png", out, Options(nfe=1, overwrite=True))
    assert same.restored == 1
    assert restore(model, pictures, out).skipped == 3


def test_results_of_other_pictures_or_weights_are_told_apart(model, pictures, out, tmp_path):
    restore(model, pictures, out)
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    with pytest.raises(ValueError, match=rf"input is '.*in' there, '{other}' here"):
        restore(model, other, out)
    config, params = interop.load_model_folder(model)
    params["conv_out"]["bias"] = params["conv_out"]["bias"] + 0.1
    interop.save_model(tmp_path / "trained", config, params)
    with pytest.raises(ValueError, match=r"weights is '[0-9a-f]{16}' there"):
        restore(tmp_path / "trained", pictures, out)


def test_the_same_weights_and_pictures_are_the_same_by_any_name(
    model, pictures, out, tmp_path, monkeypatch
):
    restore(model, pictures, out)
    shutil.copytree(model, tmp_path / "moved")
    (tmp_path / "link").symlink_to(pictures)
    monkeypatch.chdir(tmp_path)
    assert restore("moved", "link", "out").skipped == 3


@pytest.mark.parametrize("text", ["[]", "{", "3"])
def test_broken_settings_are_one_line(model, pictures, out, text):
    restore(model, pictures, out)
    (out / SETTINGS).write_text(text)
    with pytest.raises(ValueError, match=r"restore\.json is broken; choose another --output"):
        restore(model, pictures, out)
    assert restore(model, pictures, out, Options(nfe=1, overwrite=True)).restored == 3


def test_one_picture_may_lie_above_the_output_folder(model, tmp_path):
    Image.fromarray(photo(20, 20)).save(tmp_path / "a.png")
    outcome = restore(model, tmp_path / "a.png", tmp_path / "out")
    assert outcome.restored == 1 and (tmp_path / "out" / "a.png").exists()
    with pytest.raises(ValueError, match=r"a\.png would be overwritten"):
        restore(model, tmp_path / "a.png", tmp_path)


@pytest.mark.parametrize("name", [SHEET, PREVIEW])
def test_pictures_may_have_the_names_of_what_a_job_writes(model, pictures, out, name):
    (pictures / "a.png").rename(pictures / name)
    assert restore(model, pictures, out).restored == 3
    job = Options(nfe=1, preview=name == PREVIEW, degrade=name == SHEET)
    with pytest.raises(ValueError, match=rf"{name} and the job's own {name} would both"):
        restore(model, pictures, out / "2", job)


def test_a_preview_beside_finished_results(model, pictures, out):
    restore(model, pictures, out)
    outcome = restore(model, pictures, out, Options(nfe=3, preview=True))
    assert outcome.written == (PREVIEW,) and (out / PREVIEW).exists()
    assert json.loads((out / SETTINGS).read_text())["nfe"] == 1
    for path in pictures.iterdir():
        path.write_bytes(b"")
    (out / PREVIEW).unlink()
    outcome = restore(model, pictures, out, Options(nfe=3, preview=True))
    assert outcome.written == () and len(outcome.unreadable) == 3


def test_scores_are_of_all_pictures_also_of_those_restored_earlier(
    model, pictures, out, tmp_path, monkeypatch
):
    options = Options(nfe=1, degrade=True)
    with monkeypatch.context() as patch:
        stopped_after(2, patch)
        with pytest.raises(Stopped):
            restore(model, pictures, out, options)
    rest = restore(model, pictures, out, options)
    assert (rest.restored, rest.skipped) == (1, 2)
    whole = restore(model, pictures, tmp_path / "whole", options)
    again = restore(model, pictures, out, options)
    for outcome in (rest, again):
        assert outcome.scores.keys() == whole.scores.keys()
        for title, scores in outcome.scores.items():
            assert scores == pytest.approx(whole.scores[title], rel=1e-6)
    np.testing.assert_array_equal(read(out / SHEET), read(tmp_path / "whole" / SHEET))


def test_a_measurement_is_of_the_same_pictures(model, pictures, out):
    options = Options(nfe=1, degrade=True)
    restore(model, pictures, out, options)
    (pictures / "a.png").rename(pictures / "d.png")  # as many, under other numbers
    with pytest.raises(ValueError, match="pictures is"):
        restore(model, pictures, out, options)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_that_keys_cannot_be_made_of(seed):
    with pytest.raises(ValueError, match=rf"seed={seed} must lie in 0…4294967295"):
        Options(seed=seed)
