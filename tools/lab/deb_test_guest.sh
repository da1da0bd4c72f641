#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# The first program of the system that "make deb-test" boots: what works there, one word
# for each on the console.
mount -t proc proc /proc 2>/dev/null
mount -t sysfs sys /sys 2>/dev/null
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
cd / || exit

# check WORD COMMAND...
check() {
	word=$1
	shift
	if "$@" >/tmp/log 2>&1; then
		echo "lab-test: $word"
	else
		echo "lab-test: NOT $word"
		tail -20 /tmp/log
	fi
}

kernel() { uname -r | grep -e '-vtd$'; }

# Both disks are translated.
iommu() {
	for disk in nvme0n1 vda; do
		device=$(readlink -f /sys/block/$disk/device)
		while [ ! -e "$device/iommu_group" ]; do
			device=${device%/*}
			[ -n "$device" ] || return 1
		done
		grep -q '^DMA' "$device/iommu_group/type" || return 1
	done
}

modules() { grep -w nvme /proc/modules && grep -w ext4 /proc/modules && modprobe e1000e; }

# Few of them have been read before, by the initrd's programs.
reads() { sha256sum --quiet -c /root/files.sum; }

writes() {
	head -c 64M /dev/urandom >/root/random &&
	sum=$(sha256sum </root/random) && sync &&
	[ "$(dd if=/root/random bs=1M iflag=direct | sha256sum)" = "$sum" ]
}

virtio() {
	modprobe virtio_blk
	[ "$(dd if=/dev/vda bs=1M iflag=direct | sha256sum)" = "$(cat /root/virtio.sum)" ]
}

clean() { ! dmesg | grep -E 'DMAR: .*fault|WARNING:|BUG:|VT-d detected'; }

check kernel kernel
check modules modules
check virtio virtio
check iommu iommu
check reads reads
check writes writes
check clean clean
sync
mount -o remount,ro /
echo o >/proc/sysrq-trigger
sleep 100
