"""Repairing real JPEG files of any usual quality, learnt from one's own photographs on one GPU.

    i2sb-train --config configs/folder_jpeg.py:256 --workdir runs/jpeg \
        --config.data.path=PHOTOGRAPHS

Sizes after the colon are those of `configs/folder.py`. PHOTOGRAPHS should be PNG, TIFF
or JPEG of quality 95 and more: what their own files lost is taken for the truth.
Hardware: as for `configs/folder.py`.
Expected: not measured at this size. A network of 0.2 M parameters is compared with one trained on
the published operator in experiments/jpeg_file/README.md.
"""

from i2sb_jax.configs import folder


def get_config(size="256"):
    """Qualities 5 to 95, any subsampling, SDE with beta_max 0.3 as the paper has for JPEG."""
    config = folder.get_config(size)
    config.corruption = "jpeg-file-5-95"
    config.bridge.beta_max = 0.3
    config.bridge.deterministic = False
    return config
