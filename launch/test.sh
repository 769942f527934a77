#!/usr/bin/env bash
# Every check of this repository, with all of its set-up. Arguments go to pytest, which then runs alone; paths in them
# are from the top of the checkout:
#
#   launch/test.sh
#   launch/test.sh tests/test_ppo.py -k clip

set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/setup.sh" test
cd "$root"

if (($# > 0)); then
    exec python -m pytest "$@"
fi

# mypy cannot map a folder to another import name.
mkdir -p .mypy_cache/path
ln -sfn ../../envs .mypy_cache/path/mlsh_envs

# The quick checks all have their say before the long one starts.
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
echo "== pytest"
exec python -m pytest
