# Shared by the scripts beside it: where things are, how messages look. Source it; it changes nothing by itself.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
litert_version=2.3.0

say() { printf '%s\n' "$*" >&2; }
die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# Runs a command with its output in build/log/<name>.log, which is shown only if the command fails.
quietly() {
  local name=$1 log=$root/build/log/$1.log
  shift
  mkdir -p "$root/build/log"
  if "$@" >"$log" 2>&1 </dev/null; then return 0; fi
  say "--- $name failed; its output (build/log/$name.log):"
  tail -n 60 "$log" >&2
  return 1
}

# Where the Python packages live that tests and benchmarks judge with: one folder per set of pins, shared by all clones.
judges_venv() {
  local pins
  pins=$(sha256sum <"$root/scripts/judges.txt" | cut -c1-12)
  printf '%s\n' "${TAPER_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/taper/venv-$pins}"
}

# Takes the lock under which this checkout's build folder changes; it is released when the script ends.
lock_build() {
  mkdir -p "$root/build"
  exec 9>"$root/build/.lock"
  flock 9
}
