#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make nested": nested translation and PASIDs from user space (vtd_nested.c) and by
# a kernel driver (vtd_dma/), and page requests (vtd_iopf.c, vtd_iopf_abuse.c), on the
# QEMU of tools/qemu, whose IOMMU acts once as QEMU's do and once strictly,
# and slowly; then what the driver does when its invalidation queue has errors.
# Prints a table of both, and one of page requests; the status is 0 if all tests passed,
# and 77 if this QEMU is not available.  "ktap normal", "ktap strict" or "ktap queue" runs
# one of them and prints KTAP, with SKIP if this QEMU is not available; "ktap strict SUITE"
# runs one suite of the guest, to which further arguments are passed ("tests=NAME").  "soak
# SECONDS" runs random work (vtd_soak.c, vtd_demand_soak.c) and random calls of hostile
# users (vtd_attack.c), each for that long, on the strict IOMMU; SEED= repeats a run.
# "demand" runs a VMM that pins no memory (vtd_unpinned.c) there, and prints its table.
# "bench" measures strict unmaps while invalidations take time, with the unpatched and the
# patched kernel; LATENCY= is the time until the first descriptor is executed, in ns,
# UNPATCHED= another kernel to compare with.  KERNEL=, ACCEL=, ARGS= and TIMEOUT= are as for
# tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$GUEST/../.." && pwd)
RESULTS=$ROOT/build/results

# Latency of invalidations, in ns: the first, each further one, the device TLB, and the
# time-out
SLOWLY="-global intel-iommu.x-inv-latency-ns=${LATENCY:-20000}"
SLOWLY+=' -global intel-iommu.x-inv-further-ns=1000'
SLOWLY+=' -global intel-iommu.x-inv-device-ns=50000 -global intel-iommu.x-inv-timeout-ns=100000000'
# The kernel's messages about the provoked errors
QUEUE_ERRORS='VT-d detected Invalidation (Queue|Time-out) Error'

say() { printf 'nested: %s\n' "$*" >&2; }

# boot MODE SUITE LOG QEMU-ARGUMENTS KERNEL-ARGUMENTS
boot() {
	local waker=()
	[ "$2" != suspend ] || waker=("$GUEST/wake.py")
	rm -f "$3"
	MACHINE=nested LOG=$3 \
	ARGS="guest=$2 stage=$1 iommu.strict=1 kunit.enable=1 kunit.filter_glob=none $5 ${ARGS:-}" \
	QEMU_ARGS=$4 \
		"${waker[@]}" "$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$3.err"
}

# run MODE [SUITE [ARGUMENTS]]: boots the guest; its console goes to $RESULTS.
run() {
	local suite=${2:-nested} log args=${QEMU_ARGS:-} expected="" more=""
	args+=' -device vtd-testdev,addr=4,pri-capacity=4096 -device vtd-testdev,addr=5'
	args+=' -device vtd-testdev,addr=6,pri=off -device vtd-testdev,addr=7,vfs=2'
	# users of "attack" need a device TLB and PASIDs
	[ "$suite" = attack ] ||
		args+=' -device vtd-testdev,addr=9,ats=off,pri=off,pasid-bits=0'
	[[ $suite != @(nested|reset) ]] ||
		args+=' -device vtd-testdev,addr=0xa,pm=on'
	log=$RESULTS/$suite-$1.console
	[ "$1" != slow ] || args+=" $SLOWLY"
	if [ "$1" = strict ]; then
		args+=" -global intel-iommu.x-strict=on $SLOWLY"
		# there, domains of user space that nothing is nested on are first-level
		more=intel_iommu=fl_user
	fi
	# The domain may be left out.
	if [ "$1" = strict ]; then
		more+=' vfio_pci.fault_tolerant=0000:00:04.0'
	else
		more+=' vfio_pci.fault_tolerant=00:04.0'
	fi
	more+=" ${3:-}"
	if [ "$suite" = demand ] || [ "$suite" = demand-soak ] || [ "$suite" = unpinned ]; then
		export NODES=2
		# demand-soak copies one after fork(), and migrates it
		more+=' hugepages=16'
	fi
	[ "$suite" != demand-nodes ] || export NODES=4 CPUS=4
	say "booting, log in $log"
	if ! boot "$1" "$suite" "$log" "$args" "$more"; then
		cat "$log.err" >&2
		return 1
	fi
	[ "$suite" != queue ] || expected=$QUEUE_ERRORS
	"$GUEST/suite.sh" clean "$log" "$expected" || return
	grep -aqx $'guest: status 0\r*' "$log"
}

# results CONSOLE: "name result" of each test, in the order of the tests; KUnit's lines
# begin with a time stamp, and are indented by depth
results() {
	tr -d '\r' <"$RESULTS/$1.console" | sed 's/^\[ *[0-9.]*\] //' | awk '
		/^    # Subtest: / { suite = $3 "." }
		/^(not )?ok [0-9]+ (vtd_(dma_api|pasid|gpasid)|invalidation_queue)$/ { next }
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
		<(results nested-normal) <(results nested-strict)
	awk '{ printf "%-50s %-8s %s\n", $1, "-", $2 }' <(results queue-strict)
}

# The table of page requests, from vtd_iopf
faults() {
	printf '\n'
	tr -d '\r' <"$RESULTS/nested-$1.console" | sed -n 's/^# | //p' | awk '!told[$0]++'
}

# Each row of vtd_unpinned, with the result that follows it
unpinned_table() {
	printf '%-11s %-7s %8s %6s %6s %8s %7s %7s %8s %5s %7s %8s %8s  %s\n' \
		'' '' MiB KiB KiB page '' faults: '' '' pages: '' MiB '' \
		memory tables resident pinned locked requests served minor 'swap-in' \
		late mapped evicted compared result
	tr -d '\r' <"$RESULTS/unpinned-strict.console" | awk '
		sub(/^# \| /, "") { row = $0 }
		/^(not )?ok [0-9]+ vm\./ {
			print (row ? row : $0) "  " ($1 == "ok" ? "ok" : "FAILED")
			row = ""
		}'
}

# queue_costs KERNEL: counts unmaps, descriptors and register reads between two marks of
# bench-queue, from the guest's output and QEMU's trace.
queue_costs() {
	tr -d '\r' <"$RESULTS/bench-queue-slow.console" |
		awk -v kernel="$1" 'FILENAME == "-" {
			if ($1 == "bench:") line[++lines] = $0
			next
		}
		/^pci_cfg_write .*@0x3c <- 0xf1$/ { n++; counting = 1 }
		/^pci_cfg_write .*@0x3c <- 0xf2$/ { counting = 0 }
		counting && /^vtd_inv_qi_tail / { tails[n]++ }
		counting && /^vtd_reg_read / { reads[n]++ }
		counting && /^vtd_inv_desc / { if (/ type wait /) waits[n]++; else descs[n]++ }
		END {
			for (i = 1; i <= lines; i++) {
				split(line[i], w)
				printf "%-10s %-12s %4d %8d %8.1f %8.0f %8.0f %12.2f %6.2f %6.2f %6.2f\n",
					kernel, w[2], w[3], w[5], w[4], w[6], w[7],
					descs[i] / w[5], waits[i] / w[5], tails[i] / w[5],
					reads[i] / w[5]
			}
		}' - "$RESULTS/bench-queue.trace"
}

# hardware_first: QEMU's main thread executes invalidations.  Two virtual CPUs that wait for
# them keep both cores of this machine busy, so give that thread a real-time priority.  With
# very many invalidations, this costs more than it saves.
hardware_first() {
	local wrapper=$RESULTS/bench-queue.qemu
	[ "${LATENCY:-20000}" -ge 1000000 ] || return 0
	chrt --fifo --reset-on-fork 1 true 2>/dev/null ||
		{ say "no real-time priority: two CPUs will be slower"; return; }
	printf '#!/bin/sh\nexec chrt --fifo --reset-on-fork 1 "%s" "$@"\n' "$QEMU" >"$wrapper"
	chmod +x "$wrapper"
	QEMU=$wrapper
}

# bench_queue NAME BZIMAGE
bench_queue() {
	QEMU_ARGS="-device edu,dma_mask=0xffffffffffffffff,addr=0x10 -trace vtd_inv_desc"
	QEMU_ARGS+=" -trace vtd_inv_qi_tail -trace vtd_reg_read -trace pci_cfg_write -D $RESULTS/bench-queue.trace"
	KERNEL=$2 run slow bench-queue quiet || return
	queue_costs "$1"
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
	case $2 in
	queue) run strict queue || status=1; cat "$RESULTS/queue-strict.console" ;;
	*) run "$2" "${3:-}" "${*:4}" || status=1; cat "$RESULTS/${3:-nested}-$2.console" ;;
	esac
	exit "$status"
fi
if [ "${1:-}" = bench ]; then
	hardware_first
	unpatched=${UNPATCHED:-$("$ROOT/tools/lab/stock.sh" | tail -1)}
	printf '%-10s %-12s %4s %8s %8s %17s  %s\n' '' '' '' '' '' 'a tick is late:' \
		'for each unmap:'
	printf '%-10s %-12s %4s %8s %8s %8s %8s %12s %6s %6s %6s\n' kernel device CPUs \
		unmaps us '99 %, us' 'max, us' descriptors waits tails reads
	bench_queue unpatched "$unpatched" && bench_queue patched "$KERNEL" || status=1
elif [ "${1:-}" = demand ]; then
	run strict unpinned || status=1
	unpinned_table
elif [ "${1:-}" = soak ]; then
	for suite in soak demand-soak attack; do
		TIMEOUT=$(($2 + 1200)) run strict $suite "seconds=$2${SEED:+ SEED=$SEED}" || status=1
		tr -d '\r' <"$RESULTS/$suite-strict.console" | sed -n '/^TAP/,/^guest:/p'
	done
else
	run normal || status=1
	run strict || status=1
	run strict queue || status=1
	table
	faults normal
fi
if [ "$status" = 0 ]; then say "all as expected"; else say "FAILED"; fi
exit "$status"
