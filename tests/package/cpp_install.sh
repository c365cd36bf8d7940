#!/usr/bin/env bash
# pt2q as C++ projects use it. Usage: [PT2Q_INSTALL_TEST=static] cpp_install.sh <build folder of the static library>
# Installs the library that is already built, and a shared one, and builds and runs examples/cpp
# against them with find_package, with pkg-config + make, and with add_subdirectory.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
static_build=$(cd "$1" && pwd)
jobs=${JOBS:-$(nproc)}
work=$(mktemp -d)
# Beside the first build and with its flags, so that ccache knows every object already.
again="$source_dir/build/install-test"
trap 'rm -rf "$work" "$again"-*' EXIT
rm -rf "$again"-*
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
export CCACHE_BASEDIR="$source_dir" CCACHE_NOHASHDIR=1
examples="$source_dir/examples/cpp"
say() { printf -- '--- %s (%ss)\n' "$1" "$SECONDS"; }
fail() { echo "cpp_install: $1" >&2; exit 1; }

# The four programs in folder $1, run one after the other; $2: float32 SQNR in dB they must reach.
run_programs() {
  (
    cd "$(mktemp -d -p "$work")"
    "$1/capture_model" model.pt2 samples.npy >/dev/null
    "$1/quantize_model" model.pt2 samples.npy int8.pt2 | tee quantize.txt
    awk '/int8 against float/ { ok = $(NF - 1) > 25 } END { exit !ok }' quantize.txt ||
      fail "int8 is far from float"
    "$1/run_model" int8.pt2 samples.npy out.npy >run.txt
    grep -q 'uint8 -> uint8' run.txt || fail "run_model used no int8 kernel"
    grep -q 'output: float32\[32, 10\]' run.txt || fail "run_model gave another output"
    [ -s out.npy ] || fail "run_model wrote no output"
    "$1/custom_quantizer" model.pt2 samples.npy >custom.txt
    grep -q 'quantized: conv2d_1' custom.txt || fail "custom_quantizer annotated nothing"
    ! "$1/run_model" missing.pt2 samples.npy 2>error.txt || fail "a missing file was accepted"
    grep -q "error: .*missing.pt2" error.txt || fail "the error does not name the file"
  )
}

say "install the static library"
cmake --install "$static_build" --prefix "$work/static" >/dev/null
[ -z "$(find "$work/static" -name '*.so' -o -name '*.py')" ] || fail "Python files were installed"

say "headers: standard library and pt2q only; each compiles alone without warnings"
include="$work/static/include"
if grep -rnE '^#include' "$include" | grep -vE '#include (<[a-z_0-9]+>|"pt2q/[a-z_0-9]+\.h")'; then
  fail "a public header includes something else"
fi
(cd "$include" && ls pt2q/*.h) | xargs -P "$jobs" -I{} sh -c \
  'echo "#include \"{}\"" | ${CXX:-c++} -std=c++17 -Wall -Wextra -Wpedantic -Wconversion -Werror -fsyntax-only -I"$0" -x c++ -' "$include"

say "find_package, static library"
cmake -S "$examples" -B "$work/find" -DCMAKE_PREFIX_PATH="$work/static" -DCMAKE_BUILD_TYPE=Release \
  "${launcher[@]}" >/dev/null
cmake --build "$work/find" -j "$jobs" >/dev/null
run_programs "$work/find"

say "pkg-config and make, static library moved to another place"
mv "$work/static" "$work/moved"
pc=$(dirname "$(find "$work/moved" -name pt2q.pc)")
make -C "$examples" -j "$jobs" OUT="$work/make" PKG_CONFIG_PATH="$pc" CXXFLAGS=-O0 >/dev/null
run_programs "$work/make"

if [ "${PT2Q_INSTALL_TEST:-full}" = static ]; then
  say "done: static library only"
  exit 0
fi

say "shared library: build, install, find_package, pkg-config"
cmake -G Ninja -S "$source_dir" -B "$again-shared" -DBUILD_SHARED_LIBS=ON -DPT2Q_PYTHON=OFF \
  -DPT2Q_TESTS=OFF -DCMAKE_BUILD_TYPE=Release -DPT2Q_WERROR=ON "${launcher[@]}" >/dev/null
cmake --build "$again-shared" -j "$jobs" >/dev/null
cmake --install "$again-shared" --prefix "$work/shared" >/dev/null
library=$(find "$work/shared" -name 'libpt2q.so')
foreign=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -cv 'N4pt2q\|NK4pt2q' || true)
[ "$foreign" -eq 0 ] || fail "the shared library exports $foreign symbols outside namespace pt2q"
cmake -S "$examples" -B "$work/find-shared" -DCMAKE_PREFIX_PATH="$work/shared" \
  -DCMAKE_BUILD_TYPE=Release "${launcher[@]}" >/dev/null
cmake --build "$work/find-shared" -j "$jobs" >/dev/null
# grep reads to the end (no -q): ldd writing into a closed pipe would fail under pipefail.
ldd "$work/find-shared/run_model" | grep 'libpt2q\.so' >/dev/null || fail "the program links no shared library"
run_programs "$work/find-shared"
make -C "$examples" -j "$jobs" OUT="$work/make-shared" CXXFLAGS=-O0 \
  PKG_CONFIG_PATH="$(dirname "$library")/pkgconfig" LDFLAGS="-Wl,-rpath,$(dirname "$library")" >/dev/null
run_programs "$work/make-shared"

say "add_subdirectory"
cmake -G Ninja -S "$examples" -B "$again-sub" -DPT2Q_SOURCE_DIR="$source_dir" \
  -DCMAKE_BUILD_TYPE=Release -DPT2Q_WERROR=ON "${launcher[@]}" >/dev/null
cmake --build "$again-sub" -j "$jobs" >/dev/null
run_programs "$again-sub"
say "ok"
