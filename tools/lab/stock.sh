#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the unpatched kernel in the lab's configuration, to compare with.  The
# last line on stdout is the path of the bzImage; everything else goes to stderr.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"

"$LAB/setup.sh"
lock "$BUILD/.lock-stock"
choose_source
assemble_tree stock 0
configure "$WORK/stock" "$WORK/obj-stock" "$LAB/configs/lab.config"
kbuild "unpatched kernel" "$WORK/log/kernel-stock.log" \
	-C "$WORK/stock" O="$WORK/obj-stock" bzImage
echo "$WORK/obj-stock/arch/x86/boot/bzImage"
