#!/usr/bin/env bash
#SBATCH --job-name=i2sb-restore
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --no-kill
#SBATCH --requeue
#SBATCH --open-mode=append
# Restores a folder, a process a GPU; for one a node set --ntasks-per-node=1.
#
#     sbatch experiments/launch/restore.sh --model RUN --input PICTURES --output RESTORED [--nfe K …]
#
# The processes share the folder and know nothing of each other: what a lost one was at goes to the
# others, and the same command given twice is twice as many processes at the same pictures.
set -u
if [ $# -lt 6 ]; then
  echo "use sbatch $0 --model RUN --input PICTURES --output RESTORED [options]" >&2
  exit 2
fi
# which srun does not take over itself any more
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
# neither a lost node nor a lost process ends the others
exec srun --no-kill --kill-on-bad-exit=0 i2sb-restore "$@"
