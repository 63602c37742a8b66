"""The sweep over samplers and evaluations: what its features see, and figures told by hand."""

import csv
import functools
import io
import os

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("matplotlib")

from experiments.nfe_sweep import __main__ as sweep
from experiments.nfe_sweep import features, report
from experiments.nfe_sweep.measure import Bench, parse_method
from i2sb_jax.cli import startup
from i2sb_jax.evaluation.kernel import kernel_distance
from i2sb_jax.evaluation.networks import Network
from i2sb_jax.metrics import psnr, ssim
from i2sb_jax.pictures import decode_rgb, from_uint8, to_uint8
from i2sb_jax.restoration import Restorer
from tests.cli import evaluations
from tests.golden.synthetic import photo
from tests.restoration.models import identity_model

COUNT = 10


def pixels(count, *, size=32, seed=3):
    return to_uint8(photo(count, size, seed))


# --- features -----------------------------------------------------------------------------------


def test_features_of_a_flat_picture_are_known():
    grey = np.full((2, 19, 16, 3), 191, np.uint8)  # 3 rows are no whole block
    found = features.block_dct(grey).reshape(2, 3, 8, 8)
    expected = np.full((3, 8, 8), np.log(1e-2))
    expected[0, 0, 0] = np.log(1e-2 + 8 * (191 / 127.5 - 1))  # of an orthonormal 8×8 transform
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-3)


def test_features_are_of_their_frequency():
    """A row wave of frequency 3 raises coefficient (0, 3) of luma, and least the others."""
    wave = np.cos(np.pi * (np.arange(8) + 0.5) * 3 / 8)
    picture = np.tile(np.uint8(np.rint(127.5 + 60 * wave)), (1, 16, 2))[..., None].repeat(3, -1)
    found = features.block_dct(picture).reshape(3, 8, 8)
    assert np.unravel_index(found.argmax(), found.shape) == (0, 0, 3)


def test_the_distance_tells_blurred_and_grainy_pictures_from_clean_ones():
    clean = pixels(80)
    scale = features.standardiser(features.block_dct(clean))
    half, other = clean[::2], clean[1::2]

    def distance(images):
        found = [scale(features.block_dct(x)) for x in (images, half)]
        return kernel_distance(*found)

    blurred = np.uint8(sum(np.roll(other.astype(np.float32), s, axis=2) for s in (0, 1, 2)) / 3)
    noise = np.random.default_rng(0).normal(0, 40, other.shape)
    grainy = np.uint8(np.clip(other + noise, 0, 255))
    assert abs(distance(other)) < 0.5
    assert distance(blurred) > 5 and distance(grainy) > 5


def test_standardised_features_have_unit_spread_and_flat_ones_no_division_by_zero():
    clean = np.random.default_rng(0).normal(3, 2, (50, 4)) * [1, 10, 100, 0]
    found = features.standardiser(clean)(clean)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(0), [1, 1, 1, 0], atol=1e-9)


def test_features_of_inception_are_named_after_their_weights(monkeypatch):
    network = Network({"kernel": np.eye(3, dtype=np.float32)}, {"inception": "ab12"})
    monkeypatch.setattr(features, "load_networks", lambda *_, **__: ({"inception": network}, {}))
    monkeypatch.setattr(features, "features_from_params", lambda p, x: x.mean((1, 2)) @ p["kernel"])
    made, images = features.make_features("FILE"), pixels(11)
    np.testing.assert_allclose(made.extract(images), images.mean((1, 2)), rtol=1e-5)
    assert network.version in made.name and made.title.startswith("KID") and not made.standardised
    assert "KID" not in features.make_features(None).title


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def tool(monkeypatch, capsys):
    main = functools.partial(startup.run, sweep.main)
    return functools.partial(evaluations.call, monkeypatch, capsys, main)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("sweep")
    evaluations.make_model(root / "model")
    evaluations.write_pictures(root / "clean", COUNT)
    return root


def options(root, output, *more):
    return ["--model", root / "model", "--data", root / "clean", "--output", output, *more]


def rows_of(folder):
    return list(csv.DictReader(io.StringIO((folder / "sweep.csv").read_text())))


@pytest.fixture
def swept(root, tool):
    """A folder with one sampler at two evaluations, of which only the first call computes."""
    output = root / "output"
    more = ("--nfe", "2", "--samplers", "implicit:0.5")
    status, out, err = tool(*options(root, output, *more))
    assert status == 0, err
    return output, out, err


def test_a_row_by_hand(root, swept):
    output, out, _ = swept
    rows = rows_of(output)
    assert tuple(rows[0]) == report.COLUMNS
    told = [(row["method"], row["spacing"], row["nfe"]) for row in rows]
    samplers = [("implicit:0.5", spacing, "2") for spacing in ("index", "lambda")]
    views = ("clean", "degraded", "bicubic upsampling")
    assert told == [*((name, "", "") for name in views), *samplers]
    restorer = Restorer.from_workdir(root / "model")
    names = sorted(path.name for path in (root / "clean").iterdir())
    files = [decode_rgb((root / "clean" / name).read_bytes()) for name in names]
    clean = from_uint8(np.stack(files))
    degraded = np.asarray(restorer.corruption.degrade(clean))
    restored = restorer(
        degraded, nfe=2, sampler="implicit", spacing="index", eta=0.5, names=names
    )  # fmt: skip
    restored = to_uint8(restored)
    (row,) = [row for row in rows if (row["eta"], row["spacing"]) == ("0.5", "index")]
    x = from_uint8(restored)
    np.testing.assert_allclose(float(row["psnr"]), np.mean(psnr(x, clean)), rtol=1e-4)
    np.testing.assert_allclose(float(row["ssim"]), np.mean(ssim(x, clean)), rtol=1e-3)
    own = features.block_dct(np.stack(files))
    scale = features.standardiser(own)
    expected = kernel_distance(scale(features.block_dct(restored)), scale(own))
    np.testing.assert_allclose(float(row["kernel"]), expected, rtol=1e-3)
    assert float(row["psnr_low"]) < float(row["psnr"]) < float(row["psnr_high"])
    assert rows[0]["psnr"] == "" and int(row["pictures"]) == COUNT
    assert (output / "table.md").read_text() in out
    assert (output / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_goes_on_and_restores_a_grid_once(root, swept, tool, monkeypatch):
    output, *_ = swept
    before, restored, old = rows_of(output), [], Bench.restore
    restore = lambda self, setting: restored.append(setting) or old(self, setting)  # noqa: E731
    monkeypatch.setattr(Bench, "restore", restore)
    status, _, err = tool(*options(root, output, "--nfe", "1,2", "--samplers", "implicit:0.5"))
    assert status == 0, err
    # with one evaluation there is one grid
    assert [(s.method.title, s.spacing, s.nfe) for s in restored] == [("implicit:0.5", "index", 1)]
    after = rows_of(output)
    assert [row for row in after if row["nfe"] != "1"] == before
    single = [row for row in after if row["nfe"] == "1"]
    assert len(single) == 2 and single[0]["psnr"] == single[1]["psnr"]


def test_another_sweep_is_not_mixed_in(root, swept, tool):
    output, *_ = swept
    status, _, err = tool(*options(root, output, "--nfe", "2", "--seed", "1"))
    assert status == 2 and "holds a sweep of other seed" in err


def test_a_run_without_noise_refuses_samplers_with_it(root, tool, tmp_path, monkeypatch):
    identity_model(tmp_path / "ot", corruption="sr4x-pool")
    more = ["--nfe", "1", "--spacings", "index"]
    arguments = ["--model", tmp_path / "ot", "--data", root / "clean", *more]
    status, _, err = tool(*arguments, "--output", tmp_path / "none", "--samplers", "ddpm,implicit2")
    assert status == 2 and err.count("\n") == 1 and "no sampler is left" in err
    status, _, err = tool(*arguments, "--output", tmp_path / "one", "--samplers", "ddpm,ode")
    assert status == 0 and "left out: sampler='ddpm' adds noise" in err
    rows = rows_of(tmp_path / "one")
    assert {row["method"] for row in rows if row["nfe"]} == {"ode"}
    # its network gives zero, so that X_1 comes back: 0.01 of noise would show
    np.testing.assert_allclose(float(rows[-1]["psnr"]), float(rows[1]["psnr"]), rtol=1e-5)


MISTAKES = {
    "there is no run": (["--model", "NOWHERE"], "NOWHERE"),
    "no pictures": (["--data", "NOWHERE"], "NOWHERE does not exist"),
    "a sampler": (["--samplers", "dpm"], "sampler='dpm' is not known"),
    "an eta": (["--samplers", "implicit:two"], "what follows the colon is eta"),
    "an eta of another": (["--samplers", "ddpm:0.5"], "eta=0.5"),
    "a spacing": (["--spacings", "linear"], "--spacings linear is not known"),
    "evaluations": (["--nfe", "50"], "nfe=50 must lie in 1…49"),
    "no numbers": (["--nfe", "many"], "--nfe many must be numbers"),
    "no weights": (["--inception", "NOWHERE"], "evaluation.inception='NOWHERE' is not there"),
    "its own pictures": (["--output", "CLEAN"], "--output"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_line_for_each_mistake(root, tool, tmp_path, case):
    more, told = MISTAKES[case]
    more = [os.fspath(root / "clean") if each == "CLEAN" else each for each in more]
    status, out, err = tool(*options(root, tmp_path / "output", "--nfe", "2", *more))
    assert (status, out) == (2, "") and err.count("\n") == 1 and told in err, err
    assert not (tmp_path / "output").exists()


# --- tables -------------------------------------------------------------------------------------


def made_row(method, scores, *, kernel=0.0):
    return {
        "method": method, "sampler": method, "eta": 0.0, "spacing": "index", "nfe": 5,
        "psnr": list(scores), "ssim": list(scores), "kernel": [kernel, kernel - 9, kernel + 9],
        "kernel_resampled": [kernel, kernel + 0.1] * 25, "seconds": 1.0,
    }  # fmt: skip


def test_rows_are_compared_picture_by_picture():
    spread = np.random.default_rng(0).normal(25, 5, 40)
    best, worse = made_row("ddpm", spread), made_row("ode", spread - 0.1, kernel=2.0)
    alike = made_row("implicit", spread + np.random.default_rng(1).normal(-0.1, 2, 40))
    assert report.worse(worse, best, "psnr")  # though their own intervals overlap
    assert not report.worse(alike, best, "psnr")
    assert report.worse(worse, best, "kernel") and not report.worse(alike, best, "kernel")
    table = report.as_markdown([best, worse, alike], title="distance", told="40 pictures")
    last = table.splitlines()[-1].split("|")
    assert "**ddpm index**" in last[2] or "**implicit index**" in last[2]
    assert "ode" not in last[2] and "ode" not in last[4]


def test_methods_are_named_as_they_are_asked_for():
    for text in ("ddpm", "implicit", "implicit:0.5", "implicit3"):
        assert parse_method(text).title == text
    assert parse_method("implicit:0").title == "implicit"
