"""What is not finite is found in any type of number, on the host and on devices, and named."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from i2sb_jax.finite import check_finite, is_finite, non_finite

DTYPES = (np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_among_many(dtype, value):
    array = np.ones((7, 11), dtype)
    assert is_finite(array)
    array[3, 4] = value
    assert not is_finite(array) and not is_finite(array.T)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sum_that_overflows_is_no_infinity(dtype):
    large = np.full(100, np.finfo(dtype).max)
    assert is_finite(large) and is_finite(large * np.array([1, -1] * 50, dtype))
    large[5] = np.inf
    assert not is_finite(large)
    large[6] = -np.inf  # their sum is NaN
    assert not is_finite(large)


def test_the_first_is_named_and_integers_are_passed_over():
    tree = {"a": np.ones(3, np.float32), "b": {"c": np.ones((2, 2)), "d": np.ones(2)},
            "n": np.int32(4), "key": jax.random.key(0)}  # fmt: skip
    assert non_finite(tree) == ""
    tree["b"]["c"][0, 1] = np.inf
    tree["b"]["d"][0] = np.nan
    assert non_finite(tree) == "b/c holds infinity (1 of 4 values)"
    tree["b"]["c"][1] = np.nan
    with pytest.raises(ValueError, match=r"^w: b/c holds NaN \(3 of 4 values\): weights must be"):
        check_finite("w", tree)


def test_arrays_of_devices():
    mesh = jax.make_mesh((jax.device_count(),), ("x",))
    count = 4 * jax.device_count()
    values = np.arange(count, dtype=np.float32)
    values[-1] = np.nan
    for spec in (jax.sharding.PartitionSpec("x"), jax.sharding.PartitionSpec()):
        array = jax.device_put(values, jax.sharding.NamedSharding(mesh, spec))
        assert non_finite({"w": array}).startswith("w holds NaN (1 of ")
        assert non_finite({"w": jnp.nan_to_num(array)}) == ""
