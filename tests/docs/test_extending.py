"""The page on extending, put to the test: one of each kind, by the files it names alone."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text()

# kind -> files; of each what is put before a line, or the whole of a new file
ADDITIONS = {
    "a corruption": {
        "i2sb_jax/corruptions/negative.py": """
import dataclasses

from i2sb_jax.corruptions.corruption import DeterministicCorruption


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Negative(DeterministicCorruption):
    def transform(self, xp, images):
        return -images


def make_negative(name, image_size):
    return Negative(name=name, image_size=image_size)
""",
        "i2sb_jax/corruptions/names.py": [
            ('    "mixture",\n    "sr2x-photo"', '    "negative",\n')
        ],
        "i2sb_jax/corruptions/facts.py": [
            (
                '    "mixture": _mixture(),',
                '    "negative": _published(natural_input="a negative"),\n',
            )
        ],
        "i2sb_jax/corruptions/factory.py": [
            ('    "real": make_real,', '    "negative": make_negative,\n'),
            ("\n_MAKERS = {", "from i2sb_jax.corruptions.negative import make_negative\n"),
        ],
    },
    "a sampler": {
        "i2sb_jax/bridge/sampler.py": [
            ('SAMPLERS = ("ddpm"', "# one more\n"),
            (
                "    steps = tuple(steps)\n",
                """    if name == "jump":  # the first step and the last alone
        ends = (steps[0], steps[-1])
        return posterior_steps(schedule, ends), ends, NEVER
""",
            ),
        ],
    },
    "a bridge": {
        "i2sb_jax/bridge/families.py": [
            (
                "    makers = {",
                '    if name == "wide":\n'
                "        return brownian_bridge(num_steps=num_steps, variance=4.0)\n",
            ),
        ],
    },
    "a network": {
        "i2sb_jax/models/scaled.py": """
import flax.linen as nn


class Scaled(nn.Module):
    @nn.compact
    def __call__(self, x, noise_level, cond=None, *, train=False):
        return x * self.param("scale", nn.initializers.ones, ())
""",
        "i2sb_jax/models/unet.py": [],
    },
    "a data source": {
        "i2sb_jax/data/flat.py": """
import dataclasses

import numpy as np

from i2sb_jax.data.record import Record


@dataclasses.dataclass(frozen=True)
class FlatSource:
    split: str

    @property
    def names(self):
        return tuple(f"flat-{level}" for level in range(self.split == "eval", 256, 2))

    def __len__(self):
        return 128

    def read(self, index):
        level = 2 * index + (self.split == "eval")
        return Record(name=self.names[index], image=np.full((16, 16, 3), level, np.uint8))
""",
        "i2sb_jax/data/sources.py": [
            (
                '        case "synthetic":',
                '        case "flat":\n            from i2sb_jax.data.flat import FlatSource\n\n'
                "            return FlatSource(split)\n",
            )
        ],
        "i2sb_jax/config/data.py": [],
    },
    "a metric": {
        "i2sb_jax/evaluation/scores.py": [
            ("    if side >= metrics.SSIM_SIDE:", '    arrays["mae"] = "mae"\n'),
            ('        if "ssim" in arrays:', '        found["mae"] = abs(x - y).mean((1, 2, 3))\n'),
        ],
        "i2sb_jax/evaluation/figures.py": [
            (
                "    LPIPS: {",
                '    "mae": {"title": "MAE", "unit": "", "better": "lower", "digits": 4},\n',
            )
        ],
    },
}
# what replaces a text instead of standing before it
REPLACED = {
    "i2sb_jax/bridge/sampler.py": ('SAMPLERS = ("ddpm"', 'SAMPLERS = ("jump", "ddpm"'),
    "i2sb_jax/bridge/families.py": ('BRIDGES = ("i2sb"', 'BRIDGES = ("wide", "i2sb"'),
    "i2sb_jax/config/data.py": ('SOURCES = ("photos"', 'SOURCES = ("flat", "photos"'),
    "i2sb_jax/models/unet.py": (
        "    return UNet(config, gather=gather, per_device=per_device, ordered=ordered)\n",
        "    from i2sb_jax.models.scaled import Scaled\n\n    return Scaled()\n",
    ),
}
PROGRAM = """
import jax, numpy as np
from i2sb_jax import bridge, config, corruptions, interop
from i2sb_jax.data.sources import make_source
from i2sb_jax.evaluation.figures import Pictures, summarise
from i2sb_jax.evaluation.scores import make_score_fn, score_arrays
from i2sb_jax.run import Run
from i2sb_jax.types import Batch
from tests.training.tiny import make_batch, make_config

run = Run(make_config(
    corruption="negative", bridge={"name": "wide"}, sampling={"sampler": "jump"},
    data={"source": "flat", "crop": "window"},
))
batch = make_batch(4)
negative = run.corruption(None, batch.clean).image
np.testing.assert_array_equal(negative, -batch.clean)
assert corruptions.corruption_facts("negative").natural_input == "a negative"

train, held_out = (make_source(run.config.data, split=split) for split in ("train", "eval"))
assert len(train) == len(held_out) == 128 and set(train.names).isdisjoint(held_out.names)

state = run.init_state(jax.random.key(0))
assert list(state.params) == ["scale"]
state, metrics = jax.jit(run.step)(state, batch._replace(degraded=negative), jax.random.key(1))
assert np.isfinite(metrics["loss"]) and state.params["scale"] != 1

keys = jax.random.split(jax.random.key(2), 4)
sampling = run.config.choose_sampling(nfe=8)
made = run.sample_fn(sampling)(keys, state.params, negative, None, None).x0
assert made.shape == negative.shape and np.isfinite(made).all()
plain = run.sample_fn(run.config.choose_sampling(nfe=8, sampler="ode"))
assert np.abs(plain(keys, state.params, negative, None, None).x0 - made).max() > 1e-4
brownian = bridge.make_bridge("brownian", num_steps=1000, beta_max=0.3)
assert np.abs(run.bridge.c - brownian.c).max() > 0.1

arrays = score_arrays({}, side=16, channels=3)
scores = make_score_fn({}, arrays)({}, made, batch.clean)
mae = np.abs(made - batch.clean).mean((1, 2, 3))
np.testing.assert_allclose(scores["mae"], mae, rtol=1e-5)
class Store:
    def whole(self, kind, *, arrays=None):
        return {"finite": np.ones(4, bool)} if arrays else scores
pictures = Pictures(list("abcd"), np.full(4, -1), np.ones(4, bool))
found, _ = summarise(Store(), arrays, pictures, method="nfe 8", reference=None, seed=0)
np.testing.assert_allclose(found["mae"].value, mae.mean(), rtol=1e-5)

config.save("model", run.config)
interop.save_safetensors("model/model.safetensors", jax.device_get(state.params))
assert list(interop.load_model_folder("model")[1]) == ["scale"]
print("all six")
"""


def rows():
    """Kind -> the files and folders that the page names for it."""
    found = re.findall(r"^\| (a \w[\w ]*) \| (.*?) \|", PAGE, re.MULTILINE)
    return {kind: re.findall(r"`([\w./]+)`", files) for kind, files in found}


@pytest.mark.parametrize("kind", ADDITIONS)
def test_the_page_names_the_files_that_are_touched(kind):
    touched = set()
    for path, change in ADDITIONS[kind].items():
        touched.add(f"{pathlib.PurePosixPath(path).parent}/" if isinstance(change, str) else path)
    assert touched == set(rows()[kind])


def test_every_kind_is_tried():
    assert set(rows()) == {*ADDITIONS, "a task"}  # tasks are what tests/test_configs.py is about


def test_one_of_each_by_these_files(tmp_path):
    leave_out = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for folder in ("i2sb_jax", "configs", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave_out)
    for path, change in (item for files in ADDITIONS.values() for item in files.items()):
        file = tmp_path / path
        if isinstance(change, str):
            file.write_text(change)
            continue
        text = file.read_text()
        for before, added in change:
            assert text.count(before) == 1, (path, before)
            text = text.replace(before, added + before)
        if path in REPLACED:
            old, new = REPLACED[path]
            assert text.count(old) == 1, (path, old)
            text = text.replace(old, new)
        file.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": os.fspath(tmp_path), "JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.stdout == "all six\n", done.stderr
