"""PyTorch's side of a comparison, in a child process: this one never imports torch."""

import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import networks, timing
from experiments.benchmarks.networks import Size
from i2sb_jax.bridge import q_sample, regression_target
from i2sb_jax.models import UNetConfig
from i2sb_jax.types import Params

MODES = ("float32", "best")


class ReferenceFailed(Exception):
    """PyTorch's side failed; the message is its own, in one line."""


class ReferenceProcess:
    """A running child; see `torch_reference` for what it does."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer.

        Raises:
            ReferenceFailed: it failed, or the process is gone.
        """
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ReferenceFailed(f"PyTorch's process ended with status {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise ReferenceFailed(" ".join(answer["error"].split()))
        return answer

    def side(self, work: str) -> timing.Side:
        """What `timing.alternate` calls; "forward" or "train", after "prepare"."""
        return lambda runs: self.ask("run", work=work, runs=runs)["seconds"]


@contextmanager
def start(
    reference: str, mode: str, size: Size, params: Params, *, expected: np.ndarray
) -> Iterator[ReferenceProcess]:
    """Starts a child with the same network, weights and inputs; ends it with the block.

    Args:
        reference: a checkout of guided-diffusion.
        mode: one of MODES.
        size: network and pictures; its `dtype` and `remat` are JAX's affair.
        params: the weights.
        expected: JAX's ε for all or the first of `inputs`, [pictures, h, w, c].

    Raises:
        ReferenceFailed: there is no torch.
    """
    if importlib.util.find_spec("torch") is None:
        raise ReferenceFailed("torch is not installed")
    from i2sb_jax.interop import state_dict_from_params  # needs more of the base install than JAX

    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "network.json").write_text(json.dumps(unet_arguments(size)))
        state_dict = state_dict_from_params(params, size.network)
        np.savez(folder / "weights.npz", **state_dict)
        np.savez(folder / "inputs.npz", **inputs(size))
        np.save(folder / "expected.npy", _channels_first(expected))
        module = "experiments.benchmarks.torch_reference"
        process = subprocess.Popen(
            [sys.executable, "-m", module, reference, name, mode],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield ReferenceProcess(process)
            finally:
                process.kill()
                with suppress(BrokenPipeError):  # it may be gone, and a command not sent
                    process.stdin.close()


def unet_arguments(size: Size) -> dict[str, Any]:
    """Arguments of guided-diffusion's UNetModel for the same network."""
    network: UNetConfig = size.network
    return {
        "image_size": size.image_size,
        "in_channels": network.in_channels,
        "model_channels": network.model_channels,
        "out_channels": network.out_channels,
        "num_res_blocks": network.num_res_blocks,
        "attention_resolutions": network.attention_downsamples,
        "channel_mult": network.channel_mult,
        "num_head_channels": network.head_channels,
        "use_scale_shift_norm": True,
        "resblock_updown": True,
    }


def inputs(size: Size) -> dict[str, np.ndarray]:
    """X_n, noise levels and regression targets; pictures are NCHW.

    PyTorch is given what JAX's training step works out each time: a draw of the step and the noise,
    X_n and its target.
    """
    clean, degraded = (jnp.asarray(networks.pictures(size, seed=seed)) for seed in range(2))
    schedule = networks.make_schedule()
    step = jnp.linspace(0, networks.NUM_STEPS - 1, size.batch_size).astype(jnp.int32)
    xt = q_sample(jax.random.key(0), schedule, step, clean, degraded)
    target = regression_target(schedule, step, xt, clean)
    level = jnp.asarray(schedule.noise_level, jnp.float32)[step]
    return {
        "x": _channels_first(xt),
        "level": np.array(level),
        "target": _channels_first(target),
    }


def expected_output(size: Size, params: Params, *, pictures: int | None = None) -> np.ndarray:
    """JAX's ε of the first `pictures` of `inputs` (None: all) in float32, [pictures, h, w, c]."""
    given = inputs(size)
    x = jnp.asarray(given["x"][:pictures].transpose(0, 2, 3, 1))
    plain = size.replaced(dtype=jnp.float32)
    with jax.default_matmul_precision("highest"):
        forward = jax.jit(networks.forward_fn(plain))
        return np.array(forward(params, x, given["level"][:pictures]))


def _channels_first(pictures: jax.Array | np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.array(pictures).transpose(0, 3, 1, 2))
