# SPDX-License-Identifier: GPL-2.0
# vtd-report on machines that the lab does not have: folders that look like their /sys,
# /proc and /dev.  Part of selftest.sh.
# shellcheck shell=bash

machine=$scratch/machine

# machine CMDLINE: nothing but PCI and ACPI, run by root
machine() {
	rm -rf "$machine"
	mkdir -p "$machine"/{proc,dev,sys/bus/pci/devices,sys/class/iommu,bin,boot} \
		"$machine"/sys/firmware/acpi/tables "$machine"/sys/kernel/debug/kunit
	echo "BOOT_IMAGE=/vmlinuz root=UUID=01234567-89ab-cdef-0123-456789abcdef $1" \
		>"$machine/proc/cmdline"
	: >"$machine/proc/kallsyms"
	echo CONFIG_IOMMU_SUPPORT=y >"$machine/boot/config-$(uname -r)"
	echo 'Linux version 6.12.0 (someone@somewhere)' >"$machine/log"
	printf '#!/bin/sh\ncat "%s/log"\n' "$machine" >"$machine/bin/dmesg"
	printf '#!/bin/sh\necho 0\n' >"$machine/bin/id"
	chmod +x "$machine"/bin/*
}

# add_iommu NAME CAP ECAP
add_iommu() {
	local dir=$machine/sys/class/iommu/$1/intel-iommu
	mkdir -p "$dir"
	touch "$machine/sys/firmware/acpi/tables/DMAR"
	echo "$2" >"$dir/cap"
	echo "$3" >"$dir/ecap"
	echo 6:0 >"$dir/version"
	echo 3 >"$dir/domains_used"
	echo 65536 >"$dir/domains_supported"
}

# add_device ADDRESS VENDOR DEVICE [IOMMU GROUP TYPE]
add_device() {
	local dir=$machine/sys/bus/pci/devices/$1 group=$machine/sys/kernel/iommu_groups/${5:-}
	mkdir -p "$dir"
	echo "0x$2" >"$dir/vendor"
	echo "0x$3" >"$dir/device"
	echo 0x020000 >"$dir/class"
	[ -n "${4:-}" ] || return 0
	mkdir -p "$group"
	ln -s "../../class/iommu/$4" "$dir/iommu"
	ln -s "$group" "$dir/iommu_group"
	echo "$6" >"$group/type"
	echo '0x00000000fee00000 0x00000000feefffff msi' >"$group/reserved_regions"
}

# add_capabilities ADDRESS: ATS and PASID are on, page requests are off
add_capabilities() {
	{
		head -c 256 /dev/zero
		printf '\x0f\x00\x01\x11''\x00\x00\x00\x80''\0\0\0\0''\0\0\0\0'	# 100h
		printf '\x13\x00\x01\x12''\x00\x00\x00\x00''\0\0\0\0''\0\0\0\0'	# 110h
		printf '\x1b\x00\x01\x00''\x00\x14\x01\x00''\0\0\0\0''\0\0\0\0'	# 120h
		head -c 3792 /dev/zero
	} >"$machine/sys/bus/pci/devices/$1/config"
}

# translates IOMMU DEVICE CONTEXT PASID ENTRY: a line of debugfs
translates() {
	local file=$machine/sys/kernel/debug/iommu/intel/dmar_translation_struct
	mkdir -p "${file%/*}"
	grep -qs "^IOMMU $1:" "$file" || {
		echo "IOMMU $1: Root Table Address: 0x101400000"
		printf 'B.D.F\tRoot_entry\t\t\t\tContext_entry\t\t\t\tPASID\tPASID_table_entry\n'
	} >>"$file"
	printf '%s\t0x%016x:0x%016x\t0x%016x:0x%016x\t%-6d\t0x%016x:0x%016x:0x%016x\n' \
		"$2" 0 1 0 "$3" "$4" 0 0 "$5" >>"$file"
}

# reports [--test]: in the shells that it may meet; that of busybox is the guest's
reports() {
	local shell
	for shell in dash bash; do
		PATH=$machine/bin:$PATH VTD_REPORT_ROOT=$machine SECONDS_BETWEEN=0 \
			$shell "$ROOT/tools/vtd-report" "$@" >"$scratch/report.new" 2>&1 || return
		[ "$shell" = dash ] || cmp "$scratch/report.new" "$scratch/report" || return
		mv "$scratch/report.new" "$scratch/report"
	done
	# of the root file system, of memory, of buses, of networks; but registers of capabilities
	! sed 's/cap d2008c40660462//' "$scratch/report" |
		grep -E '01234567|[0-9a-f]{9}|[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]|([0-9a-f]{2}:){5}'
}

# told LINE...: each is there, whatever spaces are in it
told() {
	local line
	for line; do
		tr -s ' ' <"$scratch/report" | sed 's/^ //' | grep -qxF -e "$line" ||
			{ cat "$scratch/report"; echo "not told: $line"; return 1; }
	done
}

untold() { ! grep -F -e "$1" "$scratch/report"; }

# Sapphire Rapids and later have bit 63 of the capability register.
report_reads_all_bits() {
	machine intel_iommu=on,sm_on
	add_iommu dmar0 19ed008c40780c66 3ef9ea6f050df	# as dmar1, without it
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:01.0 8086 09a2 dmar1 1 DMA-FQ
	reports && told "IOMMU dmar0, version 6:0" "IOMMU dmar1, version 6:0" \
		"levels: 4 5" "pages: 4K 2M 1G" "address width: 57 bits" "nested translation yes" \
		"caching mode (emulated IOMMU) no" "requires write-buffer flushing no" || return
	# the rest is the same in words
	[ "$(grep -c 'pages: 4K 2M 1G' "$scratch/report")" = 4 ]
}

report_tells_iommus_of_a_kind_once() {
	machine intel_iommu=on
	add_iommu dmar0 1c0000c40660462 19e2ff0505e	# graphics: no scalable mode
	add_iommu dmar1 d2008c40660462 f050da
	add_iommu dmar2 d2008c40660462 f050da
	reports && told "IOMMU dmar0, version 6:0" "IOMMU dmar1 dmar2, version 6:0" \
		"domain IDs used by dmar2: 3 of 65536" \
		"first-level tables for the DMA API no: the IOMMUs lack scalable mode" || return
	[ "$(grep -c '^IOMMU' "$scratch/report")" = 2 ]
}

report_says_which_iommu_lacks_what() {
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 d2008c40660462 f050da
	reports && told "first-level tables for the DMA API no: the IOMMU lacks scalable mode" || return
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar2 99ed008c40780c66 3ef9ea2f050df	# without bit 26
	reports && told "first-level tables for the DMA API no: dmar0 lacks scalable mode" \
		"nested translation for a guest's tables yes, but not behind dmar0 dmar2" \
		"first-level tables for VFIO and iommufd no: dmar0 lacks scalable mode; dmar1 dmar2 need intel_iommu=fl_user" \
		"dirty tracking yes, but not behind dmar0" || return
	# both of them lack something
	add_iommu dmar1 99ed008c40780c66 3ef9ea2f050df
	reports && told "nested translation for a guest's tables no: dmar0 lacks scalable mode; dmar1 dmar2 lack nesting"
}

# The answer for memory that is not pinned has more words.
report_says_behind_which_iommu_pages_stay_pinned() {
	local parameters=$machine/sys/module/vfio_pci/parameters
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar1 99ed008c40780c66 3ef9e86f050df	# without bit 29
	add_device 0000:00:04.0 8086 0b25 dmar0 1 DMA-FQ
	add_capabilities 0000:00:04.0
	reports && told "memory that is not pinned only devices whose VFIO driver declares them fault-tolerant, but not behind dmar1 (vfio_pci.fault_tolerant= names none)" || return
	mkdir -p "$parameters"
	echo 00:04.0 >"$parameters/fault_tolerant"
	reports && told "memory that is not pinned yes, but not behind dmar1: vfio_pci.fault_tolerant= names 1 of the devices"
}

# The same address behind another IOMMU is another device; domains of VMD are 10000 and up.
report_keeps_segments_apart() {
	machine intel_iommu=on,sm_on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:01:00.0 8086 0001 dmar0 1 DMA
	add_device 0001:01:00.0 8086 0002 dmar1 2 identity
	add_device 10000:01:00.0 144d a808 dmar0 3 DMA
	add_device 10000:e1:00.0 144d a809 dmar0 4 identity
	translates dmar0 01:00.0 0x5 0 0xc1
	translates dmar1 01:00.0 0x5 0 0x101
	echo "vfio-pci 10000:e1:00.0: cannot reset" >>"$machine/log"
	reports && told "[8086:0001] class 020000, driver none, group 1" \
		"by nested: a user (VFIO, iommufd, or a driver)" "[8086:0002] class 020000, driver none, group 2" \
		"by pass-through: identity (no translation)" \
		"[144d:a808] class 020000, driver none, group 3" \
		"by unknown (its requests have the ID of another device): DMA API, strict" \
		"[144d:a809] class 020000, driver none, group 4" \
		"by unknown (its requests have the ID of another device): identity (no translation)" \
		"1 vfio-pci DEVICE: cannot reset"
}

report_knows_legacy_mode() {
	machine intel_iommu=on
	add_iommu dmar0 d2008c40660462 f050da
	add_device 0000:00:02.0 8086 0001 dmar0 1 identity
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA-FQ
	echo '0x000000007b800000 0x000000007fffffff direct' \
		>>"$machine/sys/kernel/iommu_groups/1/reserved_regions"
	translates dmar0 00:02.0 0x9 -1 0x0
	translates dmar0 00:03.0 0x123001 -1 0x0
	reports && told "by pass-through, legacy mode: identity (no translation)" \
		"behind dmar0, with memory that firmware reserves (RMRR)" \
		"by second level, legacy mode: DMA API, lazy"
}

# What the arguments want is not always what is.
report_sees_the_mode_in_the_entries() {
	machine 'intel_iommu=sm_off intel_iommu=on,sm_on'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA-FQ
	reports && told "first-level tables for the DMA API yes" || return
	translates dmar0 00:03.0 0x123001 -1 0x0
	reports && told "first-level tables for the DMA API no: intel_iommu=sm_on"
}

# An IOMMU without devices has no entry, and one without scalable mode only legacy ones.
report_sees_the_mode_in_the_entries_of_any_iommu() {
	machine intel_iommu=on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA-FQ
	translates dmar0 00:03.0 0x5 0 0x41
	reports && told "nested translation for a guest's tables yes" \
		"first-level tables for the DMA API yes" || return
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 d2008c40660462 f050da
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA-FQ
	translates dmar0 00:03.0 0x123001 -1 0x0
	reports && told "nested translation for a guest's tables yes, but not behind dmar0"
}

# Without an argument and without entries, only the configuration tells the mode.
report_does_not_guess_the_mode() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	rm "$machine"/boot/*
	reports && told "first-level tables for the DMA API unknown: whether scalable mode is on" \
		"PASIDs for user space no: /dev/iommu" || return
	echo CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON=y | gzip >"$machine/proc/config.gz"
	reports && told "first-level tables for the DMA API yes" || return
	echo '# CONFIG_INTEL_IOMMU_SCALABLE_MODE_DEFAULT_ON is not set' |
		gzip >"$machine/proc/config.gz"
	reports && told "first-level tables for the DMA API no: intel_iommu=sm_on"
}

report_works_without_proc() {
	machine ''
	rm "$machine"/proc/*
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA-FQ
	echo 'iommu: Default domain type: Translated' >>"$machine/log"
	reports && told "arguments: unknown" "unknown whether it has this series" \
		"Features of the series, if the kernel has it" "why: unknown" \
		"nested translation for a guest's tables unknown: whether scalable mode is on" || return
	untold grep && untold /proc/ || return
	translates dmar0 00:03.0 0x5 0 0x81
	reports && told "nested translation for a guest's tables yes" \
		"first-level tables for VFIO and iommufd unknown: whether intel_iommu=fl_user is given" \
		"why: differs from the group's default domain (DMA API, lazy); second level: unknown"
}

# As the kernel does: quotes are removed, and what follows "--" is for init.
report_reads_arguments_as_the_kernel_does() {
	machine '"intel_iommu=on,sm_on" dyndbg="file a.c +p intel_iommu=sm_off" iommu=pt -- intel_iommu=sm_off iommu=nopt'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:03.0 8086 0002 dmar0 2 identity
	reports && told "arguments: intel_iommu=on,sm_on iommu=pt " "why: iommu=pt" \
		"first-level tables for VFIO and iommufd no: intel_iommu=fl_user" || return
	machine 'intel_iommu="on,sm_on,fl_user"'
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	reports && told "arguments: intel_iommu=on,sm_on,fl_user " \
		"first-level tables for VFIO and iommufd yes"
}

# SLADS alone is not enough, see ssads_supported().
report_says_what_dirty_tracking_needs() {
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	reports && told "dirty tracking yes" || return
	add_iommu dmar0 99ed008c40780c66 2ef9ea6f050df
	reports && told "sets dirty bits yes" "dirty tracking no: the IOMMU lacks walks that snoop"
}

report_names_the_level_of_users() {
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	reports && told "/dev/iommu exists" \
		"first-level tables for VFIO and iommufd no: intel_iommu=fl_user" || return
	machine intel_iommu=on,sm_on,fl_user
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	reports && told "first-level tables for VFIO and iommufd no: /dev/iommu" || return
	mkdir "$machine/dev/vfio"
	touch "$machine/dev/vfio/vfio"
	reports && told "first-level tables for VFIO and iommufd yes" || return
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3aa9ea6f050df	# without bit 46
	reports && told "second level no" "first-level tables for VFIO and iommufd yes"
}

# With 0000 left out as well, and not if the device makes no page requests.
report_counts_declared_devices() {
	local parameters=$machine/sys/module/vfio_pci/parameters
	machine intel_iommu=on,sm_on
	touch "$machine/dev/iommu"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:04.0 8086 0b25 dmar0 1 DMA-FQ
	add_capabilities 0000:00:04.0
	add_device 0000:00:05.0 8086 0b26 dmar0 2 DMA-FQ
	head -c 4096 /dev/zero >"$machine/sys/bus/pci/devices/0000:00:05.0/config"
	reports && told "memory that is not pinned only devices whose VFIO driver declares them fault-tolerant (vfio_pci.fault_tolerant= names none)" || return
	mkdir -p "$parameters"
	echo '(null)' >"$parameters/fault_tolerant"
	reports && told "memory that is not pinned only devices whose VFIO driver declares them fault-tolerant (vfio_pci.fault_tolerant= names none)" || return
	echo '0000:00:05.0,00:04.0,00:06.0' >"$parameters/fault_tolerant"
	reports && told "memory that is not pinned yes: vfio_pci.fault_tolerant= names 1 of the devices"
}

report_says_why_devices_are_not_translated() {
	machine 'intel_iommu=on,sm_on iommu=pt'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar1 99ed008c40780c66 3ef9ea6f0509f	# without bit 6
	add_device 0000:00:02.0 8086 0001 dmar0 1 identity
	translates dmar0 00:02.0 0x5 0 0x101
	reports && told "by pass-through: identity (no translation)" "why: iommu=pt" \
		"first-level tables for the DMA API no: default domains that translate" || return
	echo 'iommu: Default domain type: Passthrough (set via kernel command line)' >>"$machine/log"
	add_device 0000:00:04.0 8086 0003 dmar0 3 DMA
	translates dmar0 00:04.0 0x5 0 0x41
	add_device 0000:00:03.0 8086 0002 dmar1 2 DMA
	translates dmar1 00:03.0 0x5 0 0x41
	reports && told "why: iommu=pt" "first-level tables for the DMA API yes" \
		"why: required by the driver: no pass-through in ECAP; first level: the DMA API uses it if all IOMMUs have it" \
		"why: unknown: untrusted, or by the type of its group; first level: the DMA API uses it if all IOMMUs have it"
}

report_says_why_devices_are_passed_through() {
	machine 'intel_iommu=on,sm_on iommu.passthrough=off'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	add_device 0000:00:1b.0 8086 3a3e dmar0 2 identity
	reports && told "why: iommu.passthrough=off" \
		"why: unknown: by the driver, or by the type of its group" || return
	echo 'DMAR: Recommended TLB entries for ISOCH unit is 16; your BIOS set 4' >>"$machine/log"
	reports && told \
		"why: required by the driver: BIOS gives this device too few TLB entries" || return
	# memory encryption
	machine 'intel_iommu=on,sm_on iommu.passthrough=on'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	echo 'iommu: Default domain type: Translated' >>"$machine/log"
	reports && told "why: unknown" || return
	# nothing says which type is the default
	machine 'intel_iommu=on,sm_on'
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 identity
	reports && told "why: unknown" || return
	echo CONFIG_IOMMU_DEFAULT_PASSTHROUGH=y >"$machine/boot/config-$(uname -r)"
	reports && told "why: default of this kernel"
}

report_says_why_a_level_is_used() {
	machine intel_iommu=on,sm_on
	echo 'iommu: Default domain type: Translated' >>"$machine/log"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_iommu dmar1 99ed008c40780c66 3769ea6f050df	# without bit 47
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	add_device 0000:00:03.0 8086 0002 dmar1 2 DMA
	add_device 0000:00:04.0 8086 0003 dmar0 3 DMA
	translates dmar0 00:02.0 0x5 0 0x81
	translates dmar1 00:03.0 0x5 0 0x81
	reports && told \
		"why: default of this kernel; second level: no first level in ECAP of another IOMMU" \
		"why: default of this kernel; second level: no first level in ECAP" \
		"why: unknown: blocked, or its requests have the ID of another device" || return
	machine intel_iommu=on,sm_off
	echo 'iommu: Default domain type: Translated' >>"$machine/log"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	translates dmar0 00:02.0 0x123001 -1 0x0
	reports && told "why: default of this kernel; legacy mode: intel_iommu=sm_off"
}

# The type of a group is that of its default domain.
report_tells_domains_of_users() {
	machine intel_iommu=on,sm_on
	echo 'iommu: Default domain type: Translated' >>"$machine/log"
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	add_device 0000:00:03.0 8086 0002 dmar0 2 DMA
	translates dmar0 00:02.0 0x5 0 0x81
	translates dmar0 00:03.0 0x5 0 0x41
	ln -s /sys/bus/pci/drivers/vfio-pci "$machine/sys/bus/pci/devices/0000:00:03.0/driver"
	reports && told "by second level: a user (VFIO, iommufd, or a driver)" \
		"why: differs from the group's default domain (DMA API, strict); second level: no intel_iommu=fl_user" \
		"by first level: DMA API, strict" "or by a user's domain, if the device is open"
}

report_refuses_unknown_arguments() {
	machine intel_iommu=on
	! reports --test --fast && grep -q 'vtd-report \[--test\]' "$scratch/report.new"
}

# A signal must not leave the temporary file. Dash handles it when sleep has ended. Below
# nohup, a shell cannot trap SIGHUP.
report_removes_its_file_when_killed() {
	local shell signal pid status
	machine intel_iommu=on
	mkdir "$machine/tmp"
	for shell in dash bash; do
		for signal in HUP TERM; do
			: >"$scratch/report"
			PATH=$machine/bin:$PATH VTD_REPORT_ROOT=$machine SECONDS_BETWEEN=2 \
				TMPDIR=$machine/tmp env --default-signal=HUP \
				$shell "$ROOT/tools/vtd-report" --test \
				>"$scratch/report" 2>&1 &
			pid=$!
			wait_for_seconds || return
			[ -n "$(ls "$machine/tmp")" ] || return
			kill -$signal $pid
			status=0
			wait $pid || status=$?
			[ "$status" != 0 ] && [ -z "$(ls "$machine/tmp")" ] ||
				{ echo "$shell, $signal: status $status"; ls "$machine/tmp"; return 1; }
		done
	done
}

# until the report of the background says that it sleeps
wait_for_seconds() {
	local i
	for i in $(seq 300); do
		! grep -q 'seconds instead' "$scratch/report" || return 0
		sleep 0.1
	done
	return 1
}

# Virtual functions, all the same, and a device without an IOMMU (intel_iommu=igfx_off)
report_collects_equal_devices() {
	local i
	machine intel_iommu=on,sm_on,igfx_off
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:03:00.0 8086 1521 dmar0 10 DMA
	for i in 1 2 3; do
		add_device "0000:03:10.$i" 8086 1520 dmar0 "1$i" DMA-FQ
		ln -s ../0000:03:00.0 "$machine/sys/bus/pci/devices/0000:03:10.$i/physfn"
	done
	add_device 0000:00:02.0 8086 3e92
	reports && told "[8086:1520] class 020000, driver none, groups 11 12 13" \
		"virtual function" "[8086:3e92] class 020000, driver none" "by no IOMMU"
}

# VFIO makes a group for a device that has no IOMMU, if it is told to.
report_knows_devices_of_vfio_without_iommu() {
	local group=$machine/sys/kernel/iommu_groups/7
	machine intel_iommu=on,sm_on,igfx_off
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 3e92
	mkdir -p "$group"
	echo vfio-noiommu >"$group/name"
	ln -s "$group" "$machine/sys/bus/pci/devices/0000:00:02.0/iommu_group"
	reports && told "[8086:3e92] class 020000, driver none, group 7" \
		"by no IOMMU (VFIO no-IOMMU)" || return
	untold behind && untold why:
}

report_looks_at_capabilities() {
	machine intel_iommu=on,sm_on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	touch "$machine/dev/iommu"
	add_device 0000:00:04.0 8086 0b25 dmar0 1 unmanaged
	# what others than root see, and root in a container
	head -c 64 /dev/zero >"$machine/sys/bus/pci/devices/0000:00:04.0/config"
	reports && told \
		"page requests by level unknown: the capabilities of devices cannot be read" \
		"PASIDs for user space unknown: the capabilities of devices cannot be read" || return
	# an old device, and what root sees of one without such capabilities
	head -c 256 /dev/zero >"$machine/sys/bus/pci/devices/0000:00:04.0/config"
	reports && told "page requests by level no: no device has page requests" \
		"PASIDs for user space no: no device has PASIDs" \
		"nested translation for a guest's tables yes" || return
	add_capabilities 0000:00:04.0
	reports && told "ATS on, page requests off, PASIDs on" \
		"page requests by level yes" "PASIDs for user space yes" || return
	# without page requests
	printf '\x0b' | dd of="$machine/sys/bus/pci/devices/0000:00:04.0/config" bs=1 seek=272 \
		conv=notrunc status=none
	reports && told "ATS on, PASIDs on" "PASIDs for user space yes" \
		"page requests by level no: no device has page requests"
}

report_says_why_there_is_no_iommu() {
	local table
	machine ''
	reports && told "No VT-d IOMMU is in use, and firmware describes none (no DMAR table)" \
		"dirty tracking no: no VT-d IOMMU is in use" || return
	table=$machine/sys/firmware/acpi/tables/DMAR
	touch "$table"
	mkdir "$machine/sys/class/iommu/iommufd_selftest_iommu.0"
	reports && told "No VT-d IOMMU is in use, though firmware describes one" \
		"The kernel leaves it off: boot with intel_iommu=on,sm_on." || return
	rm -r "$machine/sys/firmware"
	touch "$machine/.dockerenv"
	reports && told "No VT-d IOMMU is in use, or it cannot be seen from here" \
		"in a container, where much of this cannot be seen" || return
	mkdir -p "$machine/sys/class/iommu/ivhd0/amd-iommu" \
		"$machine/sys/class/iommu/smmu3.0x0000000009050000"
	reports && told "No VT-d IOMMU is in use, but one of another kind: ivhd smmu " \
		"Of the series, only fixes of iommufd, VFIO and page requests concern it." \
		"dirty tracking no: no VT-d IOMMU is in use"
}

# off_by ARGUMENTS REASON
off_by() {
	machine "$1"
	touch "$machine/sys/firmware/acpi/tables/DMAR"
	reports && told "$2"
}

report_says_why_the_kernel_leaves_an_iommu_off() {
	off_by "" "The kernel leaves it off: boot with intel_iommu=on,sm_on." &&
		off_by intel_iommu=sm_on "The kernel leaves it off: boot with intel_iommu=on,sm_on." &&
		off_by "intel_iommu=off intel_iommu=on,sm_on" \
			"The kernel leaves it off in spite of intel_iommu=on: search the log for DMAR." &&
		off_by "intel_iommu=on,sm_on intel_iommu=off" \
			"The argument intel_iommu=off leaves it off." &&
		off_by "intel_iommu=on iommu=soft,off" \
			"The argument iommu=off leaves it off."
}

report_says_what_it_cannot_see() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	add_device 0000:00:02.0 8086 0001 dmar0 1 DMA
	reports --test && told "by unknown (only debugfs shows it): DMA API, strict" \
		"nothing in debugfs: CONFIG_INTEL_IOMMU_DEBUGFS is off, or lockdown is on" \
		"without this series" "not set up (tools/hardware.rst); 0 seconds instead" \
		"none: they are in debugfs, and only in a kernel with this series" || return
	rm -r "$machine/sys/kernel/debug"
	reports && told "debugfs cannot be read (mount -t debugfs debugfs $machine/sys/kernel/debug)" ||
		return
	printf '#!/bin/sh\necho "dmesg: read kernel buffer failed: Operation not permitted" >&2\nexit 1\n' \
		>"$machine/bin/dmesg"
	reports && told "it cannot be read, not even by root: CAP_SYSLOG may be lacking" || return
	printf '#!/bin/sh\necho 1000\n' >"$machine/bin/id"
	reports && told "not run as root: this report lacks what only root may see" \
		"it cannot be read: run this as root"
}

report_complains_of_the_right_lines() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	cat >"$machine/log" <<-END
		[    1.000000][    T1] DMAR: IOMMU enabled
		[    1.000000][    T1] iommu: Default domain type: Translated (set via kernel command line)
		[    1.100000][    T1] ** IOMMU DebugFS SUPPORT HAS BEEN ENABLED IN THIS KERNEL **
		[    2.000000][   C12] DMAR: [DMA Write NO_PASID] Request device [00:1f.6] fault addr 0xfffe0000
		[    3.000000][   C12] DMAR: [DMA Write NO_PASID] Request device [00:1f.6] fault addr 0xfffe1000
		[    4.000000][  T900] vfio: cannot use eth0 (52:54:00:12:34:56, 192.168.122.7)
		[    5.000000] audit: type=1400 apparmor="DENIED" profile="libvirt-0a0a-0b0b" name="/dev/vfio/7" error=-13
		[    6.000000] DMAR: IOMMU: dmar0: PRQ overflow detected
		[    7.000000] DMAR: 3 devices added, error deadbeef at fedc0 abc1def c0ffee
	END
	reports && told "Default domain type: Translated (set via kernel command line)" \
		"(its beginning is gone: what was said at boot is missing)" \
		"2 DMAR: [DMA Write NO_PASID] Request device [DEVICE] fault addr *" \
		"1 vfio: cannot use eth0 (*, *)" \
		"1 DMAR: IOMMU: dmar0: PRQ overflow detected" \
		"1 DMAR: 3 devices added, error * at * * *" || return
	untold libvirt && untold DebugFS
}

# What is left of a line must not show half of what is masked, and still tell what is wrong.
report_masks_whole_words() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	cat >"$machine/log" <<-END
		DMAR: [DMA Read NO_PASID] Request device [00:1f.6] fault addr 0x4000 [fault reason 0x71] SM: Present bit in first-level paging entry is clear
		DMAR: VT-d detected Invalidation Time-out Error: SID 100
		DMAR: VT-d detected Invalidation Completion Error: SID 1fa
		DMAR: failed at IOVA: 0x1000-0x1fff, address=c000 addr 4, address failed
		DMAR: [DMA Read PASID 0x12] Request device [00:1f.6] fault addr 0x0 [fault reason 0x58]
		vfio: error of fe80::5054:ff:fe12:3456%eth0, 2001:db8:0:1:2:3:4:5 and ::ffff:192.168.1.7
		vfio: error of domain 01234567-89ab-cdef-0123-456789abcdef/7
		vfio: error of disk nvme-S4EWNX0R123456_1 and serial=S4EWNX0RZK9
		vfio-pci 0000:3a:00.0: error on 0000:3b:01.2,3c:00.1
		DMAR: dmar0: cap d2008c40660462 ecap 0xf050da invalid
		iommu: WARNING: CPU: 1 PID: 99 at drivers/iommu/intel/iommu.c:4170 device_add+0x12/0x340
	END
	reports && told "1 DMAR: [DMA Read NO_PASID] Request device [DEVICE] fault addr * [fault reason 0x71] SM: Present bit in first-level paging entry is clear" \
		"1 DMAR: VT-d detected Invalidation Time-out Error: SID *" \
		"1 DMAR: VT-d detected Invalidation Completion Error: SID *" \
		"1 DMAR: failed at IOVA: *, address=* addr *, address failed" \
		"1 DMAR: [DMA Read PASID 0x12] Request device [DEVICE] fault addr * [fault reason 0x58]" \
		"1 vfio: error of *, * and *" "1 vfio: error of domain */7" \
		"1 vfio: error of disk * and serial=*" \
		"1 vfio-pci DEVICE: error on DEVICE,DEVICE" \
		"1 DMAR: dmar0: cap d2008c40660462 ecap 0xf050da invalid" \
		"1 iommu: WARNING: CPU: 1 PID: 99 at drivers/iommu/intel/iommu.c:4170 device_add+0x12/0x340"
}

report_keeps_counters_whole() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	echo '0000000000000000 T iommu_bind_gpasid' >"$machine/proc/kallsyms"
	mkdir -p "$machine/sys/kernel/debug/iommu/intel"
	echo 'dev=0000:00:04.0 pasid=0 did=2 leaves_4k=1234567 invalidations=98765' \
		>"$machine/sys/kernel/debug/iommu/intel/pgtable_stats"
	printf 'dmar0:\npartial 1234567\n' >"$machine/sys/kernel/debug/iommu/intel/page_requests"
	reports --test && told "with this series" "pgtable_stats:" "page_requests:" \
		"dmar0:" "partial 1234567" \
		"dev=DEVICE pasid=0 did=2 leaves_4k=1234567 invalidations=98765"
}

report_runs_the_benchmark_that_is_set_up() {
	machine intel_iommu=on
	add_iommu dmar0 99ed008c40780c66 3ef9ea6f050df
	printf '#!/bin/sh\necho "ran $*"\n' >"$machine/bin/dma_map_benchmark"
	chmod +x "$machine/bin/dma_map_benchmark"
	reports --test && untold "ran -t" || return
	touch "$machine/sys/kernel/debug/dma_map_benchmark"
	reports --test && told "ran -t 1 -s 0" "ran -t $(nproc) -s 0"
}

REPORT_TESTS=(report_reads_all_bits report_tells_iommus_of_a_kind_once
	report_says_which_iommu_lacks_what report_says_behind_which_iommu_pages_stay_pinned
	report_keeps_segments_apart report_knows_legacy_mode
	report_sees_the_mode_in_the_entries report_sees_the_mode_in_the_entries_of_any_iommu
	report_does_not_guess_the_mode report_works_without_proc
	report_reads_arguments_as_the_kernel_does report_says_what_dirty_tracking_needs
	report_names_the_level_of_users report_counts_declared_devices
	report_says_why_devices_are_not_translated
	report_says_why_devices_are_passed_through report_says_why_a_level_is_used
	report_tells_domains_of_users report_refuses_unknown_arguments
	report_removes_its_file_when_killed report_collects_equal_devices
	report_knows_devices_of_vfio_without_iommu report_looks_at_capabilities
	report_says_why_there_is_no_iommu report_says_why_the_kernel_leaves_an_iommu_off
	report_says_what_it_cannot_see report_complains_of_the_right_lines
	report_masks_whole_words report_keeps_counters_whole
	report_runs_the_benchmark_that_is_set_up)
