#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make bench-pasids": costs of many PASIDs of one domain: instructions, which the guest's
# clock counts, and descriptors for each unmap, by QEMU's trace.
# guest/pasid_bench.c runs in the guest. KERNEL= is as for tools/lab/boot.sh.
# Status 77: the lab's QEMU is not available.
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
exec {lock}>"$WORK/.lock-pasids"
flock "$lock"

# measure NAME ARGUMENTS: boots the guest, and prints rows of the table
measure() {
	local log=$WORK/pasids-$1.console trace=$WORK/pasids-$1.trace args
	say "booting, log in $log"
	args="-device vtd-testdev,addr=4 -trace vtd_inv_desc -trace vtd_inv_qi_tail"
	args+=" -trace vtd_reg_read -trace pci_cfg_write -D $trace"
	ACCEL=icount MACHINE=nested MEMORY=2G LOG=$log TIMEOUT=${TIMEOUT:-1800} \
	ARGS="quiet guest=bench-pasids iommu.strict=1 intel_iommu=fl_user $2" QEMU_ARGS=$args \
		"$ROOT/tools/lab/boot.sh" </dev/null >/dev/null 2>"$log.err" ||
		{ cat "$log.err" >&2; return 1; }
	"$ROOT/tools/guest/suite.sh" clean "$log" >&2
	grep -aqx $'guest: status 0\r*' "$log" || { say "FAILED, see $log"; return 1; }
	tr -d '\r' <"$log" | rows "$trace"
}

# rows TRACE: adds counts from between the marks of the trace to the guest's rows
rows() {
	awk 'FILENAME == "-" && sub(/^bench: /, "") { line[++lines] = $0; next }
		FILENAME == "-" && sub(/^detach: /, "") {
			detach[substr($0, 1, 35)] = $NF
			next
		}
		/^pci_cfg_write .*@0xc <- 0xf1$/ { counting = 1; n = int(unmaps / 16) + 1; unmaps++ }
		/^pci_cfg_write .*@0xc <- 0xf2$/ { counting = 0 }
		counting && /^vtd_inv_qi_tail / { tails[n]++ }
		counting && /^vtd_reg_read / { reads[n]++ }
		counting && /^vtd_inv_desc / { if (/ type wait /) waits[n]++; else descs[n]++ }
		function kilo(n) { return n ? sprintf("%.1f", n / 1e3) : "-" }
		END {
			for (i = 1; i <= lines; i++) {
				key = substr(line[i], 1, 35)
				split(substr(line[i], 36), w)
				printf "%s %9s %8s %8s %11.2f %6.2f %6.2f %6.2f\n", key,
					kilo(w[1]), kilo(w[2]), kilo(detach[key]),
					descs[i] / 16, waits[i] / 16, tails[i] / 16,
					reads[i] / 16
			}
		}' - "$1"
}

{
	printf '%-35s %27s  %s\n' '' '10^3 instructions to' 'for each unmap'
	printf '%-28s %6s %9s %8s %8s %11s %6s %6s %6s\n' 'one domain' PASIDs unmap attach \
		detach descriptors waits tails reads
	measure without pci=noats
	measure with ""
} | tee "$WORK/pasids.txt"
say "the same in $WORK/pasids.txt"
