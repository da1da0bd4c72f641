#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make deb-test": the packages of "make deb" in a Debian that is made from this machine's
# mirror: they are installed there, and the system boots from a disk behind the IOMMU,
# by the initrd that its own initramfs-tools have made.  KTAP on stdout.  The
# configuration is the lab's, with modules, as Debian's takes more than an hour to build
# on two CPUs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"

DIR=$BUILD/deb-test
ROOTFS=$DIR/root
RELEASE=$(release_codename)
export PATH=$PATH:/usr/sbin:/sbin

# What "make kernel" has built need not be built again. objtool will be, as another
# folder is in its names, but it is the same program: no object is out of date by it.
begin_with_obj_lab() {
	local obj=$WORK/deb/obj
	mkdir -p "$WORK/deb"
	rm -rf "$obj.part"
	cp -a "$WORK/obj-lab" "$obj.part"
	rm -f "$obj.part/.lab-config"
	mv "$obj.part" "$obj"
	make -s -C "$WORK/src" O="$obj" prepare </dev/null >&2
	find "$obj/tools" -type f -exec touch -r "$WORK/obj-lab/tools/objtool/objtool" {} +
}

package_is_built() {
	choose_source
	mkdir -p "$WORK/deb-config"
	configure "$WORK/src" "$WORK/deb-config" "$LAB/configs/lab.config" \
		"$LAB/configs/deb-test.config"
	[ -d "$WORK/deb/obj" ] || ! [ -d "$WORK/obj-lab" ] || begin_with_obj_lab
	CONFIG=$WORK/deb-config/.config "$LAB/deb.sh" >"$DIR/packages"
	grep '/linux-image-.*-vtd_.*\.deb$' "$DIR/packages"
}

# Made once: nothing is installed there but by "package_installs", in a copy.
debian_is_made() {
	local pristine=$DIR/$RELEASE.tar
	[ ! -f "$pristine" ] || return 0
	source_lines "$RELEASE" | grep '^deb ' >"$DIR/sources.list"
	mmdebstrap --variant=minbase --include=initramfs-tools,udev \
		--format=tar "$RELEASE" "$pristine.part" "$DIR/sources.list"
	mv "$pristine.part" "$pristine"
}

# in_root COMMAND...: with what the scripts of packages look for
in_root() {
	# shellcheck disable=SC2016 # for the other shell
	unshare -m sh -ec '
		mount -t proc proc "$0/proc"
		mount -t sysfs sys "$0/sys"
		mount --bind /dev "$0/dev"
		exec chroot "$0" "$@"' "$ROOTFS" "$@"
}

package_installs() {
	local image
	image=$(grep '/linux-image-' "$DIR/packages")
	rm -rf "$ROOTFS"
	mkdir -p "$ROOTFS"
	tar -xf "$DIR/$RELEASE.tar" -C "$ROOTFS"
	cp "$image" "$ROOTFS/root/image.deb"
	in_root env DEBIAN_FRONTEND=noninteractive dpkg -i /root/image.deb
	rm "$ROOTFS/root/image.deb"
	ls -l "$ROOTFS"/boot
	[ -f "$ROOTFS"/boot/vmlinuz-*-vtd ] && [ -f "$ROOTFS"/boot/initrd.img-*-vtd ]
}

# The disk, and what the guest is to find on another one
disks_are_made() {
	cp "$LAB/deb_test_guest.sh" "$ROOTFS/usr/local/sbin/lab-test"
	(cd "$ROOTFS" && find usr/bin usr/lib -type f -print0 | sort -z |
		head -z -n 2000 | xargs -0 sha256sum) >"$DIR/files.sum"
	mv "$DIR/files.sum" "$ROOTFS/root/files.sum"
	head -c 16m /dev/urandom >"$DIR/virtio.img"
	sha256sum <"$DIR/virtio.img" >"$ROOTFS/root/virtio.sum"
	rm -f "$DIR/disk.img"
	mkfs.ext4 -q -F -d "$ROOTFS" "$DIR/disk.img" 1500m
}

boots_by_its_own_initrd() {
	local args
	args="-drive file=$DIR/disk.img,if=none,id=disk,format=raw,cache=unsafe"
	args+=" -device nvme,drive=disk,serial=lab"
	args+=" -drive file=$DIR/virtio.img,if=none,id=virtio,format=raw,cache=unsafe"
	args+=" -device virtio-blk-pci,drive=virtio,iommu_platform=on,disable-legacy=on"
	KERNEL=$(echo "$ROOTFS"/boot/vmlinuz-*-vtd) \
	INITRD=$(echo "$ROOTFS"/boot/initrd.img-*-vtd) \
	LOG=$DIR/console.log QEMU_ARGS=$args \
	ARGS="root=/dev/nvme0n1 rw iommu.strict=1 init=/usr/local/sbin/lab-test" \
		"$LAB/boot.sh" </dev/null
}

# What lab-test says of each
guest_says() { tr -d '\r' <"$DIR/console.log" | grep -x "lab-test: $1"; }

disk_is_clean() { e2fsck -fn "$DIR/disk.img"; }

[ "$(id -u)" = 0 ] || die "make deb-test creates a root file system, and needs root"
"$LAB/setup.sh"
install_packages mmdebstrap
lock "$BUILD/.lock-deb-test"
mkdir -p "$DIR"
ktap package_is_built debian_is_made package_installs disks_are_made \
	boots_by_its_own_initrd "guest_says kernel" "guest_says iommu" \
	"guest_says modules" "guest_says reads" "guest_says writes" \
	"guest_says virtio" "guest_says clean" disk_is_clean
