#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Does QEMU lose accesses of one CPU while another changes the memory map?  Runs
# mapchange.c for TIME= seconds (default 60), with two busy loops beside, on the QEMU
# that "make qemu" builds, or on QEMU=.  The last line has the guest's counts.
# Status 77: no QEMU is available.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
. "$HERE/../lab/lib.sh"

WORK=$BUILD/qemu
GUEST=$WORK/mapchange
LOG=$BUILD/results/mapchange.console

# No linker script: a multiboot header may be anywhere in the first 8 KiB.
build_guest() {
	gcc -m32 -march=i686 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pic \
		-fno-stack-protector -fno-asynchronous-unwind-tables \
		-fcf-protection=none -static -nostdlib \
		-Wl,-Ttext=0x100000,-e,start,-N,--build-id=none,-z,noexecstack \
		-Wl,--no-warn-rwx-segments -o "$GUEST" "$HERE/mapchange.c"
}

beside=()
stop_beside() {
	kill "${beside[@]}" 2>/dev/null || true
	wait "${beside[@]}" 2>/dev/null || true
}

start_busy_loops() {
	for _ in 1 2; do
		{ while :; do :; done; } &
		beside+=($!)
	done
}

# Any byte ends the guest; if it does not live any more, nothing would.
run_guest() {
	local seconds=$1 go
	rm -f "$WORK/go"
	mkfifo "$WORK/go"
	exec {go}<>"$WORK/go"
	# a signal also ends the sleep, so that no process is left behind
	{ sleep "$seconds" & trap 'kill $!; exit' TERM; wait $!; echo >&"$go"; } &
	beside+=($!)
	timeout $((seconds + 120)) "$QEMU" -machine q35,kernel-irqchip=split \
		-accel tcg,thread=multi -cpu max -smp 2 -m 64M -nodefaults \
		-nographic -vga none -nic none -no-reboot -serial stdio \
		-monitor none -device intel-iommu,intremap=on -device edu \
		-device e1000e,romfile= -kernel "$GUEST" <&"$go" >"$LOG" 2>&1
}

"$LAB/setup.sh"
[ -n "${QEMU:-}" ] || QEMU=$("$HERE/build.sh" | tail -1)
mkdir -p "$WORK" "${LOG%/*}"
build_guest
trap stop_beside EXIT
start_busy_loops
status=0
run_guest "${TIME:-60}" || status=$?
[ "$status" = 0 ] || say "QEMU ended with status $status"
tail -3 "$LOG"
[ "$status" = 0 ] && tail -1 "$LOG" | grep -q '^end' &&
	tail -2 "$LOG" | grep -q '^ok .* changes [1-9].* ticks [1-9]'
