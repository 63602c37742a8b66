"""Pictures as people have them: every task's natural input, every kind in and the same kind out."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from i2sb_jax.pictures import UnreadableImage, decode_rgb, reader
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.options import Options
from i2sb_jax.restoration.output_folder import PREVIEW
from i2sb_jax.restoration.restorer import Restorer
from i2sb_jax.sampling import Engine
from tests.picture_files import pillow
from tests.restoration.models import identity_model, photo
from tests.training.tiny import make_config

ONCE = Options(nfe=1)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Task -> model folder, made when first asked for."""
    made = {}

    def model(corruption):
        if corruption not in made:
            made[corruption] = identity_model(tmp_path_factory.mktemp("model"), corruption)
        return made[corruption]

    return model


def restore(model, folder, options=ONCE, **given):
    """Restores pictures given as name=array or bytes; name -> path of what was written."""
    source, out = folder / "in", folder / "out"
    source.mkdir()
    for name, content in given.items():
        if isinstance(content, bytes):
            (source / name).write_bytes(content)
        else:
            Image.fromarray(content).save(source / name)
    return restore_folder(model, source, out, options, quiet=True), out


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def close(left, right, limit=1):
    return np.abs(left.astype(int) - right.astype(int)).max() <= limit


@pytest.mark.parametrize("shape", [(1, 1), (40, 3), (75, 50), (64, 64), (33, 100)])
def test_the_identity_returns_a_picture_of_any_size(models, tmp_path, shape):
    picture = photo(*shape)
    outcome, out = restore(models("jpeg-10"), tmp_path, **{"a.png": picture})
    assert outcome.restored == 1
    assert close(read(out / "a.png"), picture)


@pytest.mark.slow  # test_seams looks at fewer
def test_many_tiles_of_a_photograph_come_back_within_one_level(tmp_path):
    # halved often, so that attention in the middle stays cheap on large tiles
    model = identity_model(tmp_path / "model", "jpeg-10", model={"channel_mult": (1.0,) * 5})
    picture = photo(1000, 1500)
    outcome, out = restore(model, tmp_path, Options(nfe=1, tile=256), **{"a.png": picture})
    assert outcome.restored == 1
    assert close(read(out / "a.png"), picture)


def test_super_resolution_enlarges_four_times_and_alpha_with_it(models, tmp_path):
    picture = np.dstack([photo(9, 13), np.full((9, 13), 200, np.uint8)])
    _, out = restore(models("sr4x-pool"), tmp_path, **{"a.png": picture})
    result = read(out / "a.png")
    assert result.shape == (36, 52, 4)
    assert close(result, picture.repeat(4, axis=0).repeat(4, axis=1))


def test_colouring_takes_the_grey_of_any_picture_and_returns_colour(tmp_path):
    model = identity_model(
        tmp_path / "model", "colorize", bridge={"beta_max": 1e-8, "deterministic": True}
    )
    picture = photo(20, 20)
    _, out = restore(model, tmp_path, **{"a.png": picture, "grey.png": picture[..., 0]})
    assert read(out / "a.png").shape == read(out / "grey.png").shape == (20, 20, 3)


def test_holes_come_from_a_mask_file_or_from_transparency(models, tmp_path):
    picture, hole = photo(30, 40), np.zeros((30, 40), np.uint8)
    hole[5:15, 10:30] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(hole).save(tmp_path / "masks" / "a.bmp")
    masked = Options(nfe=1, masks=str(tmp_path / "masks"))
    outcome, out = restore(
        models("inpaint-center"), tmp_path, masked, **{"a.png": picture, "b.png": picture}
    )
    assert outcome.restored == 1
    assert "has no mask named b" in outcome.unreadable["b.png"]
    by_file = read(out / "a.png")
    known = hole == 0
    assert close(by_file[known], picture[known])
    assert not close(by_file[~known], picture[~known], 30)

    clear = tmp_path / "clear"
    clear.mkdir()
    cut_out = np.dstack([picture, 255 - hole])
    _, out = restore(models("inpaint-center"), clear, **{"a.png": cut_out})
    assert read(out / "a.png").shape == (30, 40, 3)  # filled: nothing is transparent any more
    np.testing.assert_array_equal(read(out / "a.png"), by_file)


def test_an_inpainting_run_without_holes_says_what_it_needs(models, tmp_path, monkeypatch):
    # and does so before it spends minutes on compiling
    monkeypatch.setattr(Restorer, "prepare", lambda *args, **kwargs: pytest.fail("compiled"))
    outcome, _ = restore(models("inpaint-center"), tmp_path, **{"a.png": photo(20, 20)})
    assert "--masks" in outcome.unreadable["a.png"] and outcome.restored == 0


def test_the_mixture_fills_what_a_mask_names_and_keeps_transparency(models, tmp_path):
    picture, alpha, hole = photo(20, 24), np.full((20, 24), 255, np.uint8), np.zeros((20, 24), bool)
    alpha[12:], hole[4:9] = 40, True
    given = {"a.png": np.dstack([picture, alpha])}
    member = Options(nfe=1, member="jpeg-10")
    outcome, out = restore(models("mixture"), tmp_path, member, **given)
    assert outcome.restored == 1
    np.testing.assert_array_equal(read(out / "a.png"), given["a.png"])
    Image.fromarray(hole).save(tmp_path / "mask.png")
    options = Options(nfe=1, masks=str(tmp_path / "mask.png"))
    restore_folder(models("mixture"), tmp_path / "in", tmp_path / "filled", options, quiet=True)
    filled = read(tmp_path / "filled" / "a.png")
    np.testing.assert_array_equal(filled[~hole], given["a.png"][~hole])
    assert not close(filled[hole], given["a.png"][hole], 30)


def test_masks_for_a_task_without_holes_are_refused(models, tmp_path):
    with pytest.raises(ValueError, match="jpeg-10 fills no holes"):
        restore(models("jpeg-10"), tmp_path, Options(nfe=1, masks="x"), **{"a.png": photo(9, 9)})


def test_a_jpeg_of_another_quality_is_warned_of_once(models, tmp_path, capsys):
    def jpeg(quality):
        buffer = io.BytesIO()
        Image.fromarray(photo(20, 20)).save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    pictures = {f"{q}.jpg": jpeg(q) for q in (10, 50, 60)}
    restore(models("jpeg-10"), tmp_path, **pictures)
    warnings = [line for line in capsys.readouterr().err.splitlines() if "quality" in line]
    assert len(warnings) == 1
    assert "50.jpg was saved at quality 50 (4:2:0)" in warnings[0]
    assert "learnt to repair quality 10" in warnings[0]


def test_kinds_are_kept(models, tmp_path):
    rgb, deep = photo(20, 24), photo(20, 24).astype(np.uint16) * 257 + 3
    exif = Image.Exif()
    exif[0x0110], exif[0x0112], exif[0x0132] = "Camera", 6, "2024:05:06 07:08:09"
    turned = io.BytesIO()
    Image.fromarray(rgb).save(turned, "PNG", exif=exif.tobytes(), icc_profile=None)
    given = {
        "grey.png": rgb[..., 0],
        "la.png": np.dstack([rgb[..., 0], rgb[..., 1]]),
        "rgba.png": np.dstack([rgb, rgb[..., 1]]),
        "deep_grey.png": deep[..., 0],
        "deep.png": imagecodecs.png_encode(deep),
        "turned.png": turned.getvalue(),
    }
    outcome, out = restore(models("jpeg-10"), tmp_path, **given)
    assert outcome.restored == len(given) and not outcome.unreadable
    for name in ("grey.png", "la.png", "rgba.png", "deep_grey.png"):
        assert close(read(out / name), given[name]), name
        assert read(out / name).shape == given[name].shape
    restored = imagecodecs.png_decode((out / "deep.png").read_bytes())
    assert restored.dtype == np.uint16 and close(restored, deep)
    assert close(read(out / "turned.png"), np.rot90(rgb, -1))
    with Image.open(out / "turned.png") as image:
        tags = image.getexif()
    assert (tags[0x0110], tags.get(0x0112, 1)) == ("Camera", 1)


def test_a_preview_shows_the_middle_before_and_after(models, tmp_path, capsys):
    options = Options(nfe=1, preview=True)
    outcome, out = restore(models("jpeg-10"), tmp_path, options, **{"a.png": photo(64, 90)})
    assert outcome.written == (PREVIEW,)
    assert [path.name for path in out.iterdir()] == [PREVIEW]
    shown = read(out / PREVIEW)
    assert shown.shape == (16, 32, 3)
    assert close(shown[:, :16], shown[:, 16:])
    assert close(shown[:, :16], photo(64, 90)[16:32, 32:48])


def test_a_preview_of_a_degraded_picture(models, tmp_path):
    options = Options(nfe=1, preview=True, degrade=True)
    _, out = restore(models("jpeg-10"), tmp_path, options, **{"a.png": photo(64, 90)})
    shown = read(out / PREVIEW)
    assert shown.shape == (16, 32, 3) and close(shown[:, :16], shown[:, 16:])


def test_a_trajectory_is_a_strip_of_states(models, tmp_path):
    options = Options(nfe=4, trajectory=True)
    _, out = restore(models("jpeg-10"), tmp_path, options, **{"a.png": photo(30, 40)})
    strip = read(out / "a_trajectory.png")
    assert strip.shape == (30, 4 * 40, 3)
    assert close(strip[:, :40], photo(30, 40))
    with pytest.raises(ValueError, match="use 2"):
        restore_folder(
            models("jpeg-10"), tmp_path / "in", out / "2", Options(nfe=1, trajectory=True)
        )


def test_samples_are_refused_without_noise(models, tmp_path):
    with pytest.raises(ValueError, match="OT-ODE, which draws none"):
        restore(models("jpeg-10"), tmp_path, Options(nfe=1, samples=4), **{"a.png": photo(9, 9)})
    sde = make_config(corruption="jpeg-10")
    with pytest.raises(ValueError, match=r"a single evaluation \(nfe=1\) draws none"):
        Options(nfe=1, samples=4).resolve(sde)
    # but where X_1 has noise, or a second evaluation draws some
    Options(nfe=1, samples=4).resolve(make_config(corruption="colorize"))
    Options(nfe=2, samples=4, sampler="implicit").resolve(sde)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 40}, "tile=40 must be a multiple of 16, e.g. 32"),
        ({"tile": 32, "overlap": 32}, "overlap=32 must lie in 0…16"),
        ({"nfe": 0}, "nfe=0 must lie in 1…999"),
    ],
)
def test_options_that_do_not_fit(models, tmp_path, options, message):
    given = Options(**{"nfe": 1} | options)
    with pytest.raises(ValueError, match=message):
        restore(models("jpeg-10"), tmp_path, given, **{"a.png": photo(90, 90)})
    assert not (tmp_path / "out").exists()


def blocks_jpeg(height, width, orientation):
    """A JPEG, stored so large, of which every block of 8×8 has one colour."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3))
    stored = np.uint8(colours.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])
    return pillow(stored, "JPEG", quality=95, subsampling=0, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_windows_start_on_a_jpegs_blocks_whichever_way_it_was_turned(
    models, tmp_path, monkeypatch, orientation
):
    # no side is a multiple of 16: counted from the far side, blocks lie elsewhere
    data, seen = blocks_jpeg(53, 59, orientation), {}
    windows = Engine.stream

    def watched(self, given, *options, **more):
        given = list(given)
        seen.update({tuple(window.origin.tolist()): window.x1 for window in given})
        yield from windows(self, given, *options, **more)

    monkeypatch.setattr(Engine, "stream", watched)
    options = Options(nfe=1, tile=32, overlap=16)
    _, out = restore(models("jpeg-10"), tmp_path, options, **{"a.jpg": data})
    inside = seen[16, 16][:24, :24].reshape(3, 8, 3, 8, 3)
    assert inside.std(axis=(1, 3)).max() < 0.01 < inside.std(axis=(0, 2)).min()
    np.testing.assert_array_equal(read(out / "a.png"), decode_rgb(data))


def test_a_jpeg_whose_tables_cannot_be_read_is_restored_all_the_same(models, tmp_path, monkeypatch):
    def broken(data):
        raise UnreadableImage("a JPEG with a broken header")

    monkeypatch.setattr(reader, "jpeg_info", broken)
    data = pillow(photo(20, 20), "JPEG")
    outcome, out = restore(models("jpeg-10"), tmp_path, **{"a.jpg": data})
    assert outcome.restored == 1
    np.testing.assert_array_equal(read(out / "a.png"), decode_rgb(data))


def told(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("note:")]


def test_of_an_animation_it_is_said_that_one_frame_is_restored(models, tmp_path, capsys):
    frames = [Image.fromarray(photo(20, 20, seed=seed)) for seed in (0, 1)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    given = {"a.gif": moving.getvalue(), "b.png": photo(20, 20), "c.gif": moving.getvalue()}
    restore(models("jpeg-10"), tmp_path, **given)
    assert told(capsys) == [
        "note: a.gif holds 2 pictures, of which the first is read",
        "note: 1 more as a.gif, which holds 2 pictures, of which the first is read",
    ]


def test_pictures_of_kinds_that_are_not_read_are_told(models, tmp_path, capsys):
    given = {"a.png": photo(20, 20), "c.CR2": b"?", "notes.txt": b"?"}
    outcome, _ = restore(models("jpeg-10"), tmp_path, **given)
    assert outcome.restored == 1
    assert told(capsys) == ["note: 2 files with other suffixes (.cr2 .txt) are left out"]


def test_a_seed_that_changes_nothing_is_told(models, tmp_path, capsys):
    restore(models("jpeg-10"), tmp_path, Options(nfe=1, seed=3), **{"a.png": photo(20, 20)})
    assert told(capsys) == ["note: seed=3 changes nothing: nothing is drawn here"]
    sde = make_config(corruption="jpeg-10")
    assert not Options(nfe=2, seed=3).resolve(sde).is_seed_idle(sde)
    masked = make_config(corruption="inpaint-center")
    assert not Options(nfe=1, seed=3).resolve(masked).is_seed_idle(masked)
    clean = Options(nfe=1, seed=3, degrade=True).resolve(sde)
    assert not clean.is_seed_idle(sde)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"samples": 2, "preview": True}, "preview restores one crop once: leave out samples=2"),
        ({"trajectory": True, "preview": True}, "leave out trajectory"),
        ({"tile": 32, "degrade": True}, "tile=32 is for pictures as they are"),
        ({"overlap": 0, "degrade": True}, "overlap=0 is for pictures as they are"),
        ({"member": "jpeg-10"}, "member='jpeg-10' is for runs on a mixture"),
    ],
)
def test_what_would_do_nothing_is_refused(models, tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        given = Options(**{"nfe": 1} | options)
        restore(models("jpeg-10"), tmp_path, given, **{"a.png": photo(20, 20)})
