"""The cards of the shipped models, from facts, configurations, logs and measurements."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.models.photographs import attribution
from i2sb_jax import config as config_lib
from i2sb_jax import zoo
from i2sb_jax.config import Config

HERE = pathlib.Path(__file__).parent
MEASURED = HERE / "measured.json"
LOGS = HERE / "logs"

_DEVICE = "one NVIDIA H200 shared by the four trainings, four processor cores each"
_INPUTS = {"jpeg": "PHOTO.jpg", "sr4x": "SMALL.png"}
_MADE = {
    "jpeg": "Pillow's encoder, chroma 4:2:0",
    "deblur": "Gaussians of σ pixels, then noise of 2 levels and 8-bit rounding",
    "denoise": "white noise of so many levels, clipped and rounded to 8 bits",
    "sr4x": "reduced by Pillow's bicubic filter",
}
_IMAGES = """\
from i2sb_jax.restoration import Restorer

restored = Restorer.shipped({name})(images)  # float32 [batch, h, w, 3] in [-1, 1]"""
_PYTHON = {
    "jpeg": """\
from i2sb_jax.restoration.folder import restore_folder

restore_folder("jpeg", "PHOTO.jpg", "RESTORED.png")  # the file tells how it was compressed""",
    "sr4x": """\
from i2sb_jax.corruptions import enlarge_smoothly
from i2sb_jax.restoration import Restorer

restored = Restorer.shipped("sr4x")(enlarge_smoothly(small, 4))  # small [batch, h, w, 3]""",
}
_LIMITS = {
    "jpeg": (
        "It repairs what the encoder did, and leaves grain and blur as they are.",
        "A picture that was saved as JPEG, changed and saved as something else (or as a JPEG of "
        "better quality) no longer tells how it was compressed: less is repaired then.",
        "Files of a quality below 5 are taken for 5. Above 95 there is hardly anything to gain.",
    ),
    "deblur": (
        "It learnt Gaussians, round and elongated, and discs, of up to 2.5 pixels; a hand that "
        "shook far is no such blur.",
        "It learnt with noise of up to 4 levels: noisier pictures are for `denoise`.",
        "A picture that is sharp already is changed a little: see the figure above.",
        "A classical repair that is told a width of 1 pixel is 0.5 dB better there; the network is "
        "told nothing.",
    ),
    "denoise": (
        "White noise, the same in all three colours and everywhere. Cameras' own noise has "
        "passed their smoothing and a JPEG encoder, and is neither: then less of it goes.",
        "Weak noise: classical repairs that are told its level gain more than the network, which "
        "has to guess it: at 5 levels thresholded cosines 0.2 dB and BM3D 0.7, at 15 BM3D 0.3, in "
        "thirty times the time. From 25 on both are behind.",
    ),
    "sr4x": (
        "It is trained for the least mean error, so it is smoother than networks that invent "
        "texture, and more faithful.",
        "waifu2x's photo model, twice, gains 0.3 dB more where the bicubic filter reduced the "
        "picture.",
        "For pictures reduced by box, bilinear, bicubic or Lanczos filters, some of them JPEG "
        "files of quality 60 to 95 by then; a large photograph that is soft at 100 % is none.",
    ),
}  # fmt: skip


def card(name: str) -> str:
    """The card of a shipped model: Markdown, with the hub's header."""
    model, config = zoo.MODELS[name], config_lib.load(zoo.shipped_folder(name))
    source = _INPUTS.get(name, "PHOTO.png")
    python = _PYTHON.get(name, _IMAGES.format(name=json.dumps(name)))
    limits = "\n".join(f"- {each}" for each in _LIMITS[name])
    return f"""\
---
library_name: i2sb_jax
pipeline_tag: image-to-image
license: {model.licence.lower()}
tags: [i2sb, diffusion-bridge, image-restoration]
---

# {name}: {model.task}

For {model.picture}. An Image-to-Image Schrödinger Bridge
([arXiv 2302.05872](https://arxiv.org/abs/2302.05872)) with one evaluation of a network of 1.7 M
parameters, shipped with i2sb_jax; of any size, on a CPU.

```
i2sb-restore --model {name} --input {source} --output RESTORED.png
```

```python
{python}
```

`i2sb-train --config configs/zoo.py:{name} --config.training.init_from={name}
--config.data.path=PHOTOGRAPHS --workdir RUN` goes on with photographs of one's own.

## What it gains

{gain_table(name, json.loads(MEASURED.read_text()))}

Means over the four photographs of scikit-image that training never saw (astronaut, chelsea, coffee
and rocket), whole and from files ({_MADE[name]}), at one evaluation:
`python -m experiments.models.measure --output DIR --tasks {name}`.
The classical repair is the best that was found for each level and tuned on other photographs
(`experiments/classical/`); it is told the level, the network is not.

## Where it falls short

{limits}

## How it was made

| | |
|---|---|
{_recipe(name, config)}

`experiments/models/` has the listing of the photographs, the log and the whole command.

## Photographs and licence

The weights are under {model.licence}. They were learnt from photographs that are in the public
domain or under CC0 or CC-BY, reduced by two or three or as they are, flipped, turned and with
channels exchanged:

{attribution()}"""


def gain_table(name: str, rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a line a level, dB."""
    model, rows = zoo.MODELS[name], [row for row in rows if row["task"] == name]
    before = "bicubic" if name == "sr4x" else "file"
    lines = [f"| {model.level} | {before}, dB | restored | the least of the four | classical |"]
    lines.append("|---" * 5 + "|")
    for level in model.gains:
        those = [row for row in rows if row["level"] == level]
        gains = {
            side: [row[side] - row["file"] for row in those] for side in ("restored", "classical")
        }
        classical = "" if name == "sr4x" else f"{np.mean(gains['classical']):+.2f}"
        lines.append(
            f"| {level:g} | {np.mean([row['file'] for row in those]):.2f} | "
            f"{np.mean(gains['restored']):+.2f} | {min(gains['restored']):+.2f} | {classical} |"
        )
    if model.clean is not None:
        lines += ["", f"The clean photographs themselves come back at {model.clean} dB or more."]
    return "\n".join(lines)


def _recipe(name: str, config: Config) -> str:
    last = json.loads((LOGS / f"{name}.jsonl").read_text().splitlines()[-1])
    bridge = config.bridge
    rows = {
        "corruption": f"`{config.corruption}`",
        "network": f"{config.model.model_channels} channels × {config.model.channel_mult} on "
        f"{config.model.patch}² patches, no normalisation, no attention",
        "bridge": f"{bridge.name}, {bridge.num_steps} steps, beta_max {bridge.beta_max:g}, OT-ODE, "
        f"log(loss + {bridge.log_floor:g})",
        "training": f"{last['step']:,} updates of {config.training.batch_size} windows of "
        f"{config.image_size}² ({last['windows']:,} windows in all), averaged with "
        f"{config.training.ema_decay:g}",
        "time, device": f"{last['seconds']:.0f} s on {_DEVICE}",
        "command": f"`python -m experiments.models.gpu {name} --photographs DIR --output DIR "
        f"--seconds 400 --workers 4 --batch-size {config.training.batch_size}`",
    }
    log = LOGS / f"{name}_further.jsonl"
    if log.exists():
        last = json.loads(log.read_text().splitlines()[-1])
        rows["then"] = (
            f"`python -m experiments.models.further`: {last['step']:,} updates of "
            f"{last['windows'] // last['step']} windows of 64² in {last['seconds']:.0f} s on two "
            "processor cores"
        )
    return "\n".join(f"| {key} | {value} |" for key, value in rows.items())
