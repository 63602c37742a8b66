"""--output x.png: one picture becomes that file, and nothing else is written or lost."""

import io
import sys

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.cli import restore
from tests.restoration.models import identity_model, photo


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "jpeg-10")


@pytest.fixture
def run(model, monkeypatch, capfd, tmp_path):
    """Restores by the tool in an empty folder: (status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")

    def run(source, output, *more):
        given = ["--model", model, "--input", source, "--output", output, *more]
        if "--nfe" not in more:
            given += ["--nfe", 1]
        monkeypatch.setattr(sys, "argv", ["i2sb-restore", *map(str, given)])
        with pytest.raises(SystemExit) as stop:
            restore.main()
        return stop.value.code, *capfd.readouterr()

    return run


def turned_cmyk():
    """A JPEG of 23×40 in CMYK, whose EXIF turns it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(photo(23, 40)).convert("CMYK").save(buffer, "JPEG", quality=95, exif=exif)
    return buffer.getvalue()


def thin_deep_grey():
    """A 16-bit PNG of one row."""
    return imagecodecs.png_encode(np.linspace(9, 65535, 37).astype(np.uint16)[None])


def moving_palette():
    """A GIF of two frames."""
    frames = [Image.fromarray(photo(20, 17, seed=n)).convert("P") for n in range(2)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "output", "shape", "dtype"),
    [
        ("a.b.jpeg", turned_cmyk(), "x.png", (40, 23, 3), np.uint8),
        ("tiny ü.png", thin_deep_grey(), "new/deeper/X.PNG", (1, 37), np.uint16),
        ("moving.gif", moving_palette(), "out.v2.png", (20, 17, 3), np.uint8),
    ],
)
def test_one_picture_of_any_kind_becomes_the_file(run, tmp_path, name, data, output, shape, dtype):
    (tmp_path / name).write_bytes(data)
    status, out, err = run(name, output)
    assert status == 0, err
    assert out == f"1 picture restored into {output}\n"
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted([name, output])
    result = imagecodecs.png_decode((tmp_path / output).read_bytes())
    assert (result.shape, result.dtype) == (shape, dtype)
    assert (tmp_path / name).read_bytes() == data


def test_what_is_there_is_left_alone(run, tmp_path):
    for name in ("a.png", "b.png"):
        Image.fromarray(photo(20, 30)).save(tmp_path / name)
    assert run("a.png", "x.png")[0] == 0
    first = (tmp_path / "x.png").stat()
    status, out, _ = run("a.png", "x.png")
    assert status == 0 and out == "0 pictures restored into x.png, 1 there already\n"
    assert (tmp_path / "x.png").stat().st_mtime_ns == first.st_mtime_ns
    (tmp_path / "mine.png").write_bytes((tmp_path / "b.png").read_bytes())
    (tmp_path / "y_trajectory.png").write_bytes(b"mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for source, output, more, words in (
        ("a.png", "x.png", ("--nfe", "2"), "x.png is there already, and no result of this command"),
        ("b.png", "x.png", (), "x.png is there already, and no result of this command"),
        ("a.png", "mine.png", (), "choose another --output, or --overwrite"),
        ("a.png", "y.png", ("--nfe", "2", "--trajectory"), "y_trajectory.png is there already"),
        ("a.png", "./a.png", ("--overwrite",), "a.png would be overwritten"),
        (".", "y.png", (), "--output y.png names a file, and . is a folder: name a folder"),
        ("a.png", "y.jpg", (), "the result is a .png file, name it y.png, or name a folder"),
    ):
        status, out, err = run(source, output, *more)
        assert (status, out) == (2, "") and words in err and len(err.splitlines()) == 1, err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run("b.png", "mine.png", "--overwrite")[0] == 0
    assert (tmp_path / "mine.png").read_bytes() != before["mine.png"]


def test_other_names_are_folders_and_a_preview_lies_beside(run, tmp_path):
    Image.fromarray(photo(20, 30)).save(tmp_path / "a.png")
    status, out, _ = run("a.png", "x.png", "--preview")
    assert status == 0 and "see ./x_preview.png" in out
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "x_preview.png"]
    (tmp_path / "folder.png").mkdir()
    assert run("a.png", "folder.png")[0] == 0
    assert (tmp_path / "folder.png" / "a.png").is_file()
    assert (tmp_path / "folder.png" / "restore.json").is_file()
