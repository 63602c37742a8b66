"""A whole evaluation: its files, going on where it stopped, and pictures that are no use."""

import csv
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from i2sb_jax import metrics
from i2sb_jax.accelerators import sharding
from i2sb_jax.evaluation import job, scores
from i2sb_jax.evaluation.frechet import FeatureMoments, frechet_distance
from i2sb_jax.evaluation.networks import Network
from i2sb_jax.evaluation.options import Options
from i2sb_jax.evaluation.results import check_finite
from i2sb_jax.evaluation.store import ShardStore
from i2sb_jax.types import NonFiniteError
from tests.evaluation.models import (
    Pictures,
    make_data,
    make_model,
    use_plain_sampler,
    use_small_features,
)
from tests.training.tiny import Killed

OPTIONS = Options(nfes=(1, 3), sampler="ddpm")


@pytest.fixture(scope="module", autouse=True)
def plain_sampler():
    with pytest.MonkeyPatch.context() as patch:
        use_plain_sampler(patch)
        yield


@pytest.fixture(scope="module")
def model():
    return make_model()


def run(model, folder, *, pictures=None, options=OPTIONS, devices=1, views=None):
    told = []
    mesh = sharding.make_mesh(devices=jax.devices()[:devices])
    data = make_data(pictures, views=views)
    results = job.evaluate_model(
        model, data, folder, options, mesh=mesh, warn=told.append, quiet=True
    )
    return results, told


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """An evaluation that nothing disturbed, with features."""
    folder = tmp_path_factory.mktemp("evaluation") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        use_small_features(patch)
        results, told = run(model, folder)
    return folder, results, told


def test_figures_are_those_of_the_stored_pictures(whole):
    folder, results, _ = whole
    store = ShardStore(folder, count=7, size=2)
    clean = store.whole("pictures/clean")["image"]
    for method in ("degraded", "nfe 1", "nfe 3"):
        images = store.whole(f"pictures/{method.replace(' ', '-')}")["image"]
        assert images.shape == (7, 16, 16, 3) and images.dtype == np.uint8
        unit = [x.astype(np.float32) / 127.5 - 1 for x in (clean, images)]
        figures = results["figures"][method]
        assert figures["psnr"]["value"] == pytest.approx(
            float(metrics.psnr(*unit).mean()), rel=1e-6
        )
        assert figures["ssim"]["value"] == pytest.approx(
            float(metrics.ssim(*unit).mean()), rel=1e-5
        )
        arrays = store.whole(f"scores/{method.replace(' ', '-')}")
        (features,) = (values for name, values in arrays.items() if name.startswith("inception-"))
        (own,) = (v for n, v in store.whole("scores/clean").items() if n.startswith("inception-"))
        a, b = FeatureMoments.of(features), FeatureMoments.of(own)
        expected = frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
        assert figures["fid"]["value"] == pytest.approx(expected, rel=1e-9)
    assert (
        results["figures"]["nfe 1"]["psnr"]["value"] != results["figures"]["nfe 3"]["psnr"]["value"]
    )


def test_what_it_writes(whole):
    folder, results, told = whole
    assert json.loads((folder / "results.json").read_text()) == results
    assert results["facts"]["seed"] == 0 and results["config"]["image_size"] == 16
    assert results["weights"] == {"evaluation.inception": "ab12"}
    assert set(results["versions"]) >= {"i2sb_jax", "jax", "flax", "python"}
    assert results["left_out"] == {
        "LPIPS": "no file",
        "SSIM of Y": "pictures of 8 pixels without their border are smaller than its window",
        "95 % intervals": "they need 10 pictures at least",
    }
    assert told == [f"{name} left out: {why}" for name, why in results["left_out"].items()]
    assert results["values"] == {
        **{"data_range": 2.0, "dtype": "uint8", "minus_one": [0.0], "one": [255.0]},
        "clipped_to": [[-1.0], [1.0]],
    }
    rows = list(csv.DictReader((folder / "pictures.csv").read_text().splitlines()))
    assert [row["name"] for row in rows] == [f"p{n}.png" for n in range(7)]
    values = [float(row["nfe 3: psnr"]) for row in rows]
    assert np.mean(values) == pytest.approx(results["figures"]["nfe 3"]["psnr"]["value"])
    report = (folder / "report.html").read_text()
    assert "p6.png" in report and "nfe 3" in report


def test_the_same_again_computes_nothing(model, whole, monkeypatch):
    folder, results, _ = whole
    use_small_features(monkeypatch)
    monkeypatch.setattr(job, "evaluate", lambda *_, **__: pytest.fail("restored again"))
    pictures = Pictures()
    again, _ = run(model, folder, pictures=pictures)
    assert again == results
    # only the report's few pictures are read, for the path
    assert [numbers for numbers in pictures.asked[:-1] if numbers] == []


@pytest.mark.parametrize("batches", [1, 5, 7, 11])
def test_after_a_kill_it_goes_on_to_the_same_figures(model, whole, monkeypatch, tmp_path, batches):
    use_small_features(monkeypatch)
    pictures = Pictures(stop_after=batches)
    with pytest.raises(Killed):
        run(model, tmp_path / "killed", pictures=pictures)
    rest = Pictures()
    results, _ = run(model, tmp_path / "killed", pictures=rest)
    assert results["figures"] == whole[1]["figures"]
    undisturbed = 4 + 4 + 4  # shards: of what is given, and of two methods
    done = len(list((tmp_path / "killed" / "pictures" / "clean").iterdir()))
    assert done == 4 and rest.given < undisturbed + 6


def test_another_method_is_added_without_repeating_the_first(model, tmp_path):
    run(model, tmp_path / "e", options=Options(nfes=(1,)))
    pictures = Pictures()
    results, _ = run(model, tmp_path / "e", pictures=pictures, options=Options(nfes=(1, 2)))
    assert list(results["figures"]) == ["degraded", "nfe 1", "nfe 2"]
    assert [len(numbers) for numbers in pictures.asked[:2]] == [2, 8]  # to measure, of nfe 2


def test_new_weights_score_what_is_stored(model, tmp_path, monkeypatch):
    first, _ = run(model, tmp_path / "e")
    assert "fid" not in first["figures"]["nfe 1"]
    use_small_features(monkeypatch)
    monkeypatch.setattr(job, "evaluate", lambda *_, **__: pytest.fail("restored again"))
    second, _ = run(model, tmp_path / "e")
    assert second["figures"]["nfe 1"]["fid"]["value"] > 0
    assert second["figures"]["nfe 1"]["psnr"] == first["figures"]["nfe 1"]["psnr"]


def test_pictures_that_are_no_use_are_left_out_and_told(model, tmp_path, monkeypatch):
    use_small_features(monkeypatch)
    broken = Pictures(broken=(1,), nan=(4,))
    results, told = run(model, tmp_path / "e", pictures=broken, options=Options(nfes=(1,)))
    assert results["figures"]["nfe 1"]["psnr"]["pictures"] == 5
    assert np.isfinite(results["figures"]["nfe 1"]["fid"]["value"])
    assert "p4.png holds values that are not finite: left out" in told
    assert "2 of 7 pictures could not be used, and are left out" in told
    assert results["facts"]["unreadable"] == 2
    rows = list(csv.DictReader((tmp_path / "e" / "pictures.csv").read_text().splitlines()))
    assert rows[1]["name"] == "picture 1" and rows[1]["nfe 1: psnr"] == ""


def test_a_network_that_gives_nan_costs_its_figures_alone(tmp_path, model):
    params = jax.tree.map(lambda x: np.full_like(x, np.nan), model.params)
    results, told = run(model._replace(params=params), tmp_path / "e", options=Options(nfes=(1,)))
    figures = results["figures"]
    assert figures["nfe 1"]["psnr"] == {
        "value": None, "low": None, "high": None, "pictures": 0, "interval": "percentile"
    }  # fmt: skip
    assert figures["degraded"]["psnr"]["pictures"] == 7
    assert any("nfe 1: 7 pictures are not finite" in line for line in told)
    with pytest.raises(NonFiniteError, match="for every picture, and the figures of nfe 1 are"):
        check_finite(results)
    json.loads((tmp_path / "e" / "results.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "options, told",
    [
        (Options(nfes=(1,), seed=1), "seed is 0 there, 1 here"),
        (Options(nfes=(1,), limit=3), "pictures is 7 there, 3 here"),
        (Options(nfes=(1,), sampler="ode"), "sampler is 'ddpm' there, 'ode' here"),
    ],
)
def test_results_of_other_settings_are_never_mixed(model, whole, options, told):
    folder, _, _ = whole
    before = (folder / "results.json").read_bytes()
    with pytest.raises(ValueError, match=told):
        run(model, folder, options=options)
    assert (folder / "results.json").read_bytes() == before


def test_other_evaluations_stay_when_new_ones_are_asked_for(model, tmp_path):
    run(model, tmp_path / "e", options=Options(nfes=(3,)))
    results, _ = run(model, tmp_path / "e", options=Options(nfes=(1,)))
    assert list(results["figures"]) == ["degraded", "nfe 1", "nfe 3"]


def test_labels_may_come_later(model, tmp_path, monkeypatch):
    networks = {"resnet50": Network({}, {"resnet50": "cd"})}
    classes = np.arange(7) % 2
    monkeypatch.setattr(job, "load_networks", lambda *_, **__: (networks, {}))
    monkeypatch.setattr(
        scores.resnet, "logits_from_params", lambda params, x: jax.nn.one_hot(x[:, 0, 0, 0] % 2, 9)
    )
    data = make_data()._replace(labels=[-1] * 7)
    mesh = sharding.make_mesh(devices=jax.devices()[:1])

    def accuracy(data):
        told = []
        results = job.evaluate_model(model, data, tmp_path / "e", Options(nfes=(1,)), mesh=mesh,
                                     warn=told.append, quiet=True)  # fmt: skip
        return results["figures"]["nfe 1"].get("accuracy"), told

    found, told = accuracy(data)
    assert found is None and "classifier accuracy left out: no picture has a label" in told[-2]
    store = ShardStore(tmp_path / "e", count=7, size=2)
    right = store.whole("pictures/nfe-1")["image"][:, 0, 0, 0] % 2
    found, _ = accuracy(data._replace(labels=list(classes)))
    assert found["value"] == pytest.approx(100 * np.mean(right == classes))
    found, _ = accuracy(data._replace(labels=[-1, *right[1:]]))
    assert (found["value"], found["pictures"]) == (100.0, 6)


def test_a_picture_that_goes_missing_stops_the_job_and_costs_nothing(model, tmp_path):
    run(model, tmp_path / "e", options=Options(nfes=(1,)))
    with pytest.raises(ValueError, match="picture 3 of the data could be read before"):
        run(model, tmp_path / "e", options=Options(nfes=(1, 2)), pictures=Pictures(broken=(3,)))
    results, _ = run(model, tmp_path / "e", options=Options(nfes=(1, 2)))
    assert results["figures"]["nfe 2"]["psnr"]["pictures"] == 7


def test_a_picture_that_is_repaired_is_measured_after_all(model, whole, tmp_path, monkeypatch):
    use_small_features(monkeypatch)
    run(model, tmp_path / "e", pictures=Pictures(broken=(3,)))
    pictures = Pictures()
    results, _ = run(model, tmp_path / "e", pictures=pictures)
    assert results["figures"] == whole[1]["figures"]
    assert pictures.asked[0] == [2, 3]  # that shard alone


def test_equal_pictures_count_a_hundred_decibels_and_clean_ones_are_exact(model, tmp_path):
    options = Options(nfes=(1,), limit=3)
    results, _ = run(model, tmp_path / "e", options=options, views={"same": lambda b: b.clean})
    clean = ShardStore(tmp_path / "e", count=3, size=2).whole("pictures/clean")["image"]
    (batch,) = Pictures()(range(3), rows=3)
    np.testing.assert_allclose(clean / 127.5 - 1, batch.clean, atol=1e-6)
    assert results["figures"]["same"]["psnr"]["value"] > 50  # truncated, a level off at most
    figure = job_scores(clean)
    assert float(figure[0]) == 100.0


def job_scores(images):
    return scores.make_score_fn({}, {"psnr": "psnr"})({}, images, images)["psnr"]


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds no evaluation"):
        run(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_shard_is_named(model, tmp_path):
    run(model, tmp_path / "e", options=Options(nfes=(1,)))
    shard = tmp_path / "e" / "pictures" / "nfe-1" / "000001.npz"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"000001.npz cannot be read \(it is damaged\): remove it"):
        run(model, tmp_path / "e", options=Options(nfes=(1,)))
    shard.unlink()
    run(model, tmp_path / "e", options=Options(nfes=(1,)))


def test_pngs_and_views(model, tmp_path):
    options = Options(nfes=(1,), png=True, limit=3)
    views = {"half": lambda batch: batch.degraded / 2}
    results, _ = run(model, tmp_path / "e", options=options, views=views)
    assert list(results["figures"]) == ["degraded", "half", "nfe 1"]
    written = sorted(path.name for path in (tmp_path / "e" / "png" / "nfe-1").iterdir())
    assert written == ["000000_p0.png.png", "000001_p1.png.png", "000002_p2.png.png"]


@pytest.mark.parametrize(
    "options, told",
    [
        (Options(nfes=(0,)), "nfe=0 must lie in 1…49"),
        (Options(nfes=(50,)), "nfe=50 must lie in 1…49"),
        (Options(sampler="euler"), "sampler='euler' is not known"),
        (Options(limit=-1), "limit=-1"),
        (Options(dtype="float16"), "dtype='float16' must be"),
        (Options(seed=-1), "seed=-1"),
    ],
)
def test_options_that_do_not_fit_are_told_and_nothing_is_written(model, tmp_path, options, told):
    with pytest.raises(ValueError, match=told):
        run(model, tmp_path / "e", options=options)
    assert not (tmp_path / "e").exists()


def test_the_evaluation_of_a_start_is_counted_and_told(model, tmp_path, capfd):
    """The plain sampler needs no such model; its place is none of the settings, its noise is."""
    bridge = dataclasses.replace(model.config.bridge, start="runs/mean")
    started = model._replace(config=dataclasses.replace(model.config, bridge=bridge))
    mesh = sharding.make_mesh(devices=jax.devices()[:1])
    evaluate = functools.partial(
        job.evaluate_model, data=make_data(Pictures(count=2)), output=tmp_path, mesh=mesh,
        options=Options(nfes=(1, 3), sampler="ddpm"), warn=print,
    )  # fmt: skip
    results = evaluate(started)
    assert "2 pictures × 6 evaluations" in capfd.readouterr().err  # 1 + 1 and 3 + 1
    assert results["facts"]["start"].startswith("1 evaluation of the model in start/, not counted")
    moved = dataclasses.replace(bridge, start="elsewhere/mean")
    evaluate(started._replace(config=dataclasses.replace(model.config, bridge=moved)))
    louder = dataclasses.replace(bridge, start_noise=0.4)
    with pytest.raises(ValueError, match="bridge"):
        evaluate(started._replace(config=dataclasses.replace(model.config, bridge=louder)))
