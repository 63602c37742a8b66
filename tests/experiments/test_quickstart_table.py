"""The quickstart's table: files blurred and written, restored by somebody, measured from files."""

import numpy as np
import pytest

pytest.importorskip("skimage")

from experiments.quickstart import held_out, table
from i2sb_jax.pictures import decode_rgb, to_uint8, write_png
from tests.golden import synthetic


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two pictures of odd sizes at two widths; restored are half-way to the truth."""
    root = tmp_path_factory.mktemp("photographs")
    for name, height in (("cliff", 61), ("dog", 48)):
        clean = to_uint8(synthetic.photo(1, 64, len(name))[0, :height])
        for width in (1, 1.5):
            file = f"{name}_{width:g}.png"
            seen = held_out.blurred(clean, width=width, noise=2, seed=height)
            half = np.rint((clean.astype(float) + seen) / 2).astype(np.uint8)
            for folder, levels in (("clean", clean), ("degraded", seen), ("restored", half)):
                write_png(f"{root}/{folder}/{file}", levels)
    return [f"{root}/{folder}" for folder in ("clean", "degraded", "restored")]


def test_rows_are_what_the_files_hold(folders):
    rows = table.measure(*folders, noise=2)
    assert [(row.name, row.width) for row in rows] == [
        ("cliff_1", 1), ("cliff_1.5", 1.5), ("dog_1", 1), ("dog_1.5", 1.5),
    ]  # fmt: skip
    for row in rows:
        assert row.restored.psnr - row.file.psnr == pytest.approx(6.02, abs=0.3)
        assert row.restored.ssim > row.file.ssim
        assert row.noiseless.psnr > row.file.psnr
        assert min(score.psnr for score in row.noiseless_told) > row.noiseless.psnr + 1
        assert len({row.wiener, row.best, *row.told, row.file}) == 5


def test_the_table_is_short_and_has_the_means(folders, capsys):
    table.main(folders)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    rows = table.measure(*folders, noise=2)
    gains = [row.restored.psnr - row.file.psnr for row in rows if row.width == 1]
    (line,) = [line for line in lines if line.startswith("| width 1 ")]
    assert line.split(" | ")[3] == f"{np.mean(gains):+.2f}"
    assert sum(line.startswith("| dog_") for line in lines) == 2
    assert lines[-1].startswith("The restored picture that gained least is ")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda f: (f[0], f[1], f[0] + "/nowhere"), "nowhere/cliff_1.png does not exist"),
        (lambda f: (f[0], f[0] + "/nowhere", f[2]), "nowhere holds no PNG files"),
    ],
)
def test_what_is_missing_is_named(folders, change, message, capsys):
    with pytest.raises(SystemExit, match=message):
        table.main(list(change(folders)))


def test_blurs_keep_light_and_are_the_same_each_time(tmp_path):
    flat = np.full((20, 31, 3), 120, np.uint8)
    np.testing.assert_array_equal(held_out.blurred(flat, width=2, noise=0, seed=0), flat)
    noisy = [held_out.blurred(flat, width=2, noise=2, seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert (noisy[0] != noisy[2]).any() and abs(noisy[0].std() - 2) < 0.2


def test_held_out_photographs_are_written_in_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr(held_out, "SPLITS", {"eval": ("coins.png",)})
    assert held_out.write_blurred(str(tmp_path), widths=(1.0, 1.5)) == 2
    clean, seen = (
        decode_rgb((tmp_path / kind / "coins_1.5.png").read_bytes())
        for kind in ("clean", "degraded")
    )
    assert clean.shape == seen.shape == (303, 384, 3)
    assert 2 < np.abs(clean.astype(float) - seen).mean() < 20
