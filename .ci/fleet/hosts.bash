# For .ci/fleet-check: a fleet of Debians, each booted by systemd-nspawn in a network namespace of its own, at an
# address on a bridge that this machine is on too. The caller sets $fleet (a folder), $base (a root) and $count.
bridge=cfvgg-fleet
network=198.18.77 # of a range that is for such tests, RFC 2544
boots=()

address() { echo "$network.$((10 + $1))"; }
root_of() { echo "$fleet/host$1/root"; }

make_network() {
  ip link add "$bridge" type bridge
  ip address add "$network.1/24" dev "$bridge"
  ip link set "$bridge" up
}

# Its files are those of $base, with what it changes in a folder of its own above them.
make_host() { # number
  local here=$fleet/host$1 root
  root=$(root_of "$1")
  rm -rf "$here"
  mkdir -p "$here"/{changes,work,root}
  mount -t overlay overlay -o "lowerdir=$base,upperdir=$here/changes,workdir=$here/work" "$root"
  echo "camera$1" > "$root/etc/hostname"
  printf '127.0.0.1 localhost camera%s\n' "$1" > "$root/etc/hosts"
  printf '%032x\n' "$((0xcf << 16 | $1))" > "$root/etc/machine-id"
  rm -f "$root"/etc/ssh/ssh_host_*
  chroot "$root" ssh-keygen -A > /dev/null
  printf '%s ' "$(address "$1")" >> "$fleet/known_hosts"
  cat "$root/etc/ssh/ssh_host_ed25519_key.pub" >> "$fleet/known_hosts"
  install -d -m 700 -o "$(chroot "$root" id -u pi)" -g "$(chroot "$root" id -g pi)" "$root/home/pi/.ssh"
  install -m 600 -o "$(chroot "$root" id -u pi)" -g "$(chroot "$root" id -g pi)" "$fleet/key.pub" \
    "$root/home/pi/.ssh/authorized_keys"

  ip netns add "$bridge-$1"
  ip link add "$bridge-$1" type veth peer name host0 netns "$bridge-$1"
  ip link set "$bridge-$1" master "$bridge" up
  ip -n "$bridge-$1" link set lo up
  ip -n "$bridge-$1" address add "$(address "$1")/24" dev host0
  ip -n "$bridge-$1" link set host0 up
}

# Each gets a control group of its own; where the machine has the old hierarchies, in both that systemd uses.
boot_host() { # number
  local groups=() hierarchy
  for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$hierarchy/cgroup.procs" ] && groups+=("$hierarchy/$bridge-$1")
  done
  mkdir -p "${groups[@]}"
  (
    for group in "${groups[@]}"; do echo "$BASHPID" > "$group/cgroup.procs"; done
    # A container may not ask whether the clock is synchronised, a machine may.
    exec systemd-nspawn --quiet --register=no --keep-unit --network-namespace-path="/run/netns/$bridge-$1" \
      --machine="$bridge-$1" --console=pipe --system-call-filter="adjtimex clock_adjtime" \
      --directory="$(root_of "$1")" --boot < /dev/null > "$fleet/host$1/console.txt" 2>&1
  ) &
  boots[$1]=$!
}

wait_for_ssh() { # number
  local _
  for _ in $(seq 600); do
    "${ssh[@]}" "pi@$(address "$1")" true 2> /dev/null && return
    kill -0 "${boots[$1]}" || { cat "$fleet/host$1/console.txt"; return 1; }
    sleep 0.2
  done
  echo "camera$1 does not answer" >&2
  return 1
}

remove_fleet() {
  local number _
  for number in $(seq "$count"); do
    [ -z "${boots[$number]:-}" ] || kill "${boots[$number]}" 2> /dev/null || true # nspawn asks systemd to power off
  done
  for number in $(seq "$count"); do
    if [ -n "${boots[$number]:-}" ]; then
      for _ in $(seq 150); do kill -0 "${boots[$number]}" 2> /dev/null || break; sleep 0.2; done
      kill -KILL "${boots[$number]}" 2> /dev/null || true
      wait "${boots[$number]}" || true
    fi
    umount "$(root_of "$number")" 2> /dev/null || true
    ip netns delete "$bridge-$number" 2> /dev/null || true
    find /sys/fs/cgroup/{systemd,unified,.}/"$bridge-$number" -depth -type d -exec rmdir {} + 2> /dev/null || true
  done
  ip link delete "$bridge" 2> /dev/null || true
}
