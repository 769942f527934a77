#!/usr/bin/env bash
# Checks what could go wrong here before a long run, with one verdict per line. Exits with 0 unless one of them is WRONG.
#
#   launch/doctor.sh [-np N]                 this machine, with N ranks (default: one per core); or the SLURM job it runs in
#   launch/doctor.sh --hosts a:32,b:32       several hosts, named as for launch/hosts.sh
#   sbatch launch/slurm/train.sbatch doctor  the nodes of a SLURM job

set -euo pipefail

ranks=${SLURM_NTASKS:-}
case ${1:-} in
    -np | -n | --np)
        if [[ ! ${2:-} =~ ^[1-9][0-9]*$ ]]; then
            echo "doctor.sh: $1 takes the number of ranks, 1 or more, not '${2:-}'" >&2
            exit 2
        fi
        ranks=$2
        shift 2
        ;;
esac

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
line() { printf '%-6s %-11s %s\n' "$1" "$2" "$3"; }
wrong() {
    line WRONG "$1" "$2"
    exit 1
}

# The doctor installs nothing.
export MLSH_NO_INSTALL=1
environment=${MLSH_VENV:-${here%/launch}/.venv}
[[ -r $environment/mlsh-setup ]] || wrong environment "there is none in $environment: run launch/setup.sh"
# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$here/setup.sh" run
line ok environment "$venv, MPI=$mpi"

# mpirun and the library that Python loads must be of the same family, or each rank believes it is alone.
family=$(mpi_family)
library=$(python -c 'import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(MPI.Get_library_version())' 2>&1 | tr -d '\0' | head -n 1) || true
case $library in
    *"Open MPI"*) loaded=openmpi ;;
    *MPICH* | *MVAPICH* | *Intel*) loaded=mpich ;;
    *) wrong library "Python finds no MPI library (${library:0:200}): load the module of one, or set MPI4PY_LIBMPI" ;;
esac
launcher=$(command -v mpirun || true)
if [[ ! $launcher ]]; then
    line note mpirun "there is none on PATH: jobs can only be started by srun"
elif [[ ! $family ]]; then
    wrong mpirun "$launcher does not run: $(mpirun --version 2>&1 | head -n 1)"
elif [[ ${family/intel/mpich} != "$loaded" ]]; then
    wrong mpirun "$launcher is of $family, but Python loads $loaded ($library): put the mpirun of that library first on PATH"
else
    line ok mpirun "$launcher, of the same family as the library that Python loads"
fi

case ${1:-} in
    --hosts | --hostfile | --interface) exec "$here/hosts.sh" "$@" doctor ;;
    ?*)
        echo "doctor.sh: it takes -np N, --hosts or --hostfile, not '$1'" >&2
        exit 2
        ;;
esac
: "${ranks:=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)}"
export MLSH_RANKS=$ranks
start=(srun -n "$ranks")
[[ ! $launcher ]] || start=(mpirun -np "$ranks")
[[ $launcher || ${SLURM_JOB_ID:-} ]] || wrong start "without mpirun only a SLURM job can start ranks: sbatch launch/slurm/train.sbatch doctor"
[[ $family != openmpi ]] || start+=(--bind-to none)
code=0
timeout --foreground --kill-after=10 300 "${start[@]}" "$venv/bin/python" -m mlsh_mpi doctor || code=$?
((code != 124)) || wrong start "the ranks did not finish within five minutes: a firewall, or a host that does not answer"
exit "$code"
