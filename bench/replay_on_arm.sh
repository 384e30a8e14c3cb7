#!/bin/bash
# Replays a session log on another machine: an emulated 64-bit ARM with its own Python, C library and wheels (Debian 12 as host).
#
#     bench/replay_on_arm.sh LOG [STEPS]
#
# Everything goes to a folder of its own and nothing is installed. Emulated, so slow: its speed says nothing, its decisions do.
set -euo pipefail
log=$(realpath "$1") steps=${2:-}
repo=$(realpath "$(dirname "$0")/..")
home=${LONGHAND_ARM:-${TMPDIR:-/tmp}/longhand-arm}
if [ ! -x "$home/root/usr/bin/python3.11" ]; then
  mkdir -p "$home"/{lists/partial,cache/archives/partial,debs,root,qemu,wheels,site} && touch "$home/status"
  cat > "$home/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State::lists "$home/lists";
Dir::State::status "$home/status";
Dir::Cache "$home/cache";
APT::Sandbox::User "";
END
  cd "$home/debs"
  apt-get download -q qemu-user-static
  dpkg-deb -x qemu-user-static*.deb "$home/qemu" && rm qemu-user-static*.deb
  APT_CONFIG="$home/apt.conf" apt-get update -q
  APT_CONFIG="$home/apt.conf" apt-get download -q python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libc6 \
    libexpat1 zlib1g libssl3 libffi8 libbz2-1.0 liblzma5 libgcc-s1
  for deb in *.deb; do dpkg-deb -x "$deb" "$home/root"; done
  "$repo/.venv/bin/pip" download -q --no-deps --only-binary=:all: --platform manylinux2014_aarch64 \
    --platform manylinux_2_28_aarch64 --python-version 3.11 --abi cp311 --abi abi3 --implementation cp \
    -d "$home/wheels" zstandard msgpack cryptography cffi
  for wheel in "$home"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$home/site"; done
fi
exec "$home/qemu/usr/bin/qemu-aarch64-static" -L "$home/root" "$home/root/usr/bin/python3.11" -B - "$repo" "$home/site" "$log" $steps <<'END'
import json, platform, sys
from itertools import islice
from pathlib import Path
repo, site, log, *more = sys.argv[1:]
sys.path[:0] = [repo, site]
from safety.log.reader import LogReader
from safety.log.replay import replay
from safety.log.steps import steps
with LogReader(Path(log)) as reader:
    report = replay(islice(steps(reader), int(more[0]) if more else None))
print(json.dumps({"machine": platform.machine(), "python": platform.python_version(), **report.to_json()}))
sys.exit(0 if report.ok else 3)
END
