#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make deb": Debian packages of the kernel with the series, by the kernel's own
# bindeb-pkg, in build/deb.  Their version ends with SUFFIX= ("vtd"), so that they are
# installed alongside Debian's kernels and never replace one.  CONFIG= is
#   debian           Debian's configuration of this version (the default)
#   localmodconfig   of that, what this machine uses at the moment: far less to build.
#                    LSMOD=FILE, what lsmod prints on another machine, is for that one
#   FILE             a configuration; symbols that it lacks get their defaults
# The last lines on stdout are the packages; everything else goes to stderr.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"
. "$LAB/debian_config.sh"

suffix=${SUFFIX:-vtd}
[[ $suffix =~ ^[a-z0-9.]+$ ]] || die "SUFFIX=$suffix: use only a-z, 0-9 and dots"

# base_config: prints the configuration that is asked for
base_config() {
	case ${CONFIG:-debian} in
	debian | localmodconfig) debian_config ;;
	*) cat "$CONFIG" ;;
	esac
}

# Debian's keys are not here: the build makes one of its own, which signs the modules. No
# debug information, which takes most of the time and of the space.
adapt_config() {
	"$src/scripts/config" --file "$obj/.config" \
		--set-str LOCALVERSION "-$suffix" -d LOCALVERSION_AUTO \
		--set-str SYSTEM_TRUSTED_KEYS '' --set-str SYSTEM_REVOCATION_KEYS '' \
		-e DEBUG_INFO_NONE -d DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT \
		-d DEBUG_INFO_BTF
}

# What the series is for, and what vtd-report and tools/hardware.rst look at. Debian
# leaves iommufd and the files in debugfs out, localmodconfig all modules that are not
# loaded at the moment, as those of VFIO. A file says by itself what it wants.
add_what_the_series_needs() {
	local symbol
	for symbol in IOMMUFD VFIO VFIO_PCI; do
		[ "$("$src/scripts/config" --file "$obj/.config" -s $symbol)" = y ] ||
			"$src/scripts/config" --file "$obj/.config" -m $symbol
	done
	"$src/scripts/config" --file "$obj/.config" -e VFIO_DEVICE_CDEV -e VFIO_GROUP \
		-e IOMMU_DEBUGFS -e INTEL_IOMMU_DEBUGFS -e DMA_MAP_BENCHMARK
	make -s -C "$src" O="$obj" olddefconfig >&2
	for symbol in IOMMUFD VFIO VFIO_PCI VFIO_DEVICE_CDEV INTEL_IOMMU_DEBUGFS; do
		grep -q "^CONFIG_$symbol=" "$obj/.config" ||
			die "CONFIG_$symbol cannot be enabled in this configuration"
	done
}

modules_in_use() {
	cut -d' ' -f1 "${LSMOD:-/proc/modules}" 2>/dev/null | grep -vx Module | sort || true
}

configure_deb() {
	local state
	state=$({ base_config; declare -f adapt_config add_what_the_series_needs
		echo "${CONFIG:-} $suffix"
		[ "${CONFIG:-}" != localmodconfig ] || modules_in_use
		find "$src/drivers/iommu" -name 'Kconfig*' -exec cat {} +; } | cksum)
	[ "$state" != "$(cat "$obj/.lab-config" 2>/dev/null)" ] || return 0
	say "configuring the kernel (${CONFIG:-debian})"
	base_config >"$obj/.config"
	adapt_config
	make -s -C "$src" O="$obj" olddefconfig >&2
	if [ "${CONFIG:-}" = localmodconfig ]; then
		# It would leave all modules out, and the machine without its disks.
		[ -n "$(modules_in_use)" ] ||
			die "this machine has no modules loaded that localmodconfig could keep"
		# new symbols get their defaults
		yes '' 2>/dev/null | make -s -C "$src" O="$obj" localmodconfig >&2 || true
	fi
	case ${CONFIG:-debian} in
	debian | localmodconfig) add_what_the_series_needs ;;
	esac
	grep -qx 'CONFIG_INTEL_IOMMU=y' "$obj/.config" ||
		die "CONFIG_INTEL_IOMMU cannot be enabled in this configuration"
	echo "$state" >"$obj/.lab-config"
}

"$LAB/setup.sh"
# openssl is for the key
install_packages dpkg-dev debhelper openssl
lock "$BUILD/.lock"
choose_source
assemble_tree src
src=$WORK/src
# the packages are made in the folder above
obj=$WORK/deb/obj
mkdir -p "$obj"
configure_deb
rm -f "$WORK"/deb/*.{deb,changes,buildinfo}
export DEBFULLNAME=${DEBFULLNAME:-vtd-lab} DEBEMAIL=${DEBEMAIL:-vtd-lab@localhost}
export KBUILD_BUILD_USER=vtd-lab KBUILD_BUILD_HOST=localhost
KDEB_CHANGELOG_DIST=$(release_codename)
export KDEB_CHANGELOG_DIST
# xz, as on Debian 12's dpkg; -T0 of it is what dpkg does by itself
kbuild "packages" "$WORK/log/deb.log" -C "$src" O="$obj" KDEB_COMPRESS=xz bindeb-pkg
# the headers of the C library are not this kernel's to replace
rm -f "$WORK"/deb/linux-libc-dev_*.deb
printf '%s\n' "$WORK"/deb/*.deb
