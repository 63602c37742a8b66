#!/usr/bin/env bash
# Builds wheel and source distribution of what is committed, and uses both as a stranger would.
#
#     experiments/launch/release.sh [FOLDER]
#
# FOLDER, dist/ unless named, gets the two files. `twine check`, then each is installed with nothing
# but the base install into an empty environment, where a shipped model restores a picture with
# nothing compiled before. Needs git, and a network for pip: some minutes, and 1 GB for a while.
# PYTHON chooses the interpreter.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
output=$(realpath -m "${1:-dist}")
most=120 # seconds from an installation to the first picture
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH
export XDG_CACHE_HOME=$work/cache JAX_COMPILATION_CACHE_DIR=$work/compiled
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR=${PIP_CACHE_DIR:-$HOME/.cache/pip}

mkdir -p "$output" "$work/source" "$work/elsewhere"
git -C "$root" archive HEAD | tar -x -C "$work/source"
for name in tools empty; do "${PYTHON:-python3}" -m venv "$work/$name"; done
"$work/tools/bin/pip" install --quiet build twine
"$work/tools/bin/python" -m build --outdir "$work/built" "$work/source" >"$work/build.log" ||
  { cat "$work/build.log" && exit 1; }
"$work/tools/bin/twine" check --strict "$work"/built/*

contents() { # names in a wheel or source distribution
  case $1 in
    *.whl) "$work/tools/bin/python" -m zipfile -l "$1" ;;
    *) tar -tf "$1" ;;
  esac
}
cd "$work/elsewhere" # nothing is imported from the checkout
for file in "$work"/built/*.whl "$work"/built/*.tar.gz; do
  contents "$file" >"$work/names"
  for name in jpeg deblur denoise sr4x; do
    for part in README.md config.json provenance.json model.safetensors; do
      grep -q "i2sb_jax/zoo/$name/$part" "$work/names" || { echo "$file: no $name/$part" && exit 1; }
    done
  done
  for part in LICENSE configs/quickstart.py; do
    grep -q "$part" "$work/names" || { echo "$file: no $part" && exit 1; }
  done
  "$work/empty/bin/pip" install --quiet --force-reinstall --no-deps "$file"
  "$work/empty/bin/pip" install --quiet "$file"
  begun=$SECONDS
  rm -rf "$work/compiled" restored.png
  "$work/empty/bin/i2sb-restore" --model deblur --input "$work/source/docs/before_after.jpg" \
    --output restored.png
  took=$((SECONDS - begun))
  "$work/empty/bin/python" - "$work/source/docs/before_after.jpg" restored.png <<'PYTHON'
import sys
import numpy as np
from PIL import Image
before, after = (np.asarray(Image.open(name).convert("RGB"), float) for name in sys.argv[1:])
assert before.shape == after.shape and 0.1 < np.abs(before - after).mean() < 20
PYTHON
  echo "$(basename "$file"): $(wc -c <"$file") bytes; first picture $took s after pip was done"
  ((took <= most)) || { echo "more than $most s" && exit 1; }
done
cp "$work"/built/* "$output"
"$work/empty/bin/pip" list --format=freeze | wc -l | sed 's/$/ packages in the empty environment/'
du -sh "$work/empty" | cut -f1 | sed 's/$/ it takes/'
