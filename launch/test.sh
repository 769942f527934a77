#!/usr/bin/env bash
# Every check of this repository, with all of its set-up. Paths in arguments are from the top of the checkout.
#
#   launch/test.sh            everything: a quarter of an hour on two cores
#   launch/test.sh --static   style and types alone
#   launch/test.sh --quick    static checks, unit tests and an ordinary job: a minute, without SLURM, ssh or other hosts
#   launch/test.sh tests/unit/algorithm/test_ppo.py -k clip
#                             all other arguments go to pytest, which then runs alone
#   launch/test.sh --lowest   the unit tests and a few jobs with the lowest versions that setup.py allows, in .venv-lowest; more
#                             arguments go to pytest. In CI it follows a run without arguments.

set -euo pipefail

# Old versions of torch come with all of CUDA: 2.4 GB to download, which pip need not cache as well.
with_lowest_versions() {
    MLSH_VENV=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")/.venv-lowest
    export MLSH_VENV MLSH_CONSTRAINTS=launch/lowest.txt PIP_NO_CACHE_DIR=1
}

# Everything that starts no MPI jobs, and a few jobs.
test_lowest() {
    local few=(tests/unit tests/mpi/test_lowest.py tests/mpi/test_gradient.py tests/mpi/test_finished_job.py)
    few+=("tests/mpi/test_script.py::test_what_a_script_passes_reaches_every_rank[class on rank 0 only]")
    (($# > 0)) || set -- -n 2 --dist loadfile "${few[@]}" -m "not slow"
    exec python -m pytest "$@"
}

[[ ${1:-} != --lowest ]] || with_lowest_versions

# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/setup.sh" test
cd "$root"
unset PYTHONDONTWRITEBYTECODE  # else each rank of each job would compile our modules anew

# Three workers keep two cores busy, because much of what is tested is waiting: most of all hosts and SLURM, which are collected
# first. Each file stays with one worker, with its daemons and the jobs that its tests share.
pytest=(pytest -n 3 --dist loadfile --no-loadscope-reorder)
if [[ ${1:-} == --lowest ]]; then
    test_lowest "${@:2}"
elif [[ $* == --static ]]; then
    pytest=()
elif [[ $* == --quick ]]; then
    pytest+=(tests/mpi/test_finished_job.py tests/unit)
elif (($# > 0)); then
    exec python -m pytest "$@"
fi

# All quick checks run before the long one starts.
failed=()
check() {
    echo "== $*"
    python -m "$@" || failed+=("$*")
}
check ruff check .
check ruff format --check .
check mypy
if ((${#failed[@]} > 0)); then
    printf 'test.sh: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
((${#pytest[@]} > 0)) || exit 0
echo "== pytest"
[[ ${CI:-} == true && $# == 0 ]] || exec python -m "${pytest[@]}"

code=0
python -m "${pytest[@]}" || code=$?
echo "== pytest, lowest versions"
"$root/launch/test.sh" --lowest || code=$?
exit "$code"
