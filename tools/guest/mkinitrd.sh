#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the guest's initrd for a kernel of this lab; its path is the last line
# on stdout.  KERNEL=bzImage: for this one (default: what "make kernel" builds).
# GUEST_FOR=mainline: for a kernel without the series.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$GUEST/../.." && pwd)
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

kernel=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
obj=$(realpath "${kernel%/arch/*}")
out=${OUT:-$ROOT/build/guest}/${obj##*/}
mkdir -p "$out"
exec {lock}>"$out/.lock"
flock "$lock"
echo "guest: initrd for $kernel" >&2
make -s -f "$GUEST/initrd.mk" OBJ="$obj" OUT="$out" GUEST_FOR="${GUEST_FOR:-}" \
	"$out/initrd" >&2
echo "$out/initrd"
