#!/usr/bin/env bash
# Installs the Debian packages pt2q builds with, those that are missing, with apt (as root or sudo).
set -euo pipefail
packages=(build-essential ccache cmake ninja-build libdnnl-dev libgtest-dev libgmock-dev libbenchmark-dev
          nlohmann-json3-dev libhwy-dev zlib1g-dev pybind11-dev python3-dev python3-numpy
          python3-venv clang-format pkg-config)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "ok installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "These packages are missing and neither root nor sudo is at hand: ${missing[*]}" >&2; exit 1; }
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
