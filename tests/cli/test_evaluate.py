"""i2sb-evaluate: figures that do not depend on the devices, and a line for each mistake."""

import json
import os

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from i2sb_jax.evaluation import inception
from i2sb_jax.evaluation.frechet import load_statistics
from i2sb_jax.interop.safetensors_file import write_safetensors_file
from i2sb_jax.pictures import encode_array
from tests.cli import evaluations
from tests.cli.evaluations import figures, run_apart, run_here
from tests.picture_files import tiff


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("evaluate")
    evaluations.make_model(root / "model")
    evaluations.write_pictures(root / "clean", 11)
    return root


@pytest.fixture
def tool(root, monkeypatch, capsys):
    return lambda *arguments: run_here(monkeypatch, capsys, *arguments)


@pytest.fixture(scope="module")
def on_four(root):
    """Eleven pictures on four devices, two a device: a whole batch and a part of one."""
    output = root / "four"
    common = ["--model", root / "model", "--data", root / "clean", "--nfe", "1,3"]
    done = run_apart(*common, "--output", output, devices=4)
    return common, output, done


def test_one_device_has_the_figures_of_four(tool, root, on_four):
    common, output, done = on_four
    assert "11 pictures × 4 evaluations × " in done.stderr
    assert "measured" in done.stderr and "network calls, about" in done.stderr
    assert f"see {output}/report.html" in done.stdout
    status, out, _ = tool(*common, "--output", root / "one")
    assert status == 0 and "nfe 3" in out
    evaluations.assert_same_figures(figures(output), figures(root / "one"))
    results = json.loads((output / "results.json").read_text())
    assert results["facts"]["devices"].startswith("4 ×")


def test_what_four_devices_began_one_finishes(tool, root, on_four):
    common, output, _ = on_four
    for shard in (output / "pictures" / "nfe-3").iterdir():
        if shard.name > "000001.npz":
            shard.unlink()  # as a kill would have left it
    (output / "results.json").unlink()
    for folder in (output / "scores").iterdir():
        (folder / "000003.npz").unlink()
    kept = {p: p.stat().st_mtime_ns for p in (output / "pictures").rglob("*.npz")}
    status, _, _ = tool(*common, "--output", output)
    assert status == 0
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    evaluations.assert_same_figures(figures(output), figures(root / "one"))


def test_what_is_not_read_is_told_once_a_kind(tool, root, tmp_path):
    two = tiff(np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8),
               photometric="rgb")  # fmt: skip
    for name in "abc":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.tif").write_bytes(two)
    status, _, err = tool("--model", root / "model", "--data", tmp_path / "in", "--nfe", "1",
                          "--output", tmp_path / "out")  # fmt: skip
    assert status == 0, err
    notes = sorted(line for line in err.splitlines() if line.startswith("note: "))
    told = "is read from page 1 of 2, and the others are left out"
    assert len(notes) == 2 and notes[0].startswith("note: 2 more as ") and told in notes[0]
    assert notes[1].endswith(f".tif {told}")


def test_restored_pictures_are_those_of_i2sb_restore(tool, root, tmp_path, monkeypatch):
    from i2sb_jax.pictures import decode_rgb
    from i2sb_jax.restoration.folder import restore_folder
    from i2sb_jax.restoration.options import Options

    status, _, _ = tool("--model", root / "model", "--data", root / "clean", "--nfe", "3",
                        "--sampler", "implicit2", "--spacing", "lambda",
                        "--limit", "2", "--png", "--output", tmp_path / "e")  # fmt: skip
    assert status == 0
    facts = json.loads((tmp_path / "e" / "results.json").read_text())["facts"]
    assert (facts["sampler"], facts["spacing"]) == ("implicit2", "lambda")
    options = Options(nfe=3, sampler="implicit2", spacing="lambda", degrade=True)
    restore_folder(root / "model", root / "clean", tmp_path / "r", options, quiet=True)
    for number in range(2):
        ours = tmp_path / "e" / "png" / "nfe-3" / f"{number:06d}_{number:02d}.png.png"
        theirs = tmp_path / "r" / f"{number:02d}.png"
        one, two = (decode_rgb(path.read_bytes()).astype(int) for path in (ours, theirs))
        assert abs(one - two).max() <= 1  # by the last bit of a float, where it is truncated


def test_labels_come_from_a_list(tool, root, tmp_path, monkeypatch):
    (tmp_path / "list.txt").write_text("03.png 7\n01.png 2\n")
    status, _, _ = tool("--model", root / "model", "--data", root / "clean", "--nfe", "1",
                        "--list", tmp_path / "list.txt", "--output", tmp_path / "e")  # fmt: skip
    assert status == 0
    lines = (tmp_path / "e" / "pictures.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:]] == [["03.png", "7"], ["01.png", "2"]]


def test_weights_that_will_not_do_leave_out_their_metric_alone(tool, root, tmp_path):
    wrong = tmp_path / "wrong.safetensors"
    tensors = {"Conv2d_1a_3x3.conv.weight": np.zeros((32, 3, 5, 5), np.float32)}
    write_safetensors_file(wrong, tensors)
    common = ["--model", root / "model", "--data", root / "clean", "--nfe", "1", "--limit", "2"]
    (tmp_path / "web.pth").write_text("<html>not found")
    status, out, err = tool(*common, "--output", tmp_path / "a", "--inception", wrong,
                            "--resnet50", tmp_path / "none.pth")  # fmt: skip
    lines = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert status == 0 and "PSNR" in out and "FID" not in out
    fid, accuracy, lpips, luma, intervals = lines
    assert "FID and KID left out" in fid and "not 6726825d… of pt_inception-2015-12-05" in fid
    assert "classifier accuracy left out" in accuracy and "none.pth' is not there" in accuracy
    assert "torchvision's ResNet50_Weights.IMAGENET1K_V1" in accuracy
    assert "LPIPS left out: evaluation.lpips_backbone names no file: alexnet" in lpips
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert "SSIM of Y left out" in luma and "95 % intervals left out" in intervals
    assert set(results["left_out"]) == {
        *("FID and KID", "classifier accuracy", "LPIPS", "SSIM of Y", "95 % intervals")
    }
    assert results["weights"] == {}
    # other shapes, where other hashes are allowed; and what is no file of weights at all
    _, _, err = tool(*common, "--output", tmp_path / "a", "--any-weights", "--inception", wrong,
                     "--resnet50", tmp_path / "web.pth")  # fmt: skip
    assert "Conv2d_1a_3x3.conv.weight" in err and "(32, 3, 5, 5)" in err
    assert "web page" in err and "Traceback" not in err


def test_other_pictures_of_the_same_names_are_not_taken_for_these(tool, root, tmp_path):
    folder = tmp_path / "pictures"
    evaluations.write_pictures(folder, 2)
    common = ["--model", root / "model", "--data", folder, "--nfe", "1", "--output", tmp_path / "e"]
    assert tool(*common)[0] == 0
    before = (tmp_path / "e" / "results.json").read_bytes()
    (folder / "01.png").write_bytes((root / "clean" / "05.png").read_bytes())
    status, _, err = tool(*common)
    assert status == 2 and "evaluation of other settings: data is" in err
    assert (tmp_path / "e" / "results.json").read_bytes() == before


def test_results_do_not_go_where_pictures_come_from(tool, root, tmp_path):
    status, _, err = tool("--model", root / "model", "--data", root / "clean", "--nfe", "1",
                          "--output", root / "clean" / "e")  # fmt: skip
    assert status == 2 and err.startswith("error: --output: ") and "lies in" in err
    assert not (root / "clean" / "e").exists()


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["--data", "EMPTY"], "no pictures in"),
        (["--data", "NOWHERE"], "NOWHERE does not exist"),
        (["--data", "CLEAN", "--targets", "CLEAN"], "only of paired data"),
        (["--data", "CLEAN", "--nfe", "1,x"], "--nfe 1,x must be numbers and commas"),
        (["--data", "CLEAN", "--nfe", "50"], "nfe=50 must lie in 1…49"),
        (["--data", "CLEAN", "--limit", "-2"], "limit=-2"),
        (["--data", "CLEAN", "--batch", "0"], "sampling.batch_size=0"),
        (["--data", "CLEAN", "--list", "NOWHERE"], "cannot be read: No such file"),
        (["--data", "CLEAN", "--checkpoint", "best"], "best"),
        (["--data", "CLEAN", "--stampler", "ode"], "unrecognized arguments: --stampler"),
        (["--data", "CLEAN", "--sampler", "euler"], "sampler='euler' is not known"),
        (["--data", "CLEAN", "--spacing", "even"], "spacing='even' is not known"),
        (["--data", "CLEAN", "--eta", "0.5"], "eta=0.5 is of sampler='implicit'"),
        (["--make-stats", "CLEAN", "out.npz"], "evaluation.inception names no file"),
    ],
)
def test_a_mistake_is_one_line(tool, root, tmp_path, arguments, told):
    (tmp_path / "empty").mkdir()
    places = {"EMPTY": tmp_path / "empty", "CLEAN": root / "clean", "NOWHERE": tmp_path / "NOWHERE"}
    arguments = [places.get(each, each) for each in arguments]
    output = tmp_path / "out"
    status, _, err = tool("--model", root / "model", "--output", output, *arguments)
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert status == 2 and len(lines) == 1 and told in lines[0], err
    assert not output.exists()


def test_without_a_model_it_says_so(tool):
    status, _, err = tool("--nfe", "3")
    assert status == 2 and err == "error: --model is missing: name a run, or a model folder\n"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    data = {"source": "pairs", "path": "unused", "crop": "window"}
    evaluations.make_model(root / "model", corruption="pairs", data=data)
    rng = np.random.default_rng(0)
    for side in ("sources", "targets"):
        (root / side).mkdir()
        for number in range(4):
            array = rng.uniform(0, 1, (16, 16, 3)).astype(np.float32)
            if side == "targets" and number == 2:
                array[3, 3, 0] = np.inf
            if side == "sources" and number == 3:
                array = array[:, :8]
            (root / side / f"{number}.npy").write_bytes(encode_array(array, suffix=".npy"))
    lone = encode_array(np.zeros((16, 16, 3), np.float32), suffix=".npy")
    (root / "sources" / "alone.npy").write_bytes(lone)
    return root


def test_pairs_that_do_not_match_are_told_and_left_out(tool, pairs, tmp_path):
    folders = ["--data", pairs / "sources", "--targets", pairs / "targets"]
    status, _, err = tool("--model", pairs / "model", *folders, "--nfe", "2",
                            "--output", tmp_path / "e")  # fmt: skip
    assert status == 0, err
    assert "1 files of" in err and "have no target in" in err and "alone.npy" in err
    assert "picture 2.npy is left out: 1 of its 768 values are infinite" in err
    assert "unreadable picture 3.npy is left out: the source has 8×16 pixels" in err
    assert figures(tmp_path / "e")["nfe 2"]["psnr"]["pictures"] == 2
    assert "Traceback" not in err


def test_folders_without_a_single_pair_are_one_line(tool, root, pairs, tmp_path):
    status, _, err = tool("--model", pairs / "model", "--data", pairs / "sources",
                          "--targets", root / "clean", "--output", tmp_path / "e")  # fmt: skip
    assert status == 2 and "error: " in err and len(err.splitlines()) == 1
    assert not (tmp_path / "e").exists()


def test_statistics_of_a_folder(tool, root, tmp_path, monkeypatch):
    from i2sb_jax.cli import make_stats
    from i2sb_jax.evaluation.networks import Network

    def features(params, images):
        return images.astype(np.float32).reshape(len(images), -1)[:, :48] @ params

    kernel = np.random.default_rng(0).standard_normal((48, 2048)).astype(np.float32) / 255
    networks = {"inception": Network(kernel, {"inception": "ab"})}
    monkeypatch.setattr(make_stats, "features_from_params", features)
    monkeypatch.setattr(make_stats, "load_networks", lambda *_, **__: (networks, {}))
    status, out, err = tool("--make-stats", root / "clean", tmp_path / "s.npz",
                            "--image-size", 16, "--model", root / "model")  # fmt: skip
    assert status == 0, err
    assert "mu and sigma of 11 pictures" in out
    loaded = load_statistics(tmp_path / "s.npz")
    from i2sb_jax.pictures import decode_rgb

    names = sorted(os.listdir(root / "clean"))
    images = np.stack([decode_rgb((root / "clean" / name).read_bytes()) for name in names])
    right = images.astype(np.float32).reshape(11, -1)[:, :48] @ kernel
    np.testing.assert_allclose(loaded.mu, right.mean(axis=0), rtol=1e-4, atol=1e-5)
    assert loaded.sigma.shape[0] == inception.FEATURES
