#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make bench-demand": costs and savings of demand paging, in instructions, which the
# guest's clock counts. guest/demand_bench.c runs in the guest and prints the tables.
# MEMORY= is the size of the guest, which limits how much can be pinned (default: 3G).
# KERNEL= is as for tools/lab/boot.sh. Status 77: the lab's QEMU is not available.
set -euo pipefail
BENCH=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$BENCH/../.." && pwd)
WORK=$ROOT/build/bench
# Each instruction takes a nanosecond.
export ICOUNT=0

say() { printf 'bench: %s\n' "$*" >&2; }

QEMU=$("$ROOT/tools/qemu/build.sh" | tail -1) || exit
KERNEL=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
INITRD=$("$ROOT/tools/guest/mkinitrd.sh" | tail -1)
export QEMU KERNEL INITRD
mkdir -p "$WORK"
exec {lock}>"$WORK/.lock-demand"
flock "$lock"
log=$WORK/demand.console
say "booting, log in $log"
# Without these two features the kernel clears a page with 512 instructions instead of 4096.
ACCEL=icount MACHINE=nested MEMORY=${MEMORY:-3G} LOG=$log \
ARGS="quiet guest=bench-demand iommu.strict=1 hugepages=4" \
QEMU_ARGS="-device vtd-testdev,addr=4 -cpu max,la57=off,erms=off,fsrm=off" \
	"$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$log.err" ||
	{ cat "$log.err" >&2; exit 1; }
tr -d '\r' <"$log" | sed -n 's/^bench: \{0,1\}//p' | tee "$WORK/demand.txt"
"$ROOT/tools/guest/suite.sh" clean "$log"
grep -aqx $'guest: status 0\r*' "$log" || { say "FAILED, see $log"; exit 1; }
awk -F'[= ]' '/^clock: / { exit !($3 > 999 && $3 < 1001) }' "$log" ||
	{ say "the clock does not count instructions"; exit 1; }
say "the same in $WORK/demand.txt"
