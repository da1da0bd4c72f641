/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Capabilities of fake IOMMUs: bits and fields of the VT-d registers, taken
 * from the specification and not from the driver's macros.
 */
#ifndef _INTEL_IOMMU_VTD_CAPS_H
#define _INTEL_IOMMU_VTD_CAPS_H

#include <linux/bits.h>
#include <linux/types.h>

/* Capability register, section 11.4.2 */
#define CAP_ND_256	2ULL			/* ND: 256 domains */
#define CAP_RWBF	BIT_ULL(4)		/* write-buffer flushing required */
#define CAP_CM		BIT_ULL(7)		/* caching mode */
#define CAP_SAGAW(bits)	((u64)(bits) << 8)	/* second-stage widths */
#define CAP_SAGAW_3	CAP_SAGAW(BIT(1))	/* 3 levels */
#define CAP_SAGAW_4	CAP_SAGAW(BIT(2))
#define CAP_SAGAW_5	CAP_SAGAW(BIT(3))
#define CAP_MGAW(bits)	((u64)((bits) - 1) << 16)	/* guest address width */
#define CAP_SS2M	BIT_ULL(34)		/* second stage: 2 MiB */
#define CAP_SS1G	BIT_ULL(35)
#define CAP_PSI		BIT_ULL(39)		/* page-selective invalidation */
#define CAP_MAMV(v)	((u64)(v) << 48)	/* maximum address mask */
#define CAP_FS1GP	BIT_ULL(56)		/* first stage: 1 GiB */
#define CAP_FS5LP	BIT_ULL(60)		/* first stage: 5 levels */

/* Extended capability register, section 11.4.3 */
#define ECAP_C		BIT_ULL(0)		/* legacy walks are coherent */
#define ECAP_QI		BIT_ULL(1)		/* queued invalidation */
#define ECAP_DT		BIT_ULL(2)		/* device TLBs */
#define ECAP_PT		BIT_ULL(6)		/* pass-through */
#define ECAP_SC		BIT_ULL(7)		/* snoop control */
#define ECAP_MTS	BIT_ULL(25)		/* memory types */
#define ECAP_NEST	BIT_ULL(26)		/* nested translation */
#define ECAP_PRS	BIT_ULL(29)		/* page requests */
#define ECAP_ERS	BIT_ULL(30)		/* execute requests */
#define ECAP_SRS	BIT_ULL(31)		/* supervisor requests */
#define ECAP_EAFS	BIT_ULL(34)		/* extended accessed flag */
#define ECAP_PASID	BIT_ULL(40)
#define ECAP_SMTS	BIT_ULL(43)		/* scalable mode */
#define ECAP_SSADS	BIT_ULL(45)		/* second stage: accessed, dirty */
#define ECAP_SSTS	BIT_ULL(46)		/* second stage */
#define ECAP_FSTS	BIT_ULL(47)		/* first stage */
#define ECAP_SMPWC	BIT_ULL(48)		/* scalable-mode walks are coherent */
#define ECAP_RPS	BIT_ULL(49)		/* PASID of RIDs in the context entry */

#endif
