#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make nested": nested translation and PASIDs from user space (vtd_nested.c), on
# the QEMU of tools/qemu, whose IOMMU acts once as QEMU's do and once as badly as
# it may.  Prints a table of both; the status tells.  Status 77: there is no such
# QEMU.  With "ktap normal" or "ktap strict": one of them, as KTAP, which says
# that it is skipped if there is no such QEMU.  KERNEL=, ACCEL= and TIMEOUT= are
# as for tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$GUEST/../.." && pwd)
RESULTS=$ROOT/build/results

say() { printf 'nested: %s\n' "$*" >&2; }

# run MODE: boots the guest; its console goes to $RESULTS.
run() {
	local log=$RESULTS/nested-$1.console args='-device vtd-testdev,addr=4'
	[ "$1" != strict ] || args+=' -global intel-iommu.x-strict=on'
	say "booting, log in $log"
	rm -f "$log"
	MACHINE=nested LOG=$log TIMEOUT=${TIMEOUT:-420} \
	ARGS="guest=nested stage=$1" QEMU_ARGS=$args \
		"$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$log.err" ||
		{ cat "$log.err" >&2; return 1; }
	"$GUEST/suite.sh" clean "$log" || return
	grep -aqx $'guest: status 0\r*' "$log"
}

# results MODE: "name result" of each test, in the order of the tests
results() {
	tr -d '\r' <"$RESULTS/nested-$1.console" | awk '
		/^(not )?ok [0-9]+ / {
			result = $1 == "ok" ? "ok" : "FAILED"
			sub(/^(not )?ok [0-9]+ (- )?/, "")
			print $1, result
		}'
}

table() {
	printf '%-50s %-8s %s\n' test normal strict
	awk 'NR == FNR { normal[$1] = $2; next }
		{ printf "%-50s %-8s %s\n", $1, normal[$1], $2 }' \
		<(results normal) <(results strict)
}

no_qemu() {
	say "no QEMU to run it on"
	[ "$1" = ktap ] || exit 77
	printf 'KTAP version 1\n1..1\nok 1 nested # SKIP no source of QEMU\n'
	exit 0
}

status=0
QEMU=$("$ROOT/tools/qemu/build.sh" | tail -1) || status=$?
[ "$status" != 77 ] || no_qemu "${1:-table}"
[ "$status" = 0 ] || exit "$status"
export QEMU
export KERNEL=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
INITRD=$("$GUEST/mkinitrd.sh" | tail -1)
export INITRD
mkdir -p "$RESULTS"
if [ "${1:-}" = ktap ]; then
	run "$2" || status=1
	cat "$RESULTS/nested-$2.console"
	exit "$status"
fi
run normal || status=1
run strict || status=1
table
if [ "$status" = 0 ]; then say "all as expected"; else say "FAILED"; fi
exit "$status"
