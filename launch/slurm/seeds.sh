#!/usr/bin/env bash
#
# Several runs at once, as a job array of train.sbatch, and a job that draws them together when all are done:
#
#   launch/slurm/seeds.sh 0-3 moving-bandits --iterations 250
#   launch/slurm/seeds.sh 0-3 --nodes=1 --ntasks-per-node=8 --time=1:00:00 -- moving-bandits --iterations 250
#   launch/slurm/seeds.sh 1-6 @sweep.txt     # line 1 to 6 of a file of arguments; each should name its --folder runs/...
#
# The first argument is what sbatch's --array takes; 0-31%8 runs eight at a time. Options of sbatch end with --.
# The picture is seeds-JOB.png in the current folder.

set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
if [[ ! ${1:-} =~ ^[0-9] ]]; then
    echo "seeds.sh: the first argument is the seeds, such as 0-3 or 1,5,9, not '${1:-}'" >&2
    exit 2
fi
seeds=$1
shift
options=()
for argument in "$@"; do
    if [[ $argument == -- ]]; then
        while [[ $1 != -- ]]; do
            options+=("$1")
            shift
        done
        shift
        break
    fi
done
[[ ${1:-} == @* ]] || set -- "$@" --seed %a

export MLSH_ROOT=${here%/launch/slurm}
job=$(sbatch --parsable --array="$seeds" --output=%x-%A_%a.out "${options[@]}" "$here/train.sbatch" "$@")
job=${job%%;*} # a federation's cluster name follows
# Options that a site may require are used for the figure too.
shared=()
for ((i = 0; i < ${#options[@]}; i++)); do
    case ${options[i]} in
        --account=* | --partition=* | --qos=* | --clusters=* | -[ApqM]?*) shared+=("${options[i]}") ;;
        --account | --partition | --qos | --clusters | -[ApqM]) shared+=("${options[i]}" "${options[i + 1]-}") ;;
    esac
done
if ! figure=$(sbatch --parsable --dependency="afterany:$job" --kill-on-invalid-dep=yes "${shared[@]}" "$here/figure.sbatch" "$job"); then
    echo "seeds.sh: seeds $seeds are submitted as job $job, but no figure; later: sbatch $here/figure.sbatch $job" >&2
    exit 1
fi
echo "seeds $seeds: job $job (mlsh-${job}_*.out); then job ${figure%%;*} draws seeds-$job.png"
