# shellcheck shell=bash
# What the scripts share; sourced, never run. Moves to the top of the tree.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit

# phase NAME COMMAND...: says what runs, and how long it took.
phase() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s\n' "$name"
  "$@"
  printf '== %s: %d s\n' "$name" $((SECONDS - start))
}

# How many compilers run at once: one a core, but 2 GiB of memory each (libtorch's headers).
jobs() {
  local cores memory_kib by_memory
  cores=$(nproc)
  memory_kib=$(awk '/^MemTotal:/ {print $2}' /proc/meminfo)
  by_memory=$((memory_kib / (2 * 1024 * 1024)))
  if ((by_memory < 1)); then by_memory=1; fi
  echo $((cores < by_memory ? cores : by_memory))
}
