#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds what the series touches with Debian's own configuration, modules
# included, as KTAP.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/apt.sh"
. "$LAB/source.sh"
. "$LAB/tree.sh"
. "$LAB/targets.sh"
. "$LAB/debian_config.sh"

configure_dist() {
	local config=$obj/.config state
	state=$({ debian_config; cat "$0"; kunit_fragment "$WORK/dist"
		cat "$WORK/dist"/drivers/iommu/intel/Kconfig*; } | cksum)
	[ "$state" != "$(cat "$obj/.lab-config" 2>/dev/null)" ] || return 0
	debian_config >"$config"
	# Keys and debug information are of no use here, and BTF needs a vmlinux.
	# KUnit and iommufd, which Debian leaves out, are built as modules, as
	# other distributions have them.
	"$WORK/dist/scripts/config" --file "$config" --set-str SYSTEM_TRUSTED_KEYS '' \
		-e DEBUG_INFO_NONE -d DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT \
		-d DEBUG_INFO_BTF -d MODULE_SIG \
		-m KUNIT -m IOMMUFD
	kunit_fragment "$WORK/dist" | sed 's/=y$/=m/' >>"$config"
	make -s -C "$WORK/dist" O="$obj" olddefconfig
	grep -qx 'CONFIG_INTEL_IOMMU=y' "$config"
	echo "$state" >"$obj/.lab-config"
}

debian_configuration_builds() {
	configure_dist
	# shellcheck disable=SC2046
	kbuild "Debian's configuration" "$WORK/log/dist.log" -C "$WORK/dist" \
		O="$obj" $(build_targets) drivers/vfio/
}

lock "$BUILD/.lock-dist"
choose_source
assemble_tree dist
obj=$WORK/obj-dist
mkdir -p "$obj"
ktap debian_configuration_builds
