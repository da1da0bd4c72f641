// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's invalidation queue: descriptors of section 6.5.2, what each
 * of them covers, and what is wrong with one. Where the specification leaves
 * hardware a choice, the model forgets less.
 */

#include <linux/bitfield.h>
#include <linux/kernel.h>

#include "vtd_model_hw.h"

/* Descriptor types, table of section 6.5.2 */
enum {
	TYPE_CONTEXT = 1,
	TYPE_IOTLB = 2,
	TYPE_DEVICE_TLB = 3,
	TYPE_INTERRUPT = 4,
	TYPE_WAIT = 5,
	TYPE_PASID_IOTLB = 6,
	TYPE_PASID_CACHE = 7,
	TYPE_PASID_DEVICE_TLB = 8,
	TYPE_PAGE_RESPONSE = 9,
};

/* A descriptor, decoded. Members are set where the type has them. */
struct inval {
	unsigned int granularity;
	u16 did;
	u16 sid, sid_mask;
	u32 pasid;
	bool all_pasids;
	u64 first, last;
	bool leaves_only;		/* IH */
	bool legacy;			/* mode of the IOMMU */
	const char *wrong;
};

#define GRANULARITY	GENMASK_ULL(5, 4)
#define DID		GENMASK_ULL(31, 16)
#define PASID		GENMASK_ULL(51, 32)
#define AM		GENMASK_ULL(5, 0)	/* of the second quadword */
#define IH		BIT_ULL(6)
#define ADDRESS		GENMASK_ULL(63, 12)

static void wrong_if(struct inval *inval, bool condition, const char *what)
{
	if (condition && !inval->wrong)
		inval->wrong = what;
}

static void check_reserved(struct inval *inval, const u64 *desc, u64 low, u64 high)
{
	wrong_if(inval, desc[0] & low || desc[1] & high || desc[2] || desc[3],
		 "a reserved bit is set");
}

static void check_did(const struct vtd_model *model, struct inval *inval)
{
	wrong_if(inval, inval->did >> VTD_CAP_ND(model->hw.cap),
		 "the domain ID is wider than CAP.ND");
}

/* 2^AM pages at an address that is a multiple of that */
static void decode_range(const struct vtd_model *model, const u64 *desc,
			 struct inval *inval)
{
	unsigned int am = FIELD_GET(AM, desc[1]);
	u64 size;

	wrong_if(inval, am > VTD_CAP_MAMV(model->hw.cap), "AM is beyond CAP.MAMV");
	size = am < 52 ? 4096ULL << am : 0;
	inval->first = desc[1] & ADDRESS;
	inval->last = inval->first | (size - 1);
	inval->leaves_only = desc[1] & IH;
	wrong_if(inval, inval->first & (size - 1), "the address is not aligned to AM");
}

static bool vtd_inval_overlaps(const struct vtd_item *item, const struct inval *inval)
{
	return item->first <= inval->last && inval->first <= item->last;
}

/*
 * Only an invalidation of a whole page removes it: AM must be at least 9 for 2
 * MiB and 18 for 1 GiB (section 6.5.2).
 */
static bool covers_page(const struct vtd_item *item, const struct inval *inval)
{
	return inval->first <= item->first && item->last <= inval->last;
}

/* Section 6.5.2.1 */
#define CONTEXT_GLOBAL	1
#define CONTEXT_DOMAIN	2	/* legacy mode */
#define CONTEXT_DEVICE	3

/*
 * In legacy mode entries belong to a domain, which a device-selective
 * invalidation has to name as well. With caching mode, an entry that is not
 * valid is cached for domain 0.
 */
static bool context_covers(const struct vtd_item *item, const void *data)
{
	const struct inval *inval = data;

	if (item->cache != VTD_CONTEXT_CACHE && item->cache != VTD_DIR_CACHE)
		return false;

	if (inval->granularity == CONTEXT_GLOBAL)
		return true;
	if (inval->legacy && item->did != inval->did)
		return false;

	return inval->granularity == CONTEXT_DOMAIN ||
	       !((item->sid ^ inval->sid) & ~inval->sid_mask);
}

static void context_invalidate(struct vtd_model *model, const u64 *desc,
			       struct inval *inval)
{
	static const u8 masks[] = { 0, 4, 6, 7 };	/* FM: function bits */

	check_reserved(inval, desc, GENMASK_ULL(15, 6) | GENMASK_ULL(63, 50), ~0ULL);
	inval->sid = FIELD_GET(GENMASK_ULL(47, 32), desc[0]);
	inval->sid_mask = masks[FIELD_GET(GENMASK_ULL(49, 48), desc[0])];
	wrong_if(inval, !inval->granularity, "no such granularity");
	wrong_if(inval, inval->granularity == CONTEXT_DOMAIN && !inval->legacy,
		 "no such granularity in scalable mode");
	if (inval->legacy)
		check_did(model, inval);
	if (!inval->wrong)
		vtd_cache_forget(model, context_covers, inval);
}

/* Section 6.5.2.2 */
#define PASID_DOMAIN	0
#define PASID_SELECTIVE	1
#define PASID_GLOBAL	3

/*
 * Entries that are not valid are cached without a domain, and any domain ID of
 * an invalidation matches. The same holds for directory entries.
 */
static bool pasid_covers(const struct vtd_item *item, const void *data)
{
	const struct inval *inval = data;
	bool dir = item->cache == VTD_DIR_CACHE;

	if (!dir && item->cache != VTD_PASID_CACHE)
		return false;
	if (inval->granularity == PASID_GLOBAL)
		return true;
	if (!dir && !item->fault && item->did != inval->did)
		return false;
	if (inval->granularity == PASID_DOMAIN)
		return true;

	return item->pasid == (dir ? inval->pasid / 64 : inval->pasid);
}

static void pasid_invalidate(struct vtd_model *model, const u64 *desc,
			     struct inval *inval)
{
	check_reserved(inval, desc, GENMASK_ULL(15, 6) | GENMASK_ULL(63, 52), ~0ULL);
	check_did(model, inval);
	wrong_if(inval, inval->granularity == 2, "no such granularity");
	if (!inval->wrong)
		vtd_cache_forget(model, pasid_covers, inval);
}

/* Section 6.5.2.3 */
#define IOTLB_GLOBAL	1
#define IOTLB_DOMAIN	2
#define IOTLB_PAGES	3

/*
 * Addresses are those of the second stage. Hardware does not know which of them
 * a nested translation depends on, so all of the domain's are removed.
 */
static bool iotlb_pages_cover(const struct vtd_item *item, const struct inval *inval)
{
	switch (item->cache) {
	case VTD_IOTLB:
		return item->pgtt == VTD_PGTT_NESTED ||
		       (item->pgtt == VTD_PGTT_SECOND && covers_page(item, inval));
	case VTD_FIRST_TABLES:
		return item->pgtt == VTD_PGTT_NESTED;
	default:
		return !inval->leaves_only && vtd_inval_overlaps(item, inval);
	}
}

static bool iotlb_covers(const struct vtd_item *item, const void *data)
{
	const struct inval *inval = data;

	if (item->cache != VTD_IOTLB && item->cache != VTD_FIRST_TABLES &&
	    item->cache != VTD_SECOND_TABLES)
		return false;
	if (inval->granularity == IOTLB_GLOBAL)
		return true;
	if (item->did != inval->did)
		return false;

	return inval->granularity == IOTLB_DOMAIN || iotlb_pages_cover(item, inval);
}

static void iotlb_invalidate(struct vtd_model *model, const u64 *desc,
			     struct inval *inval)
{
	/* Bits 6 and 7 request draining, which is harmless. */
	check_reserved(inval, desc, GENMASK_ULL(15, 8) | GENMASK_ULL(63, 32),
		       GENMASK_ULL(11, 7));
	check_did(model, inval);
	wrong_if(inval, !inval->granularity, "no such granularity");
	if (inval->granularity == IOTLB_PAGES) {
		decode_range(model, desc, inval);
		wrong_if(inval, !(model->hw.cap & CAP_PSI), "there is no CAP.PSI");
	}
	if (!inval->wrong)
		vtd_cache_forget(model, iotlb_covers, inval);
}

/* Section 6.5.2.4 */
#define PASID_IOTLB_PASID	2
#define PASID_IOTLB_PAGES	3

static bool pasid_iotlb_covers(const struct vtd_item *item, const void *data)
{
	const struct inval *inval = data;

	if (item->cache != VTD_IOTLB && item->cache != VTD_FIRST_TABLES)
		return false;
	/* not second-stage translations */
	if (item->pgtt == VTD_PGTT_SECOND || item->did != inval->did ||
	    item->pasid != inval->pasid)
		return false;
	if (inval->granularity == PASID_IOTLB_PASID)
		return true;
	if (item->cache == VTD_IOTLB)
		return covers_page(item, inval);

	return !inval->leaves_only && vtd_inval_overlaps(item, inval);
}

static void pasid_iotlb_invalidate(struct vtd_model *model, const u64 *desc,
				   struct inval *inval)
{
	bool pages = inval->granularity == PASID_IOTLB_PAGES;

	check_reserved(inval, desc, GENMASK_ULL(15, 6) | GENMASK_ULL(63, 52),
		       pages ? GENMASK_ULL(11, 7) : ~0ULL);
	check_did(model, inval);
	wrong_if(inval, inval->granularity < PASID_IOTLB_PASID, "no such granularity");
	if (pages)
		decode_range(model, desc, inval);
	if (!inval->wrong)
		vtd_cache_forget(model, pasid_iotlb_covers, inval);
}

/* Sections 6.5.2.5 and 6.5.2.6 */

static bool device_tlb_covers(const struct vtd_item *item, const void *data)
{
	const struct inval *inval = data;

	return item->cache == VTD_DEVICE_TLB && item->sid == inval->sid &&
	       (inval->all_pasids ? item->pasid != VTD_NO_PASID :
				    item->pasid == inval->pasid) &&
	       covers_page(item, inval);
}

/* With S, the lowest bit that is clear tells the size. */
static void decode_device_range(u64 addr, bool s, struct inval *inval)
{
	u64 frame = addr >> 12, mask = 0;

	/* there are no frame bits above 51: all ones is everything */
	if (s)
		mask = (frame ^ (frame + 1)) & GENMASK_ULL(51, 0);
	inval->first = (frame & ~mask) << 12;
	inval->last = (frame | mask) << 12 | 0xfff;
}

static void forget_device_tlb(struct vtd_model *model, struct inval *inval)
{
	unsigned int i;
	bool known = false;

	for (i = 0; i < model->nr_devices; i++) {
		if (model->devices[i].sid != inval->sid)
			continue;
		known |= model->devices[i].ats;
		inval->all_pasids &= model->devices[i].global;
	}

	wrong_if(inval, !(model->hw.ecap & ECAP_DT), "there is no ECAP.DT");
	wrong_if(inval, !known, "there is no such device, or it has no TLB");
	if (!inval->wrong)
		vtd_cache_forget(model, device_tlb_covers, inval);
}

static void device_tlb_invalidate(struct vtd_model *model, const u64 *desc,
				  struct inval *inval)
{
	check_reserved(inval, desc,
		       GENMASK_ULL(11, 4) | GENMASK_ULL(31, 21) | GENMASK_ULL(51, 48),
		       GENMASK_ULL(11, 1));
	inval->sid = FIELD_GET(GENMASK_ULL(47, 32), desc[0]);
	inval->pasid = VTD_NO_PASID;
	decode_device_range(desc[1], desc[1] & BIT_ULL(0), inval);
	forget_device_tlb(model, inval);
}

static void pasid_device_tlb_invalidate(struct vtd_model *model, const u64 *desc,
					struct inval *inval)
{
	check_reserved(inval, desc, GENMASK_ULL(11, 9), GENMASK_ULL(10, 1));
	wrong_if(inval, !(model->hw.ecap & ECAP_PASID), "there is no ECAP.PASID");
	inval->sid = FIELD_GET(GENMASK_ULL(31, 16), desc[0]);
	inval->all_pasids = desc[1] & BIT_ULL(0);
	decode_device_range(desc[1], desc[1] & BIT_ULL(11), inval);
	forget_device_tlb(model, inval);
}

/* Section 6.5.2.8 */
static void vtd_inval_wait(const u64 *desc, struct inval *inval)
{
	check_reserved(inval, desc, GENMASK_ULL(31, 8), GENMASK_ULL(1, 0));
}

/* Section 6.5.2.7: it concerns no cache of translations. */
static void vtd_inval_interrupt(const u64 *desc, struct inval *inval)
{
	wrong_if(inval, desc[2] || desc[3], "a reserved bit is set");
}

/*
 * Section 7.7, with the codes that PCIe has: success, invalid request, failure
 */
static void page_response(const u64 *desc, struct inval *inval)
{
	unsigned int code = FIELD_GET(GENMASK_ULL(15, 12), desc[0]);
	bool has_pasid = desc[0] & BIT_ULL(4);

	check_reserved(inval, desc, GENMASK_ULL(11, 5) | GENMASK_ULL(63, 52),
		       GENMASK_ULL(63, 12) | GENMASK_ULL(2, 0));
	wrong_if(inval, code != 0 && code != 1 && code != 0xf,
		 "there is no such response code");
	wrong_if(inval, !has_pasid && inval->pasid, "PASID without its P bit");
}

static bool needs_pasids(unsigned int type)
{
	return type == TYPE_PASID_IOTLB || type == TYPE_PASID_CACHE ||
	       type == TYPE_PASID_DEVICE_TLB;
}

/**
 * vtd_execute() - execute a descriptor
 * @model: the IOMMU
 * @desc: 4 quadwords
 *
 * An invalid one stops a real queue. Here it is reported as an error and has no
 * effect.
 */
void vtd_execute(struct vtd_model *model, const u64 *desc)
{
	unsigned int type = desc[0] & GENMASK_ULL(3, 0);
	struct inval inval = {
		.granularity	= FIELD_GET(GRANULARITY, desc[0]),
		.did		= FIELD_GET(DID, desc[0]),
		.pasid		= FIELD_GET(PASID, desc[0]),
		.legacy		= vtd_is_legacy(&model->hw),
	};

	wrong_if(&inval, inval.legacy && needs_pasids(type), "there are no PASIDs");
	switch (type) {
	case TYPE_CONTEXT:
		context_invalidate(model, desc, &inval);
		break;
	case TYPE_IOTLB:
		iotlb_invalidate(model, desc, &inval);
		break;
	case TYPE_DEVICE_TLB:
		device_tlb_invalidate(model, desc, &inval);
		break;
	case TYPE_INTERRUPT:
		vtd_inval_interrupt(desc, &inval);
		break;
	case TYPE_PAGE_RESPONSE:
		page_response(desc, &inval);
		break;
	case TYPE_WAIT:
		vtd_inval_wait(desc, &inval);
		break;
	case TYPE_PASID_IOTLB:
		pasid_iotlb_invalidate(model, desc, &inval);
		break;
	case TYPE_PASID_CACHE:
		pasid_invalidate(model, desc, &inval);
		break;
	case TYPE_PASID_DEVICE_TLB:
		pasid_device_tlb_invalidate(model, desc, &inval);
		break;
	default:
		inval.wrong = "there is no such type";
	}

	if (inval.wrong)
		vtd_report_error(model->machine, "descriptor %#llx %#llx %#llx %#llx: %s",
				 desc[0], desc[1], desc[2], desc[3], inval.wrong);
}
