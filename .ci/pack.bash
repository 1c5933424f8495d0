# For pi and deb: what a device of a suite and an architecture gets, as wheels. After `make wheels`.
# CFVGG_WHEELS names another folder with our own wheels (install-check has some of other versions).
source .ci/cross.bash
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

# Sets python, machine, own (our wheel), version, and wheels, a folder with all wheels and pins.txt.
pack() { # suite architecture
  local abi
  case $1 in
    bookworm) python=3.11 abi=cp311-cp311 ;;
    trixie) python=3.13 abi=cp312-abi3 ;;
    *) echo "$0 knows bookworm and trixie, not $1" >&2; exit 1 ;;
  esac
  case $2 in
    arm64) machine=aarch64 ;;
    amd64) machine=x86_64 ;;
    *) echo "$0 knows arm64 and amd64, not $2" >&2; exit 1 ;;
  esac
  own=$(compgen -G "${CFVGG_WHEELS:-build/wheels}/cfvgg-*-$abi-*_$machine.whl") \
    || { echo "no wheel for Python $python on $machine: make wheels" >&2; exit 1; }
  version=${own##*/cfvgg-}
  version=${version%%-*}
  wheels=$PWD/build/pack/$1-$2
  cross_tools
  mkdir -p "$wheels"
  [ "$wheels/.ready" -nt pyproject.toml ] && [ "$wheels/.ready" -nt "$(pins "$python")" ] || fetch
  rm -f "$wheels"/cfvgg-*.whl
  cp "$own" "$wheels"
  "$cross/tools/bin/python" .ci/packed.py "$wheels" "$(pins "$python")" "$python" "$machine" 'cfvgg[edge,mqtt]' pip \
    | grep -v '^pip==' > "$wheels/pins.txt" # which installs, and is not installed
}

fetch() {
  local platforms
  rm -rf "$wheels"
  mapfile -t platforms < <(platform_options "$machine")
  # pip is for the one command: Debian's own is a package that a device need not have.
  "$cross/tools/bin/python" -m pip download --quiet --disable-pip-version-check -d "$wheels" -c "$(pins "$python")" \
    "${platforms[@]}" --implementation cp --python-version "$python" --only-binary=:all: \
    "cfvgg[edge,mqtt] @ file://$(realpath "$own")" pip==26.3
  touch "$wheels/.ready"
}
