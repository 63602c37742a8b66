#!/usr/bin/env bash
# Trains on all hosts of a TPU VM or pod slice, over ssh.
#
#     bash experiments/launch/tpu_vm.sh NAME ZONE CONFIG WORKDIR [--config.KEY=VALUE …]
#
# WORKDIR and the data have to be gs:// where there are several hosts; a local WORKDIR is one of the
# home on the host. The project is copied to ~/i2sb_jax of each host and installed there. Where the
# slice was taken away (a spot VM), make a new one and give the same command: the run goes on from its
# last checkpoint. What stops and can go on is started again, but not more than three times when it
# stops within ten minutes.
set -euo pipefail
if [ $# -lt 4 ]; then
  echo "use bash $0 NAME ZONE CONFIG WORKDIR [--config.KEY=VALUE …]" >&2
  exit 2
fi
name=$1 zone=$2 config=$3 workdir=$4
shift 4
root=$(cd "$(dirname "$0")/../.." && pwd)
most=3

everywhere() {
  gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

archive=$(mktemp -t i2sb-XXXXXX.tar.gz)
trap 'rm -f "$archive"' EXIT
tar -C "$root" -czf "$archive" setup.cfg pyproject.toml README.md LICENSE i2sb_jax configs
gcloud compute tpus tpu-vm scp "$archive" "$name:i2sb_jax.tar.gz" --zone="$zone" --worker=all
everywhere "set -e; mkdir -p i2sb_jax; cd i2sb_jax; rm -rf source; mkdir source
  tar -C source -xzf ../i2sb_jax.tar.gz; [ -d venv ] || python3 -m venv venv
  venv/bin/pip install --quiet './source[train,tpu]'"

case $config in /*) ;; *) config=i2sb_jax/source/$config ;; esac
# what a lost connection left running saves and ends first
command="pkill -x i2sb-train; while pgrep -x i2sb-train >/dev/null; do sleep 1; done;"
command+=" i2sb_jax/venv/bin/i2sb-train --config=$(printf %q "$config")"
command+=" --workdir=$(printf %q "$workdir") --config.distributed=on"
for option in "$@"; do command+=" $(printf %q "$option")"; done
tries=0
while true; do
  status=0 begun=$SECONDS
  everywhere "$command" || status=$?
  # 75: stopped and saved. ssh gives 255 where the connection or the host was lost.
  if [ "$status" -ne 75 ] && [ "$status" -le 128 ]; then exit "$status"; fi
  if [ $((SECONDS - begun)) -ge 600 ]; then tries=0; fi
  tries=$((tries + 1))
  if [ "$tries" -gt "$most" ]; then exit "$status"; fi
  echo "status $status: again, to go on from the last checkpoint ($tries of $most)" >&2
done
