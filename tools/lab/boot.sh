#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Boots an initrd in the lab's machine and passes its console through.
#
#   MACHINE    first (default) or second: which stage the vIOMMU translates with;
#              caching: second, with caching mode; legacy: second, without scalable
#              mode; or nested, with QEMU= the one that "make qemu" builds
#   KERNEL     bzImage (default: what "make kernel" builds)
#   INITRD     may be missing, for a kernel that ends by itself
#   ARGS       further kernel arguments     QEMU_ARGS  further QEMU arguments
#   TIMEOUT    seconds of silence after which the guest is given up (default 1200; 0:
#              never). They do not go on while the host is busy with other programs,
#              see guest.py
#   ACCEL      tcg (default), kvm, or icount: emulated with one CPU, whose clock
#              counts instructions, 2^ICOUNT ns each, and leaps when it is idle
#   MEMORY     default 2G
#   CPUS       default 2
#   NODES      of NUMA, if more than one: MEMORY and CPUs are divided among them, and a
#              DIMM of 256 MiB is on the second, which Linux leaves offline
#   CONSOLE    QEMU's -serial (default stdio; mon:stdio for interactive use)
#   LOG        keep the console in this file as well
#
# Status: 0 when the guest switched itself off, 1 after a panic, 2 when it went
# away in another way, 124 when it was given up.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$LAB/qemu.sh"

[ -n "${KERNEL:-}" ] || KERNEL=$("$LAB/kernel.sh" | tail -1)
[ -f "$KERNEL" ] || die "no kernel $KERNEL"
QEMU=$(qemu_command) || die "no QEMU of version 10 or newer: make setup"
device=$(iommu_device "$QEMU" "${MACHINE:-first}")

cpus=${CPUS:-2}
clock=
case ${ACCEL:-tcg} in
tcg)
	accel=(-accel 'tcg,thread=multi' -cpu 'max,la57=off')
	clock=$(emulated_tsc)
	;;
kvm) accel=(-accel kvm -cpu 'host,la57=off') ;;
icount)
	accel=(-accel 'tcg,thread=single' -cpu 'max,la57=off'
	       -icount "shift=${ICOUNT:-0},sleep=off")
	cpus=1
	;;
*) die "ACCEL=$ACCEL: use tcg, kvm or icount" ;;
esac
command=("$QEMU" -machine 'q35,kernel-irqchip=split' "${accel[@]}"
	 -smp $cpus -m "${MEMORY:-2G}" -nodefaults -nographic -vga none -nic none
	 -no-reboot -serial "${CONSOLE:-stdio}" -monitor none -device "$device"
	 -kernel "$KERNEL")
[ -z "${INITRD:-}" ] || command+=(-initrd "$INITRD")
if [ "${NODES:-1}" -gt 1 ]; then
	share=$(($(numfmt --from=iec "${MEMORY:-2G}") / NODES))
	command+=(-smp "$cpus,sockets=$cpus" -m "${MEMORY:-2G},slots=1,maxmem=64G")
	for ((node = 0; node < NODES; node++)); do
		command+=(-object "memory-backend-ram,id=node$node,size=$share"
			 -numa "node,memdev=node$node")
	done
	command+=(-object "memory-backend-ram,id=dimm,size=256M"
		 -device "pc-dimm,memdev=dimm,node=1")
fi
# last words win, so that ARGS can overrule
command+=(-append "console=ttyS0 panic=-1 no_timer_check $clock intel_iommu=on,sm_on ${ARGS:-}")
# QEMU_ARGS is one string with QEMU's own quoting rules, which has no spaces
read -ra extra <<<"${QEMU_ARGS:-}"
command+=(${extra[@]+"${extra[@]}"})

log=${LOG:-$(mktemp)}
trap '[ -n "${LOG:-}" ] || rm -f "$log"' EXIT
status=0
"$LAB/guest.py" "${TIMEOUT:-1200}" "${command[@]}" | tee "$log" || status=$?
if [ "$status" = 124 ]; then
	say "the guest made no progress, and was given up"
elif [ "$status" != 0 ]; then
	say "QEMU ended with status $status"
	status=2
elif grep -aq 'Kernel panic - not syncing' "$log"; then
	say "the guest's kernel panicked"
	status=1
elif ! grep -aqE 'reboot: (Power down|Restarting system|machine restart|System halted)' "$log"; then
	say "the guest went away without switching itself off"
	status=2
fi
exit "$status"
