#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make bench-dirty": compares the amount of memory that dirty tracking reports with the
# amount that a device writes, round by round, for the patched and the unpatched kernel, and
# for the newest one if "make mainline" has built it. guest/vtd_dirty.c runs in the guest.
# KERNEL= is as for tools/lab/boot.sh. Status 77: the lab's QEMU is not available.
set -euo pipefail
BENCH=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$BENCH/../.." && pwd)
WORK=$ROOT/build/bench
NEWEST=$ROOT/build/mainline/before.bzImage

say() { printf 'bench: %s\n' "$*" >&2; }

# measure NAME BZIMAGE: prints the guest's lines, prefixed with NAME
measure() {
	local log=$WORK/dirty-$1.console
	say "$1 kernel, log in $log"
	KERNEL=$2 MACHINE=nested MEMORY=4G LOG=$log QEMU_ARGS="-device vtd-testdev,addr=4" \
	ARGS="quiet guest=bench-dirty hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=16" \
		"$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$log.err" || true
	grep -aqx $'guest: status 0\r*' "$log" || { say "FAILED, see $log"; return 1; }
	tr -d '\r' <"$log" | sed -n "s/^bench: /$1 /p"
}

QEMU=$("$ROOT/tools/qemu/build.sh" | tail -1) || exit
patched=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
unpatched=$("$ROOT/tools/lab/stock.sh" | tail -1)
# The initrd has the modules of the patched kernel. The unpatched kernel loads none.
INITRD=$(KERNEL=$patched "$ROOT/tools/guest/mkinitrd.sh" | tail -1)
export QEMU INITRD
mkdir -p "$WORK"
exec {lock}>"$WORK/.lock-dirty"
flock "$lock"
{
	measure patched "$patched"
	measure 6.12 "$unpatched"
	[ ! -e "$NEWEST" ] || measure newest "$NEWEST"
} >"$WORK/dirty"
awk 'BEGIN { printf "%-10s %-5s %12s %12s\n", "kernel", "page", "written", "reported" }
	{ key = $1 " " $2 }
	!(key in line) { keys[++n] = key; line[key] = sprintf("%-10s %-5s %8d KiB", $1, $2, $4) }
	{ line[key] = line[key] sprintf(" %8d", $5) }
	END { for (i = 1; i <= n; i++) print line[keys[i]] }' "$WORK/dirty" | tee "$WORK/dirty.txt"
say "the same in $WORK/dirty.txt"
