#!/usr/bin/env bash
#SBATCH --job-name=i2sb
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --open-mode=append
# One process a GPU; for one a node set --ntasks-per-node=1.
#
#     sbatch experiments/launch/slurm.sh CONFIG WORKDIR [--config.KEY=VALUE …]
#
# Three minutes before the time limit Slurm sends SIGTERM to the processes, which save and exit with
# 75. That, and death by a signal (a lost node, an exhausted memory), puts the job back into the
# queue; but not more than three times without a newer checkpoint, so that what fails at once does
# not fail for ever. Other exits are final: 0 done, 2 a mistake in what was asked for, 3 a loss that
# is not finite.
set -u
if [ $# -lt 2 ]; then
  echo "use sbatch $0 CONFIG WORKDIR [--config.KEY=VALUE …]" >&2
  exit 2
fi
config=$1 workdir=$2
shift 2
most=3
tries_file="${SLURM_SUBMIT_DIR:-.}/slurm-$SLURM_JOB_ID.tries" # last checkpoint, tries since

newest_checkpoint() { # 0 without any; workdir may be gs://
  python3 - "$workdir" <<'PYTHON'
import sys
from etils import epath

folder = epath.Path(sys.argv[1]).expanduser() / "checkpoints"
names = [path.name for path in folder.iterdir()] if folder.exists() else []
print(max((int(name) for name in names if name.isdecimal()), default=0))
PYTHON
}

# which srun does not take over itself any more
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
trap : TERM # Slurm may send it to this script too: the processes are what it is for
srun i2sb-train --config "$config" --workdir "$workdir" "$@"
status=$?
if [ "$status" -ne 75 ] && [ "$status" -le 128 ]; then
  rm -f "$tries_file"
  exit "$status"
fi
# a job that somebody cancelled ends here: it must not come back
[ "$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T)" = RUNNING ] || exit "$status"
newest=$(newest_checkpoint) || exit "$status"
before=-1 tries=0
[ -f "$tries_file" ] && read -r before tries <"$tries_file"
if [ "$newest" -gt "$before" ]; then tries=0; fi
if [ "$tries" -ge "$most" ]; then
  echo "given up: $tries restarts and no checkpoint after step $newest" >&2
  exit "$status"
fi
echo "$newest $((tries + 1))" >"$tries_file"
echo "status $status: back into the queue, to go on from step $newest" >&2
scontrol requeue "$SLURM_JOB_ID"
