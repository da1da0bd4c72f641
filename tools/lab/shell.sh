#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A shell in the guest: its init starts one when it is not told what to run.
# Two edu devices are there to play with; Ctrl-a x leaves QEMU.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

KERNEL=$("$LAB/kernel.sh" | tail -1)
export KERNEL
INITRD=$("$ROOT/tools/guest/mkinitrd.sh" | tail -1)
export INITRD
export CONSOLE=mon:stdio TIMEOUT=0
QEMU_ARGS="-device edu,addr=4 -device edu,addr=5 ${QEMU_ARGS:-}" \
	exec "$LAB/boot.sh"
