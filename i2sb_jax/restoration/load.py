"""A trained bridge as plain functions, for samplers of one's own."""

import jax
import jax.numpy as jnp
from etils import epath

from i2sb_jax import bridge, interop
from i2sb_jax.checkpoint import LATEST
from i2sb_jax.config import Config
from i2sb_jax.run import restoring_run
from i2sb_jax.sampling import make_predict_x0
from i2sb_jax.types import Array, Params, PredictX0Fn


def load_model(
    path: epath.PathLike, *, checkpoint: str | int = LATEST
) -> tuple[PredictX0Fn, bridge.Bridge, Config]:
    """Loads a run or a model folder as what `bridge.sample` takes.

        predict_x0_fn, schedule, config = load_model(path)
        steps = bridge.step_grid(schedule.num_steps, 10)
        x0 = bridge.sample(key, schedule, predict_x0_fn, x1, steps=steps).x0

    Args:
        path: the run (its averaged weights) or the model folder: local, gs:// or
            hf://OWNER/NAME[@REVISION].
        checkpoint: of a run: "latest", "best" (by `training.best_metric`) or the number of a step.

    Returns:
        `predict_x0_fn(xt, step, cond=None)` with xt [batch, h, w, c] in [-1, 1], step a scalar or
        [batch], and cond [batch, h, w, c'] for runs that show the network X_1 beside X_t
        (`functools.partial(predict_x0_fn, cond=cond)` is what a sampler takes then; a student's
        last `config.noise_channels` of cond are N(0, 1), drawn anew at each step); sides are
        multiples of the network's downsampling factor. X̂_0 is not clipped. It is un-jitted, and a
        pytree of the parameters: as an argument of a jitted function these are no constants of it.
        Then the bridge's schedule, and the configuration, whose `bridge.deterministic` says whether
        to sample with noise. With `bridge.start` X_T is no X_1, but the X̂_0 that the model
        in `config.bridge.start` gives for it at the last step (`load_model` takes that too), with
        noise of σ `config.bridge.start_noise`.

    Raises:
        ValueError: `path` holds no run, no weights, no such checkpoint, or one of other shapes.
    """
    config, params = interop.load_model_folder(path, checkpoint=checkpoint)
    run = restoring_run(config)
    if config.bridge.start:
        params = params.bridge

    def predict(params: Params, xt: Array, step: Array, cond: Array | None = None) -> jax.Array:
        predict_x0_fn = make_predict_x0(
            run.network, run.bridge, params, cond=cond, prediction=config.bridge.prediction
        )
        with jax.default_matmul_precision(config.matmul_precision):
            return predict_x0_fn(jnp.asarray(xt), step)

    return jax.tree_util.Partial(predict, params), run.bridge, config
