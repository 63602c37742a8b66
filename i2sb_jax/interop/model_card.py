"""README.md of an export: what the model does, how it came about, how to use it."""

import importlib.metadata
import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from i2sb_jax.config import BridgeConfig, Config
from i2sb_jax.corruptions import corruption_facts
from i2sb_jax.interop.provenance import ADM_FILE, Provenance

_PACKAGES = ("i2sb_jax", "jax", "flax", "numpy")
_UNSTATED = "not stated: ask whoever trained the model"
_HUB = "hf://"
_OUTPUTS = {
    "epsilon": "ε = (X_t - X_0)/s_t, for I²SB Eq. (12) of the paper",
    "x0": "X_0 itself",
    "v": "v = (ε - s_t·X_0)/√(1 + s_t²) with ε = (X_t - X_0)/s_t",
}
_PYTHON = """\
```python
from i2sb_jax.restoration import Restorer

restorer = Restorer.from_workdir({folder})
restored = restorer(images, nfe={nfe})  # float32 [batch, h, w, c] in [-1, 1]
```
"""
_INITIAL = "These are initial weights, never trained as a bridge: they restore nothing yet.\n"
_ADM = """\
`adm.safetensors` has the tensor names and layouts of
[guided-diffusion](https://github.com/openai/guided-diffusion)'s `UNetModel`, for PyTorch:

```python
from safetensors.torch import load_file

model = UNetModel(
    image_size={image_size}, in_channels={in_channels}, model_channels={model_channels},
    out_channels={out_channels}, num_res_blocks={num_res_blocks},
    attention_resolutions={attention_downsamples}, channel_mult={channel_mult},
    num_head_channels={head_channels}, use_scale_shift_norm=True, resblock_updown=True,
)
model.load_state_dict(load_file("adm.safetensors"))
```

The output is {output}, {out_channels} channels and no variance; the time step is
the bridge's noise level, {lowest:g} to {highest:g}. `i2sb-import` brings the weights back, bit by
bit, as a model folder MODEL:
"""


def model_card(
    config: Config,
    channels: tuple[int, int],
    *,
    layout: str,
    address: str,
    provenance: Provenance | None,
    step: int | None,
    metrics: Mapping[str, float],
) -> str:
    """The card, in Markdown with the hub's header.

    Args:
        config: of the run.
        channels: that the network takes and returns.
        layout: "i2sb" or "adm", what the weights are written as.
        address: where users find the model: a folder, or hf://OWNER/NAME.
        provenance: of the weights, None where they began with the run.
        step: the updates after which the weights were saved; None where that is not known.
        metrics: the last ones that the run had logged by then.

    Returns:
        The text.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    initial = provenance is not None and provenance.is_initial
    return f"""\
---
library_name: i2sb_jax
pipeline_tag: image-to-image
license: {_hub_licence(provenance)}
tags: [i2sb, diffusion-bridge, image-restoration]
---

# I²SB: {config.corruption}

An Image-to-Image Schrödinger Bridge ([arXiv 2302.05872](https://arxiv.org/abs/2302.05872)) that
repairs `{config.corruption}` on {config.image_size}² pixels.

| | |
|---|---|
{_rows(_recipe(config, step) | _origin(config, provenance) | {"written by": versions})}

## Metrics

{_metrics(metrics)}

## Use

{_use(config, channels, layout, address, initial)}"""


def _hub_licence(provenance: Provenance | None) -> str:
    """The hub's word for the licence: MIT where it is stated, without an if or a trainer's say."""
    stated = provenance is not None and not provenance.trained and provenance.licence == "MIT"
    return "mit" if stated else "other"


def _bridge(bridge: BridgeConfig) -> Iterator[str]:
    yield bridge.name
    yield f"{bridge.num_steps} steps"
    if bridge.name in ("i2sb", "i2sb-exact"):  # others have no such parameter
        yield f"beta_max {bridge.beta_max:g}"
    if bridge.name == "linear":
        yield f"γ {bridge.gamma:g}"
    if bridge.name == "unidb":
        yield f"γ {bridge.penalty:g}"
    if bridge.x1_input:
        yield "its network sees X_1 beside X_t"
    yield "OT-ODE" if bridge.deterministic else "SDE"
    yield f"predicts {bridge.prediction}, weighted by {bridge.weighting}"
    if bridge.end_share:
        yield f"{bridge.end_share:.0%} of its training at X_1, where one evaluation looks"
    if bridge.log_floor:
        yield f"log(loss + {bridge.log_floor:g}) of each picture"
    if bridge.start:
        noise = f", with noise of σ {bridge.start_noise:g}" if bridge.start_noise else ""
        yield f"starts at the answer of the model in start/{noise}"


def _recipe(config: Config, step: int | None) -> dict[str, Any]:
    options, bridge, optimizer = config.training, config.bridge, config.optimizer
    data = config.data
    count = f"up to {options.num_steps}" if step is None else step
    student = {}
    if config.teacher:
        sampling = config.sampling
        student["student"] = (
            f"of a bridge, distilled by {config.distill.method}, for exactly {sampling.nfe} "
            f"evaluation{'s' * (sampling.nfe > 1)} of {sampling.sampler} on the {sampling.spacing} "
            "grid"
        )
        if config.noise_channels:
            student["student"] += (
                f"; the last {config.noise_channels} channels that its network takes are N(0, 1)"
            )
    return student | {
        "bridge": ", ".join(_bridge(bridge)),
        "training": f"{count} updates of {options.batch_size} pictures, learning "
        f"rate {optimizer.learning_rate:g} ({optimizer.schedule}), averaged with "
        f"{options.ema_decay:g}",
        "data": f"{data.tfds_name or data.source}, cut by {data.crop}",
        "network": f"{config.model.model_channels} channels × {config.model.channel_mult}, "
        f"{config.model.dtype}",
    }


def _origin(config: Config, provenance: Provenance | None) -> dict[str, str]:
    """Returns the origin of the weights and their licence."""
    if provenance is None:
        given = config.teacher or config.training.init_from
        began = "weights of which nothing is told" if given else "random weights"
        return {"weights began as": began, "licence of the source weights": _UNSTATED}
    key = "weights began as" if provenance.trained else "weights are those of"
    source = f"{provenance.source} ({provenance.weights}), sha256 {provenance.sha256}"
    return {key: source, "licence of the source weights": provenance.licence}


def _rows(table: Mapping[str, Any]) -> str:
    return "\n".join(f"| {_cell(name)} | {_cell(str(value))} |" for name, value in table.items())


def _cell(text: str) -> str:
    """A text as it may stand in a table."""
    return " ".join(text.replace("|", "\\|").split())


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return "None were logged."
    shown = {name: json.dumps(value) for name, value in metrics.items()}
    return f"The last that the run had logged:\n\n| | |\n|---|---|\n{_rows(shown)}"


def _use(
    config: Config, channels: tuple[int, int], layout: str, address: str, initial: bool
) -> str:
    """Returns the commands to type, the folder's name quoted for a shell, and the pictures."""
    parts, commands, model = [], [], address
    if layout == "adm":
        parts.append(_adm(config, channels))
        folder = address
        if address.startswith(_HUB):
            repository = address.removeprefix(_HUB)
            folder = repository.rpartition("/")[2]
            commands.append(["hf", "download", repository, "--local-dir", folder])
        model = "MODEL"
        source = f"{folder}/{ADM_FILE}"
        commands.append(["i2sb-import", "--source", source, "--workdir", model])
    if initial:
        parts.append(_INITIAL)
    else:
        pictures, meaning = _input(config)
        restore = ["i2sb-restore", "--model", model, *pictures, "--output", "RESTORED"]
        commands.append([*restore, "--nfe", str(config.sampling.nfe)])
    if commands:
        parts.append("\n".join(["```", *map(shlex.join, commands), "```", ""]))
    if not initial:
        parts.append(meaning)
        quoted = json.dumps(model, ensure_ascii=False)
        parts.append(_PYTHON.format(folder=quoted, nfe=config.sampling.nfe))
    init_from = shlex.quote(f"--config.training.init_from={model}")
    if not config.teacher:
        parts.append(f"`i2sb-train … {init_from}` starts a training from these weights.\n")
    return "\n".join(parts)


def _input(config: Config) -> tuple[list[str], str]:
    """Options of i2sb-restore that name what is to be restored, and what that has to be."""
    if config.has_pairs:
        data = config.data
        return ["--input", "SOURCES"], (
            f"SOURCES is a folder of files with {data.source_channels} channels, of the type and "
            "units of those trained on (see value_ranges.json); results have "
            f"{data.target_channels} channels and the targets' type and units.\n"
        )
    facts, extra = corruption_facts(config.corruption), []
    if facts.has_mask:
        return ["--input", "PICTURES", "--masks", "MASKS"], (
            "MASKS is a picture that is white where there are holes, or a folder of such, named as "
            "the pictures are. Without --masks, what is transparent is filled.\n"
        )
    if facts.enlargement > 1:
        return ["--input", "SMALL"], (
            f"SMALL is a folder of pictures, which become {facts.enlargement} times larger.\n"
        )
    if facts.adds_noise:
        return ["--input", "GREY"], "GREY is a folder of pictures, which are coloured.\n"
    text = f"DEGRADED is a folder of pictures of any size that suffered from `{config.corruption}`"
    if facts.members:
        extra = ["--member", "MEMBER"]
        text += f"; MEMBER is which of them: {', '.join(facts.members)}"
    if not facts.keeps_light:
        text += ", and are as bright as sharp ones"
    if facts.is_float:
        text += ", or of float arrays in [-1, 1] (.npy)"
    return ["--input", "DEGRADED", *extra], text + ".\n"


def _adm(config: Config, channels: tuple[int, int]) -> str:
    model, steps = config.model, config.bridge.num_steps
    return _ADM.format(
        image_size=config.image_size,
        in_channels=channels[0],
        out_channels=channels[1],
        model_channels=model.model_channels,
        num_res_blocks=model.num_res_blocks,
        attention_downsamples=model.attention_downsamples,
        channel_mult=model.channel_mult,
        head_channels=model.head_channels,
        output=_OUTPUTS[config.bridge.prediction],
        lowest=1e-4 * steps,
        highest=steps,
    )
