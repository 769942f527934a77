#!/usr/bin/env bash
# The main job on several hosts, which this one reaches by ssh without a password:
#
#   launch/hosts.sh --hosts a:32,b:32 [PRESET] [--options of the trainer]
#   launch/hosts.sh --hostfile FILE adapt RUN [--options]      # or doctor: what could go wrong here
#   launch/hosts.sh --hosts a,b --check                        # only whether each host is ready
#
# a:32 means 32 ranks on a, and a one for each of its cores; a hostfile has one host per line, as "a:32", "a slots=32" or "a". Each
# host needs the checkout, the environment and the current folder at the same paths as here: on a filesystem that all share, or
# copied there and set up by launch/setup.sh. The first host has rank 0 and the run folder.
#
#   --interface NAME   the network to use, such as eth0 or ib0 (default: MPI's choice; for Open MPI's TCP that of ssh)
#   MLSH_SSH=...       the command that reaches a host (default: ssh), with its options: "ssh -p 2222"

set -euo pipefail

hosts='' interface='' only_check=''
usage() {
    echo "hosts.sh: $1" >&2
    exit 2
}
while (($# > 0)); do
    case $1 in
        --hosts | --hostfile | --interface)
            [[ ${2:-} && $2 != -* ]] || usage "$1 needs a value, such as --hosts a:32,b:32"
            case $1 in
                --hosts) hosts=$2 ;;
                --hostfile)
                    [[ -r $2 ]] || usage "the hostfile $2 cannot be read"
                    hosts=$(sed -E 's/#.*//; s/^[[:space:]]+//; s/[[:space:]]+(slots|max_slots)=([0-9]+)/:\2/; s/[[:space:]].*//; /^$/d' "$2" | paste -sd,)
                    ;;
                --interface) interface=$2 ;;
            esac
            shift 2
            ;;
        --check) only_check=yes && shift ;;
        *) break ;;
    esac
done
[[ $hosts ]] || usage "name the hosts first: --hosts a:32,b:32, or --hostfile FILE"

module=train
case ${1:-} in
    adapt | doctor)
        module=$1
        shift
        ;;
esac

names=() counts=()
IFS=, read -ra entries <<<"$hosts"
for entry in "${entries[@]}"; do
    name=${entry%:*} count=
    [[ $entry != *:* ]] || count=${entry##*:}
    [[ $name && ($entry != *:* || $count =~ ^[1-9][0-9]*$) ]] || usage "a host is named as a:32 or a, not '$entry'"
    [[ " ${names[*]-} " != *" $name "* ]] || usage "$name is there twice: give it all its ranks at once"
    names+=("$name")
    counts+=("$count")
done

# shellcheck source-path=SCRIPTDIR source=setup.sh
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/setup.sh" run

# A connection that is dead for a minute ends, and the job with it.
read -ra ssh <<<"${MLSH_SSH:-ssh}"
ssh+=(-o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4)

# Is every host ready? All are asked at once; each answers "cores N" and what it has, or a line "lacks ...".
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
question="root=$(printf %q "$root") venv=$(printf %q "$venv") here=$(printf %q "$PWD")"'
lacks() { echo "lacks $1"; exit; }
[[ -d $root/mlsh_mpi ]] || lacks "the checkout $root: copy it there, or work on a filesystem that all hosts share"
[[ -x $venv/bin/python ]] || lacks "the environment $venv: run $root/launch/setup.sh there"
cd "$here" 2>/dev/null || lacks "the folder $here: create it there, or start in one that all hosts have"
echo "cores $(env -u OMP_NUM_THREADS nproc)"
exec "$venv/bin/python" -m mlsh_mpi.mpi.software'
is_here() { [[ " localhost 127.0.0.1 $(hostname) $(hostname -f 2>/dev/null) $(hostname -I 2>/dev/null) " == *" $1 "* ]]; }
for name in "${names[@]}"; do
    reach=("${ssh[@]}" "$name" bash -s)
    ! is_here "$name" || reach=(bash -s)
    "${reach[@]}" <<<"$question" >"$answers/$name" 2>"$answers/$name.error" || touch "$answers/$name.failed" &
done
wait
python -m mlsh_mpi.mpi.software >"$answers/.mine"
ready=yes ranks=0 list=
for i in "${!names[@]}"; do
    name=${names[i]} said=$answers/${names[i]}
    if problem=$(grep '^lacks ' "$said"); then
        :
    elif [[ -e $said.failed && ! -s $said ]]; then
        problem="cannot be reached: $(tail -n 1 "$said.error")"
    elif [[ -e $said.failed ]]; then
        problem="has an environment that does not run: $(tail -n 1 "$said.error")"
    else
        # Output of the host's own .bashrc comes before.
        problem=$(sed -n '/^cores /,$p' "$said" | sed 1d | grep -vxFf "$answers/.mine" | paste -sd, | sed 's/,/, /g' || true)
        [[ ! $problem ]] || problem="has another version than here of: $problem"
        grep -q '^cores [0-9]' "$said" || problem="gave no answer: $(tail -n 1 "$said" "$said.error" | tail -n 1)"
    fi
    if [[ $problem ]]; then
        ready=
        say "$name $problem"
        continue
    fi
    count=${counts[i]:-$(sed -n 's/^cores //p' "$said")}
    list+=,$name:$count
    ranks=$((ranks + count))
    [[ ! $only_check ]] || say "$name is ready for $count ranks"
done
[[ $ready ]] || fail "nothing was started"
[[ ! $only_check ]] || exit 0

# On hosts with several networks (containers bring their own) Open MPI's TCP would try all of them, even those that lead nowhere.
PATH+=:/usr/sbin:/sbin # where some systems have ip
for name in "${names[@]}"; do
    [[ ! $interface ]] || break
    is_here "$name" && continue
    address=$(getent ahostsv4 "$name" | awk 'NR == 1 { print $1 }') || continue
    mine=$(ip -o route get "$address" 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p') || break
    interface=$(ip -o -4 address | awk -v mine="$mine" '{ split($4, part, "/") } part[1] == mine { print $4; exit }') || break
done

export MLSH_RANKS=$ranks
case $(mpi_family) in
    openmpi)
        fault_tolerance "$@"
        start=("$(command -v mpirun)" "${tolerant[@]}" --host "${list#,}" -np "$ranks" --bind-to none)
        for name in PATH LD_LIBRARY_PATH MLSH_RANKS OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS MUJOCO_GL PYTHONPATH; do
            [[ ! ${!name:-} ]] || start+=(-x "$name")
        done
        export PRTE_MCA_plm_ssh_agent="${ssh[*]}" OMPI_MCA_plm_rsh_agent="${ssh[*]}"
        if [[ $interface ]]; then
            export OMPI_MCA_btl_tcp_if_include=$interface PRTE_MCA_prte_if_include=$interface OMPI_MCA_oob_tcp_if_include=$interface
        fi
        ;;
    mpich | intel)
        [[ $(mpi_family) != intel ]] || export I_MPI_HYDRA_BOOTSTRAP=ssh I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS="${ssh[*]:1}"
        start=(mpirun -launcher ssh -launcher-exec "$(command -v "${ssh[0]}")" -hosts "${list#,}" -np "$ranks")
        export HYDRA_LAUNCHER_EXTRA_ARGS="${ssh[*]:1}"
        if [[ $interface && $interface != */* ]]; then # not the one found above: MPI may have a faster one than TCP
            start+=(-iface "$interface")
            export UCX_NET_DEVICES=$interface FI_TCP_IFACE=$interface
        fi
        ;;
    *) fail "there is no mpirun on PATH: load the module of your MPI, or set MPI=mpich before launch/setup.sh" ;;
esac

rm -rf "$answers"
outlive_terminal
exec "${start[@]}" "$venv/bin/python" -m mlsh_mpi "$module" "$@"
