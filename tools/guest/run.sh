#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make run": real DMA through first-level tables, on the first-stage-only
# machine, or through those of MACHINE= second, caching or legacy.  Makes the disks,
# boots the guest (rootfs/suites/run does the work there), checks what it has written,
# and prints one table.  KTAP on stdout; the status is 0 if all tests passed.  KERNEL= and
# ACCEL= are as for tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
ROOT=$(cd "$GUEST/../.." && pwd)
WORK=$ROOT/build/run
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

say() { printf 'run: %s\n' "$*" >&2; }

machine=${MACHINE:-first}
case $machine in
first | second | caching | legacy) ;;
*) say "MACHINE=$machine: use first, second, caching or legacy"; exit 2 ;;
esac

# The disks that every run starts from: made once, in a folder that is renamed when complete.
make_pristine() {
	local to=$WORK/pristine.part
	say "making the disks, once"
	rm -rf "$to"
	mkdir -p "$to/files"/{dev,proc,tmp} "$to/tftp" "$to/host"
	# The files: fio, which the guest runs from there, and all that it needs.
	"$GUEST/with_libs.sh" fio "$to/files"
	cp -r "$ROOT/tools" "$to/files"
	(cd "$to/files" && find . -type f -print0 | sort -z | xargs -0 sha256sum) \
		>"$to/host/files.sum"
	mkfs.ext4 -q -F -L lab -d "$to/files" "$to/nvme.img" 192m
	head -c 16m /dev/urandom >"$to/virtio.img"
	head -c 8m "$to/virtio.img" | sha256sum >"$to/host/virtio.sum"
	head -c 2m /dev/urandom >"$to/tftp/download"
	sha256sum <"$to/tftp/download" >"$to/host/download.sum"
	rm -r "$to/files"
	mv -T "$to" "$WORK/pristine"
}

# check NUMBER WHAT COMMAND...
check() {
	local number=$1 what=$2
	shift 2
	if "$@" >check.log 2>&1 </dev/null; then
		echo "ok $number $what"
	else
		echo "not ok $number $what"
		sed 's/^/# /' check.log
		failed=1
	fi
}

ext4_is_clean() { e2fsck -fn nvme.img; }

new_files_are_the_guests() {
	rm -rf new
	debugfs -R "rdump /new ." nvme.img && [ "$(wc -l <uploaded)" = 3 ] &&
		sha256sum -c uploaded
}

virtio_has_the_guests_data() {
	cmp -n 2097152 -i 0:12582912 pristine/tftp/download virtio.img
}

# Check QEMU's status, too: it may have aborted after the guest's last output.
guest_passed() { [ "$booted" = 0 ] && grep -ax $'guest: status 0\r*' console.log; }

export KERNEL=${KERNEL:-$("$ROOT/tools/lab/kernel.sh" | tail -1)}
initrd=$("$GUEST/mkinitrd.sh" | tail -1)
mkdir -p "$WORK"
exec {lock}>"$WORK/.lock"
flock "$lock"
# Use relative names from here on: QEMU_ARGS is split at spaces.
cd "$WORK"
[ -d pristine ] || make_pristine
cp --sparse=always pristine/nvme.img pristine/virtio.img .
rm -f uploaded console.log
# The lists are in a second archive appended to the initrd.
{ cat "$initrd"; (cd pristine && find host | cpio --quiet -o -H newc); } >initrd

nvme='-drive file=nvme.img,if=none,id=nvme,format=raw,cache=unsafe'
nvme+=' -device nvme,drive=nvme,serial=lab,addr=3'
virtio='-drive file=virtio.img,if=none,id=virtio,format=raw,cache=unsafe'
virtio+=' -device virtio-blk-pci,drive=virtio,iommu_platform=on,disable-legacy=on,addr=4'
net='-chardev file,id=up,path=uploaded -device e1000e,netdev=net,romfile=,addr=5'
net+=' -netdev user,id=net,restrict=on,tftp=pristine/tftp,guestfwd=tcp:10.0.2.100:9-chardev:up'
edu='-device edu,dma_mask=0xffffffffffffffff,addr=6'

say "booting"
booted=0
MACHINE=$machine INITRD=initrd LOG=console.log \
ARGS="quiet guest=run stage=$machine iommu.strict=1 kunit.enable=1 kunit.filter_glob=edu_dma_api" \
QEMU_ARGS="$nvme $virtio $net $edu" \
	"$ROOT/tools/lab/boot.sh" </dev/null 2>boot.err |
	sed -uE 's/\r$//; s/.*(TAP version)/\1/; /^(table|guest): |\x1b/d' || booted=$?
[ "$booted" = 0 ] || cat boot.err >&2

failed=0
check 21 "host: the guest ended as it should" guest_passed
check 22 "host: the ext4 is clean" ext4_is_clean
check 23 "host: the guest's new files have its checksums" new_files_are_the_guests
check 24 "host: the virtio disk has the guest's data" virtio_has_the_guests_data
"$GUEST/suite.sh" clean console.log || failed=1
echo
tr -d '\r' <console.log | sed -n 's/^table: //p'
if [ "$failed" = 0 ]; then say "all as expected"; else say "FAILED, see above and build/run/console.log"; fi
exit "$failed"
