#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs suites in the guest.  "list" prints their names, "run NAME" runs one: the
# console with its KTAP goes to stdout, the status is 0 when the suite passed and
# the kernel had nothing to complain about.  KERNEL=, ACCEL=, ARGS=, TIMEOUT=
# and LOG= are as for tools/lab/boot.sh.
set -euo pipefail
GUEST=$(cd "$(dirname "$0")" && pwd)
LAB=$GUEST/../lab

# name            machine guest's suite  memory  further kernel arguments
SUITES='
run               first   -              -
dma-first         first   dma            3G      iommu.strict=1 page_poison=1
dma-second        second  dma            3G      iommu.strict=1 page_poison=1
dma-legacy        legacy  dma            3G      iommu.strict=1 page_poison=1
dma-caching       caching dma            3G      iommu.strict=1 page_poison=1
dma-lazy-first    first   dma-api        2G      iommu.strict=0
dma-lazy-second   second  dma-api        2G      iommu.strict=0
vfio-first        first   vfio           4G      hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=8
vfio-second       second  vfio           4G      hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=8
vfio-legacy       legacy  vfio           4G      hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=8
vfio-caching      caching vfio           4G      hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=8
selftest          first   selftest       2G      hugepagesz=2M hugepages=64
memory            first   memory         1G      hugepagesz=2M hugepages=8 kunit.enable=1 kunit.filter_glob=intel-iommu-paging-domain.alloc_on_node
field-first       first   field          4G      hugepagesz=2M hugepages=8 pcie_ports=native
field-second      second  field          4G      hugepagesz=2M hugepages=8 pcie_ports=native
field-legacy      legacy  field          4G      hugepagesz=2M hugepages=8 pcie_ports=native
field-narrow      legacy  field          4G      hugepagesz=2M hugepages=8 pcie_ports=native
field-1tib        first   field          4G      hugepagesz=2M hugepages=8 pcie_ports=native
kexec-first       first   kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120
kexec-second      second  kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120
kexec-legacy      legacy  kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120
kdump-first       first   kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 crashkernel=640M
kdump-second      second  kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 crashkernel=640M
kdump-legacy      legacy  kexec          2G      watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=120 crashkernel=640M
suspend-first     first   suspend        2G      hugepagesz=2M hugepages=8
suspend-second    second  suspend        2G      hugepagesz=2M hugepages=8
suspend-legacy    legacy  suspend        2G      hugepagesz=2M hugepages=8
rmrr-first        first   rmrr           2G      iommu.strict=1 rmrr=0x70000000 memmap=64K$0x70000000
rmrr-second       second  rmrr           2G      iommu.strict=1 rmrr=0x70000000 memmap=64K$0x70000000
rmrr-legacy       legacy  rmrr           2G      iommu.strict=1 rmrr=0x70000000 memmap=64K$0x70000000
fail-nth          first   fail-nth       2G      hugepagesz=2M hugepages=64 kunit.enable=1 kunit.filter_glob=intel-iommu-[np][er]*
report-first      first   report         2G      iommu.strict=1
report-second     second  report         2G      iommu.strict=1
report-legacy     legacy  report         2G      iommu.strict=1
report-none       none    report         2G      intel_iommu=off
bench-first       first   bench          2G      iommu.strict=1
bench-second      second  bench          2G      iommu.strict=1
'

# Messages that no kernel may print during a test
SPLAT='BUG:|WARNING:|Oops|KASAN:|UBSAN:|KCSAN:|general protection fault'
SPLAT+='|INFO: .*(lockdep|blocked for more than|detected stall)|possible .*deadlock'
SPLAT+='|Kernel panic|kernel BUG at|unreferenced object|VT-d detected .*(Error|Fault)'

list() { awk 'NF { print $1 }' <<<"$SUITES"; }

# clean LOG [EXPECTED]: this console has no splats except those that match EXPECTED
clean() {
	! grep -aE "$SPLAT" "$1" | grep -avE "${2:-^$}" >&2 || {
		echo "guest: the kernel complained (see above)" >&2
		return 1
	}
}

# The disk of "field", "kexec" and "suspend" is the kernel, behind a port whose slot Linux
# controls.
disk() {
	printf '%s' " -drive file=$KERNEL,if=none,id=disk,format=raw,snapshot=on" \
		" -device pcie-root-port,id=rp,addr=8,chassis=1,slot=1" \
		" -device nvme,drive=disk,serial=lab,bus=rp" \
		" -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"
}

# A second node with memory above 1 TiB.  QEMU puts RAM there if it does not fit below
# 4 GiB, maxmem is large enough, and the CPU is AMD's, as here.
above_1_tib() {
	printf '%s' " -cpu max,la57=off,phys-bits=46 -m 4G,slots=1,maxmem=2T" \
		" -object memory-backend-ram,id=low,size=2G" \
		" -object memory-backend-ram,id=high,size=2G" \
		" -numa node,memdev=low,cpus=0-1 -numa node,memdev=high"
}

# Two more devices, behind a bridge that gives their requests an alias, and one behind a
# conventional bridge, which gives them its own ID
behind_a_bridge() {
	printf ' -device %s' pcie-pci-bridge,id=bridge,addr=6 \
		"$edu,bus=bridge,addr=1" "$edu,bus=bridge,addr=2" \
		pci-bridge,id=conventional,chassis_nr=9,shpc=off,addr=7 \
		"$edu,bus=conventional,addr=1"
}

# Two functions of one device share an IOMMU group.  On the root bus, VFIO has no common
# lock for them.
one_group() { printf ' -device %s' "$edu,addr=6.0,multifunction=on" "$edu,addr=6.1"; }

# The panic that "kdump" provokes
CRASH='Kernel panic - not syncing: sysrq triggered crash'

# with_rmrr INITRD: prepends a DMAR table with an RMRR for the first edu device, in slot 4:
# the region of the suite "rmrr"
with_rmrr() {
	local dir=$1.rmrr
	rm -rf "$dir"
	mkdir -p "$dir/kernel/firmware/acpi"
	"$GUEST/rmrr.py" "$dir/kernel/firmware/acpi/dmar.aml" 0x70000000 0x10000 48 4
	(cd "$dir" && find kernel | cpio --quiet -o -H newc -R 0:0 | cat - "$1" >"$dir/initrd")
	echo "$dir/initrd"
}

run() {
	local name=$1 stage suite memory args log edu devices expected='' waker=''
	read -r _ stage suite memory args < <(awk -v n="$name" '$1 == n' <<<"$SUITES") ||
		{ echo "guest: no suite '$name'" >&2; return 2; }
	[ "$suite" != - ] || MACHINE=$stage exec "$GUEST/run.sh"
	# Run no built-in tests at boot; those of a module are selected when it is loaded.
	[[ $suite != dma* && $suite != rmrr ]] || args+=' kunit.enable=1 kunit.filter_glob=none'
	# The arena of edu_dma: the third GiB, which this machine has at 4 GiB.
	[ "$suite" != dma ] || args+=' memmap=1G$0x100000000'
	[ "$suite" != memory ] || export NODES=2
	[ "$name" != field-narrow ] || export AW_BITS=39
	edu=edu,dma_mask=0xffffffffffffffff
	devices="-device $edu,addr=4 -device $edu,addr=5"
	[ "$suite" != dma ] || devices+=$(behind_a_bridge)
	[ "$suite" != vfio ] || devices+=$(one_group)

	KERNEL=${KERNEL:-$("$LAB/kernel.sh" | tail -1)}
	INITRD=$("$GUEST/mkinitrd.sh" | tail -1)
	log=${LOG:-$(mktemp)}
	[ -n "${LOG:-}" ] || trap "rm -f '$log'" EXIT
	[ "$suite" != rmrr ] || INITRD=$(with_rmrr "$INITRD")
	[[ $name != kdump-* ]] || expected=$CRASH
	export KERNEL INITRD
	[ "$suite" != suspend ] || waker=$GUEST/wake.py
	if [[ $suite == @(field|kexec|suspend) ]]; then
		args+=" disk=$(stat -Lc %s "$KERNEL"),$(sha256sum <"$KERNEL" | cut -d' ' -f1)"
		devices+=$(disk)
	fi
	[ "$name" != field-1tib ] || devices+=$(above_1_tib)
	MACHINE=${stage/none/first} MEMORY=$memory LOG=$log \
	ARGS="guest=$suite stage=$stage $args ${ARGS:-}" \
	QEMU_ARGS=$devices \
		${waker:+"$waker"} "$LAB/boot.sh" || [ "$?$expected" = "1$CRASH" ] || return
	clean "$log" "$expected"
	# no pipe: SIGPIPE would kill the writer when grep exits early
	grep -aqx $'guest: status 0\r*' "$log"
}

case ${1:-} in
list) list ;;
run) run "${2:?which suite?}" ;;
clean) clean "${2:?which console log?}" "${3:-}" ;;
*) sed -n '3,7s/^# //p' "$0" >&2; exit 2 ;;
esac
