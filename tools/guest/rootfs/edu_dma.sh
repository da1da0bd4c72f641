# SPDX-License-Identifier: GPL-2.0
# The module edu_dma, and devices behind a bridge.

# edu_dma SUITES [PARAMETER]
edu_dma() {
	choose_kunit "$1"
	insmod /edu_dma.ko arena=0x100000000 $2
}

# The alias of devices behind a bridge has a context entry while one of them is there.
bridged() {
	for edu in $(edu_devices); do
		bridge=$(readlink -f "/sys/bus/pci/devices/$edu/..")
		[ "$(cat "$bridge/device" 2>/dev/null)" != 0x000e ] || echo "$edu"
	done
}

has_alias() {
	grep -q "^$1:00\.0" /sys/kernel/debug/iommu/intel/dmar_translation_struct
}

bridge_works() { edu_dma edu_bridge bridged=$1 && kunit_passed edu_bridge && rmmod edu_dma; }

# The group changes its domain and changes back. Then both devices are removed, one by one.
removal_behind_a_bridge() {
	set -- $(bridged)
	[ $# = 2 ] || return
	bus=${1#*:}
	bus=${bus%%:*}
	has_alias $bus || return
	type=/sys/bus/pci/devices/$1/iommu_group/type
	was=$(cat $type)
	echo identity >$type && echo "$was" >$type && bridge_works 2 || return
	echo 1 >/sys/bus/pci/devices/$1/remove
	bridge_works 1 && has_alias $bus || return
	echo 1 >/sys/bus/pci/devices/$2/remove
	! has_alias $bus
}
