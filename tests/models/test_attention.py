"""Which attention is computed where."""

import jax
import jax.numpy as jnp
import pytest

from i2sb_jax.models import attention as module
from i2sb_jax.models.attention import attention, cudnn_has

LONG = (2, 64, 2, 8)  # [batch, positions, heads, channels a head]


def three(shape=LONG, dtype=jnp.bfloat16):
    return [jax.ShapeDtypeStruct(shape, dtype)] * 3


def gradient_text(arrays, platform):
    def loss(*arrays):
        return attention(*arrays).astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(loss, (0, 1, 2))).trace(*arrays)
    return gradient.lower(lowering_platforms=(platform,)).as_text()


@pytest.fixture
def cudnn(monkeypatch):
    """A stand-in that tells itself by a cosine and takes heads of 8 channels alone."""

    def by_cudnn(query, key, value):
        if query.shape[3] != 8:
            raise NotImplementedError("head dim")
        return jnp.sin(query) + key + value

    monkeypatch.setattr(module, "attention_by_cudnn", by_cudnn)


@pytest.mark.parametrize("platform", ["cuda", "rocm", "cpu", "tpu"])
def test_cudnn_is_for_the_gpus_that_have_it(cudnn, platform):
    """Settled when a program is lowered: these are compiled for devices that are not here."""
    text = gradient_text(three(), platform)
    assert ("stablehlo.cosine" in text) == (platform == "cuda")
    assert ("stablehlo.dot_general" in text) == (platform != "cuda")


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [(LONG, jnp.float32), ((2, 63, 2, 8), jnp.bfloat16), ((2, 64, 2, 12), jnp.bfloat16)],
    ids=["float32", "short", "heads it does not take"],
)
def test_where_cudnn_has_no_kernel_it_is_not_called(cudnn, shape, dtype):
    assert cudnn_has(*three())
    assert not cudnn_has(*three(shape, dtype))
    assert "stablehlo.cosine" not in gradient_text(three(shape, dtype), "cuda")


def test_a_gpu_that_is_too_old_has_none(cudnn, monkeypatch):
    class Gpu:
        compute_capability = "7.5"

    monkeypatch.setattr(jax, "local_devices", lambda: [Gpu()])
    assert not cudnn_has(*three())
    Gpu.compute_capability = "8.0"
    assert cudnn_has(*three())


def test_the_real_one_is_called_both_ways():
    pytest.importorskip("jax_cuda12_plugin", reason="needs the extra cuda12, and no GPU")
    text = gradient_text(three(), "cuda")
    assert "__cudnn$fmhaSoftmax" in text and "__cudnn$fmhaSoftmaxBackward" in text
    assert "stablehlo.dot_general" not in text
    assert "__cudnn" not in gradient_text(three(), "tpu")
