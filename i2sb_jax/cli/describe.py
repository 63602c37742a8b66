"""The description of a run that is printed before it starts."""

import jax

from i2sb_jax.run import Run


def describe(run: Run, workdir: str) -> None:
    """Prints the network's parameters, the task, and the devices, once; needs clu."""
    if jax.process_index() != 0:
        return
    from clu import parameter_overview

    config = run.config
    params = jax.eval_shape(run.init_params, jax.random.key(0))
    print(parameter_overview.get_parameter_overview(params, include_stats=False))
    if config.bridge.start:
        noise = f"with noise of σ {config.bridge.start_noise:g}"
        print(f"the bridge starts at the answer of {config.bridge.start}, {noise}")
    count = jax.process_count()
    print(
        f"{config.corruption} on {config.data.source} at {config.image_size} px, "
        f"{jax.device_count()} × {jax.devices()[0].device_kind} in {count} "
        f"process{'es' if count > 1 else ''}, "
        f"matmul precision {config.matmul_precision}, into {workdir}",
        flush=True,
    )
