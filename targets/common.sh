# What the up and down of every farm share; source it from beside them:
#
#   farm=express; . "$(dirname "$0")/../common.sh"
#
# A farm keeps its state in $run and nowhere else, and listens on 127.0.0.1 only.
# Each process has a file $run/NAME.pid with its ID and the kernel's start time
# for it, so that `down` never ends a stranger that was given an old number.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
run=${XDG_RUNTIME_DIR:-/tmp}/farmspec-$farm
mkdir -p "$run"
chmod 700 "$run"

# need COMMAND PACKAGE: as root, missing packages are installed from Debian by install_missing; else they are named.
missing=()
need() { PATH=$PATH:/usr/sbin command -v "$1" >/dev/null || [ -e "$1" ] || missing+=("$2"); }
install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "$farm: install the Debian packages: ${missing[*]}" >&2
    exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$run/apt.log" 2>&1 || { tail -n 5 "$run/apt.log" >&2; exit 1; }
}

started() { awk '{ sub(/.*\) /, ""); print $20 }' "/proc/$1/stat" 2>/dev/null; } # when a process began, in ticks since boot

alive() {
  local pid since
  [ -f "$run/$1.pid" ] && read -r pid since <"$run/$1.pid" && [ "$(started "$pid")" = "$since" ]
}

# start NAME COMMAND...: unless it already runs. The command must stay in the foreground.
start() {
  local name=$1
  shift
  alive "$name" && return
  setsid "$@" >"$run/$name.log" 2>&1 </dev/null &
  echo "$! $(started $!)" >"$run/$name.pid"
}

# ready NAME URL: waits for an answer that is no error, for a minute at most.
ready() {
  local _
  for _ in $(seq 300); do
    if curl -fsS -o /dev/null --max-time 2 "$2" 2>/dev/null; then
      alive "$1" && return
      echo "$farm: somebody else answers at $2" >&2
      exit 1
    fi
    alive "$1" || break
    sleep 0.2
  done
  echo "$farm: $1 does not answer at $2; the end of $run/$1.log:" >&2
  tail -n 20 "$run/$1.log" >&2
  exit 1
}

# stop NAME: ends the process that start recorded, by force after ten seconds.
stop() {
  local pid _
  if alive "$1"; then
    read -r pid _ <"$run/$1.pid"
    kill "$pid"
    for _ in $(seq 100); do
      alive "$1" || break
      sleep 0.1
    done
    ! alive "$1" || kill -KILL "$pid"
  fi
  rm -f "$run/$1.pid"
}
