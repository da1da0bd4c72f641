/* SPDX-License-Identifier: GPL-2.0 */
/* The vtd-testdev device of tools/qemu: see docs/specs/vtd-testdev.rst there. */
#ifndef VTD_TESTDEV_H
#define VTD_TESTDEV_H

#define VTDT_VENDOR		0x1234
#define VTDT_DEVICE		0x1de5
#define VTDT_ID_VALUE		0x54445456u

/* Registers of BAR 0 */
#define VTDT_ID			0x00
#define VTDT_DELAY		0x08
#define VTDT_BUSY		0x0c
#define VTDT_TLB		0x10
#define VTDT_INVALIDATIONS	0x14
#define VTDT_RESPONSES		0x18
#define VTDT_COMPLETIONS	0x1c
#define VTDT_GO			0x20
#define VTDT_GO_COMMAND		1
#define VTDT_GO_LIST		2
#define VTDT_LIST_ADDR		0x28
#define VTDT_LIST_COUNT		0x30
#define VTDT_LIST_PASID		0x34
#define VTDT_LIST_HAS_PASID	(1u << 31)
#define VTDT_LIST_STATUS	0x38
#define VTDT_ATC_DELAY		0x3c	/* ns to invalidate its TLB, ~0 for ever */
#define VTDT_COMMAND		0x40
#define VTDT_STATUS		0x60	/* of the command */
#define VTDT_GROUP_SIZE		0x88
#define VTDT_CREDITS		0x8c
#define VTDT_CREDITS_MAX	0x90
#define VTDT_PAGE_REQUESTS	0x94
#define VTDT_GROUPS		0x98
#define VTDT_SUCCESSES		0x9c
#define VTDT_INVALIDS		0xa0
#define VTDT_BUFFER		0x1000

enum { VTDT_IRQ_DONE, VTDT_IRQ_RESPONSE };	/* vectors */

#define VTDT_LIST_RUNS		1
#define VTDT_LIST_DONE		2
#define VTDT_SLOTS		64

enum { VTDT_NOP, VTDT_READ, VTDT_WRITE, VTDT_TRANSLATE, VTDT_PAGE_REQUEST };

#define VTDT_HAS_PASID		(1u << 8)
#define VTDT_PRIV		(1u << 9)
#define VTDT_EXEC		(1u << 10)
#define VTDT_ATS		(1u << 11)
#define VTDT_TRANSLATED		(1u << 12)
#define VTDT_NO_WRITE		(1u << 13)
#define VTDT_IRQ		(1u << 14)
#define VTDT_LAST		(1u << 15)
#define VTDT_WANT_READ		(1u << 16)
#define VTDT_WANT_WRITE		(1u << 17)
#define VTDT_IMMEDIATE		(1u << 18)
#define VTDT_PAGE_IN		(1u << 19)
#define VTDT_GROUP(n)		((n) << 20)
#define VTDT_PATTERN		(1u << 29)

enum {
	VTDT_PENDING, VTDT_OK, VTDT_REFUSED, VTDT_NOT_TRANSLATED, VTDT_NOT_SENT,
	VTDT_BAD, VTDT_DENIED, VTDT_FAILED, VTDT_STOPPED,
};

struct vtdt_command {
	unsigned int op, pasid;
	unsigned long addr;
	unsigned int length, buffer;
	unsigned long data;
	unsigned int status, info;
	unsigned long result;
	unsigned long done;
	unsigned long reserved;
};

#endif
