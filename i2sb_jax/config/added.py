"""Keys that older runs lack: what each of them meant before it was there.

A config.json lies in a run or a model folder for years, and says what was done. A key that came
later gets the value that describes what was done without it, which need not be the default of
today. Of a configuration that a person writes nothing is filled in.
"""

from collections.abc import Mapping
from typing import Any

# In the order in which they came. A new key of the configuration gets a line here.
ADDED_KEYS: dict[str, Any] = {
    "data.shuffle_channels": False,
    "data.eval_list": "",
    "data.target_path": "",  # there were no pairs: nothing reads these, to data.cond_x1
    "data.eval_target_path": "",
    "data.source_side": "left",
    "data.source_channels": 3,
    "data.target_channels": 3,
    "data.scaling": "dtype",
    "data.source_range": (0.0, 1.0),
    "data.target_range": (0.0, 1.0),
    "data.percentiles": (0.1, 99.9),
    "data.group_pattern": "",
    "data.cond_x1": False,
    "mesh.data": -1,
    "mesh.fsdp": 1,
    "mesh.fsdp_min_bytes": 4 * 2**20,
    "distributed": "auto",
    "optimizer.clip_norm": 0.0,
    "optimizer.skip_norm": 0.0,
    "training.keep_every": 0,
    "training.best_metric": "",
    "training.wandb_project": "",
    "evaluation.inception": "",
    "evaluation.resnet50": "",
    "evaluation.lpips_backbone": "",
    "evaluation.lpips_linear": "",
    "evaluation.reference_stats": "",
    "bridge.prediction": "epsilon",
    "bridge.weighting": "epsilon",
    "sampling.spacing": "index",
    "sampling.eta": 0.0,
    "bridge.name": "i2sb",
    "teacher": "",
    "distill.method": "inverse",  # without a teacher nothing reads these
    "distill.auxiliary_updates": 5,
    "distill.teacher_nfe": 10,
    "model.norm": "group",
    "model.patch": 1,
    "model.middle_attention": True,
    "model.sharpened": (),
    "model.thresholded": (),
    "bridge.end_share": 0.0,
    "bridge.log_floor": 0.0,
    "bridge.start": "",
    "bridge.start_noise": 0.2,  # without a start nothing reads it
    "data.scales": (1.0,),
    "data.grain": (0.0, 0.0),
    "data.source_nodata": (),
    "data.target_nodata": (),
    "training.profile_steps": "",
    "sampling.consistency": "",
    "bridge.gamma": 0.0,
    "bridge.penalty": 1e7,
    "bridge.x1_input": False,
    "sampling.realism": 1.0,
    "heartbeat": 100.0,
}


def with_added_keys(values: Any) -> Any:
    """Returns the values of a config.json with the keys that are newer than it.

    Args:
        values: as it was read; anything but nested mappings is for `from_config_dict` to refuse.

    Returns:
        A copy; keys that are there stay as they are.
    """
    if not isinstance(values, Mapping):
        return values
    filled = dict(values)
    for key, meant in ADDED_KEYS.items():
        *sections, name = key.split(".")
        node = filled
        for section in sections:
            inner = node.get(section, {})
            if not isinstance(inner, Mapping):
                break
            node[section] = node = dict(inner)
        else:
            node.setdefault(name, meant)
    return filled
