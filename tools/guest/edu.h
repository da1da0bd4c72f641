/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's educational PCI device (docs/specs/edu.rst), as far as its DMA engine
 * goes: what the kernel module and the VFIO program share.
 *
 * The engine copies at most 4 KiB between RAM and the device's own buffer.  A
 * copy starts when EDU_DMA_RUN is written, is done 100 ms later in one go, and
 * clears EDU_DMA_RUN.  The buffer can only be seen by copying it to RAM.
 */
#ifndef EDU_H
#define EDU_H

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8

#define EDU_ID		0x00	/* reads 0x010000ed */
#define EDU_ID_VALUE	0x010000edU
#define EDU_LIVENESS	0x04	/* reads what was written, inverted */
#define EDU_DMA_SRC	0x80	/* 64 bits */
#define EDU_DMA_DST	0x88	/* 64 bits */
#define EDU_DMA_COUNT	0x90	/* 64 bits */
#define EDU_DMA_CMD	0x98
#define EDU_DMA_RUN	0x1
#define EDU_DMA_TO_RAM	0x2	/* otherwise RAM to buffer */

#define EDU_BUFFER	0x40000	/* the buffer's address, seen by the engine */
#define EDU_BUFFER_SIZE	4096

#endif
