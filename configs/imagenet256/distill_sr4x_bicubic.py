"""One step for 4× super-resolution on ImageNet at 256²: a student of the paper's own weights.

    i2sb-import --source latest.pt --task sr4x-bicubic --workdir WEIGHTS
    i2sb-train --config configs/imagenet256/distill_sr4x_bicubic.py --workdir WORKDIR \
        --config.data.path=DATA_DIR --config.teacher=WEIGHTS

Hardware: IBMD (arXiv 2502.01362) took 24 to 40 hours on 8 A100. Three networks of ADM's size are
in memory, with an average and the moments of two: cut over 8 devices (fsdp) 2.9 GiB each with the
batch, by `--dry-run --topology cpu:8`, and 18.2 GiB of temporaries by a CPU's compiler.
Expected: FID 2.6, CA 72.3 at one evaluation, against 2.8 and 70.7 of the teacher at 1000
(published, arXiv 2502.01362; not reproduced here).
"""

from i2sb_jax.configs.imagenet256 import recipe


def get_config():
    """IBMD's settings: batch 256, 3000 updates, five of the auxiliary bridge for each."""
    config = recipe.imagenet256("sr4x-bicubic", beta_max=0.3, deterministic=False)
    config.model.dtype = "bfloat16"
    config.model.remat = "blocks"
    config.mesh.fsdp = 8
    config.training.num_steps = 3000
    config.training.image_every = 250
    config.training.checkpoint_every = 250
    config.training.accumulation_steps = 8
    config.sampling.nfe = 1
    return config
