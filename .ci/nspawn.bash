# For system-x86 and install-check: a Debian with its systemd, booted in a container without a network. Needs root.
[ "$(id -u)" = 0 ] || { echo "$0 needs the rights of root" >&2; exit 1; }

# A Debian that boots, made once; one for arm64 inside `emulated`.
bootable() { # suite folder packages [architecture]
  [ -e "$2/.ready" ] && return
  need mmdebstrap mmdebstrap
  rm -rf "$2"
  mmdebstrap --quiet --mode=root --variant=apt --components=main --architectures="${4:-amd64}" --skip=check/qemu \
    --include="systemd-sysv,udev,dbus,iproute2,procps,passwd,$3" \
    --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' "$1" "$2"
  touch "$2/.ready"
}

# A copy of it, with a user whose home nobody else may enter, which is how Debian makes them.
device() { # base folder
  rm -rf "$2"
  cp -a --reflink=auto "$1" "$2"
  chroot "$2" useradd --create-home --shell /bin/bash pi
  chmod 700 "$2/home/pi"
  echo 0123456789abcdef0123456789abcdef > "$2/etc/machine-id"
  echo "127.0.0.1 localhost $(hostname)" > "$2/etc/hosts"
  mkdir -p "$2/srv/tests/systemd"
  touch "$2/srv/tests/__init__.py"
  cp tests/systemd/{__init__,inside,*_checks}.py "$2/srv/tests/systemd"
}

# Boots it and waits until it is up; `inside` then runs a command there, `power_off` ends it, as does the end of the
# script. It gets a control group of its own; where the machine has the old hierarchies, in both that systemd uses.
boot() { # folder console
  local name=cfvgg-system-$$ hierarchy group state=
  groups=()
  for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] && groups+=("$hierarchy/$name")
  done
  mkdir -p "${groups[@]}"
  trap end_container EXIT
  need systemd-nspawn systemd-container
  (
    for group in "${groups[@]}"; do echo "$BASHPID" > "$group/cgroup.procs"; done
    # A container may not ask whether the clock is synchronised, a machine may.
    exec systemd-nspawn --quiet --register=no --keep-unit --private-network --machine="$name" --console=pipe \
      --system-call-filter="adjtimex clock_adjtime" --directory="$1" --boot < /dev/null > "$2" 2>&1
  ) &
  container=$!
  for _ in $(seq 600); do
    leader=$(pgrep -P "$container" systemd | head -n 1 || true)
    [ -n "$leader" ] && state=$(inside systemctl is-system-running 2> /dev/null || true)
    case $state in running | degraded) break ;; esac
    kill -0 "$container" || { cat "$2"; exit 1; }
    sleep 0.2
  done
  echo "$(inside systemctl --version | head -n 1), $state"
  inside systemctl --failed --no-legend --plain
}

inside() { nsenter -t "$leader" -m -u -i -n -p -C -- "$@"; }

power_off() {
  inside systemctl poweroff || true # it may be gone before it answers
  for _ in $(seq 300); do kill -0 "$container" 2> /dev/null || break; sleep 0.1; done
  ! kill -0 "$container" 2> /dev/null
}

end_container() {
  if [ -n "${container:-}" ] && kill -0 "$container" 2> /dev/null; then
    kill "$container"
    wait "$container" || true
  fi
  find "${groups[@]}" -depth -type d -exec rmdir {} + 2> /dev/null || true
}
