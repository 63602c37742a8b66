"""Which member of a mixture a picture suffered from: told by itself, or by a person."""

import numpy as np
import pytest
from PIL import Image

from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.members import check_member, find_member
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.published_blur import light_left
from i2sb_jax.restoration.restorer import Restorer
from tests.restoration.models import identity_model, photo

MEMBERS = corruption_facts("mixture").members


@pytest.mark.parametrize(
    "told, member",
    [
        ({"quality": 3}, "jpeg-5"),
        ({"quality": 7}, "jpeg-5"),
        ({"quality": 95}, "jpeg-10"),
        ({"has_mask": True, "quality": 10}, "inpaint-center"),
        ({"longest_side": 64, "image_size": 256}, "sr4x-bicubic"),
        ({"longest_side": 65, "image_size": 256}, None),
        ({"longest_side": 64, "image_size": 256, "quality": 10}, "jpeg-10"),
        ({}, None),
    ],
)
def test_what_a_picture_tells(told, member):
    assert find_member(MEMBERS, **told) == member


def test_members_of_other_runs_are_refused():
    check_member("mixture", "blur-uni")
    check_member("jpeg-10", None)
    with pytest.raises(ValueError, match="member='jpeg-20' must be one of jpeg-5, jpeg-10"):
        check_member("mixture", "jpeg-20")
    with pytest.raises(ValueError, match="is for runs on a mixture, and this is one on jpeg-10"):
        check_member("jpeg-10", "jpeg-10")


@pytest.fixture(scope="module")
def mixture(tmp_path_factory):
    return identity_model(tmp_path_factory.mktemp("model"), "mixture")


def restore(model, folder, out="out", **options):
    restore_folder(model, folder / "in", folder / out, Options(nfe=1, **options), quiet=True)
    return {path.name: np.asarray(Image.open(path)) for path in (folder / out).glob("*.png")}


def test_each_picture_is_taken_for_what_it_is(mixture, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(40, 30)).save(tmp_path / "in" / "file.jpg", quality=5)
    Image.fromarray(photo(3, 4)).save(tmp_path / "in" / "small.png")
    restored = restore(mixture, tmp_path)
    assert restored["file.png"].shape == (40, 30, 3)
    assert restored["small.png"].shape == (12, 16, 3)
    told = capsys.readouterr().err
    assert "file.jpg is taken for jpeg-5" in told and "small.png is taken for sr4x-bic" in told


def test_of_any_other_picture_a_person_is_asked(mixture, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(photo(40, 30)).save(tmp_path / "in" / "a.png")
    with pytest.raises(ValueError, match=r"a.png suffered from: .* --member, one of jpeg-5, jpeg"):
        restore(mixture, tmp_path)
    assert not (tmp_path / "out").exists()
    enlarged = restore(mixture, tmp_path, out="large", member="sr4x-pool")["a.png"]
    np.testing.assert_array_equal(enlarged, photo(40, 30).repeat(4, axis=0).repeat(4, axis=1))
    dark = restore(mixture, tmp_path, out="dark", member="blur-uni")["a.png"]
    assert dark.mean() < 0.8 * photo(40, 30).mean()
    with pytest.raises(ValueError, match=r"--masks m\.png: blur-uni fills no holes"):
        restore(mixture, tmp_path, out="no", member="blur-uni", masks="m.png")
    with pytest.raises(ValueError, match="member is 'blur-uni' there, 'blur-gauss' here"):
        restore(mixture, tmp_path, out="dark", member="blur-gauss")
    with pytest.raises(ValueError, match="member='blur-uni' is for pictures as they are"):
        restore(mixture, tmp_path, out="no", member="blur-uni", degrade=True)


def test_in_python(mixture):
    restorer, picture = Restorer.from_workdir(mixture), photo(16, 16)[None]
    with pytest.raises(ValueError, match="member=…, one of jpeg-5, jpeg-10"):
        restorer(picture, nfe=1)
    as_it_is = picture / np.float32(127.5) - 1
    np.testing.assert_allclose(restorer(picture, nfe=1, member="jpeg-5"), as_it_is, atol=1e-6)
    dark = restorer(np.full((1, 16, 16, 3), 0.5), nfe=1, member="blur-uni")
    np.testing.assert_allclose(dark[0], 1.5 * light_left("blur-uni", 16, 16) - 1, atol=1e-5)
    hole = np.zeros((1, 16, 16, 1), np.float32)
    hole[:, 4:8] = 1
    filled = restorer(picture, nfe=1, mask=hole)
    known = np.broadcast_to(hole == 0, picture.shape)
    np.testing.assert_allclose(filled[known], as_it_is[known], atol=1e-6)
    assert np.abs(filled - as_it_is)[~known].mean() > 0.3
    with pytest.raises(ValueError, match="jpeg-5 takes no mask"):
        restorer(picture, nfe=1, mask=hole, member="jpeg-5")
    with pytest.raises(ValueError, match="inpaint-center needs a mask"):
        restorer(picture, nfe=1, member="inpaint-center")
