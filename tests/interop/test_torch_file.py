"""PyTorch files: what PyTorch wrote is what is read, as views of the file."""

import collections
import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import ml_dtypes
import numpy as np
import pytest

from i2sb_jax.interop import read_torch_file, read_weights_file
from tests import golden
from tests.golden import synthetic
from tests.interop.torch_writer import Parameter, Zeros, write_torch_file

ROOT = pathlib.Path(__file__).parent.parent.parent
PREFIX = "diffusion_model."
ADM = json.loads((golden.FOLDER / "adm256_manifest.json").read_text())


def test_the_training_checkpoint():
    found = read_torch_file(golden.FOLDER / "latest.pt")
    assert list(found) == ["net", "ema", "optimizer", "sched"]
    ema = found["ema"]
    assert (ema["decay"], ema["num_updates"], ema["collected_params"]) == (0.99, 7, None)
    assert len(found["net"]) == len(ema["shadow_params"]) == 142
    for (name, plain), averaged in zip(found["net"].items(), ema["shadow_params"], strict=True):
        expected = synthetic.hashed_unet_weight(name.removeprefix(PREFIX), plain.shape)
        np.testing.assert_array_equal(plain, expected)
        np.testing.assert_array_equal(averaged, expected * np.float32(0.9))


@pytest.mark.parametrize(
    "file", ["torch16_p2", "torch16_p4", "torch213_p2", "torch213_p5", "torch_legacy_p2"]
)
def test_every_kind_by_old_and_new_pytorch(file):
    """Written by `torch.save` of PyTorch 1.6 and 2.13, with the pickle protocol in the name."""
    found = read_torch_file(golden.FOLDER / f"{file}.pt")
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    views = {
        **{"a": whole, "view": whole[:, 1:, ::2], "turned": whole.transpose(2, 0, 1)},
        **{"tied": whole, "expanded": np.broadcast_to(whole[:, :1, :1], (2, 3, 4))},
    }
    assert list(found["net"]) == list(views)
    for name, expected in views.items():
        np.testing.assert_array_equal(found["net"][name], expected, strict=True)
        assert np.shares_memory(found["net"][name], found["net"]["a"])
    for name, array in found["kinds"].items():
        np.testing.assert_array_equal(array, np.arange(5).astype(name), strict=True)
    assert len(found["kinds"]) == 10 and found["kinds"]["bfloat16"].dtype == ml_dtypes.bfloat16

    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(found["module"]) == names and found["module"]["num_batches_tracked"] == 2
    np.testing.assert_array_equal(found["parameter"], whole[0], strict=True)
    assert found["scalar"] == np.float32(3) and found["scalar"].shape == ()
    assert found["empty"].shape == (0, 3) and found["empty"].dtype == np.float32
    state, (group,) = found["optimizer"]["state"], found["optimizer"]["param_groups"]
    assert state[0]["step"] == 2 and group["params"] == [0, 1] and group["betas"] == (0.9, 0.999)
    np.testing.assert_allclose(state[0]["exp_avg"], 1.5199, atol=1e-4)
    assert found["sched"]["gamma"] == 0.99 and found["sched"]["last_epoch"] == 2
    assert found["plain"] == [1, -1, 2**40, 2.5, None, True, "é", (1, 2), (2, 3, 4)]


def a_state_dict():
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    state = collections.OrderedDict({"a": whole, "part": whole[1:, ::2], "turned": whole.T})
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_is_written_is_read(tmp_path, protocol):
    state = a_state_dict()
    kinds = ("f8", "f2", ml_dtypes.bfloat16, "i8", "u1", "?", "c8", "c16")
    arrays = [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds]
    value = {"net": state, 3: arrays, "p": Parameter(state["a"][1]), "z": Zeros((2, 3))}
    write_torch_file(tmp_path / "x.pth", value, protocol=protocol)
    found = read_weights_file(tmp_path / "x.pth")
    assert list(found["net"]) == list(state) and type(found["net"]) is dict
    for name, expected in state.items():
        np.testing.assert_array_equal(found["net"][name], expected, strict=True)
    for array, expected in zip(found[3], arrays, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)
    np.testing.assert_array_equal(found["p"], state["a"][1], strict=True)
    np.testing.assert_array_equal(found["z"], np.zeros((2, 3), np.float32), strict=True)


def test_arrays_are_read_only_and_outlive_the_file(tmp_path):
    write_torch_file(tmp_path / "x.pt", a_state_dict())
    found = read_torch_file(tmp_path / "x.pt")
    (tmp_path / "x.pt").unlink()
    with pytest.raises(ValueError, match="read-only"):
        found["turned"][0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        found["turned"].flags.writeable = True
    assert found["a"].sum() == 276 and np.shares_memory(found["a"], found["part"])


def test_a_file_zipped_again_without_compression_is_read(tmp_path):
    """Other tools align nothing, write sizes into both headers and give folders an entry."""
    write_torch_file(tmp_path / "x.pt", a_state_dict())
    aligned = []
    for shift in range(4):
        with (
            zipfile.ZipFile(tmp_path / "x.pt") as old,
            zipfile.ZipFile(tmp_path / "y.pt", "w") as new,
        ):
            new.writestr("archive/", b"")
            new.writestr("archive/other", bytes(shift))
            for name in old.namelist():
                new.writestr(name, old.read(name))
        found = read_torch_file(tmp_path / "y.pt")
        np.testing.assert_array_equal(found["turned"], a_state_dict()["turned"], strict=True)
        aligned.append(found["a"].flags.aligned)
    assert sorted(aligned) == [False, False, False, True]


def test_the_writer_is_a_zip_to_others(tmp_path):
    write_torch_file(tmp_path / "x.pt", a_state_dict())
    with zipfile.ZipFile(io.BytesIO((tmp_path / "x.pt").read_bytes())) as archive:
        assert archive.testzip() is None and "archive/data/0" in archive.namelist()


@pytest.mark.parametrize("name", ["missing.pt", "."])
def test_no_file(tmp_path, name):
    with pytest.raises(ValueError, match=r"^no file of weights at .*"):
        read_torch_file(tmp_path / name)


def test_a_bucket_is_read_through_a_temporary_file(tmp_path, monkeypatch):
    write_torch_file(tmp_path / "x.pt", a_state_dict())
    monkeypatch.setattr("i2sb_jax.interop.mapped.is_remote", lambda path: True)
    assert read_torch_file(tmp_path / "x.pt")["a"].sum() == 276


def test_more_than_four_gigabytes(tmp_path):
    """Sizes and places that need the zip64 fields; the file is a hole but for its ends."""
    write_torch_file(
        tmp_path / "x.pt",
        {"wide": Zeros((5, 1 << 28)), "after": np.arange(3.0), "far": np.arange(4)},
    )
    assert os.path.getsize(tmp_path / "x.pt") > 5 << 30
    found = read_torch_file(tmp_path / "x.pt")
    assert found["wide"].shape == (5, 1 << 28) and found["wide"][4, -1] == 0
    np.testing.assert_array_equal(found["after"], np.arange(3.0), strict=True)
    np.testing.assert_array_equal(found["far"], np.arange(4), strict=True)


def memory_growth(path, use):
    """MB of (anonymous, file-backed) memory that reading `path` and `use` of `found` take."""
    script = f"""
import numpy as np
from i2sb_jax.interop import read_torch_file
def held():
    lines = dict(line.split(":") for line in open("/proc/self/status"))
    return [int(lines[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")]
read_torch_file({str(golden.FOLDER / "torch213_p2.pt")!r})
before = held()
found = read_torch_file({str(path)!r})
{use}
print(*(after - was for after, was in zip(held(), before)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-1000:]
    return [float(number) for number in done.stdout.split()]


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")


@linux_only
def test_adm_is_read_in_little_memory(tmp_path):
    """The released file's names and shapes, 2.2 GB."""
    write_torch_file(tmp_path / "x.pt", {name: Zeros(shape) for name, shape in ADM.items()})
    assert os.path.getsize(tmp_path / "x.pt") > 2.2e9
    largest = "max(found.values(), key=lambda array: array.nbytes)"
    anonymous, mapped = memory_growth(tmp_path / "x.pt", "")
    assert anonymous < 8 and mapped < 8
    anonymous, mapped = memory_growth(tmp_path / "x.pt", f"assert {largest}.sum() == 0")
    assert anonymous < 8 and 50 < mapped < 200


@linux_only
def test_only_what_is_used_is_read(tmp_path):
    """Of a checkpoint with EMA weights and Adam's moments, the plain weights alone."""
    shapes = {f"layer.{i}": (64, 1024, 16) for i in range(8)}  # 4 MB each
    net = {name: Zeros(shape) for name, shape in shapes.items()}
    moments = {i: {"exp_avg": z, "exp_avg_sq": z, "step": 3} for i, z in enumerate(net.values())}
    whole = {
        "net": net,
        "ema": {"shadow_params": [Zeros(shape) for shape in shapes.values()]},
        "optimizer": {"state": moments, "param_groups": []},
    }
    write_torch_file(tmp_path / "x.pt", whole)
    use = "assert all(array.sum() == 0 for array in found['net'].values())"
    anonymous, mapped = memory_growth(tmp_path / "x.pt", use)
    assert anonymous < 8 and 31 < mapped < 40
    control = "assert all(array.sum() == 0 for array in found['ema']['shadow_params'])"
    assert memory_growth(tmp_path / "x.pt", f"{use}\n{control}")[1] > 63
