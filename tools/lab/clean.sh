#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Removes build/, but not a development tree whose work is not in the series.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

if [ -d "$BUILD/tree" ] && ! "$LAB/series.py" clean-tree "$BUILD/tree"; then
	die "build/tree has changes that are not in the series: run make refresh, or remove build/tree"
fi
rm -rf "$BUILD"
