#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make vmm": a guest in the guest. Debian 13's newest QEMU, unmodified, runs in the
# lab's machine (on the QEMU of tools/qemu, whose IOMMU is the strict one) and
# assigns vtd-testdev to a guest of its own, through vfio-pci, iommufd and a first-
# stage vIOMMU. That guest's kernel does DMA through its own tables, on the RID and
# on PASIDs. Two more guests count the costs of maps and unmaps, with this vIOMMU and with
# one that has to be shadowed; "ktap" leaves them out. The result is a table; the status is
# 0 if all tests passed, and 77 if one of the two QEMUs is not available. "ktap" prints KTAP
# instead, with SKIP in the latter case.
# KERNEL=, ACCEL= and TIMEOUT= are as for tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
. "$GUEST/../lab/lib.sh"
. "$LAB/apt.sh"
. "$LAB/qemu.sh"

RELEASE=trixie-backports
WORK=$BUILD/vmm
LOG=$BUILD/results/vmm.console
MODE=${1:-table}

say() { printf 'vmm: %s\n' "$*" >&2; }

skip() {
	say "$1"
	[ "$MODE" = ktap ] || exit 77
	printf 'KTAP version 1\n1..1\nok 1 vmm # SKIP %s\n' "$1"
	exit 0
}

# ---- Debian's QEMU ----

# debian_apt TOOL ARGUMENTS...: runs apt as on a machine without installed packages
debian_apt() {
	local tool=$1
	shift
	private_apt $RELEASE "$tool" -o Dir::State::status=/dev/null -t $RELEASE "$@"
}

# fetch DIR: does not use "whole", which dies on errors
fetch() {
	say "fetching QEMU $VERSION and what it needs"
	rm -rf "$1.part"
	mkdir -p "$1.part/partial"
	debian_apt apt-get -q -y --no-install-recommends --download-only \
		-o "Dir::Cache::archives=$1.part" \
		install "qemu-system-x86=$VERSION" >&2 || return
	mv -T "$1.part" "$1"
}

# fill DIR: unpacks the packages, and makes a disk of them; DIR/run runs QEMU on this
# machine, whose own libraries may be too old for it.
fill() {
	local deb
	mkdir "$1/root"
	for deb in "$DEBS"/*.deb; do
		dpkg-deb -x "$deb" "$1/root"
	done
	# these belong to no package
	ln -s usr/lib usr/lib64 "$1/root"
	mkdir "$1/root"/{dev,proc,sys,tmp}
	PATH=$PATH:/sbin mkfs.ext4 -q -F -L vmm -d "$1/root" "$1/disk" 320m
	cat >"$1/run" <<-'EOF'
		#!/bin/sh
		usr=$(dirname "$(readlink -f "$0")")/root/usr
		exec "$usr/lib64/ld-linux-x86-64.so.2" \
			--library-path "$usr/lib/x86_64-linux-gnu" \
			"$usr/bin/qemu-system-x86_64" "$@"
	EOF
	chmod +x "$1/run"
}

# setup_debian: sets DEBIAN, a folder filled with the newest version.
setup_debian() {
	VERSION=$(debian_apt apt-cache madison qemu-system-x86 |
		awk -F' *[|] *' '{ print $2; exit }') || true
	dpkg --compare-versions "${VERSION:-0}" ge 1:11.1 ||
		skip "$RELEASE has no QEMU 11.1 or newer"
	DEBS=$DEB/vmm-${VERSION/:/%3a}
	DEBIAN=$WORK/${VERSION#*:}
	[ -d "$DEBS" ] || fetch "$DEBS" || skip "QEMU $VERSION cannot be fetched"
	if [ ! -d "$DEBIAN" ]; then
		say "making a disk of it"
		whole "$DEBIAN" fill
	fi
}

# ---- the lab's machine ----

setup_lab() {
	local status=0
	QEMU=$("$ROOT/tools/qemu/build.sh" | tail -1) || status=$?
	[ "$status" != 77 ] || skip "no source of the lab's QEMU can be had"
	[ "$status" = 0 ] || exit "$status"
	KERNEL=${KERNEL:-$("$LAB/kernel.sh" | tail -1)}
	export QEMU KERNEL
}

# make_initrd: appends kernel and initrd of the nested guest to the guest's initrd.  The
# clock of the nested guest advances while its CPU, which is emulated twice, does not run:
# its soft lockup detector gets six times the usual time (2 * watchdog_thresh).
make_initrd() {
	local initrd
	initrd=$("$GUEST/mkinitrd.sh" | tail -1)
	rm -rf "$WORK/add"
	mkdir -p "$WORK/add/vmm"
	cp "$KERNEL" "$WORK/add/vmm/bzImage"
	cp "$initrd" "$WORK/add/vmm/initrd"
	iommu_device "$DEBIAN/run" guest >"$WORK/add/vmm/iommu.guest"
	iommu_device "$DEBIAN/run" caching >"$WORK/add/vmm/iommu.caching"
	echo "console=ttyS0 panic=-1 no_timer_check quiet $(emulated_tsc) intel_iommu=on,sm_on" \
	     "iommu.strict=1 kunit.enable=1 kunit.filter_glob=none" \
	     "watchdog_thresh=60" >"$WORK/add/vmm/args"
	{ cat "$initrd"; (cd "$WORK/add" && find . | cpio --quiet -o -H newc); } \
		>"$WORK/initrd"
}

boot() {
	local args
	args="-device vtd-testdev,addr=4 -global intel-iommu.x-strict=on"
	# use relative names from here on: QEMU_ARGS is split at spaces
	args+=" -drive file=${DEBIAN#"$WORK/"}/disk,if=none,id=disk,format=raw,readonly=on"
	args+=" -device virtio-blk-pci,drive=disk,disable-legacy=on"
	say "booting, log in $LOG"
	rm -f "$LOG"
	cd "$WORK"
	MACHINE=nested KERNEL=add/vmm/bzImage INITRD=initrd LOG=$LOG \
	ARGS="guest=vmm costs=$COSTS" QEMU_ARGS=$args \
		"$LAB/boot.sh" </dev/null >/dev/null 2>"$LOG.err" ||
		{ cat "$LOG.err" >&2; return 1; }
	"$GUEST/suite.sh" clean "$LOG" || return
	grep -aqx $'guest: status 0\r*' "$LOG"
}

report() {
	tr -d '\r' <"$LOG" | grep -aE '^(not )?ok |^# ' || true
	echo
	tr -d '\r' <"$LOG" | sed -n 's/^table: //p'
}

if [ "$MODE" = ktap ]; then COSTS=0; else COSTS=1; fi
mkdir -p "$WORK" "${LOG%/*}"
lock "$WORK/.lock"
setup_debian
setup_lab
make_initrd
status=0
boot || status=1
if [ "$MODE" = ktap ]; then
	cat "$LOG"
else
	report
	if [ "$status" = 0 ]; then say "all as expected"; else say "FAILED, see $LOG"; fi
fi
exit "$status"
