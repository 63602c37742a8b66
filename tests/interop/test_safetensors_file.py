"""Safetensors files: what the library wrote is what is read, as views of the file."""

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from i2sb_jax.interop import read_safetensors_file, read_weights_file, save_safetensors
from i2sb_jax.interop.safetensors_file import read_safetensors_metadata, write_safetensors_file
from tests.interop.hostile_containers import entry
from tests.interop.hostile_containers import safetensors as file_of

KINDS = ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8")


def test_what_the_library_writes_is_read(tmp_path):
    written = {kind: np.arange(6).reshape(2, 3).astype(kind) for kind in KINDS}
    written |= {"empty": np.zeros((0, 3), np.float32), "scalar": np.array(2.5)}
    path = tmp_path / "x.safetensors"
    safetensors.numpy.save_file(written, path, metadata={"format": "pt", "licence": "MIT"})
    found = read_weights_file(path)
    assert set(found) == set(written)
    for name, expected in written.items():
        np.testing.assert_array_equal(found[name], expected, strict=True)
    with pytest.raises(ValueError, match="read-only"):
        found["f4"][0] = 1


@pytest.mark.parametrize(
    "name, kind",
    [
        ("BF16", ml_dtypes.bfloat16),
        ("F8_E4M3", ml_dtypes.float8_e4m3fn),
        ("F8_E5M2", ml_dtypes.float8_e5m2),
    ],
)
def test_short_floats(tmp_path, name, kind):
    values = np.array([0, 0.5, -1, 448], kind)
    header = {"a": entry(0, values.nbytes, (4,), name)}
    (tmp_path / "x").write_bytes(file_of(header, values.tobytes()))
    np.testing.assert_array_equal(read_safetensors_file(tmp_path / "x")["a"], values, strict=True)


def test_our_own_files_are_read(tmp_path):
    params = {"conv": {"kernel": np.arange(4, dtype=np.float32)}}
    save_safetensors(tmp_path / "x.safetensors", params)
    found = read_safetensors_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(found["conv/kernel"], params["conv"]["kernel"], strict=True)


def test_the_library_reads_what_is_written_here(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {
        "turned": rng.standard_normal((2, 3, 4)).astype(np.float32).transpose(2, 0, 1),
        "every other": np.arange(10, dtype=np.int64)[::2],
        "stretched": np.broadcast_to(np.float32(3), (5, 2)),
        "scalar": np.array(2.5),
        "none": np.zeros((0, 3), np.uint8),
        "odd": np.ones(3, bool),  # what follows starts at no multiple of its size
        "half": rng.standard_normal(3).astype(np.float16),
    }
    path = tmp_path / "own.safetensors"
    write_safetensors_file(path, tensors, metadata={"licence": "MIT, ©"})
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"licence": "MIT, ©"}
    assert read_safetensors_metadata(path) == {"licence": "MIT, ©"}
    for read in (safetensors.numpy.load_file(path), read_safetensors_file(path)):
        assert read.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert read[name].dtype == tensor.dtype
            np.testing.assert_array_equal(read[name], tensor)
    write_safetensors_file(path, {"bf": np.ones(3, ml_dtypes.bfloat16)})
    assert read_safetensors_metadata(path) == {}
    assert read_safetensors_file(path)["bf"].dtype == ml_dtypes.bfloat16


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    class Full(np.ndarray):
        def tobytes(self, order="C"):
            raise OSError("no space left on device")

    path = tmp_path / "own.safetensors"
    write_safetensors_file(path, {"a": np.zeros(3)})
    before = path.read_bytes()
    with pytest.raises(OSError, match="no space"):
        write_safetensors_file(path, {"a": np.ones(3), "b": np.ones(3).view(Full)})
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
