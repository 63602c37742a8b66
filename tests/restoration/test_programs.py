"""A model as programs: read and run without this package, beside its own answer."""

import hashlib
import io
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax import export
from PIL import Image

from i2sb_jax import interop
from i2sb_jax.cli import export as tool
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.pictures import read_jpeg_info
from i2sb_jax.restoration import Restorer
from i2sb_jax.restoration.folder import restore_folder
from i2sb_jax.restoration.programs import save_programs, told_lines
from i2sb_jax.restoration.told import told_settings
from i2sb_jax.run import restoring_run
from tests.restoration.models import lying, photo
from tests.training.tiny import fresh_params, make_config

# no attention and no normalisation, as the models that ship
LOCAL = {"model": {"middle_attention": False, "norm": "none", "patch": 2}}


def model(folder, corruption="noise-0-50", **overrides):
    """A network of random weights, so that its answer is no identity."""
    config, draw = make_config(corruption=corruption, **overrides), np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + draw.normal(0, 0.05, x.shape).astype(x.dtype), fresh_params(config)
    )
    interop.save_model(folder, config, params)
    return str(folder)


def loaded(folder, name):
    """A program without this package -> (weights, the program)."""
    weights = list(np.load(folder / "weights.npz").values())
    return weights, export.deserialize(bytearray((folder / name).read_bytes()))


def saved(path, output, *, nfe=None, sampler=None, **options):
    config, params = interop.load_model_folder(path)
    chosen = config.choose_sampling(nfe=nfe, sampler=sampler)
    run = restoring_run(config)
    origin = interop.read_provenance(path)
    save_programs(
        run, params, output, sampling=chosen, platforms=("cpu",), provenance=origin, **options
    )
    return output


@pytest.mark.parametrize("nfe", [1, 3])
def test_it_restores_as_the_restorer_does_at_any_size(tmp_path, nfe):
    path = model(
        tmp_path / "m", bridge={"deterministic": True}, sampling={"sampler": "ode"}, **LOCAL
    )
    folder = saved(path, tmp_path / "p", nfe=nfe)
    weights, program = loaded(folder, "restore.jax")
    for shape in ((1, 64, 96), (3, 96, 64)):
        x1 = np.random.default_rng(0).uniform(-1, 1, (*shape, 3)).astype(np.float32)
        theirs = program.call(weights, np.zeros((shape[0], 2), np.uint32), x1)
        ours = Restorer.from_workdir(path)(x1, nfe=nfe)
        np.testing.assert_allclose(theirs, ours, atol=2e-5)
        assert np.abs(theirs - x1).max() > 0.01  # it does something


def test_what_is_drawn_follows_from_the_keys(tmp_path):
    path = model(tmp_path / "m", sampling={"sampler": "ddpm"}, **LOCAL)
    weights, program = loaded(saved(path, tmp_path / "p", nfe=3, tile=32, batch=2), "restore.jax")
    x1 = np.zeros((2, 32, 32, 3), np.float32)
    keys = np.array([[0, 1], [0, 2]], np.uint32)
    first, again = (program.call(weights, keys, x1) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).max() > 1e-3
    with pytest.raises(ValueError, match="shape"):
        program.call(weights, keys[:1], x1[:1])


def test_the_folder_says_what_is_in_it(tmp_path):
    folder = saved(model(tmp_path / "m", **LOCAL), tmp_path / "p", nfe=1)
    facts = json.loads((folder / "programs.json").read_text())
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    for name, told in facts["programs"].items():
        _, program = loaded(folder, name)
        assert program.platforms == tuple(facts["platforms"])
        assert told["gives"].startswith(
            f"float32[{', '.join(map(str, program.out_avals[0].shape))}]"
        )
    assert len(told) == 4 and "b, 2*h, 2*w, 3" in told["x1"]


def test_attention_and_masks(tmp_path):
    path = model(tmp_path / "m", corruption="inpaint-center")
    folder = saved(path, tmp_path / "p", nfe=1)
    facts = json.loads((folder / "programs.json").read_text())
    assert "b, 16, 16, 1" in facts["programs"]["restore.jax"]["mask"]
    assert "```" not in (folder / "README.md").read_text()  # its X_1 is more than a picture
    config, params = interop.load_model_folder(path)
    with pytest.raises(ValueError, match="tile=32 must be 16"):
        save_programs(
            restoring_run(config), params, tmp_path / "q", sampling=config.sampling, tile=32
        )
    assert not (tmp_path / "q").exists()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("factors", ["11", "21", "22", "12", "41"])
def test_the_page_tells_of_a_file_what_the_tool_tells(mode, factors):
    buffer = io.BytesIO()
    Image.fromarray(photo(24, 32)).convert(mode).save(buffer, "JPEG", quality=70, subsampling=0)
    first = {"RGB": 1, "L": 1, "CMYK": ord("C")}[mode]
    data = buffer.getvalue().replace(bytes([first, 0x11]), bytes([first, int(factors, 16)]), 1)
    facts = corruption_facts("jpeg-told-5-95")
    found = {"np": np, "photo": Image.open(io.BytesIO(data))}
    exec(told_lines(facts), found)
    halved = {"21": [1, -1], "22": [1, 1], "12": [-1, 1]}.get(factors, [-1, -1])
    assert mode != "RGB" or found["told"][2:] == halved
    if mode != "CMYK":  # whose black is sampled as the first
        expected = told_settings(facts, read_jpeg_info(data))
        np.testing.assert_allclose(found["told"], expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, (70, 90)) for name in ("jpeg", "sr4x", "deblur")),
        ("jpeg", (9, 7)),
        ("sr4x", (9, 7)),
    ],
)
def test_the_page_restores_a_photograph_without_this_package(tmp_path, name, size):
    folder = saved(name, tmp_path / "p", nfe=1)
    file = "photo.jpg" if name == "jpeg" else "photo.png"
    Image.fromarray(photo(*size)).save(folder / file, quality=60, exif=lying())
    page = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    script = "import sys\nsys.modules['i2sb_jax'] = None\n" + page.replace("photo.png", file)
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    restore_folder(name, folder / file, tmp_path / "ours.png", quiet=True)
    theirs, ours = (
        np.asarray(Image.open(path)) for path in (folder / "restored.png", tmp_path / "ours.png")
    )
    assert theirs.shape == ours.shape and np.abs(theirs.astype(int) - ours).max() <= 1
    assert "Apache-2.0" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--nfe", 3), "--nfe 3 is for --format jax or onnx, not i2sb"),
        (("--format", "jax", "--push", "a/b"), "--push a/b: weights go to the hub"),
        (("--format", "jax", "--tile", 33), "tile=33 must be a multiple of 2"),
        (("--format", "jax", "--batch", 0), "--batch 0 must be at least 1"),
        (("--format", "jax", "--nfe", 5000), "nfe=5000"),
    ],
)
def test_the_tool_refuses_in_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    path = model(tmp_path / "m", **LOCAL)
    given = ["--model", path, "--output", str(tmp_path / "out"), *map(str, arguments)]
    monkeypatch.setattr(sys, "argv", ["i2sb-export", *given])
    with pytest.raises(SystemExit) as stop:
        tool.main()
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert stop.value.code == 2 and message in error and not pathlib.Path(tmp_path / "out").exists()
