// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's walks: from a request to all its possible results, chapter
 * 3. At every step hardware may use the content of memory or anything that it
 * has cached, and caches what it reads.
 */

#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/string.h>

#include "vtd_model_hw.h"

#define PAGE_BYTES	4096ULL
#define INTERRUPT_FIRST	0xfee00000ULL
#define INTERRUPT_LAST	0xfeefffffULL

/* State of a request that uses one of the PASID entries that it may find */
struct walk {
	struct vtd_model *model;
	const struct vtd_request *req;
	struct vtd_answers *answers;
	u32 pasid;			/* RID_PASID included */
	bool priv;
	bool speculative;		/* leaves A/D alone, as nothing is accessed */
	bool forgetful;			/* caches nothing and finds nothing cached */
	bool silent;
	bool legacy;			/* mode; @entry is a context entry, decoded */
	u64 root;			/* legacy mode: what the domain ID stands for */
	struct vtd_pasid entry;
};

static bool same_answer(const struct vtd_answer *a, const struct vtd_answer *b)
{
	return a->fault == b->fault && a->hpa == b->hpa && a->size == b->size &&
	       a->gpa == b->gpa && a->silent == b->silent;
}

static void add_answer(struct walk *walk, const struct vtd_answer *answer)
{
	struct vtd_answers *answers = walk->answers;
	unsigned int i;

	for (i = 0; i < answers->nr; i++) {
		if (same_answer(&answers->answer[i], answer))
			return;
	}

	if (answers->nr == VTD_MAX_ANSWERS)
		vtd_report_error(walk->model->machine, "more answers than expected");
	else
		answers->answer[answers->nr++] = *answer;
}

/* Legacy mode has separate fault reasons for the same checks. */
static enum vtd_fault legacy_reason(const struct walk *walk, enum vtd_fault fault)
{
	switch (fault) {
	case VTD_ROOT_ACCESS:
		return VTD_LEGACY_ROOT_ACCESS;
	case VTD_CONTEXT_ACCESS:
		return VTD_LEGACY_CONTEXT_ACCESS;
	case VTD_CONTEXT_DTE:
		return VTD_LEGACY_TRANSLATION;
	case VTD_SECOND_ROOT:
	case VTD_SECOND_ACCESS:
		return VTD_LEGACY_TABLE_ACCESS;
	case VTD_SECOND_RIGHTS:
		return walk->req->access & VTD_WRITE ? VTD_LEGACY_WRITE : VTD_LEGACY_READ;
	case VTD_SECOND_RESERVED:
		return VTD_LEGACY_TABLE_RESERVED;
	case VTD_BEYOND:
		return VTD_LEGACY_BEYOND;
	case VTD_INTERRUPT:
		return VTD_LEGACY_INTERRUPT;
	default:
		return fault;
	}
}

/* The second stage refuses @gpa, which is 0 if that is not nested. */
static void vtd_walk_refuse_at(struct walk *walk, enum vtd_fault fault, u64 gpa)
{
	add_answer(walk, &(struct vtd_answer) {
		.fault = walk->legacy ? legacy_reason(walk, fault) : fault,
		.gpa = gpa,
		.silent = walk->silent,
	});
}

static void vtd_walk_refuse(struct walk *walk, enum vtd_fault fault)
{
	vtd_walk_refuse_at(walk, fault, 0);
}

static void vtd_walk_remember(struct walk *walk, const struct vtd_item *item)
{
	if (!walk->forgetful)
		vtd_cache_insert(walk->model, item);
}

static struct vtd_item *vtd_walk_recall(struct walk *walk, enum vtd_cache cache, unsigned int *at)
{
	return walk->forgetful ? NULL : vtd_cache_next(walk->model, cache, at);
}

static bool caching_mode(const struct vtd_model *model)
{
	return model->hw.cap & CAP_CM;
}

/* The end of the walk: do the permissions allow the access? */

static enum vtd_fault check_second(const struct vtd_request *req, unsigned long rights)
{
	if (!(rights & VTD_RIGHT_READ2) && !(req->access & VTD_WRITE))
		return VTD_SECOND_RIGHTS;
	if (!(rights & VTD_RIGHT_WRITE2) && req->access & VTD_WRITE)
		return VTD_SECOND_RIGHTS;

	return VTD_OK;
}

/*
 * Section 3.6.1; supervisors may write to read-only pages unless WPE forbids.
 */
static enum vtd_fault check_first(const struct walk *walk, unsigned long rights)
{
	if (!walk->priv && !(rights & VTD_RIGHT_USER))
		return VTD_USER;
	if (walk->req->access & VTD_WRITE && !(rights & VTD_RIGHT_WRITE) &&
	    (!walk->priv || walk->entry.wpe))
		return VTD_WRITE_RIGHT;
	if (walk->req->access & VTD_EXEC && !(rights & VTD_RIGHT_EXEC))
		return VTD_EXECUTE;

	return VTD_OK;
}

static void vtd_walk_conclude(struct walk *walk, u64 hpa, u64 gpa, u64 size, unsigned long rights)
{
	enum vtd_fault fault = check_first(walk, rights);

	if (fault) {
		vtd_walk_refuse(walk, fault);
		return;
	}

	fault = check_second(walk->req, rights);
	if (fault)
		vtd_walk_refuse_at(walk, fault, gpa);
	else if (hpa >= INTERRUPT_FIRST && hpa <= INTERRUPT_LAST)
		vtd_walk_refuse(walk, VTD_INTERRUPT);
	else
		add_answer(walk, &(struct vtd_answer) { .hpa = hpa, .size = size });
}

/*
 * A page was found. Hardware may cache all of it, or any part: then another
 * part's invalidation does not cover it (section 6.5.1.2).
 */
static void cache_page(struct walk *walk, enum vtd_cache cache, u64 hpa, u64 size,
		       unsigned long rights)
{
	struct vtd_item item = {
		.cache	= cache,
		.pgtt	= walk->entry.pgtt,
		.did	= walk->entry.did,
		.pasid	= walk->pasid,
		.first	= walk->req->addr & ~(size - 1),
		.last	= walk->req->addr | (size - 1),
		.addr	= hpa & ~(size - 1),
		.rights	= rights,
		.root	= walk->root,
	};

	if (cache == VTD_DEVICE_TLB) {
		item.pgtt = 0;
		item.did = 0;
		item.root = 0;
		item.sid = walk->req->sid;
		item.pasid = walk->req->pasid;
	}
	vtd_walk_remember(walk, &item);
}

static void vtd_walk_found(struct walk *walk, u64 hpa, u64 gpa, u64 size, unsigned long rights)
{
	cache_page(walk, VTD_IOTLB, hpa, size, rights);
	if (size > PAGE_BYTES)
		cache_page(walk, VTD_IOTLB, hpa, PAGE_BYTES, rights);
	if (walk->req->ats) {
		cache_page(walk, VTD_DEVICE_TLB, hpa, size, rights);
		if (size > PAGE_BYTES)
			cache_page(walk, VTD_DEVICE_TLB, hpa, PAGE_BYTES, rights);
	}
	vtd_walk_conclude(walk, hpa, gpa, size, rights);
}

/*
 * With caching mode, hardware caches entries that are not present (section
 * 6.1).
 */
static void vtd_walk_not_found(struct walk *walk, enum vtd_fault fault, u64 gpa)
{
	struct vtd_item item = {
		.cache	= VTD_IOTLB,
		.pgtt	= walk->entry.pgtt,
		.fault	= fault,
		.did	= walk->entry.did,
		.pasid	= walk->pasid,
		.first	= walk->req->addr & ~(PAGE_BYTES - 1),
		.last	= walk->req->addr | (PAGE_BYTES - 1),
		.gpa	= gpa,
		.root	= walk->root,
	};

	if (caching_mode(walk->model))
		vtd_walk_remember(walk, &item);
	vtd_walk_refuse_at(walk, fault, gpa);
}

static u64 to_be_set(const struct walk *walk, const struct vtd_entry *entry)
{
	return entry->accessed | (walk->req->access & VTD_WRITE ? entry->dirty : 0);
}

/*
 * Accessed, and Dirty if it is a write, are set in the entry at @addr. This
 * cannot be done without snooping.
 */
static bool set_accessed(struct walk *walk, u64 addr, const struct vtd_entry *entry)
{
	u64 bits = to_be_set(walk, entry);

	if (!bits)
		return true;
	if (!walk->entry.snoop)
		return false;
	if (!walk->speculative)
		vtd_memory_set(walk->model->machine, addr, bits);

	return true;
}

static unsigned int table_index(u64 addr, unsigned int level)
{
	return addr / vtd_reach(level) % 512;
}

/* The second stage, section 3.7: from an address to all pages it may be in */

struct second_page {
	enum vtd_fault fault;
	u64 hpa, size;
	unsigned long rights;
};

struct second_pages {
	unsigned int nr;
	struct second_page page[VTD_MAX_ANSWERS];
};

static void vtd_walk_add_second(struct walk *walk, struct second_pages *pages,
				const struct second_page *page)
{
	unsigned int i;

	for (i = 0; i < pages->nr; i++) {
		const struct second_page *p = &pages->page[i];

		if (p->fault == page->fault && p->hpa == page->hpa &&
		    p->size == page->size && p->rights == page->rights)
			return;
	}

	if (pages->nr == ARRAY_SIZE(pages->page))
		vtd_report_error(walk->model->machine, "more pages than expected");
	else
		pages->page[pages->nr++] = *page;
}

static void second_refuse(struct walk *walk, struct second_pages *pages,
			  enum vtd_fault fault)
{
	vtd_walk_add_second(walk, pages, &(struct second_page) { .fault = fault });
}

/* A slot of a first- or second-stage table */
static void read_slot(struct walk *walk, u64 at, struct vtd_read *read)
{
	struct vtd_machine *machine = walk->model->machine;

	read->nr = 0;
	if (vtd_memory_is_free(at))
		vtd_report_error(machine, "hardware walks a table that was freed, at %llx", at);
	else
		vtd_memory_read(machine, at, 1, walk->entry.snoop, read);
}

static void vtd_walk_second_table(struct walk *walk, u64 addr, u64 table, unsigned int level,
				  unsigned long rights, struct second_pages *pages);

static void second_next(struct walk *walk, u64 addr, u64 table, unsigned int level,
			unsigned long rights, struct second_pages *pages)
{
	u64 size = vtd_reach(level + 1);
	struct vtd_item item = {
		.cache	= VTD_SECOND_TABLES,
		.pgtt	= walk->entry.pgtt,
		.did	= walk->entry.did,
		.first	= addr & ~(size - 1),
		.last	= addr | (size - 1),
		.addr	= table,
		.level	= level,
		.rights	= rights,
		.root	= walk->root,
	};

	vtd_walk_remember(walk, &item);
	vtd_walk_second_table(walk, addr, table, level, rights, pages);
}

static void second_entry(struct walk *walk, u64 addr, u64 at, u64 qw,
			 unsigned int level, unsigned long rights,
			 struct second_pages *pages)
{
	struct vtd_entry entry;
	enum vtd_fault fault;
	u64 offset;

	fault = vtd_decode_second(&walk->model->hw, &walk->entry, qw, level, &entry);
	if (fault) {
		second_refuse(walk, pages, fault);
		return;
	}
	if (!set_accessed(walk, at, &entry)) {
		second_refuse(walk, pages, VTD_SECOND_AD);
		return;
	}

	rights &= entry.rights;
	if (!entry.leaf) {
		second_next(walk, addr, entry.addr, level - 1, rights, pages);
		return;
	}

	offset = addr & (vtd_reach(level) - 1);
	vtd_walk_add_second(walk, pages, &(struct second_page) {
		.hpa = entry.addr + offset,
		.size = vtd_reach(level),
		.rights = rights,
	});
}

static void vtd_walk_second_table(struct walk *walk, u64 addr, u64 table, unsigned int level,
				  unsigned long rights, struct second_pages *pages)
{
	u64 at = table + 8 * table_index(addr, level);
	struct vtd_read read;
	unsigned int i;

	read_slot(walk, at, &read);
	if (!read.nr)
		second_refuse(walk, pages, level == walk->entry.second_levels ?
			      VTD_SECOND_ROOT : VTD_SECOND_ACCESS);
	for (i = 0; i < read.nr; i++)
		second_entry(walk, addr, at, read.qw[i][0], level, rights, pages);
}

/* Second-stage tables are cached for a domain, whatever the PASID. */
static void second_stage(struct walk *walk, u64 addr, struct second_pages *pages)
{
	struct vtd_item *item;
	unsigned int at = 0;

	pages->nr = 0;
	vtd_walk_second_table(walk, addr, walk->entry.second, walk->entry.second_levels,
			      VTD_RIGHTS_ALL, pages);
	while ((item = vtd_walk_recall(walk, VTD_SECOND_TABLES, &at))) {
		if (item->did == walk->entry.did &&
		    item->first <= addr && addr <= item->last)
			vtd_walk_second_table(walk, addr, item->addr, item->level,
					      item->rights, pages);
	}
}

/* Does the second stage of this entry translate @addr at all? */
static bool second_width(struct walk *walk, u64 addr)
{
	unsigned int width = 12 + 9 * walk->entry.second_levels;

	return !vtd_beyond(addr, min_t(unsigned int, width,
				       VTD_CAP_MGAW(walk->model->hw.cap)));
}

static void walk_second(struct walk *walk)
{
	struct second_pages pages;
	unsigned int i;

	if (!second_width(walk, walk->req->addr)) {
		vtd_walk_refuse(walk, VTD_BEYOND);
		return;
	}

	second_stage(walk, walk->req->addr, &pages);
	for (i = 0; i < pages.nr; i++) {
		struct second_page *page = &pages.page[i];

		if (page->fault)
			vtd_walk_not_found(walk, page->fault, 0);
		else
			vtd_walk_found(walk, page->hpa, 0, page->size, page->rights);
	}
}

/* The first stage, section 3.6, and nested translation, section 3.8 */

static bool vtd_walk_nested(const struct walk *walk)
{
	return walk->entry.pgtt == VTD_PGTT_NESTED;
}

static void first_table(struct walk *walk, u64 table, u64 gpa, unsigned int level,
			unsigned long rights);

/*
 * A page of the first stage was found at @addr, a guest address if nested. An
 * access that the first stage refuses is reported regardless of the second
 * stage, but is cached, too.
 */
static void first_page(struct walk *walk, u64 addr, u64 size, unsigned long rights)
{
	enum vtd_fault fault = check_first(walk, rights);
	struct second_pages pages;
	unsigned int i;

	if (!vtd_walk_nested(walk)) {
		vtd_walk_found(walk, addr, 0, size, rights);
		return;
	}
	if (fault)
		vtd_walk_refuse(walk, fault);
	if (!second_width(walk, addr)) {
		if (!fault)
			vtd_walk_refuse_at(walk, VTD_NESTED_BEYOND, addr);
		return;
	}

	second_stage(walk, addr, &pages);
	for (i = 0; i < pages.nr; i++) {
		struct second_page *page = &pages.page[i];

		if (!page->fault)
			vtd_walk_found(walk, page->hpa, addr, min(size, page->size),
				       rights & page->rights);
		else if (!fault)
			vtd_walk_not_found(walk, page->fault, addr);
	}
}

static void first_next_host(struct walk *walk, u64 table, u64 gpa, unsigned int level,
			    unsigned long rights)
{
	bool top = level == walk->entry.first_levels;
	u64 last = top ? U64_MAX : vtd_reach(level + 1) - 1;
	struct vtd_item item = {
		.cache	= VTD_FIRST_TABLES,
		.pgtt	= walk->entry.pgtt,
		.did	= walk->entry.did,
		.pasid	= walk->pasid,
		.first	= walk->req->addr & ~last,
		.last	= walk->req->addr | last,
		.addr	= table,
		.gpa	= gpa,
		.level	= level,
		.rights	= rights,
	};

	vtd_walk_remember(walk, &item);
	first_table(walk, table, gpa, level, rights);
}

static enum vtd_fault table_fault(const struct walk *walk,
				  const struct second_page *page, unsigned int level)
{
	if (page->fault && page->fault != VTD_SECOND_RIGHTS)
		return page->fault;
	if (page->fault || !(page->rights & VTD_RIGHT_READ2))
		return level == walk->entry.first_levels ? VTD_FIRST_ROOT_READ :
							   VTD_FIRST_READ;

	return VTD_OK;
}

/* The next table is at @addr, a guest address if nested. */
static void first_next(struct walk *walk, u64 addr, unsigned int level,
		       unsigned long rights)
{
	struct second_pages pages;
	unsigned int i;

	if (!vtd_walk_nested(walk)) {
		if (level == walk->entry.first_levels)
			first_table(walk, addr, 0, level, rights);
		else
			first_next_host(walk, addr, 0, level, rights);
		return;
	}
	if (!second_width(walk, addr)) {
		vtd_walk_refuse_at(walk, VTD_FIRST_WIDTH, addr);
		return;
	}

	second_stage(walk, addr, &pages);
	for (i = 0; i < pages.nr; i++) {
		struct second_page *page = &pages.page[i];
		enum vtd_fault fault = table_fault(walk, page, level);

		rights &= ~VTD_RIGHT_MARK;
		if (page->rights & VTD_RIGHT_WRITE2)
			rights |= VTD_RIGHT_MARK;
		if (fault)
			vtd_walk_refuse_at(walk, fault, addr);
		else
			first_next_host(walk, page->hpa, addr, level, rights);
	}
}

/*
 * A/D are set in the entry at @at, in the guest's table at @gpa; not if the
 * entry is that of a page which the first stage refuses.
 */
static bool first_accessed(struct walk *walk, u64 at, u64 gpa,
			   const struct vtd_entry *entry, unsigned long rights)
{
	if (entry->leaf && check_first(walk, rights & entry->rights))
		return true;
	if (vtd_walk_nested(walk) && walk->entry.snoop && !(rights & VTD_RIGHT_MARK) &&
	    to_be_set(walk, entry)) {
		vtd_walk_refuse_at(walk, VTD_FIRST_WRITE, gpa);
		return false;
	}
	if (!set_accessed(walk, at, entry)) {
		vtd_walk_refuse(walk, VTD_FIRST_AD);
		return false;
	}

	return true;
}

static void first_entry(struct walk *walk, u64 at, u64 gpa, u64 qw, unsigned int level,
			unsigned long rights)
{
	struct vtd_entry entry;
	enum vtd_fault fault;
	u64 size;

	fault = vtd_decode_first(&walk->model->hw, &walk->entry, qw, level, &entry);
	if (fault) {
		vtd_walk_refuse(walk, fault);
		return;
	}
	if (!first_accessed(walk, at, gpa, &entry, rights))
		return;

	rights &= entry.rights;
	size = vtd_reach(level);
	if (entry.leaf)
		first_page(walk, entry.addr + (walk->req->addr & (size - 1)), size,
			   rights);
	else
		first_next(walk, entry.addr, level - 1, rights);
}

/* @gpa is where the table is for the guest, if nested. */
static void first_table(struct walk *walk, u64 table, u64 gpa, unsigned int level,
			unsigned long rights)
{
	u64 at = table + 8 * table_index(walk->req->addr, level);
	struct vtd_read read;
	unsigned int i;

	read_slot(walk, at, &read);
	if (!read.nr)
		vtd_walk_refuse(walk, level == walk->entry.first_levels ?
				VTD_FIRST_ROOT : VTD_FIRST_ACCESS);
	for (i = 0; i < read.nr; i++)
		first_entry(walk, at, gpa, read.qw[i][0], level, rights);
}

static bool vtd_walk_canonical(const struct walk *walk)
{
	unsigned int top = 12 + 9 * walk->entry.first_levels - 1;
	u64 high = walk->req->addr >> top;

	return !high || high == U64_MAX >> top;
}

static void walk_first(struct walk *walk)
{
	struct vtd_item *item;
	unsigned int at = 0;

	if (!vtd_walk_canonical(walk)) {
		vtd_walk_refuse(walk, VTD_CANONICAL);
		return;
	}

	first_next(walk, walk->entry.first, walk->entry.first_levels, VTD_RIGHTS_ALL);
	while ((item = vtd_walk_recall(walk, VTD_FIRST_TABLES, &at))) {
		if (item->did == walk->entry.did && item->pasid == walk->pasid &&
		    item->first <= walk->req->addr && walk->req->addr <= item->last)
			first_table(walk, item->addr, item->gpa, item->level,
				    item->rights);
	}
}

static void walk_pass(struct walk *walk)
{
	unsigned int width = min_t(unsigned int, walk->model->hw.haw,
				   VTD_CAP_MGAW(walk->model->hw.cap));

	if (vtd_beyond(walk->req->addr, width))
		vtd_walk_refuse(walk, VTD_BEYOND);
	else
		vtd_walk_found(walk, walk->req->addr, 0, PAGE_BYTES, VTD_RIGHTS_ALL);
}

/* The IOTLB is looked up by fields of the PASID entry: section 6.2.4. */
static bool iotlb_hit(const struct walk *walk, const struct vtd_item *item)
{
	return item->did == walk->entry.did &&
	       (item->pgtt == VTD_PGTT_SECOND || item->pasid == walk->pasid) &&
	       item->first <= walk->req->addr && walk->req->addr <= item->last;
}

static void vtd_walk_use_page(struct walk *walk, const struct vtd_item *item)
{
	if (item->fault)
		vtd_walk_refuse_at(walk, item->fault, item->gpa);
	else
		vtd_walk_conclude(walk, item->addr + (walk->req->addr - item->first), 0,
				  item->last - item->first + 1, item->rights);
}

static void walk_iotlb(struct walk *walk)
{
	struct vtd_item *item;
	unsigned int at = 0;

	while ((item = vtd_walk_recall(walk, VTD_IOTLB, &at))) {
		if (!iotlb_hit(walk, item))
			continue;
		if (walk->req->ats && !item->fault) {
			struct vtd_item copy = *item;

			copy.cache = VTD_DEVICE_TLB;
			copy.pgtt = 0;
			copy.did = 0;
			copy.root = 0;
			copy.sid = walk->req->sid;
			copy.pasid = walk->req->pasid;
			vtd_walk_remember(walk, &copy);
		}
		vtd_walk_use_page(walk, item);
	}
}

/* From a PASID entry on */
static void walk_pasid(struct walk *walk, const u64 *qw)
{
	enum vtd_fault fault = vtd_decode_pasid(&walk->model->hw, qw, &walk->entry);
	bool first = walk->entry.pgtt == VTD_PGTT_FIRST || vtd_walk_nested(walk);
	bool silent = walk->silent;

	walk->silent |= walk->entry.silent;
	if (!fault && first && walk->priv && !walk->entry.sre)
		fault = VTD_PASID_SRE;
	if (!fault && first && walk->req->access & VTD_EXEC && !walk->entry.ere)
		fault = VTD_PASID_ERE;

	if (fault) {
		vtd_walk_refuse(walk, fault);
	} else {
		walk_iotlb(walk);
		if (first)
			walk_first(walk);
		else if (walk->entry.pgtt == VTD_PGTT_SECOND)
			walk_second(walk);
		else
			walk_pass(walk);
	}
	walk->silent = silent;
}

/* Does hardware cache an entry that decodes with @fault? */
static bool vtd_walk_cacheable(const struct walk *walk, enum vtd_fault fault)
{
	return !fault || caching_mode(walk->model);
}

/* PASID entries in the table that a directory entry refers to */
static void walk_pasid_table(struct walk *walk, u64 table)
{
	u64 at = table + 64 * (walk->pasid % 64);
	struct vtd_pasid entry;
	struct vtd_read read;
	unsigned int i;

	vtd_memory_read(walk->model->machine, at, 8,
			walk->model->hw.ecap & ECAP_C, &read);
	if (!read.nr)
		vtd_walk_refuse(walk, VTD_PASID_ACCESS);

	for (i = 0; i < read.nr; i++) {
		enum vtd_fault fault = vtd_decode_pasid(&walk->model->hw, read.qw[i],
							&entry);
		struct vtd_item item = {
			.cache	= VTD_PASID_CACHE,
			.sid	= walk->req->sid,
			/* what is not valid has no domain */
			.did	= fault ? 0 : entry.did,
			.pasid	= walk->pasid,
			.fault	= fault,
		};

		if (!vtd_walk_cacheable(walk, fault)) {
			walk_pasid(walk, read.qw[i]);
			continue;
		}
		memcpy(item.qw, read.qw[i], sizeof(item.qw));
		vtd_walk_remember(walk, &item);
	}
}

static void walk_dir(struct walk *walk, u64 qw)
{
	enum vtd_fault fault;
	u64 table;

	fault = vtd_decode_dir(&walk->model->hw, qw, &table);
	if (fault)
		vtd_walk_refuse(walk, fault);
	else
		walk_pasid_table(walk, table);
}

static void walk_directory(struct walk *walk, u64 dir)
{
	u64 at = dir + 8 * (walk->pasid / 64), table;
	struct vtd_item *item;
	struct vtd_read read;
	unsigned int i;

	vtd_memory_read(walk->model->machine, at, 1,
			walk->model->hw.ecap & ECAP_C, &read);
	if (!read.nr)
		vtd_walk_refuse(walk, VTD_DIR_ACCESS);

	for (i = 0; i < read.nr; i++) {
		enum vtd_fault fault = vtd_decode_dir(&walk->model->hw, read.qw[i][0],
						      &table);
		struct vtd_item entry = {
			.cache	= VTD_DIR_CACHE,
			.sid	= walk->req->sid,
			.pasid	= walk->pasid / 64,
			.addr	= at,
			.qw	= { read.qw[i][0] },
		};

		if (vtd_walk_cacheable(walk, fault))
			vtd_walk_remember(walk, &entry);
		else
			walk_dir(walk, read.qw[i][0]);
	}

	i = 0;
	while ((item = vtd_walk_recall(walk, VTD_DIR_CACHE, &i))) {
		if (item->addr == at)
			walk_dir(walk, item->qw[0]);
	}
}

/* Section 3.4.3: a PASID entry that is cached is used without a directory. */
static void walk_cached_pasids(struct walk *walk)
{
	struct vtd_item *item;
	unsigned int at = 0;

	while ((item = vtd_walk_recall(walk, VTD_PASID_CACHE, &at))) {
		if (item->sid == walk->req->sid && item->pasid == walk->pasid)
			walk_pasid(walk, item->qw);
	}
}

static enum vtd_fault check_context(const struct walk *walk,
				    const struct vtd_context *context)
{
	if (walk->req->ats && !context->dte)
		return VTD_CONTEXT_DTE;
	if (walk->req->pasid == VTD_NO_PASID)
		return context->rid_pasid < context->pasids ? VTD_OK :
							      VTD_CONTEXT_RID_PASID;
	if (!context->paside)
		return VTD_CONTEXT_PASIDE;
	if (walk->req->pasid >= context->pasids)
		return VTD_CONTEXT_PASID;

	return VTD_OK;
}

/*
 * Section 9.3: one domain ID stands for one translation, as it tags cached
 * entries.
 */
static void check_domain_id(struct walk *walk)
{
	static const enum vtd_cache caches[] = { VTD_IOTLB, VTD_SECOND_TABLES };
	struct vtd_machine *machine = walk->model->machine;
	struct vtd_item *item;
	unsigned int i, at;

	if (caching_mode(walk->model) && !walk->entry.did)
		vtd_report_error(machine, "domain ID 0 is not software's with caching mode");

	for (i = 0; i < ARRAY_SIZE(caches); i++) {
		at = 0;
		while ((item = vtd_walk_recall(walk, caches[i], &at))) {
			if (item->did != walk->entry.did || item->root == walk->root)
				continue;
			vtd_report_error(machine,
					 "domain ID %u is used again, but cached with another table",
					 item->did);
			return;
		}
	}
}

/* Legacy mode: the context entry is what a PASID entry is otherwise. */
static void walk_legacy_context(struct walk *walk, const u64 *qw)
{
	enum vtd_fault fault;
	bool dte;

	fault = vtd_decode_legacy_context(&walk->model->hw, qw, &walk->entry, &dte);
	walk->silent = walk->entry.silent;
	if (!fault && walk->req->ats && !dte)
		fault = VTD_CONTEXT_DTE;
	if (fault) {
		vtd_walk_refuse(walk, fault);
		return;
	}

	walk->pasid = VTD_NO_PASID;
	walk->root = walk->entry.pgtt;
	if (walk->entry.pgtt == VTD_PGTT_SECOND)
		walk->root |= walk->entry.second | walk->entry.second_levels << 4;
	check_domain_id(walk);
	walk_iotlb(walk);
	if (walk->entry.pgtt == VTD_PGTT_SECOND)
		walk_second(walk);
	else
		walk_pass(walk);
}

static void walk_context(struct walk *walk, const u64 *qw)
{
	const struct vtd_request *req = walk->req;
	struct vtd_context context;
	enum vtd_fault fault;

	if (walk->legacy) {
		walk_legacy_context(walk, qw);
		return;
	}

	fault = vtd_decode_context(&walk->model->hw, qw, &context);
	walk->silent = context.silent;
	if (!fault)
		fault = check_context(walk, &context);
	if (fault) {
		vtd_walk_refuse(walk, fault);
		return;
	}

	walk->pasid = req->pasid;
	walk->priv = req->access & VTD_PRIV;
	if (req->pasid == VTD_NO_PASID) {
		walk->pasid = context.rid_pasid;
		walk->priv = context.rid_priv;
	}
	walk_directory(walk, context.dir);
	walk_cached_pasids(walk);
}

/*
 * Section 6.5.3.3: a present entry must not be changed to another one before it
 * is invalidated. Scalable mode's flags are not checked here.
 */
static void check_context_change(struct walk *walk, const struct vtd_item *new)
{
	struct vtd_item *item;
	unsigned int at = 0;

	while ((item = vtd_walk_recall(walk, VTD_CONTEXT_CACHE, &at))) {
		if (item->sid == new->sid && !item->fault &&
		    memcmp(item->qw, new->qw, sizeof(item->qw)))
			vtd_report_error(walk->model->machine,
					 "the context entry of %#x changes while another is cached",
					 item->sid);
	}
}

/* What the cache would hold of a context entry */
static void decode_context(struct walk *walk, const u64 *qw, struct vtd_item *item)
{
	const struct vtd_hw *hw = &walk->model->hw;
	struct vtd_context context;
	struct vtd_pasid entry;
	bool dte;

	*item = (struct vtd_item) {
		.cache	= VTD_CONTEXT_CACHE,
		.sid	= walk->req->sid,
	};
	memcpy(item->qw, qw, (walk->legacy ? 2 : 4) * sizeof(u64));
	if (!walk->legacy) {
		item->fault = vtd_decode_context(hw, qw, &context);
		return;
	}

	item->fault = vtd_decode_legacy_context(hw, qw, &entry, &dte);
	if (item->fault)
		return;
	item->did = entry.did;
	check_context_change(walk, item);
}

/* Section 9.4: 32 bytes a function, of 128; in legacy mode 16, of 256 */
static void walk_context_table(struct walk *walk, u64 table)
{
	u64 at = table + (walk->legacy ? 16 * (walk->req->sid & 0xff) :
					 32 * (walk->req->sid & 0x7f));
	struct vtd_item item;
	struct vtd_read read;
	unsigned int i;

	vtd_memory_read(walk->model->machine, at, walk->legacy ? 2 : 4,
			walk->model->hw.ecap & ECAP_C, &read);
	if (!read.nr)
		vtd_walk_refuse(walk, VTD_CONTEXT_ACCESS);

	for (i = 0; i < read.nr; i++) {
		decode_context(walk, read.qw[i], &item);
		if (vtd_walk_cacheable(walk, item.fault))
			vtd_walk_remember(walk, &item);
		else
			walk_context(walk, read.qw[i]);
	}
}

/*
 * Section 9.2: 16 bytes a bus, the second half for devices from 16 on; one
 * entry in legacy mode
 */
static void walk_root(struct walk *walk)
{
	const struct vtd_hw *hw = &walk->model->hw;
	u64 at = (hw->rtaddr & GENMASK_ULL(63, 12)) + 16 * (walk->req->sid >> 8);
	struct vtd_read read;
	unsigned int i;

	if (!walk->legacy)
		at += 8 * (walk->req->sid >> 7 & 1);
	vtd_memory_read(walk->model->machine, at, walk->legacy ? 2 : 1,
			hw->ecap & ECAP_C, &read);
	if (!read.nr)
		vtd_walk_refuse(walk, VTD_ROOT_ACCESS);

	for (i = 0; i < read.nr; i++) {
		enum vtd_fault fault;
		u64 table;

		fault = walk->legacy ? vtd_decode_legacy_root(hw, read.qw[i], &table) :
				       vtd_decode_root(hw, read.qw[i], &table);
		if (fault)
			vtd_walk_refuse(walk, fault);
		else
			walk_context_table(walk, table);
	}
}

static void walk_cached_contexts(struct walk *walk)
{
	struct vtd_item *item;
	unsigned int at = 0;

	while ((item = vtd_walk_recall(walk, VTD_CONTEXT_CACHE, &at))) {
		if (item->sid == walk->req->sid)
			walk_context(walk, item->qw);
	}
}

/* What the device itself has cached needs no walk: section 4.2.3. */
static void walk_device_tlb(struct walk *walk)
{
	struct vtd_item *item;
	unsigned int at = 0;

	if (!walk->req->ats)
		return;

	walk->priv = walk->req->access & VTD_PRIV;
	while ((item = vtd_walk_recall(walk, VTD_DEVICE_TLB, &at))) {
		if (item->sid == walk->req->sid && item->pasid == walk->req->pasid &&
		    item->first <= walk->req->addr && walk->req->addr <= item->last)
			vtd_walk_use_page(walk, item);
	}
}

/**
 * vtd_walk() - find all possible results of a request
 * @model: the IOMMU
 * @req: the request
 * @speculative: nothing is accessed yet, so A/D are not set
 * @answers: all possible results
 */
void vtd_walk(struct vtd_model *model, const struct vtd_request *req, bool speculative,
	      struct vtd_answers *answers)
{
	struct walk walk = {
		.model = model,
		.req = req,
		.answers = answers,
		.speculative = speculative,
	};

	walk.legacy = vtd_is_legacy(&model->hw);
	answers->nr = 0;
	walk_device_tlb(&walk);
	/* Bits 11:10, TTM: 01 is scalable mode. */
	if (walk.legacy ? req->pasid != VTD_NO_PASID :
			  (model->hw.rtaddr >> 10 & 3) != 1) {
		vtd_walk_refuse(&walk, VTD_ROOT_TABLE_MODE);
		return;
	}

	walk_root(&walk);
	walk_cached_contexts(&walk);
}

/**
 * vtd_translate() - translate through a PASID entry, with empty caches
 * @model: the IOMMU
 * @entry: PASID-table entry, 8 quadwords, which need not be in any table
 * @req: the request, of which @req->addr and @req->access count
 * @answers: all possible results; there is one if page walks snoop
 *
 * Changes neither caches nor memory. For tests that change tables often and
 * without invalidations.
 */
void vtd_translate(struct vtd_model *model, const u64 *entry,
		   const struct vtd_request *req, struct vtd_answers *answers)
{
	struct walk walk = {
		.model = model,
		.req = req,
		.answers = answers,
		.priv = req->access & VTD_PRIV,
		.speculative = true,
		.forgetful = true,
	};

	answers->nr = 0;
	walk_pasid(&walk, entry);
}
