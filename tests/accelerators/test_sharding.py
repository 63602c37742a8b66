"""Devices that nobody may overlook, batches that must fall into equal shares."""

import fnmatch

import jax
import numpy as np
import pytest

from i2sb_jax.accelerators import sharding, topologies
from i2sb_jax.types import Batch


@pytest.fixture
def device_files(monkeypatch):
    """Pretends that these files are all there is in /dev."""

    def pretend(*paths):
        def glob(pattern):
            return fnmatch.filter(paths, pattern)

        monkeypatch.setattr(topologies.glob, "glob", glob)

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(topologies.jax, "default_backend", lambda: "cpu")
    return pretend


@pytest.mark.parametrize(
    "path, words",
    [
        ("/dev/nvidia0", ("an NVIDIA GPU", "i2sb_jax[cuda12]")),
        ("/dev/accel0", ("a TPU", "i2sb_jax[tpu]")),
        ("/dev/vfio/0", ("a TPU", "i2sb_jax[tpu]")),
    ],
)
def test_an_accelerator_that_jax_cannot_see(device_files, path, words):
    device_files(path)
    with pytest.raises(ValueError) as error:
        topologies.check_accelerator_visible()
    message = str(error.value)
    assert "\n" not in message and "JAX_PLATFORMS=cpu" in message
    assert all(word in message for word in (path, *words)), message


def test_a_machine_without_accelerator_passes(device_files):
    device_files("/dev/null", "/dev/nvidiactl")
    topologies.check_accelerator_visible()


def test_the_cpu_on_purpose_passes(device_files, monkeypatch):
    device_files("/dev/nvidia0")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    topologies.check_accelerator_visible()


def test_a_visible_accelerator_passes(device_files, monkeypatch):
    device_files("/dev/nvidia0")
    monkeypatch.setattr(topologies.jax, "default_backend", lambda: "gpu")
    topologies.check_accelerator_visible()


class FakeMesh:
    """What `check_batch_size` needs of a mesh of three devices."""

    size = 3


@pytest.mark.parametrize(
    "batch_size, accumulation_steps, right",
    [(8, 1, 9), (7, 1, 6), (1, 1, 3), (9, 2, 12), (32, 4, 36)],
)
def test_batches_that_do_not_fit(batch_size, accumulation_steps, right):
    with pytest.raises(ValueError) as error:
        sharding.check_batch_size(batch_size, FakeMesh, accumulation_steps=accumulation_steps)
    assert str(error.value) == (
        f"training.batch_size={batch_size} must be a multiple of {3 * accumulation_steps} "
        f"(3 devices × {accumulation_steps} accumulation steps), e.g. {right}"
    )
    sharding.check_batch_size(right, FakeMesh, accumulation_steps=accumulation_steps)


def test_the_mesh_holds_all_devices():
    mesh = sharding.make_mesh()
    assert mesh.axis_names == ("data", "fsdp") and mesh.size == jax.device_count()
    assert sharding.replicated(mesh).is_fully_replicated
    assert sharding.batch_sharding(mesh).spec == jax.P(("data", "fsdp"))


def test_devices_that_make_no_mesh_are_one_line(monkeypatch):
    def refuse(*args, **options):
        raise NotImplementedError("Failed to find assignment\nfor axes")

    monkeypatch.setattr(sharding.mesh_utils, "create_device_mesh", refuse)
    with pytest.raises(ValueError) as error:
        sharding.make_mesh()
    assert str(error.value) == "cpu makes no mesh with mesh.fsdp=1: Failed to find assignment"


def test_global_batch():
    clean = np.arange(4 * 2 * 2 * 3, dtype=np.float32).reshape(4, 2, 2, 3)
    batch = Batch(
        clean=clean,
        degraded=-clean,
        label=np.arange(4, dtype=np.int32),
        name=np.array([b"a", b"b", b"c", b"d"]),
    )
    mesh = sharding.make_mesh()
    laid = sharding.global_batch(batch, mesh)
    assert laid.name is None and laid.mask is None and laid.cond is None
    for field in ("clean", "degraded", "label"):
        got, given = getattr(laid, field), getattr(batch, field)
        assert isinstance(got, jax.Array) and got.dtype == given.dtype
        assert got.sharding.is_equivalent_to(sharding.batch_sharding(mesh), got.ndim)
        np.testing.assert_array_equal(got, given)
