#!/bin/sh
# jax 0.10.2, jaxlib 0.10.2, CPU: the values of a compiler option are checked, but for a list of passes.
#
# An unknown option is refused ("No such compile option"), an unknown value of an enumeration too
# ("is not a valid enum value"). xla_disable_hlo_passes takes the name of a pass that does not exist
# without a word. So a pass that a new XLA renames runs again, and a program that relied on its
# being off is slower, or no longer the one that was tested, without an error or a warning.
#
# Seen: "option refused / value refused / unknown pass taken".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON' >"$folder/seen" 2>/dev/null
import jax
import jax.numpy as jnp


def told(options):
    try:
        jax.jit(lambda x: x * 2 + 1, compiler_options=options).lower(jnp.ones(3)).compile()
    except Exception as error:
        text = str(error)
        assert "No such compile option" in text or "not a valid enum value" in text, text
        return "refused"
    return "taken"


option = told({"xla_no_such_option": True})
value = told({"xla_cpu_experimental_ynn_fusion_type": "NO_SUCH_TYPE"})
unknown = told({"xla_disable_hlo_passes": "no-such-pass"})
print(f"option {option} / value {value} / unknown pass {unknown}")
PYTHON
cat "$folder/seen"
test "$(cat "$folder/seen")" = "option refused / value refused / unknown pass taken"
