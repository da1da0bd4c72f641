#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make endure": does the test bed itself fail?  Repeats tests that have to pass every
# time, and counts failures:
#
#   reproducer  tools/qemu/mapchange.sh for TIME= seconds (default 3600)
#   strict      COUNT= whole runs of "make nested"'s strict machine (default 20)
#   vmm         of "make vmm" (default 10)
#   kunit       of the KUnit machines, first and second in turn (default 30)
#
# WHAT= selects some of them (default: all).  Logs of failed runs are kept in
# build/results/endure.  The last lines are the counts.  The status is 0 if no run
# failed and none was skipped.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

KEPT=$BUILD/results/endure
summary=()
failed=0

reproducer() { TIME=${TIME:-3600} "$ROOT/tools/qemu/mapchange.sh"; }

strict() { "$ROOT/tools/guest/nested.sh" ktap strict; }

vmm() { "$ROOT/tools/guest/vmm.sh" ktap; }

kunit() {
	local machines=(second first)
	MACHINE=${machines[$1 % 2]} "$LAB/kunit.sh"
}

# A suite that is skipped because its QEMU is not available has not passed.
was_skipped() { grep -qE '^ok 1 (nested|vmm) # SKIP' "$1"; }

# Results that are missing in KTAP are failures; "make kunit" checks that itself.
is_counted() {
	case $1 in
	strict | vmm)
		"$LAB/ktap.py" --kernel "${KERNEL%/arch/x86/boot/bzImage}/source" "$2" >&2
		;;
	esac
}

# repeat KIND COUNT
repeat() {
	local kind=$1 count=$2 i bad=0 log start=$SECONDS
	[[ $count =~ ^[1-9][0-9]*$ ]] || die "COUNT=$count is no number of runs"
	if [ "$kind" != reproducer ]; then
		KERNEL=${KERNEL:-$("$LAB/kernel.sh" | tail -1)}
		export KERNEL
	fi
	for ((i = 1; i <= count; i++)); do
		log=$KEPT/$kind-$(date +%m%d-%H%M%S)-$i.log
		if "$kind" "$i" >"$log" 2>&1 </dev/null && ! was_skipped "$log" &&
		   is_counted "$kind" "$log"; then
			say "$kind $i of $count: passed"
			[ "$kind" != reproducer ] || tail -2 "$log" >&2
			rm -f "$log"
		else
			say "$kind $i of $count: FAILED, see $log"
			tail -3 "$log" >&2
			bad=$((bad + 1))
		fi
	done
	summary+=("$(printf '%-10s %3d runs, %d failed (%d s)' "$kind" "$count" \
		"$bad" $((SECONDS - start)))")
	failed=$((failed + bad))
}

"$LAB/setup.sh"
mkdir -p "$KEPT"
for kind in ${WHAT:-reproducer strict vmm kunit}; do
	case $kind in
	reproducer) repeat reproducer "${COUNT:-1}" ;;
	strict) repeat strict "${COUNT:-20}" ;;
	vmm) repeat vmm "${COUNT:-10}" ;;
	kunit) repeat kunit "${COUNT:-30}" ;;
	*) die "WHAT=$kind: use reproducer, strict, vmm or kunit" ;;
	esac
done
printf '%s\n' "${summary[@]}"
[ "$failed" = 0 ]
