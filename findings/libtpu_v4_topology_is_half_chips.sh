#!/bin/sh
# jax 0.10.2, libtpu 0.0.42.1, no TPU: "v4:2x2x4", the name of a slice of 16 chips, is described as 32
# devices, each with half of a chip's memory for programs. Jobs on v4 slices see 16, a chip each.
#
# So a program that is compiled for the slice by its name is compiled for twice as many devices as
# there will be, and is refused for want of memory that they will have. What a job gets is described
# with chip_config_name="megacore". v5p, whose chips have two cores as well, needs no such word.
#
# Seen, devices and GiB each: "v4 32 15.25, megacore 16 30.75, v5p 16 95.74".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.42.1
export JAX_PLATFORMS=cpu ALLOW_MULTIPLE_LIBTPU_LOAD=1 TPU_SKIP_MDS_QUERY=1
export TPU_ACCELERATOR_TYPE=none TPU_WORKER_HOSTNAMES=localhost
"$folder/venv/bin/python" - <<'PYTHON' >"$folder/seen" 2>/dev/null
import re

import jax
import jax.numpy as jnp
from jax.experimental.topologies import get_topology_desc
from jax.sharding import SingleDeviceSharding


def described(name, **options):
    devices = get_topology_desc(platform="tpu", topology_name=name, **options).devices
    on_one = SingleDeviceSharding(devices[0])
    x = jax.ShapeDtypeStruct((2**38,), jnp.float32, sharding=on_one)  # a tebibyte, refused
    try:
        jax.jit(jnp.sin).lower(x).compile()
    except jax.errors.JaxRuntimeError as error:
        memory = re.search(r"of ([\d.]+)G hbm|exceeds available HBM \(([\d.]+)G\)", str(error))
    return f"{len(devices)} {memory[1] or memory[2]}"


v4, v5p = described("v4:2x2x4"), described("v5p:2x2x4")
whole = described("v4:2x2x4", chip_config_name="megacore")
print(f"v4 {v4}, megacore {whole}, v5p {v5p}")
PYTHON
cat "$folder/seen"
test "$(cat "$folder/seen")" = "v4 32 15.25, megacore 16 30.75, v5p 16 95.74"
