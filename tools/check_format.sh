#!/usr/bin/env bash
# Fails when a C++ file is not formatted as .clang-format says; `tools/check_format.sh --fix` formats.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(find csrc tests/cpp tests/fuzz benchmarks/cpp examples -name '*.h' -o -name '*.cpp' 2>/dev/null | sort)
if [ "${1:-}" = "--fix" ]; then
  clang-format -i "${files[@]}"
else
  clang-format --dry-run --Werror "${files[@]}"
fi
