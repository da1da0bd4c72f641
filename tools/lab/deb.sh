#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# "make deb": Debian packages of the kernel with the series, by the kernel's own
# bindeb-pkg, in build/deb.  Their version ends with SUFFIX= ("vtd"), so that they are
# installed beside Debian's kernels and never replace one.  CONFIG= is
#   debian           Debian's configuration of this version (the default)
#   localmodconfig   of that, what this machine uses at the moment: far less to build
#   FILE             a configuration; what it does not say is default
# The last lines on stdout are the packages; everything else goes to stderr.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"
. "$LAB/debian_config.sh"

suffix=${SUFFIX:-vtd}
[[ $suffix =~ ^[a-z0-9.]+$ ]] || die "SUFFIX=$suffix: there are a-z, 0-9 and dots in a version"

# base_config: prints the configuration that is asked for
base_config() {
	case ${CONFIG:-debian} in
	debian | localmodconfig) debian_config ;;
	*) cat "$CONFIG" ;;
	esac
}

# Debian's keys are not here, and without them nothing can be signed; no debug
# information, which takes most of the time and of the space.
adapt_config() {
	"$src/scripts/config" --file "$obj/.config" \
		--set-str LOCALVERSION "-$suffix" -d LOCALVERSION_AUTO \
		--set-str SYSTEM_TRUSTED_KEYS '' --set-str SYSTEM_REVOCATION_KEYS '' \
		-d MODULE_SIG -e DEBUG_INFO_NONE -d DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT \
		-d DEBUG_INFO_BTF
	# which Debian leaves out
	grep -q '^CONFIG_IOMMUFD=' "$obj/.config" ||
		"$src/scripts/config" --file "$obj/.config" -m IOMMUFD -e VFIO_DEVICE_CDEV
}

configure_deb() {
	local state
	state=$({ base_config; declare -f adapt_config; echo "${CONFIG:-} $suffix"
		find "$src/drivers/iommu" -name 'Kconfig*' -exec cat {} +; } | cksum)
	[ "$state" != "$(cat "$obj/.lab-config" 2>/dev/null)" ] || return 0
	say "configuring the kernel (${CONFIG:-debian})"
	base_config >"$obj/.config"
	adapt_config
	make -s -C "$src" O="$obj" olddefconfig >&2
	if [ "${CONFIG:-}" = localmodconfig ]; then
		# new symbols get their defaults
		yes '' 2>/dev/null | make -s -C "$src" O="$obj" localmodconfig >&2 || true
		make -s -C "$src" O="$obj" olddefconfig >&2
	fi
	grep -qx 'CONFIG_INTEL_IOMMU=y' "$obj/.config" ||
		die "this configuration cannot have CONFIG_INTEL_IOMMU"
	echo "$state" >"$obj/.lab-config"
}

"$LAB/setup.sh"
install_packages dpkg-dev debhelper
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
