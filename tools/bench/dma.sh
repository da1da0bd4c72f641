#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make bench-dma": costs of dma_map_single() and dma_unmap_single() on the first-stage
# machine, in the patched and in the unpatched kernel: instructions, and descriptors in
# the invalidation queue.  The guest's clock counts the instructions, QEMU's trace the
# descriptors; rootfs/suites/bench-dma runs in the guest.
# KERNEL= is as for tools/lab/boot.sh.
set -euo pipefail
BENCH=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$BENCH/../.." && pwd)
GUEST=$ROOT/tools/guest
WORK=$ROOT/build/bench
# The benchmark rounds to 100 ns, which are 3 instructions of 2^5 ns. If instructions
# took longer, timer interrupts would take a larger part of the measured time.
export ICOUNT=5 LC_ALL=C

say() { printf 'bench: %s\n' "$*" >&2; }

# measure KERNEL-NAME BZIMAGE MODE STRICT
measure() {
	local name=$1-$3
	say "$1 kernel, $3 mode"
	KERNEL=$2 ACCEL=icount MACHINE=first LOG=$name.console \
	ARGS="quiet guest=bench-dma seconds=20 iommu.strict=$4" \
	QEMU_ARGS="-device edu,dma_mask=0xffffffffffffffff,addr=4 -trace vtd_inv_desc -trace pci_cfg_write -D $name.trace" \
		"$ROOT/tools/lab/boot.sh" </dev/null |
		sed -uE 's/\r$//; s/.*(TAP version)/\1/; /^(bench|guest): |\x1b/d'
	grep -aqx $'guest: status 0\r*' "$name.console"
}

patched=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
unpatched=$("$ROOT/tools/lab/stock.sh" | tail -1)
# The initrd has the modules of the patched kernel. The unpatched kernel loads none.
INITRD=$(KERNEL=$patched "$GUEST/mkinitrd.sh" | tail -1)
export INITRD
mkdir -p "$WORK"
exec {lock}>"$WORK/.lock-dma"
flock "$lock"
cd "$WORK"
measure patched "$patched" strict 1
measure unpatched "$unpatched" strict 1
measure patched "$patched" lazy 0
measure unpatched "$unpatched" lazy 0
"$BENCH/dma_table.py" dma.csv | tee dma.txt
say "the same in build/bench: dma.txt, dma.csv"
