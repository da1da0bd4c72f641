# SPDX-License-Identifier: GPL-2.0
# QEMU: finding one that has a first-stage vIOMMU, and the one place that knows
# what its options are called in which version.
# shellcheck shell=bash

QEMU_DIR=$CACHE/qemu

qemu_version() {
	"$1" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p;q'
}

new_enough() {
	local version
	version=$(qemu_version "$1") && [ "${version:-0}" -ge 10 ]
}

# qemu_command: prints the QEMU to run; fails when there is none yet. The lab's own
# comes first, once it is built, unless it is to use KVM, which it has not: emulated
# CPUs of QEMU 10 can lose an interrupt, or abort, when a guest of two CPUs switches a
# PCI BAR (tools/qemu/0101-*.patch).
qemu_command() {
	if [ -n "${QEMU:-}" ]; then
		echo "$QEMU"
	elif [ -x "$BUILD/qemu/qemu-system-x86_64" ] && [ "${ACCEL:-tcg}" != kvm ]; then
		echo "$BUILD/qemu/qemu-system-x86_64"
	else
		distribution_qemu
	fi
}

# distribution_qemu: Debian's, installed or in the cache; has the firmware, too.
distribution_qemu() {
	local system
	if system=$(command -v qemu-system-x86_64) && new_enough "$system"; then
		echo "$system"
	elif [ -x "$QEMU_DIR/qemu-system-x86_64" ]; then
		echo "$QEMU_DIR/qemu-system-x86_64"
	else
		return 1
	fi
}

# Debian's packages, unpacked into a folder of their own.
unpack_qemu() {
	local to=$1 suite deb
	suite=$(release_codename)-backports
	say "fetching QEMU from $suite, for this lab only"
	rm -f "$CACHE/apt/$suite/archives/"*.deb
	private_apt "$suite" apt-get -q -y --no-install-recommends \
		--download-only -t "$suite" install qemu-system-x86 >&2
	for deb in "$CACHE/apt/$suite/archives/"*.deb; do
		dpkg-deb -x "$deb" "$to"
	done
	rm -f "$CACHE/apt/$suite/archives/"*.deb
	cat >"$to/qemu-system-x86_64" <<-'EOF'
		#!/bin/sh
		# Debian's QEMU from its own folder.
		d=$(dirname "$(readlink -f "$0")")
		l=$d/usr/lib/x86_64-linux-gnu
		LD_LIBRARY_PATH=$l:$d/lib/x86_64-linux-gnu:$l/pulseaudio
		QEMU_MODULE_DIR=$l/qemu
		export LD_LIBRARY_PATH QEMU_MODULE_DIR
		exec "$d/usr/bin/qemu-system-x86_64" -L "$d/usr/share/qemu" \
			-L "$d/usr/share/seabios" -L "$d/usr/lib/ipxe/qemu" "$@"
	EOF
	chmod +x "$to/qemu-system-x86_64"
	new_enough "$to/qemu-system-x86_64" ||
		die "the QEMU from $suite does not run or is older than 10"
}

setup_qemu() {
	local candidate
	! distribution_qemu >/dev/null || return 0
	candidate=$(apt-cache policy qemu-system-x86 |
		sed -n 's/.*Candidate: [0-9]*:\([0-9]*\).*/\1/p')
	if [ "${candidate:-0}" -ge 10 ]; then
		say "installing: qemu-system-x86"
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y \
			--no-install-recommends qemu-system-x86 >&2
	else
		whole "$QEMU_DIR" unpack_qemu
	fi
}

# emulated_tsc: the kernel arguments that keep an emulated guest on this host from
# measuring its TSC (see tsc_khz.c), and from giving it up because the jiffies that it
# is compared with are late.
emulated_tsc() {
	local program=$BUILD/tsc_khz
	mkdir -p "$BUILD"
	if [ ! "$program" -nt "$LAB/tsc_khz.c" ]; then
		gcc -O2 -Wall -o "$program.$$" "$LAB/tsc_khz.c"
		mv "$program.$$" "$program"
	fi
	echo "tsc_early_khz=$("$program") tsc=reliable"
}

# iommu_device QEMU MACHINE: the -device argument for the vIOMMU. AW_BITS=39: of 39
# bits, which the first stage cannot have.
#   first   first-stage translation only    second  second-stage only
#   legacy  no scalable mode                caching second, with caching mode
#   nested  both, and all that tools/qemu/series adds; needs "make qemu"
#   guest   what a guest is shown that is to nest: the first stage only, PASIDs;
#           needs QEMU 11.1
# Other properties keep their defaults; -global intel-iommu.NAME=VALUE sets them.
iommu_device() {
	local known device=intel-iommu,intremap=on,aw-bits=${AW_BITS:-48}
	known=$("$1" -machine q35 -device intel-iommu,help </dev/null)
	option() { grep -oE "^ +($1)=" <<<"$known" | tr -d ' =' | head -1; }
	local scalable first
	scalable=$(option 'x-scalable-mode|scalable-mode')
	first=$(option 'x-flts|fsts')
	[ -n "$scalable" ] && [ -n "$first" ] ||
		die "this QEMU's intel-iommu has no first-stage translation"
	[ "$2" = legacy ] || device+=,$scalable=on
	case $2 in
	first) device+=,$first=on,fs1gp=on ;;
	second | legacy) ;;
	caching) device+=,caching-mode=on ;;
	nested)
		[ -n "$(option x-nest)" ] ||
			die "MACHINE=nested needs the QEMU that make qemu builds"
		device+=,device-iotlb=on,$first=on,x-slts=on,x-nest=on,x-ssads=on
		device+=,x-pasid-mode=on,x-pasid-bits=20,x-pri=on,x-smpwc=on
		;;
	guest)
		[ -n "$(option pasid-bits)" ] ||
			die "this QEMU has no PASIDs for assigned devices"
		device+=,$first=on,pasid-bits=20,caching-mode=on,device-iotlb=on
		;;
	*) die "MACHINE=$2: use first, second, legacy, caching or nested" ;;
	esac
	echo "$device"
}
