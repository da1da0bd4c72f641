// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's decoders: entries of both modes, with every check that the
 * specification requires of hardware. Layouts are those of chapter 9.
 */

#include <linux/bitfield.h>

#include "vtd_model_hw.h"

#define PRESENT		BIT_ULL(0)
#define FPD		BIT_ULL(1)
#define ADDRESS		GENMASK_ULL(63, 12)

static bool vtd_decode_has(u64 capabilities, u64 bit)
{
	return capabilities & bit;
}

/* @bits are reserved where hardware lacks @capability. */
static u64 vtd_decode_unless(u64 capabilities, u64 capability, u64 bits)
{
	return vtd_decode_has(capabilities, capability) ? 0 : bits;
}

/* The part of an address field that is beyond the host address width */
static u64 beyond_haw(const struct vtd_hw *hw)
{
	return GENMASK_ULL(63, hw->haw);
}

/**
 * vtd_decode_legacy_root() - section 9.1, a root entry
 * @hw: the IOMMU
 * @qw: the entry, 2 quadwords
 * @table: the context table
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_legacy_root(const struct vtd_hw *hw, const u64 *qw, u64 *table)
{
	if (!(qw[0] & PRESENT))
		return VTD_LEGACY_ROOT_PRESENT;
	if (qw[0] & (GENMASK_ULL(11, 1) | beyond_haw(hw)) || qw[1])
		return VTD_LEGACY_ROOT_RESERVED;

	*table = qw[0] & ADDRESS;
	return VTD_OK;
}

/**
 * vtd_decode_root() - section 9.2, half of a scalable-mode root entry
 * @hw: the IOMMU
 * @qw: the quadword for the lower or upper 128 functions of the bus
 * @table: the context table
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_root(const struct vtd_hw *hw, const u64 *qw, u64 *table)
{
	if (!(*qw & PRESENT))
		return VTD_ROOT_PRESENT;
	if (*qw & (GENMASK_ULL(11, 1) | beyond_haw(hw)))
		return VTD_ROOT_RESERVED;

	*table = *qw & ADDRESS;
	return VTD_OK;
}

/* Section 9.4 */
#define CONTEXT_DTE		BIT_ULL(2)
#define CONTEXT_PASIDE		BIT_ULL(3)
#define CONTEXT_PRE		BIT_ULL(4)
#define CONTEXT_PDTS		GENMASK_ULL(11, 9)
#define CONTEXT_RID_PASID	GENMASK_ULL(19, 0)	/* of the second quadword */
#define CONTEXT_RID_PRIV	BIT_ULL(20)

static bool context_reserved(const struct vtd_hw *hw, const u64 *qw)
{
	u64 low = GENMASK_ULL(8, 5) | beyond_haw(hw);

	low |= vtd_decode_unless(hw->ecap, ECAP_DT, CONTEXT_DTE);
	low |= vtd_decode_unless(hw->ecap, ECAP_PASID, CONTEXT_PASIDE);
	low |= vtd_decode_unless(hw->ecap, ECAP_PRS, CONTEXT_PRE);

	return qw[0] & low || qw[1] & GENMASK_ULL(63, 21) || qw[2] || qw[3] ||
	       qw[1] & vtd_decode_unless(hw->ecap, ECAP_SRS, CONTEXT_RID_PRIV);
}

/**
 * vtd_decode_context() - section 9.4, a scalable-mode context entry
 * @hw: the IOMMU
 * @qw: the entry, 4 quadwords
 * @context: the entry, decoded; @context->silent is valid in any case
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_context(const struct vtd_hw *hw, const u64 *qw,
				  struct vtd_context *context)
{
	*context = (struct vtd_context) {
		.silent = qw[0] & FPD,
		.dte = qw[0] & CONTEXT_DTE,
		.paside = qw[0] & CONTEXT_PASIDE,
		.dir = qw[0] & ADDRESS,
		/* 64 PASIDs for each of 2^(PDTS + 7) directory entries */
		.pasids = 64U << (7 + FIELD_GET(CONTEXT_PDTS, qw[0])),
		.rid_priv = qw[1] & CONTEXT_RID_PRIV,
	};

	if (!(qw[0] & PRESENT))
		return VTD_CONTEXT_PRESENT;
	if (context_reserved(hw, qw))
		return VTD_CONTEXT_RESERVED;

	/* RPS: without it the field does not count. */
	if (vtd_decode_has(hw->ecap, ECAP_RPS))
		context->rid_pasid = FIELD_GET(CONTEXT_RID_PASID, qw[1]);

	return VTD_OK;
}

/**
 * vtd_decode_dir() - section 9.5, a PASID-directory entry
 * @hw: the IOMMU
 * @qw: the entry
 * @table: the PASID table
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_dir(const struct vtd_hw *hw, u64 qw, u64 *table)
{
	if (!(qw & PRESENT))
		return VTD_DIR_PRESENT;
	if (qw & (GENMASK_ULL(11, 2) | beyond_haw(hw)))
		return VTD_DIR_RESERVED;

	*table = qw & ADDRESS;
	return VTD_OK;
}

/* Section 9.6, first quadword */
#define PASID_AW		GENMASK_ULL(4, 2)
#define PASID_PGTT		GENMASK_ULL(8, 6)
#define PASID_SSADE		BIT_ULL(9)
/* Second quadword */
#define PASID_DID		GENMASK_ULL(15, 0)
#define PASID_PWSNP		BIT_ULL(23)
#define PASID_PGSNP		BIT_ULL(24)
#define PASID_MEMORY_TYPE	GENMASK_ULL(63, 25)	/* CD, EMTE ... PAT */
/* Third quadword */
#define PASID_SRE		BIT_ULL(0)
#define PASID_ERE		BIT_ULL(1)
#define PASID_FSPM		GENMASK_ULL(3, 2)
#define PASID_WPE		BIT_ULL(4)
#define PASID_NXE_SMEP		GENMASK_ULL(6, 5)
#define PASID_EAFE		BIT_ULL(7)

static bool pasid_reserved(const struct vtd_hw *hw, const u64 *qw)
{
	u64 ecap = hw->ecap, reserved[3];
	unsigned int i;

	reserved[0] = BIT_ULL(5) | GENMASK_ULL(11, 10) | beyond_haw(hw) |
		      vtd_decode_unless(ecap, ECAP_SSADS, PASID_SSADE);
	reserved[1] = GENMASK_ULL(22, 16) |
		      vtd_decode_unless(ecap, ECAP_SMPWC, PASID_PWSNP) |
		      vtd_decode_unless(ecap, ECAP_SC, PASID_PGSNP) |
		      vtd_decode_unless(ecap, ECAP_MTS, PASID_MEMORY_TYPE);
	reserved[2] = GENMASK_ULL(11, 8) |
		      vtd_decode_unless(ecap, ECAP_SRS, PASID_SRE | PASID_WPE) |
		      vtd_decode_unless(ecap, ECAP_ERS, PASID_ERE | PASID_NXE_SMEP) |
		      vtd_decode_unless(ecap, ECAP_EAFS, PASID_EAFE);

	/* Of a nested entry it is a guest address: see vtd_model_walk.c. */
	if (FIELD_GET(PASID_PGTT, qw[0]) != VTD_PGTT_NESTED)
		reserved[2] |= beyond_haw(hw);

	for (i = 0; i < 3; i++) {
		if (qw[i] & reserved[i])
			return true;
	}
	for (; i < 8; i++) {
		if (qw[i])
			return true;
	}

	return false;
}

/* The width has to be one that SAGAW reports. */
static bool width_supported(const struct vtd_hw *hw, unsigned int aw)
{
	return aw >= 1 && aw <= 3 && vtd_decode_has(hw->cap, BIT_ULL(VTD_CAP_SAGAW + aw));
}

/* For pass-through it has to be the largest of them. */
static bool width_largest(const struct vtd_hw *hw, unsigned int aw)
{
	/* Without a second stage, SAGAW is meaningless. */
	if (!vtd_decode_has(hw->ecap, ECAP_SSTS))
		return aw <= 3;

	return width_supported(hw, aw) && !width_supported(hw, aw + 1);
}

/* Section 9.3 */
#define LEGACY_TT		GENMASK_ULL(3, 2)
#define LEGACY_AW		GENMASK_ULL(2, 0)	/* of the second quadword */
#define LEGACY_DID		GENMASK_ULL(23, 8)

enum legacy_type {
	LEGACY_UNTRANSLATED = 0,	/* requests are translated, the device does not */
	LEGACY_ALL = 1,			/* the device may translate */
	LEGACY_PASS = 2,
};

static bool legacy_context_reserved(const struct vtd_hw *hw, const u64 *qw)
{
	u64 low = GENMASK_ULL(11, 4);

	/* Pass-through ignores the address. */
	if (FIELD_GET(LEGACY_TT, qw[0]) != LEGACY_PASS)
		low |= beyond_haw(hw);

	return qw[0] & low || qw[1] & (BIT_ULL(7) | GENMASK_ULL(63, 24)) ||
	       FIELD_GET(LEGACY_DID, qw[1]) >> VTD_CAP_ND(hw->cap);
}

static bool legacy_context_supported(const struct vtd_hw *hw, const u64 *qw)
{
	unsigned int aw = FIELD_GET(LEGACY_AW, qw[1]);

	if (!width_supported(hw, aw))
		return false;

	switch (FIELD_GET(LEGACY_TT, qw[0])) {
	case LEGACY_UNTRANSLATED:
		return true;
	case LEGACY_ALL:
		return vtd_decode_has(hw->ecap, ECAP_DT);
	case LEGACY_PASS:
		return vtd_decode_has(hw->ecap, ECAP_PT) && !width_supported(hw, aw + 1);
	default:
		return false;
	}
}

/**
 * vtd_decode_legacy_context() - section 9.3, a context entry
 * @hw: the IOMMU
 * @qw: the entry, 2 quadwords
 * @entry: the equivalent PASID entry, decoded; @entry->silent is valid in any
 *         case
 * @dte: the device may translate
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_legacy_context(const struct vtd_hw *hw, const u64 *qw,
					 struct vtd_pasid *entry, bool *dte)
{
	unsigned int type = FIELD_GET(LEGACY_TT, qw[0]);

	*dte = type == LEGACY_ALL;
	*entry = (struct vtd_pasid) {
		.pgtt = type == LEGACY_PASS ? VTD_PGTT_PASS : VTD_PGTT_SECOND,
		.silent = qw[0] & FPD,
		.second = qw[0] & ADDRESS,
		.second_levels = FIELD_GET(LEGACY_AW, qw[1]) + 2,
		.did = FIELD_GET(LEGACY_DID, qw[1]),
		.snoop = vtd_decode_has(hw->ecap, ECAP_C),
	};

	if (!(qw[0] & PRESENT))
		return VTD_LEGACY_CONTEXT_PRESENT;
	if (legacy_context_reserved(hw, qw))
		return VTD_LEGACY_CONTEXT_RESERVED;
	if (!legacy_context_supported(hw, qw))
		return VTD_LEGACY_CONTEXT_INVALID;

	return VTD_OK;
}

static bool depth_supported(const struct vtd_hw *hw, unsigned int fspm)
{
	return fspm == 0 || (fspm == 1 && vtd_decode_has(hw->cap, CAP_FS5LP));
}

static bool pasid_supported(const struct vtd_hw *hw, const u64 *qw)
{
	unsigned int fspm = FIELD_GET(PASID_FSPM, qw[2]);
	unsigned int aw = FIELD_GET(PASID_AW, qw[0]);

	switch (FIELD_GET(PASID_PGTT, qw[0])) {
	case VTD_PGTT_FIRST:
		return vtd_decode_has(hw->ecap, ECAP_FSTS) && depth_supported(hw, fspm);
	case VTD_PGTT_SECOND:
		return vtd_decode_has(hw->ecap, ECAP_SSTS) && width_supported(hw, aw);
	case VTD_PGTT_NESTED:
		return vtd_decode_has(hw->ecap, ECAP_NEST) && depth_supported(hw, fspm) &&
		       width_supported(hw, aw);
	case VTD_PGTT_PASS:
		return vtd_decode_has(hw->ecap, ECAP_PT) && width_largest(hw, aw);
	default:
		return false;
	}
}

/**
 * vtd_decode_pasid() - section 9.6, a PASID-table entry
 * @hw: the IOMMU
 * @qw: the entry, 8 quadwords
 * @pasid: the entry, decoded; @pasid->silent is valid in any case
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_pasid(const struct vtd_hw *hw, const u64 *qw,
				struct vtd_pasid *pasid)
{
	*pasid = (struct vtd_pasid) {
		.pgtt = FIELD_GET(PASID_PGTT, qw[0]),
		.silent = qw[0] & FPD,
		.ssade = qw[0] & PASID_SSADE,
		.second = qw[0] & ADDRESS,
		.second_levels = FIELD_GET(PASID_AW, qw[0]) + 2,
		.did = FIELD_GET(PASID_DID, qw[1]),
		.snoop = qw[1] & PASID_PWSNP,
		.sre = qw[2] & PASID_SRE,
		.ere = qw[2] & PASID_ERE,
		.wpe = qw[2] & PASID_WPE,
		.eafe = qw[2] & PASID_EAFE,
		.first = qw[2] & ADDRESS,
		.first_levels = FIELD_GET(PASID_FSPM, qw[2]) + 4,
	};

	if (!(qw[0] & PRESENT))
		return VTD_PASID_PRESENT;
	if (pasid_reserved(hw, qw))
		return VTD_PASID_RESERVED;
	if (!pasid_supported(hw, qw))
		return VTD_PASID_INVALID;

	return VTD_OK;
}

/* Bits of an address that must be zero because a page of @level is aligned */
static u64 unaligned(unsigned int level, unsigned int from)
{
	return level > 1 ? GENMASK_ULL(12 + 9 * (level - 1) - 1, from) : 0;
}

/* Bits 51 and below that are beyond the host address width */
static u64 entry_beyond_haw(const struct vtd_hw *hw)
{
	return hw->haw < 52 ? GENMASK_ULL(51, hw->haw) : 0;
}

/* Section 9.7 */
#define FIRST_WRITE		BIT_ULL(1)
#define FIRST_USER		BIT_ULL(2)
#define FIRST_ACCESSED		BIT_ULL(5)
#define FIRST_DIRTY		BIT_ULL(6)
#define FIRST_SIZE		BIT_ULL(7)
#define FIRST_EXTENDED_ACCESSED	BIT_ULL(10)
#define FIRST_NO_EXECUTE	BIT_ULL(63)

static u64 vtd_decode_first_reserved(const struct vtd_hw *hw, unsigned int level, bool large)
{
	u64 reserved = entry_beyond_haw(hw);

	if (level >= 4)
		return reserved | FIRST_SIZE;
	if (!large)
		return reserved;
	if (level == 3)
		reserved |= vtd_decode_unless(hw->cap, CAP_FS1GP, FIRST_SIZE);

	return reserved | unaligned(level, 13);		/* bit 12 is PAT */
}

/**
 * vtd_decode_first() - section 9.7, an entry of a first-stage table
 * @hw: the IOMMU
 * @pasid: the PASID entry through which it is used
 * @qw: the entry
 * @level: of the table; 1 is the page table
 * @entry: the entry, decoded
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_first(const struct vtd_hw *hw,
				const struct vtd_pasid *pasid, u64 qw,
				unsigned int level, struct vtd_entry *entry)
{
	bool large = level > 1 && level < 4 && qw & FIRST_SIZE;

	if (!(qw & PRESENT))
		return VTD_FIRST_PRESENT;
	if (qw & vtd_decode_first_reserved(hw, level, large))
		return VTD_FIRST_RESERVED;

	*entry = (struct vtd_entry) {
		.leaf = large || level == 1,
		.rights = VTD_RIGHTS_SECOND |
			  (qw & FIRST_WRITE ? VTD_RIGHT_WRITE : 0) |
			  (qw & FIRST_USER ? VTD_RIGHT_USER : 0) |
			  (qw & FIRST_NO_EXECUTE ? 0 : VTD_RIGHT_EXEC),
		.addr = qw & GENMASK_ULL(51, 12),
		.accessed = ~qw & FIRST_ACCESSED,
	};
	if (pasid->eafe)
		entry->accessed |= ~qw & FIRST_EXTENDED_ACCESSED;
	if (entry->leaf) {
		entry->addr &= ~(vtd_reach(level) - 1);
		entry->dirty = ~qw & FIRST_DIRTY;
	}

	return VTD_OK;
}

/* Section 9.8 */
#define SECOND_READ		BIT_ULL(0)
#define SECOND_WRITE		BIT_ULL(1)
#define SECOND_SIZE		BIT_ULL(7)
#define SECOND_ACCESSED		BIT_ULL(8)
#define SECOND_DIRTY		BIT_ULL(9)
#define SECOND_SNOOP		BIT_ULL(11)

static u64 vtd_decode_second_reserved(const struct vtd_hw *hw, unsigned int level, bool large)
{
	u64 reserved = entry_beyond_haw(hw);

	if (level >= 4)
		return reserved | SECOND_SIZE;
	if (large) {
		reserved |= unaligned(level, 12);
		reserved |= vtd_decode_unless(hw->cap, BIT_ULL(VTD_CAP_SSLPS + level - 2),
					      SECOND_SIZE);
	}
	if (large || level == 1)
		reserved |= vtd_decode_unless(hw->ecap, ECAP_SC, SECOND_SNOOP);

	return reserved;
}

/**
 * vtd_decode_second() - section 9.8, an entry of a second-stage table
 * @hw: the IOMMU
 * @pasid: the PASID entry through which it is used
 * @qw: the entry
 * @level: of the table; 1 is the page table
 * @entry: the entry, decoded
 *
 * Return: a fault reason or VTD_OK.
 */
enum vtd_fault vtd_decode_second(const struct vtd_hw *hw,
				 const struct vtd_pasid *pasid, u64 qw,
				 unsigned int level, struct vtd_entry *entry)
{
	bool large = level > 1 && level < 4 && qw & SECOND_SIZE;

	if (!(qw & (SECOND_READ | SECOND_WRITE)))
		return VTD_SECOND_RIGHTS;
	if (qw & vtd_decode_second_reserved(hw, level, large))
		return VTD_SECOND_RESERVED;

	*entry = (struct vtd_entry) {
		.leaf = large || level == 1,
		.rights = VTD_RIGHTS_FIRST |
			  (qw & SECOND_READ ? VTD_RIGHT_READ2 : 0) |
			  (qw & SECOND_WRITE ? VTD_RIGHT_WRITE2 : 0),
		.addr = qw & GENMASK_ULL(51, 12),
	};
	if (pasid->ssade) {
		entry->accessed = ~qw & SECOND_ACCESSED;
		entry->dirty = entry->leaf ? ~qw & SECOND_DIRTY : 0;
	}

	return VTD_OK;
}
