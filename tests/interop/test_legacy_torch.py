"""PyTorch files from before version 1.6: what PyTorch wrote is what is read, as views of the file.

`torch_legacy_p2.pt` is `torch213_p2.pt` loaded and saved again by PyTorch 2.13, with
`_use_new_zipfile_serialization=False`; test_torch_file compares what is in it.
`torch_legacy_python2.pt` was saved by PyTorch 1.4 under Python 2.7, which writes texts and ordered
dicts with other instructions; the published weights of LPIPS were, too.
"""

import os

import ml_dtypes
import numpy as np
import pytest

from i2sb_jax.interop import read_torch_file, read_weights_file
from i2sb_jax.interop.torch_file import torch_values
from tests import golden
from tests.interop.hostile import ORDERED, TEXT, pickled, tensor
from tests.interop.hostile_legacy import FLOATS, legacy, reference, stored
from tests.interop.test_torch_file import a_state_dict, linux_only, memory_growth
from tests.interop.torch_writer import Parameter, Zeros, write_legacy_file

ARRAY = np.arange(16, dtype=np.float32)
SIXTEEN = stored(data=ARRAY.tobytes())


def test_python_2():
    found = read_weights_file(golden.FOLDER / "torch_legacy_python2.pt")
    whole = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert list(found) == ["module", "parameter", "half", "scalar", "plain"]
    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(found["module"]) == names and type(found["module"]) is dict
    np.testing.assert_array_equal(found["module"]["running_var"], np.ones(3, np.float32))
    np.testing.assert_array_equal(found["parameter"], whole[1], strict=True)
    half = whole.astype(np.float16).transpose(2, 0, 1)
    np.testing.assert_array_equal(found["half"], half, strict=True)
    np.testing.assert_array_equal(found["scalar"], np.array(7), strict=True)
    assert found["plain"] == [1, -1, 2.5, None, True, "é", "e", (1, 2)]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_what_is_written_is_read(tmp_path, protocol):
    state = a_state_dict()
    kinds = ("f8", "f2", ml_dtypes.bfloat16, "i8", "u1", "?", "c8", "c16")
    arrays = [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds]
    value = {"net": state, 3: arrays, "p": Parameter(state["a"][1]), "z": Zeros((2, 0))}
    write_legacy_file(tmp_path / "x.pth", value, protocol=protocol)
    found = read_torch_file(tmp_path / "x.pth")
    assert list(found["net"]) == list(state) and type(found["net"]) is dict
    for name, expected in state.items():
        np.testing.assert_array_equal(found["net"][name], expected, strict=True)
        assert np.shares_memory(found["net"][name], found["net"]["a"])
    for array, expected in zip(found[3], arrays, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)
    np.testing.assert_array_equal(found["p"], state["a"][1], strict=True)
    assert found["z"].shape == (2, 0)


@pytest.mark.parametrize("kind", [2, 4, "python 2"])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, kind):
    path = golden.FOLDER / "torch_legacy_python2.pt"
    if kind != "python 2":
        path = tmp_path / "x.pt"
        write_legacy_file(path, {"net": a_state_dict(), "step": 3}, protocol=kind)
    whole = path.read_bytes()
    for length in range(len(whole)):
        with pytest.raises(ValueError, match=r"cut short|not a zip as PyTorch"):
            torch_values(whole[:length])  # in memory: it is quicker
    assert len(torch_values(whole)) > 1


EARLY = tensor((4, 2), (1, 4), 5, data=reference(), call=b"_rebuild_tensor")
EARLY = EARLY.removesuffix(b"\x89}tR") + b"tR"
PARAMETER = b"ctorch.nn.parameter\nParameter\n"
OBJECTS = {
    "a tensor": EARLY,
    "a parameter": PARAMETER + EARLY + b"\x85R(\x88\x89Ntb",
    "a parameter with hooks": PARAMETER + EARLY + b"\x85R(\x88\x89" + ORDERED + b")Rtb",
    "a parameter with a flag": PARAMETER + EARLY + b"\x88\x86R",
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_tensors_as_before_version_0_4(tmp_path, kind):
    """PyTorch 2.13 reads these files to the same values."""
    (tmp_path / "x.pt").write_bytes(legacy(SIXTEEN, object=OBJECTS[kind]))
    found = read_torch_file(tmp_path / "x.pt")
    np.testing.assert_array_equal(found, ARRAY[5:13].reshape(2, 4).T, strict=True)


def test_a_pickle_of_another_file_is_no_pytorch_file(tmp_path):
    (tmp_path / "x.pt").write_bytes(pickled(TEXT("weights")) + legacy())
    with pytest.raises(ValueError, match="bare pickle"):
        read_weights_file(tmp_path / "x.pt")


def test_storages_in_the_order_of_their_keys(tmp_path):
    """Keys are addresses, which PyTorch sorts as texts; the object refers to them as it likes."""
    keys = ["94", "1000", "9"]
    tensors = [tensor((1,), (1,), data=reference(TEXT(key), FLOATS, b"K\1")) for key in keys]
    values = dict(zip(keys, np.float32([1, 2, 3]), strict=True))
    data = b"".join(stored(1, values[key].tobytes()) for key in sorted(keys))
    listed = b"](" + b"".join(map(TEXT, sorted(keys))) + b"e"
    program = b"(" + b"".join(tensors) + b"t"
    (tmp_path / "x.pt").write_bytes(legacy(data, object=program, keys=listed))
    assert [float(array[0]) for array in read_torch_file(tmp_path / "x.pt")] == [1, 2, 3]


@linux_only
def test_only_what_is_used_is_read(tmp_path):
    """More than four gigabytes; the file is a hole but for its ends."""
    value = {"wide": Zeros((5, 1 << 28)), "after": np.arange(3.0), "net": Zeros((1 << 22,))}
    write_legacy_file(tmp_path / "x.pt", value)
    assert os.path.getsize(tmp_path / "x.pt") > 5 << 30
    use = "assert found['after'].sum() == 3 and found['net'].sum() == 0"
    anonymous, mapped = memory_growth(tmp_path / "x.pt", use)
    assert anonymous < 8 and 15 < mapped < 24
