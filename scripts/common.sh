# shellcheck shell=bash
# What the scripts share; sourced, never run. Moves to the top of the tree.

# With CDPATH, cd prints where it went, and may go elsewhere.
root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

# Where the home takes no files, as in a container without a user of its own, compilers' results are
# kept in the tree.
if [[ -z ${CCACHE_DIR-} && ! -w ${HOME-} ]]; then export CCACHE_DIR=$root/build/ccache; fi

# takes_none ARGUMENTS...: for scripts that have no options.
takes_none() {
  if (($# > 0)); then
    echo "${0##*/}: it takes no arguments, and was given: $*" >&2
    exit 2
  fi
}

# phase NAME COMMAND...: says what runs, and how long it took.
phase() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@"
  printf '== %s: %d s\n' "$name" $((SECONDS - start))
}

# Whether there is a CUDA compiler of a toolkit that the option PCPP_CUDA takes.
has_cuda_toolkit() {
  local nvcc
  nvcc=$(command -v "${CUDACXX:-nvcc}") &&
    [[ $("$nvcc" --version) =~ release\ ([0-9]+) ]] && ((BASH_REMATCH[1] >= 13))
}

# How many compilers run at once: one a core, but 2 GiB of memory each (libtorch's headers), of the
# machine's or of the container's.
jobs() {
  local cores memory_kib by_memory most
  cores=$(nproc)
  memory_kib=$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)
  if most=$(cat /sys/fs/cgroup/memory.max 2>/dev/null) && [[ $most =~ ^[0-9]+$ ]] &&
    ((most / 1024 < memory_kib)); then
    memory_kib=$((most / 1024))
  fi
  by_memory=$((memory_kib / (2 * 1024 * 1024)))
  if ((by_memory < 1)); then by_memory=1; fi
  echo $((cores < by_memory ? cores : by_memory))
}
