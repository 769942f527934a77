#!/usr/bin/env bash
# The main job on this machine, with all of its set-up (see setup.sh for MPI=, PYTHON=, MLSH_VENV=):
#
#   launch/local.sh [-np N] [PRESET] [--options of the trainer]
#   launch/local.sh [-np N] adapt RUN [--options]       # how fast fresh masters learn single tasks
#   launch/local.sh replay RUN [--options]              # a film of it
#   launch/local.sh figures FIGURE [--make]             # a figure of the paper; --make starts all of its runs
#
# N is the number of ranks, by default one per core. Everything after it goes to the trainer; runs/ is in the current folder.

set -euo pipefail

ranks=
case ${1:-} in
    -np | -n | --np)
        ranks=${2:-}
        if [[ ! $ranks =~ ^[1-9][0-9]*$ ]]; then
            echo "local.sh: $1 takes the number of ranks, 1 or more, not '$ranks'" >&2
            exit 2
        fi
        shift 2
        ;;
esac

module=train
case ${1:-} in
    adapt | replay | figures)
        module=$1
        shift
        ;;
esac

# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/setup.sh" run

if [[ $module == figures ]]; then # which starts mpirun itself
    exec "$venv/bin/python" -m mlsh_mpi figures "$@"
fi

# nproc counts the cores this process may use, but would also obey the thread count that is meant for one rank.
: "${ranks:=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)}"
for argument in "$@"; do
    if [[ $argument == -h || $argument == --help ]]; then
        echo "usage: local.sh [-np N] and the trainer's own arguments, which are:"
        ranks=1
        break
    fi
done
[[ $module != replay ]] || ranks=1

outlive_terminal
fault_tolerance "$@"
exec mpirun "${tolerant[@]}" -np "$ranks" "$venv/bin/python" -m mlsh_mpi "$module" "$@"
