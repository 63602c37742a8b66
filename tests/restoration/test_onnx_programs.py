"""A model as ONNX programs: run by onnxruntime, beside this package's own answer.

`save_onnx` itself runs each program beside its function, and refuses to write one that differs; so
a case here needs no more than that something was written.
"""

import hashlib
import json
import subprocess
import sys

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.cli import export as tool
from i2sb_jax.restoration import Restorer, onnx_programs, onnx_walk
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.run import restoring_run
from i2sb_jax.types import StartedParams
from tests.restoration.models import lying, photo
from tests.training.tiny import fresh_params, make_config

# no attention and no normalisation, as the models that ship
LOCAL = {"middle_attention": False, "norm": "none", "patch": 2}
TASK = {"corruption": "noise-0-50", "model": LOCAL}
ODE = {"bridge": {"deterministic": True}, "sampling": {"sampler": "ode", "nfe": 1}}


def drawn(config):
    """Random weights, so that the answer is no identity."""
    draw = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: x + draw.normal(0, 0.05, x.shape).astype(x.dtype), fresh_params(config)
    )


def saved(config, output, *, params=None, sampling=None, **options):
    params = drawn(config) if params is None else params
    chosen = config.choose_sampling(**(sampling or {}))
    run = restoring_run(config, dtype="float32")
    onnx_programs.save_onnx(run, params, output, sampling=chosen, **options)
    return output


def loaded(folder, name="restore.onnx"):
    return onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])


def facts(folder):
    return json.loads((folder / "programs.json").read_text())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model folder, and its programs."""
    root, config = tmp_path_factory.mktemp("onnx"), make_config(**TASK, **ODE)
    interop.save_model(root / "m", config, drawn(config))
    return root / "m", saved(config, root / "p")


def test_it_restores_as_the_restorer_does(model):
    """In the middle; borders are those of files' windows."""
    path, folder = model
    images = np.stack([photo(100, 120, seed=i) for i in range(2)]) / np.float32(127.5) - 1
    given = images.astype(np.float32).transpose(0, 3, 1, 2)
    (theirs,) = loaded(folder).run(None, {"degraded": given})
    ours = Restorer.from_workdir(path)(images.astype(np.float32))
    inside = slice(20, -20)
    difference = np.abs(theirs.transpose(0, 2, 3, 1) - ours)[:, inside, inside]
    assert difference.max() < 1e-4 < 0.01 < np.abs(theirs - given).max()


def test_the_folder_says_what_is_in_it(model):
    _, folder = model
    told = facts(folder)
    assert set(told["sha256"]) == set(told["programs"]) == {"network.onnx", "restore.onnx"}
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
        program = onnx.load(folder / name)
        about = {each.key: each.value for each in program.metadata_props}
        assert about["corruption"] == "noise-0-50" and about["arrays"] == told["arrays"]
        names = {x.name for x in (*program.graph.input, *program.graph.output)}
        assert names == set(told["programs"][name])
    assert told["programs"]["network.onnx"]["x_t"].startswith("float32[batch, 3, height, width]")


CASES = {
    # noise at each step, and of known pixels at the last too; attention: windows of one size
    "holes": ({"corruption": "inpaint-center"}, {"sampler": "ddpm", "nfe": 2}),
    # looks back at the predictions before; a network that is told how files were made
    "told": (
        {"corruption": "jpeg-told-5-95", "model": LOCAL, "bridge": {"prediction": "v"}},
        {"sampler": "implicit3", "nfe": 4, "spacing": "lambda"},
    ),
    # starts around X_1, which the network sees beside X_t; between the mean and a sample
    "beside": (
        TASK | {"bridge": {"name": "resshift", "x1_input": True},
                "sampling": {"realism": 0.5, "clip": True}},
        {"sampler": "ddpm", "nfe": 2},
    ),
    "small": (
        {"corruption": "sr4x-photo", "model": LOCAL | {"dtype": "bfloat16"}, **ODE}, {"nfe": 1},
    ),
    # its network sees noise
    "student": (TASK | {"teacher": "t", "sampling": {"sampler": "ode", "nfe": 2}}, {}),
}  # fmt: skip
DRAWS = {"holes": 3, "told": 1, "beside": 2, "student": 2}


@pytest.mark.parametrize("name", CASES)
def test_samplers_and_inputs(tmp_path, name):
    overrides, sampling = CASES[name]
    folder = saved(make_config(**overrides), tmp_path / "p", sampling=sampling)
    about = facts(folder)
    told = about["programs"]["restore.onnx"]
    assert about["sampling"]["nfe"] == sampling.get("nfe", 2)
    assert about["sampling"]["realism"] == (0.5 if name == "beside" else 1)
    assert about["sampling"]["clip"] == (name == "beside")
    assert ("noise" in told) == (name in DRAWS)
    if name in DRAWS:
        assert told["noise"].startswith(f"float32[{DRAWS[name]}, batch, 3, ")
    if name == "holes":
        assert "[batch, 1, 16, 16]" in told["mask"]
        assert "```" not in (folder / "README.md").read_text()  # its X_1 is more than a picture
    if name == "small":
        assert "[batch, 3, 4*height, 4*width]" in told["restored"]


@pytest.mark.parametrize("scaling", ["dtype", "fixed"])
def test_values_of_pairs_without_bounds_are_not_cut_off(tmp_path, scaling):
    data = {"source": "pairs", "path": "a", "target_path": "b", "scaling": scaling}
    config = make_config(corruption="pairs", data=data, model=LOCAL, **ODE)
    folder = saved(config, tmp_path / "p")
    (found,) = loaded(folder).run(None, {"degraded": np.full((1, 3, 16, 16), 3, np.float32)})
    told = facts(folder)["programs"]["restore.onnx"]["restored"]
    assert (found.max() <= 1) == ("in [-1, 1]" in told) == (scaling == "dtype")


def test_a_start_at_another_answer_and_weights_too_many_for_a_program(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_programs, "_LARGEST", 0)
    theirs = make_config(corruption="jpeg-10", model=LOCAL)
    interop.save_model(tmp_path / "m", theirs, drawn(theirs))
    ours = make_config(corruption="jpeg-10", model=LOCAL, bridge={"start": str(tmp_path / "m")})
    params = StartedParams(drawn(ours), drawn(theirs))
    options = {"params": params, "sampling": {"nfe": 1, "sampler": "ddpm"}, "tile": 32, "batch": 1}
    folder = saved(ours, tmp_path / "p", **options)
    assert "[1, 1, 3, 32, 32]" in facts(folder)["programs"]["restore.onnx"]["noise"]
    # both programs share one file
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert facts(folder)["sha256"].keys() == {"network.onnx", "restore.onnx", "weights.bin"}
    assert sizes["weights.bin"] == sum(x.nbytes for x in jax.tree.leaves(params))
    assert sizes["network.onnx"] + sizes["restore.onnx"] < sizes["weights.bin"]


def test_bfloat16_is_exported_as_float32_or_refused(tmp_path):
    config = make_config(**TASK | {"model": LOCAL | {"dtype": "bfloat16"}})
    with pytest.raises(ValueError, match="dtype=bfloat16 of the run: ONNX programs compute in fl"):
        onnx_programs.save_onnx(
            restoring_run(config), drawn(config), tmp_path / "p", sampling=config.sampling
        )
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("wrong", ["borders", "network"])
def test_what_differs_is_not_written(tmp_path, monkeypatch, wrong):
    if wrong == "borders":
        cut = onnx_walk.cut
        shifted = lambda graph, x, *, like, before=0: cut(graph, x, like=like, before=before + 1)  # noqa: E731
        monkeypatch.setattr(onnx_walk, "cut", shifted)
    else:
        add = onnx_programs.add_network
        swapped = lambda graph, *given: graph.add("Neg", add(graph, *given))  # noqa: E731
        monkeypatch.setattr(onnx_programs, "add_network", swapped)
    name = {"borders": "restore", "network": "network"}[wrong]
    with pytest.raises(ValueError, match=f"{name}.onnx differs by .* not written"):
        saved(make_config(**TASK, **ODE), tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("arguments, message", [
    (("--tile", 33), "tile=33 must be a multiple of 2"),
    (("--push", "a/b"), "--push a/b: weights go to the hub, not --format onnx"),
    (("--format", "adm", "--batch", 2), "--batch 2 is for --format jax or onnx, not adm"),
])  # fmt: skip
def test_the_tool_refuses_in_one_line(tmp_path, model, complaint, arguments, message):
    given = ["--model", model[0], "--output", tmp_path / "out", "--format", "onnx", *arguments]
    assert message in complaint(given) and not (tmp_path / "out").exists()


def test_a_missing_package_is_named(tmp_path, model, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "i2sb_jax.restoration.onnx_programs")
    given = ["--model", model[0], "--output", tmp_path / "out", "--format", "onnx"]
    assert "--format onnx needs onnxruntime: pip install 'i2sb_jax[onnx]'" in complaint(given)


@pytest.fixture
def complaint(monkeypatch, capsys):
    """The last line of the tool's complaint about arguments."""

    def complaint(arguments):
        monkeypatch.setattr(sys, "argv", ["i2sb-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            tool.main()
        assert stop.value.code == 2
        return capsys.readouterr().err.strip().splitlines()[-1]

    return complaint


# what a person has who never heard of this package
BLOCKED = ("i2sb_jax", "jax", "flax", "onnx", "scipy", "tensorflow", "skimage")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["jpeg", "sr4x", "deblur", "denoise"])
def test_the_page_restores_a_photograph_without_this_package(tmp_path, name):
    config, params = interop.load_model_folder(name)
    folder = saved(config, tmp_path / "p", params=params, sampling={"nfe": 1})
    height, width = (50, 40) if name == "sr4x" else (200, 168)
    file = "photo.jpg" if name == "jpeg" else "photo.png"
    picture = Image.fromarray(photograph(noise=15 * (name == "denoise"))[:height, :width])
    picture.save(folder / file, quality=40, exif=lying())
    page = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(page.splitlines()) <= 20
    script = f"import sys\nsys.modules.update(dict.fromkeys({BLOCKED}))\n"
    script += page.replace("photo.png", file)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    restore_folder(name, folder / file, tmp_path / "ours.png", quiet=True)
    before, theirs, ours = (
        np.asarray(Image.open(path)).astype(int)
        for path in (folder / file, folder / "restored.png", tmp_path / "ours.png")
    )
    assert np.abs(theirs - ours).max() <= 1
    assert name == "sr4x" or np.abs(theirs - np.rot90(before, -1)).max() > 5


def photograph(*, noise=0):
    """A cat's face, with noise of so many levels."""
    from skimage import data

    face = data.chelsea()[60:260, 120:320]
    drawn = np.random.default_rng(0).normal(0, noise, face.shape)
    return np.uint8(np.clip(np.rint(face + drawn), 0, 255))
