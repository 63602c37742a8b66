"""README.md of an export: what the model does, how it came about, how to use it."""

import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

from i2sb_jax.config import Config
from i2sb_jax.interop.provenance import Provenance

_PACKAGES = ("i2sb_jax", "jax", "flax", "numpy")
_UNSTATED = "not stated: ask whoever trained the model"
_USES = {
    "i2sb": """\
```
i2sb-restore --workdir {folder} --input DEGRADED --output RESTORED --nfe {nfe}
```

```python
from i2sb_jax.restoration import Restorer

restorer = Restorer.from_workdir("{folder}")
restored = restorer(images, nfe={nfe})  # float32 [batch, h, w, c] in [-1, 1]
```

`i2sb-train … --config.training.init_from={folder}` starts another training from these weights.
""",
    "adm": """\
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

The output is ε of the paper's Eq. (12), {out_channels} channels and no variance; the time step is
the bridge's noise level, {lowest:g} to {highest:g}. `i2sb-import --source adm.safetensors` brings
the weights back, bit by bit.
""",
}


def model_card(
    config: Config,
    channels: tuple[int, int],
    *,
    layout: str,
    address: str,
    provenance: Provenance | None,
    metrics: Mapping[str, Any] | None,
) -> str:
    """The card, in Markdown with the hub's header.

    Args:
        config: of the run.
        channels: that the network takes and returns.
        layout: "i2sb" or "adm", what the weights are written as.
        address: where users find the model: a folder, or hf://OWNER/NAME.
        provenance: of the weights, None where they began with the run.
        metrics: the last ones the run logged, None without.

    Returns:
        The text.
    """
    licence = _UNSTATED if provenance is None else provenance.licence
    origin = "random weights"
    if provenance is not None:
        origin = f"{provenance.source} ({provenance.weights}), sha256 {provenance.sha256}"
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return f"""\
---
library_name: i2sb_jax
pipeline_tag: image-to-image
license: {"mit" if licence.startswith("MIT") else "other"}
tags: [i2sb, diffusion-bridge, image-restoration]
---

# I²SB: {config.corruption}

An Image-to-Image Schrödinger Bridge ([arXiv 2302.05872](https://arxiv.org/abs/2302.05872)) that
repairs `{config.corruption}` on {config.image_size}² pixels.

| | |
|---|---|
{_rows(_recipe(config))}
| weights began as | {_cell(origin)} |
| licence of the source weights | {_cell(licence)} |
| written by | {versions} |

## Metrics

{_metrics(metrics)}

## Use

{_use(config, channels, layout, address)}"""


def _recipe(config: Config) -> dict[str, Any]:
    options, bridge, optimizer = config.training, config.bridge, config.optimizer
    data = config.data
    return {
        "bridge": f"{bridge.num_steps} steps, beta_max {bridge.beta_max:g}, "
        + ("OT-ODE" if bridge.deterministic else "SDE"),
        "training": f"up to {options.num_steps} updates of {options.batch_size} pictures, learning "
        f"rate {optimizer.learning_rate:g} ({optimizer.schedule}), averaged with "
        f"{options.ema_decay:g}",
        "data": f"{data.tfds_name or data.source}, cut by {data.crop}",
        "network": f"{config.model.model_channels} channels × {config.model.channel_mult}, "
        f"{config.model.dtype}",
    }


def _rows(table: Mapping[str, Any]) -> str:
    return "\n".join(f"| {name} | {_cell(str(value))} |" for name, value in table.items())


def _cell(text: str) -> str:
    """A text as it may stand in a table."""
    return " ".join(text.replace("|", "\\|").split())


def _metrics(metrics: Mapping[str, Any] | None) -> str:
    if not metrics:
        return "None were logged."
    shown = {name: value for name, value in metrics.items() if not name.endswith("_hex")}
    lines = [f"| {name} | {_cell(json.dumps(value))} |" for name, value in shown.items()]
    return "\n".join(["The last that the run logged:", "", "| | |", "|---|---|", *lines])


def _use(config: Config, channels: tuple[int, int], layout: str, address: str) -> str:
    model = config.model
    return _USES[layout].format(
        folder=address,
        nfe=config.sampling.nfe,
        image_size=config.image_size,
        in_channels=channels[0],
        out_channels=channels[1],
        model_channels=model.model_channels,
        num_res_blocks=model.num_res_blocks,
        attention_downsamples=model.attention_downsamples,
        channel_mult=model.channel_mult,
        head_channels=model.head_channels,
        lowest=0.1,
        highest=config.bridge.num_steps,
    )
