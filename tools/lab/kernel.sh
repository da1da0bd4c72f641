#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Assembles the patched kernel and builds it.  The last line on stdout is the
# path of the bzImage; everything else goes to stderr.  LAB_CONFIG=kasan or
# kcsan adds that fragment to the configuration, and has a separate build folder.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"

variant=${LAB_CONFIG:-lab}
"$LAB/setup.sh"
lock "$BUILD/.lock"
choose_source
# a module of the guests' needs a function that the driver does not export
assemble_tree src "" "$LAB/export.patch"
fragments=("$LAB/configs/lab.config")
[ "$variant" = lab ] || fragments+=("$LAB/configs/$variant.config")
configure "$WORK/src" "$WORK/obj-$variant" "${fragments[@]}"
kbuild "kernel ($variant)" "$WORK/log/kernel-$variant.log" \
	-C "$WORK/src" O="$WORK/obj-$variant" bzImage modules
echo "$WORK/obj-$variant/arch/x86/boot/bzImage"
