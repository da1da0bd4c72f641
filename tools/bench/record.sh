#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make record": records the maps and unmaps of real I/O in patterns/{nvme,net}.txt.
# Each machine has one device that does DMA, so that all maps and unmaps are for this
# device; rootfs/suites/record generates its I/O.  KERNEL= and ACCEL= are as for
# tools/lab/boot.sh.
set -euo pipefail
BENCH=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$BENCH/../.." && pwd)
GUEST=$ROOT/tools/guest
WORK=$ROOT/build/record
OPERATIONS=8192
export LC_ALL=C

say() { printf 'record: %s\n' "$*" >&2; }

# record NAME QEMU-ARGUMENTS
record() {
	local name=$1
	say "$name: booting"
	MACHINE=first LOG=$name.log QEMU_ARGS=$2 \
	ARGS="quiet guest=record trace_event=iommu:map,iommu:unmap trace_buf_size=16M trace_clock=counter" \
		"$ROOT/tools/lab/boot.sh" </dev/null |
		sed -uE 's/\r$//; s/.*(TAP version)/\1/; /^(pattern|guest): |\x1b/d'
	grep -aqx $'guest: status 0\r*' "$name.log"
	"$BENCH/pattern.py" "$name.log" "$OPERATIONS" >"$name.txt"
	cp "$name.txt" "$BENCH/patterns"
	say "$name: $(grep ' at most ' "$name.txt")"
}

KERNEL=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
export KERNEL INITRD=initrd
initrd=$("$GUEST/mkinitrd.sh" | tail -1)
mkdir -p "$WORK"
exec {lock}>"$WORK/.lock"
flock "$lock"
# Use relative names from here on: QEMU_ARGS is split at spaces.
cd "$WORK"
# fio is in a second archive appended to the initrd: reading it causes no I/O on the disk.
rm -rf files
"$GUEST/with_libs.sh" fio files
{ cat "$initrd"; (cd files && find . | cpio --quiet -o -H newc); } >initrd
truncate -s 64m nvme.img
mkdir -p tftp
head -c 2m /dev/urandom >tftp/download

record nvme '-drive file=nvme.img,if=none,id=nvme,format=raw,cache=unsafe -device nvme,drive=nvme,serial=lab,addr=3'
net='-chardev file,id=up,path=uploaded -device e1000e,netdev=net,romfile=,addr=5'
net+=' -netdev user,id=net,restrict=on,tftp=tftp,guestfwd=tcp:10.0.2.100:9-chardev:up'
record net "$net"
