"""Large pictures cut into tiles once, beside the pictures themselves."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("array_record")

from i2sb_jax.data import MissingPicture, make_source, open_source
from i2sb_jax.data.tiled import picture_of, tiled
from i2sb_jax.pictures import decode_rgb
from tests.data.pictures import ListSource, data_config, picture, png


def names_of(source):
    return [source.read(i).name for i in range(len(source))]


class Named(ListSource):
    @property
    def names(self):
        return [f"p{i}" for i in range(len(self))]


@pytest.mark.parametrize("shape", [(64, 300), (150, 64), (113, 129), (257, 200)])
def test_tiles_cover_the_picture_and_are_parts_of_it(shape):
    height, width = shape
    whole = picture(1, height=height, width=width)
    source = tiled(Named([png(1, height=height, width=width)]), 64)
    seen = np.zeros(shape, bool)
    for (_, top, left, *size), record in zip(
        source.places, map(source.read, range(len(source))), strict=True
    ):
        part = slice(top, top + size[0]), slice(left, left + size[1])
        np.testing.assert_array_equal(record.image, whole[part])
        assert record.image.shape == (64, 64, 3)
        seen[part] = True
    assert seen.all() and len(set(source.names)) == len(source)


def test_neighbours_share_an_eighth():
    source = tiled(Named([png(0, height=64, width=1000)]), 64)
    lefts = [left for _, _, left, _, _ in source.places]
    assert lefts[0] == 0 and lefts[-1] == 936 and max(np.diff(lefts)) <= 56


def test_what_is_small_or_broken_is_passed_on():
    source = tiled(Named([png(0, height=64, width=40), b"none", None]), 64)
    assert len(source) == 3 and source.read(0).image == png(0, height=64, width=40)
    assert source.read(0).name == source.names[0] == "p0" and source.read(1).image == b"none"
    with pytest.raises(MissingPicture):
        source.read(2)


def test_what_breaks_off_is_broken_in_each_of_its_tiles():
    cut = png(0, height=200, width=200)[:60_000]
    source = tiled(Named([cut, png(1, height=200, width=200)]), 128)
    assert len(source) == 8
    for index in range(4):
        with pytest.raises(MissingPicture):
            source.read(index)
    np.testing.assert_array_equal(
        source.read(4).image, picture(1, height=200, width=200)[:128, :128]
    )


def test_they_are_upright_and_of_eight_bits():
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, height=64, width=128)).save(buffer, "PNG", exif=exif)
    source = tiled(Named([buffer.getvalue()]), 64)
    shown = np.concatenate([source.read(i).image for i in (0, len(source) - 1)])
    np.testing.assert_array_equal(shown, decode_rgb(buffer.getvalue()))


def test_tiles_of_one_picture_are_on_one_side(tmp_path, run_prepare):
    folder = tmp_path / "p"
    folder.mkdir()
    for i in range(12):
        (folder / f"{i:03d}.png").write_bytes(png(i, height=70 + 40 * (i % 3), width=130))
    records = tmp_path / "r"
    given = ("--path", folder, "--output", records, "--tiles", 64, "--shards", 4, "--workers", 2)
    assert run_prepare(*given) == 0
    config = data_config(source="records", path=str(records))
    sides = {split: names_of(make_source(config, split=split)) for split in ("train", "eval")}
    pictures = {split: {picture_of(name) for name in names} for split, names in sides.items()}
    folder_config = data_config(source="folder", path=str(folder))
    for split, names in pictures.items():
        assert names == set(names_of(make_source(folder_config, split=split)))
    again = tmp_path / "again"  # records of records are tiles as well
    assert run_prepare("--source", "records", "--path", records, "--output", again) == 0
    assert open_source("records", path=str(again)).is_tiled
    whole = open_source("records", path=str(records))
    assert len(whole) == sum(map(len, sides.values())) > 2 * 12
    first = decode_rgb(whole.read(0).image)
    np.testing.assert_array_equal(first, picture(0, height=70, width=130)[:64, :64])


def test_labels_go_with_the_tiles():
    pictures = Named([png(0, height=64, width=300)])
    assert tiled(pictures, 64).num_classes == 1000 and tiled(pictures, 64).label_names == ()
    pictures.num_classes, pictures.label_names = 2, ("cat", "dog")
    assert tiled(pictures, 64).num_classes == 2 and tiled(pictures, 64).label_names == (
        "cat",
        "dog",
    )


def test_a_mark_in_a_name_is_none_of_ours():
    assert picture_of("a#1.jpg") == "a#1.jpg" and picture_of("a#1.jpg#00012") == "a#1.jpg"


def test_a_side_that_is_too_small(tmp_path, capsys, run_prepare):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "0.png").write_bytes(png(0))
    given = ("--path", tmp_path / "p", "--output", tmp_path / "r", "--tiles", 32)
    assert run_prepare(*given) == 2
    assert "tiles=32 must be at least 64 pixels" in capsys.readouterr().err
