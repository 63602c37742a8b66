"""Weights of a run on pairs take along what their values mean, through every format."""

import pytest

from i2sb_jax import config as config_lib
from i2sb_jax.data.scaling import ValueRange, ValueRanges, load_value_ranges, save_value_ranges
from i2sb_jax.interop import export_model, import_weights, save_model
from i2sb_jax.interop.safetensors_file import (
    read_safetensors_file,
    read_safetensors_metadata,
    write_safetensors_file,
)
from tests.interop.latest import UNET, make_run
from tests.models.networks import hashed_params

CONFIG = make_run(corruption="pairs", data={"source": "pairs", "path": "/data/microscope"})
SIDE = ValueRange(
    channels=3, dtype="uint16", low=(0.1, 2.0, 3.0), high=(4095.3, 9.0, 1e300), suffix=".tif"
)
RANGES = ValueRanges(source=SIDE, target=SIDE, scaling="percentiles (0.1, 99.9)")


@pytest.fixture
def run(tmp_path):
    save_value_ranges(tmp_path / "run", RANGES)
    save_model(tmp_path / "run", CONFIG, hashed_params(UNET))
    return tmp_path / "run"


def test_in_a_model_folder(tmp_path, run):
    export_model(run, tmp_path / "out")
    assert load_value_ranges(tmp_path / "out") == RANGES


def test_in_the_file_for_pytorch_alone(tmp_path, run):
    """The file is enough: nothing that lies beside it is needed."""
    export_model(run, tmp_path / "out", layout="adm")
    alone = (tmp_path / "out" / "adm.safetensors").rename(tmp_path / "alone.safetensors")
    import_weights(alone, tmp_path / "back", CONFIG)
    assert load_value_ranges(tmp_path / "back") == RANGES
    assert config_lib.load(tmp_path / "back") == CONFIG


def test_of_no_pairs_they_are_none(tmp_path, run):
    export_model(run, tmp_path / "out", layout="adm")
    import_weights(tmp_path / "out" / "adm.safetensors", tmp_path / "back", make_run())
    assert not (tmp_path / "back" / "value_ranges.json").exists()
    # and pairs without them are for a training to find them
    (run / "value_ranges.json").unlink()
    export_model(run, tmp_path / "none", layout="adm")
    import_weights(tmp_path / "none" / "adm.safetensors", tmp_path / "new", CONFIG)
    assert not (tmp_path / "new" / "value_ranges.json").exists()


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "its metadata"),
        ("[" * 10**5, "its metadata"),
        ("{}", "holds no value ranges"),
        (None, "its value ranges are of 3 and 3 channels, and the task has data.source_channels=1"),
    ],
    ids=["nothing", "deep", "empty", "other channels"],
)
def test_what_does_not_fit_is_refused(tmp_path, run, text, words):
    export_model(run, tmp_path / "out", layout="adm")
    file, config = tmp_path / "out" / "adm.safetensors", CONFIG
    if text is None:
        data = {"source": "pairs", "path": "p", "target_path": "t", "source_channels": 1}
        config = make_run(corruption="pairs", data=data)
    else:
        metadata = {**read_safetensors_metadata(file), "value_ranges": text}
        changed = tmp_path / "changed.safetensors"
        write_safetensors_file(changed, read_safetensors_file(file), metadata=metadata)
        file = changed
    with pytest.raises(ValueError) as error:
        import_weights(file, tmp_path / "back", config)
    message = str(error.value)
    assert words in message and str(file) in message and "\n" not in message
    assert not (tmp_path / "back").exists()


def test_broken_ones_are_not_passed_on(tmp_path, run):
    (run / "value_ranges.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no value ranges"):
        export_model(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
