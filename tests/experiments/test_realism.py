"""The table between the mean and a sample, and the lines on what steps cost; no network."""

import numpy as np

from experiments.after_i2sb import cost, realism
from i2sb_jax.pictures import from_uint8
from tests.restoration.models import photo


def test_a_walk_that_ends_at_the_photograph_gains_all_the_way():
    found = {}
    for name, seed in (("a", 0), ("b", 1)):
        clean = photo(160, 320, seed=seed)
        smooth = from_uint8(clean).reshape(80, 2, 160, 2, 3).mean(axis=(1, 3))
        smooth = smooth.repeat(2, axis=0).repeat(2, axis=1)
        found[name] = realism.Walk(clean, smooth, from_uint8(clean))
    rows = realism.rows("jpeg", found)
    assert [row["realism"] for row in rows] == list(realism.REALISMS)
    quality, distance = ([row[name] for row in rows] for name in ("psnr", "kernel"))
    assert (np.diff(quality) > 0).all() and (np.diff(distance) < 0).all()
    head, _, line = realism.report(rows).splitlines()
    assert head.count("|") == line.count("|") and line.startswith("| jpeg 10 | ")
    page = realism.sheet(found["a"])
    assert page.size == (6 * 192 + 5 * 4, 192 + 16)
    assert (np.asarray(page)[:16] < 128).any()  # titles


def test_a_line_a_row():
    steps = {
        "sampler": "heun", "beside": "implicit", "nfe": 5, "windows": 8, "side": 64,
        "seconds": 1.02, "seconds beside": 1.0,
        "ratio": {"median": 1.02, "lowest": 1.0, "highest": 1.1},
        "temporaries": 3 << 20, "temporaries beside": 2 << 20,
    }  # fmt: skip
    corrections = {"windows": 8, "side": 64, "network": 0.5, "JPEG": 0.005}
    first, second = cost.report({"corrections": [corrections], "steps": [steps]}).splitlines()
    assert first == "8 × 64²: JPEG 1.0 % of a pass"
    assert "ratio 1.020 (1.000 … 1.100); 3.0 MiB, 1.500 of the other's" in second
