"""Two checkouts' step beside each other: their accounts, ratios, and what both are asked for."""

import json

import jax

from experiments.launch import step_memory
from i2sb_jax.accelerators import gpus
from i2sb_jax.accelerators.program import read_program

GIB = 2**30


def test_a_program_of_another_process_is_accounted_for():
    compiled = jax.jit(lambda x: x @ x).lower(jax.ShapeDtypeStruct((32, 32), "float32")).compile()
    memory = compiled.memory_analysis()
    names = ("argument", "output", "alias", "temp", "generated_code")
    told = {f"{name}_size_in_bytes": getattr(memory, f"{name}_size_in_bytes") for name in names}
    account = {"memory": told, "flops": compiled.cost_analysis()["flops"]}
    kept = step_memory.Kept(compiled.as_text(), json.loads(json.dumps(account)))
    assert read_program(kept) == read_program(compiled)
    assert step_memory.Kept("", account | {"flops": None}).cost_analysis() is None


def test_the_second_checkout_is_divided_by_the_first(monkeypatch, capsys, tmp_path):
    compiled = jax.jit(lambda x: x + x).lower(jax.ShapeDtypeStruct((), "float32")).compile()
    program = read_program(compiled)

    def compile_step(checkout, row, topology, pictures):
        assert (row, topology, pictures) == ("none", "v5e:4x4", 4)
        temporaries = {"before": 4 * GIB, "after": 1 * GIB}[checkout.name]
        memory = program.memory._replace(temporaries=temporaries)
        return program._replace(memory=memory, flops=2e12)

    monkeypatch.setattr(step_memory, "compile_step", compile_step)
    words = [str(tmp_path / name) for name in ("before", "after")]
    words += ["--rows", "none", "--topology", "v5e:4x4", "--pictures", "4"]
    monkeypatch.setattr("sys.argv", ["step_memory", *words])
    step_memory.main()
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split()[:3] == ["none", "0.250", "1.000"]


def test_checkouts_are_asked_for_the_same_devices(monkeypatch):
    libraries = gpus.Libraries(cudnn=(9, 28, 0), runtime=(12, 9, 79))
    monkeypatch.setattr(gpus, "installed_libraries", lambda cuda: libraries)
    asked = step_memory.describe("h100:8")
    assert (asked["platform"], asked["topology"]) == ("cuda", "1x1x8")
    assert gpus.memory_of(asked["target_config"]) == gpus.GPUS["h100"].memory
    assert step_memory.describe("v5e:4x4") == {"platform": "tpu", "topology_name": "v5e:4x4"}
