#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make nested": nested translation and PASIDs from user space (vtd_nested.c) and by
# a kernel driver (vtd_dma/), and page requests (vtd_iopf.c, vtd_iopf_abuse.c), on the
# QEMU of tools/qemu, whose IOMMU acts once as QEMU's do and once as badly as it may.
# Prints a table of both, and one of page requests; the status tells.
# Status 77: there is no such QEMU.  With "ktap normal" or "ktap strict": one of
# them, as KTAP, which says that it is skipped if there is no such QEMU.  With "soak
# SECONDS": random work for that long (vtd_soak.c), on the bad one.  KERNEL=, ACCEL=
# and TIMEOUT= are as for tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$GUEST/../.." && pwd)
RESULTS=$ROOT/build/results

say() { printf 'nested: %s\n' "$*" >&2; }

# boot MODE SUITE LOG QEMU-ARGUMENTS KERNEL-ARGUMENTS
boot() {
	rm -f "$3"
	MACHINE=nested LOG=$3 \
	ARGS="guest=$2 stage=$1 iommu.strict=1 kunit.enable=1 kunit.filter_glob=none $5" \
	QEMU_ARGS=$4 \
		"$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$3.err"
}

# run MODE [SUITE [ARGUMENTS]]: boots the guest; its console goes to $RESULTS.
run() {
	local suite=${2:-nested} log args more=
	args='-device vtd-testdev,addr=4 -device vtd-testdev,addr=5'
	args+=' -device vtd-testdev,addr=6,pri=off -device vtd-testdev,addr=7,vfs=2'
	log=$RESULTS/$suite-$1.console
	if [ "$1" = strict ]; then
		args+=' -global intel-iommu.x-strict=on'
		# there, domains of user space that nothing is nested on are first-level
		more=intel_iommu=fl_user
	fi
	more+=" ${3:-}"
	say "booting, log in $log"
	if ! boot "$1" "$suite" "$log" "$args" "$more"; then
		cat "$log.err" >&2
		return 1
	fi
	"$GUEST/suite.sh" clean "$log" || return
	grep -aqx $'guest: status 0\r*' "$log"
}

# results MODE: "name result" of each test, in the order of the tests; KUnit's lines
# have the time before them, and are indented by how deep they are
results() {
	tr -d '\r' <"$RESULTS/nested-$1.console" | sed 's/^\[ *[0-9.]*\] //' | awk '
		/^    # Subtest: / { suite = $3 "." }
		/^(not )?ok [0-9]+ vtd_(dma_api|pasid|gpasid)$/ { next }
		/^(    )?(not )?ok [0-9]+ / {
			result = $1 == "ok" ? "ok" : "FAILED"
			inside = /^ / ? suite : ""
			sub(/^ *(not )?ok [0-9]+ (- )?/, "")
			print inside $1, result
		}'
}

table() {
	printf '%-50s %-8s %s\n' test normal strict
	awk 'NR == FNR { normal[$1] = $2; next }
		{ printf "%-50s %-8s %s\n", $1, normal[$1], $2 }' \
		<(results normal) <(results strict)
}

# What vtd_iopf tells of page requests
faults() {
	printf '\n'
	tr -d '\r' <"$RESULTS/nested-$1.console" | sed -n 's/^# | //p' | awk '!told[$0]++'
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
if [ "${1:-}" = soak ]; then
	TIMEOUT=$(($2 + 1200)) run strict soak "seconds=$2" || status=1
	tr -d '\r' <"$RESULTS/soak-strict.console" | sed -n '/^TAP/,/^guest:/p'
else
	run normal || status=1
	run strict || status=1
	table
	faults normal
fi
if [ "$status" = 0 ]; then say "all as expected"; else say "FAILED"; fi
exit "$status"
