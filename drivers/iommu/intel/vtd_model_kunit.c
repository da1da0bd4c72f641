// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the VT-d model itself, on tables made by hand: every check of
 * an entry, every cache, every descriptor. Cached entries stay until a
 * descriptor covers them; one that just misses them has no effect.
 */

#include <kunit/test.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "vtd_caps.h"
#include "vtd_model.h"

/* Capabilities: everything but memory types and caching mode */
#define CAP_FULL	(CAP_ND_256 | CAP_SAGAW_3 | CAP_SAGAW_4 | CAP_SAGAW_5 | \
			 CAP_MGAW(57) | CAP_SS2M | CAP_SS1G | CAP_PSI | CAP_MAMV(18) | \
			 CAP_FS1GP | CAP_FS5LP)
#define ECAP_FULL	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_NEST | \
			 ECAP_PRS | ECAP_ERS | ECAP_SRS | ECAP_EAFS | ECAP_PASID | \
			 ECAP_SMTS | ECAP_SSADS | ECAP_SSTS | ECAP_FSTS | ECAP_SMPWC | \
			 ECAP_RPS)
#define HAW		46

/* Translation types */
#define FIRST		1
#define SECOND		2
#define NESTED		3
#define PASS		4
/* Those of legacy mode, which has no PASIDs */
#define LEGACY		5	/* TT 00: untranslated requests only */
#define LEGACY_ATS	6	/* TT 01 */
#define LEGACY_PASS	7	/* TT 10 */

/* One device, with a domain for its RID and one for a PASID */
#define SID		0x1234
#define PASID		7
#define RID_DID		5
#define DID		6
#define OTHER_DID	9

/* Mappings of each stage; indices differ at every level */
#define ADDR		0x40c0a07000ULL		/* 4 KiB at PAGE */
#define ADDR_2M		0x40c0c00000ULL		/* 2 MiB at PAGE_2M */
#define ADDR_1G		0x4100000000ULL		/* 1 GiB at PAGE_1G */
#define ADDR_NONE	0x40c0a08000ULL
#define PAGE		0x1234567000ULL
#define PAGE_2M		0x2340000000ULL
#define PAGE_1G		0x3440000000ULL
/* Nested: what the first stage maps to; GUEST is also where its tables are */
#define GUEST		0x0080000000ULL
#define GUEST_PAGE	0x0100003000ULL
#define GUEST_2M	0x0140000000ULL
#define GUEST_1G	0x0180000000ULL

/* Entries that a test changes */
enum slot {
	ROOT, ROOT_HI, CONTEXT, CONTEXT_HI, DIR,
	PASID_0, PASID_1, PASID_2, PASID_3, PASID_7,
	RID_0, RID_2,
	FS5, FS4, FS3, FS2, FS1, FS_2M, FS_1G,
	SS5, SS4, SS3, SS2, SS1, SS_2M, SS_1G,
	NR_SLOTS
};

#define MAX_PAGES	64

struct world {
	struct vtd_machine *machine;
	struct vtd_model *model;
	u64 *slot[NR_SLOTS];
	u64 *pages[MAX_PAGES];
	unsigned int nr_pages;
	u64 *first, *second;		/* the topmost tables */
	unsigned int first_levels, second_levels;
	unsigned int type;
};

static void free_pages_of(void *data)
{
	struct world *w = data;

	while (w->nr_pages)
		free_page((unsigned long)w->pages[--w->nr_pages]);
}

static u64 *new_page(struct kunit *test)
{
	struct world *w = test->priv;
	u64 *page = (u64 *)get_zeroed_page(GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_LT(test, w->nr_pages, MAX_PAGES);
	w->pages[w->nr_pages++] = page;

	return page;
}

static void free_page_of(struct world *w, u64 *page)
{
	unsigned int i;

	for (i = 0; w->pages[i] != page; i++)
		;
	w->pages[i] = w->pages[--w->nr_pages];
	free_page((unsigned long)page);
}

static unsigned int level_shift(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

/* The slot of @level for @addr; allocates missing tables. */
static u64 *second_slot(struct kunit *test, u64 addr, unsigned int level,
			enum slot path)
{
	struct world *w = test->priv;
	unsigned int l = w->second_levels;
	u64 *table = w->second;

	for (;;) {
		u64 *slot = &table[addr >> level_shift(l) & 511];

		if (path != NR_SLOTS)
			w->slot[path + 5 - l] = slot;
		if (l-- == level)
			return slot;
		if (!*slot)
			*slot = virt_to_phys(new_page(test)) | 3;
		table = phys_to_virt(*slot & PAGE_MASK);
	}
}

/* First-stage tables of nested translation are at guest-physical addresses. */
static u64 table_address(struct kunit *test, u64 *page)
{
	struct world *w = test->priv;
	u64 guest = GUEST + (u64)w->nr_pages * SZ_4K;

	if (w->type != NESTED)
		return virt_to_phys(page);

	*second_slot(test, guest, 1, NR_SLOTS) = virt_to_phys(page) | 3;
	return guest;
}

static u64 *table_at(struct kunit *test, u64 addr)
{
	struct world *w = test->priv;

	if (w->type == NESTED)
		addr = *second_slot(test, addr, 1, NR_SLOTS) & PAGE_MASK;

	return phys_to_virt(addr);
}

static u64 *first_slot(struct kunit *test, u64 addr, unsigned int level,
		       enum slot path)
{
	struct world *w = test->priv;
	unsigned int l = w->first_levels;
	u64 *table = w->first;

	for (;;) {
		u64 *slot = &table[addr >> level_shift(l) & 511];

		if (path != NR_SLOTS)
			w->slot[path + 5 - l] = slot;
		if (l-- == level)
			return slot;
		if (!*slot)
			*slot = table_address(test, new_page(test)) | 0x27;
		table = table_at(test, *slot & PAGE_MASK);
	}
}

#define FIRST_LEAF	0x67ULL		/* P, R/W, U/S, A, D */
#define LARGE		BIT_ULL(7)

static void build_first(struct kunit *test)
{
	struct world *w = test->priv;
	bool nested = w->type == NESTED;

	w->first = new_page(test);
	*first_slot(test, ADDR, 1, FS5) = (nested ? GUEST_PAGE : PAGE) | FIRST_LEAF;
	w->slot[FS_2M] = first_slot(test, ADDR_2M, 2, NR_SLOTS);
	*w->slot[FS_2M] = (nested ? GUEST_2M : PAGE_2M) | FIRST_LEAF | LARGE;
	w->slot[FS_1G] = first_slot(test, ADDR_1G, 3, NR_SLOTS);
	*w->slot[FS_1G] = (nested ? GUEST_1G : PAGE_1G) | FIRST_LEAF | LARGE;
}

static void build_second(struct kunit *test)
{
	struct world *w = test->priv;
	bool nested = w->type == NESTED;

	w->second = new_page(test);
	*second_slot(test, nested ? GUEST_PAGE : ADDR, 1, SS5) = PAGE | 3;
	w->slot[SS_2M] = second_slot(test, nested ? GUEST_2M : ADDR_2M, 2, NR_SLOTS);
	*w->slot[SS_2M] = PAGE_2M | 3 | LARGE;
	w->slot[SS_1G] = second_slot(test, nested ? GUEST_1G : ADDR_1G, 3, NR_SLOTS);
	*w->slot[SS_1G] = PAGE_1G | 3 | LARGE;
}

static void set_pasid_entry(struct kunit *test, u64 *e, u64 did, u64 first)
{
	struct world *w = test->priv;

	e[1] = did | BIT_ULL(23);				/* PWSNP */
	if (w->type == FIRST || w->type == NESTED)
		e[2] = first | (u64)(w->first_levels - 4) << 2;
	e[0] = 1 | w->type << 6;
	if (w->type == PASS)
		e[0] |= 3 << 2;					/* the largest */
	else if (w->type != FIRST)
		e[0] |= virt_to_phys(w->second) | (w->second_levels - 2) << 2;
}

static void build_entries(struct kunit *test, u64 rtaddr_page)
{
	struct world *w = test->priv;
	u64 *root = phys_to_virt(rtaddr_page), first = 0;
	u64 *context = new_page(test), *dir = new_page(test), *table = new_page(test);

	if (w->first)
		first = table_address(test, w->first);
	set_pasid_entry(test, &table[8 * PASID], DID, first);
	set_pasid_entry(test, &table[0], RID_DID, first);
	dir[0] = virt_to_phys(table) | 1;

	w->slot[ROOT] = &root[2 * (SID >> 8) + (SID >> 7 & 1)];
	w->slot[CONTEXT] = &context[4 * (SID & 0x7f)];
	w->slot[CONTEXT_HI] = w->slot[CONTEXT] + 1;
	w->slot[DIR] = &dir[0];
	w->slot[PASID_0] = &table[8 * PASID];
	w->slot[PASID_1] = &table[8 * PASID + 1];
	w->slot[PASID_2] = &table[8 * PASID + 2];
	w->slot[PASID_3] = &table[8 * PASID + 3];
	w->slot[PASID_7] = &table[8 * PASID + 7];
	w->slot[RID_0] = &table[0];
	w->slot[RID_2] = &table[2];

	*w->slot[CONTEXT] = virt_to_phys(dir) | BIT(3) | BIT(2) | 1; /* PASIDE DTE P */
	*w->slot[ROOT] = virt_to_phys(context) | 1;
}

/* Section 9.3; the width is the largest for pass-through. */
static void build_legacy_entries(struct kunit *test, u64 *root)
{
	struct world *w = test->priv;
	u64 *context = new_page(test);

	w->slot[ROOT] = &root[2 * (SID >> 8)];
	w->slot[ROOT_HI] = w->slot[ROOT] + 1;
	w->slot[CONTEXT] = &context[2 * (SID & 0xff)];
	w->slot[CONTEXT_HI] = w->slot[CONTEXT] + 1;

	*w->slot[CONTEXT_HI] = DID << 8 | (w->type == LEGACY_PASS ? 3 :
					   w->second_levels - 2);
	*w->slot[CONTEXT] = (w->type - LEGACY) << 2 | 1;
	if (w->second)
		*w->slot[CONTEXT] |= virt_to_phys(w->second);
	*w->slot[ROOT] = virt_to_phys(context) | 1;
}

static bool is_legacy(unsigned int type)
{
	return type >= LEGACY;
}

/* Tables of every kind that translation type @type needs, on full hardware */
static struct world *build(struct kunit *test, unsigned int type, u64 cap, u64 ecap)
{
	struct world *w = test->priv;
	u64 root = virt_to_phys(new_page(test));
	struct vtd_hw hw = {
		.cap = cap,
		.ecap = ecap,
		.haw = HAW,
		.rtaddr = root | (is_legacy(type) ? 0 : 1 << 10),
	};

	w->type = type;
	w->first_levels = w->first_levels ?: 4;
	w->second_levels = w->second_levels ?: 4;
	w->machine = vtd_machine_create(test);
	w->model = vtd_model_add(w->machine, w, &hw);
	vtd_model_add_device(w->model, SID, true);
	w->first = NULL;
	w->second = NULL;
	if (type == SECOND || type == NESTED || type == LEGACY || type == LEGACY_ATS)
		build_second(test);
	if (type == FIRST || type == NESTED)
		build_first(test);
	if (is_legacy(type))
		build_legacy_entries(test, phys_to_virt(root));
	else
		build_entries(test, root);

	return w;
}

static struct vtd_request model_request(u64 addr)
{
	return (struct vtd_request) {
		.sid = SID,
		.pasid = PASID,
		.addr = addr,
		.access = VTD_READ | VTD_WRITE,
	};
}

static void model_expect_page(struct kunit *test, struct world *w, u64 addr, u64 page)
{
	struct vtd_request req = model_request(addr);
	bool ats = !is_legacy(w->type) || w->type == LEGACY_ATS;

	if (!is_legacy(w->type))
		vtd_expect_page(test, w->model, &req, page);
	req.pasid = VTD_NO_PASID;
	vtd_expect_page(test, w->model, &req, page);
	req.ats = ats;
	vtd_expect_page(test, w->model, &req, page);
	if (is_legacy(w->type))
		return;
	req.pasid = PASID;
	vtd_expect_page(test, w->model, &req, page);
}

/* Decoding */

struct type_case {
	const char *name;
	unsigned int type, first_levels, second_levels;
};

static const struct type_case type_cases[] = {
	{ "first stage, 4 levels", FIRST, 4 },
	{ "first stage, 5 levels", FIRST, 5 },
	{ "second stage, 3 levels", SECOND, 0, 3 },
	{ "second stage, 4 levels", SECOND, 0, 4 },
	{ "second stage, 5 levels", SECOND, 0, 5 },
	{ "nested, 4 on 3", NESTED, 4, 3 },
	{ "nested, 4 on 5", NESTED, 4, 5 },
	{ "nested, 5 on 4", NESTED, 5, 4 },
	{ "legacy, 3 levels", LEGACY, 0, 3 },
	{ "legacy, 4 levels", LEGACY, 0, 4 },
	{ "legacy, 5 levels", LEGACY_ATS, 0, 5 },
};

KUNIT_ARRAY_PARAM_DESC(type, type_cases, name);

static struct world *build_type(struct kunit *test)
{
	const struct type_case *c = test->param_value;
	struct world *w = test->priv;

	w->first_levels = c->first_levels;
	w->second_levels = c->second_levels;

	return build(test, c->type, CAP_FULL, ECAP_FULL);
}

static void vtd_model_translates(struct kunit *test)
{
	struct world *w = build_type(test);
	struct vtd_request req;

	model_expect_page(test, w, ADDR, PAGE);
	model_expect_page(test, w, ADDR + 0x123, PAGE + 0x123);
	model_expect_page(test, w, ADDR_2M + 0x12345, PAGE_2M + 0x12345);
	model_expect_page(test, w, ADDR_1G + 0x1234567, PAGE_1G + 0x1234567);
	req = model_request(ADDR_NONE);
	if (is_legacy(w->type))
		req.pasid = VTD_NO_PASID;
	vtd_expect_gone(test, w->model, &req);
	vtd_expect_no_errors(test, w->machine);
}

static void passes_through(struct kunit *test, unsigned int type, enum vtd_fault beyond)
{
	struct world *w = build(test, type, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(BIT_ULL(HAW) - 1);

	model_expect_page(test, w, ADDR + 5, ADDR + 5);
	if (is_legacy(type))
		req.pasid = VTD_NO_PASID;
	vtd_expect_page(test, w->model, &req, BIT_ULL(HAW) - 1);
	req.addr = BIT_ULL(HAW);
	vtd_expect_fault(test, w->model, &req, beyond);
}

static void vtd_model_pass_through(struct kunit *test)
{
	passes_through(test, PASS, VTD_BEYOND);
	passes_through(test, LEGACY_PASS, VTD_LEGACY_BEYOND);
}

struct check {
	const char *name;
	unsigned int type;
	u64 no_cap, no_ecap;		/* capabilities that are missing */
	enum slot slot;
	u64 set, clear;
	enum vtd_fault fault;
	u64 addr;			/* ADDR if 0 */
	unsigned int access;		/* reads if 0 */
	bool rid, ats;
};

#define NOWHERE	GENMASK_ULL(HAW - 1, 12)	/* no memory there */

static const struct check checks[] = {
	{ "root P", FIRST, .slot = ROOT, .clear = 1, .fault = VTD_ROOT_PRESENT },
	{ "root 1", FIRST, .slot = ROOT, .set = 2, .fault = VTD_ROOT_RESERVED },
	{ "root 11", FIRST, .slot = ROOT, .set = BIT(11), .fault = VTD_ROOT_RESERVED },
	{ "root HAW", FIRST, .slot = ROOT, .set = BIT_ULL(HAW),
	  .fault = VTD_ROOT_RESERVED },
	{ "root to nowhere", FIRST, .slot = ROOT, .set = NOWHERE,
	  .fault = VTD_CONTEXT_ACCESS },

	{ "context P", FIRST, .slot = CONTEXT, .clear = 1,
	  .fault = VTD_CONTEXT_PRESENT },
	{ "context 5", FIRST, .slot = CONTEXT, .set = BIT(5),
	  .fault = VTD_CONTEXT_RESERVED },
	{ "context 8", FIRST, .slot = CONTEXT, .set = BIT(8),
	  .fault = VTD_CONTEXT_RESERVED },
	{ "context HAW", FIRST, .slot = CONTEXT, .set = BIT_ULL(HAW),
	  .fault = VTD_CONTEXT_RESERVED },
	{ "context 63", FIRST, .slot = CONTEXT, .set = BIT_ULL(63),
	  .fault = VTD_CONTEXT_RESERVED },
	{ "context 85", FIRST, .slot = CONTEXT_HI, .set = BIT(21),
	  .fault = VTD_CONTEXT_RESERVED },
	{ "DTE without DT", FIRST, .no_ecap = ECAP_DT, .slot = CONTEXT,
	  .fault = VTD_CONTEXT_RESERVED },
	{ "PASIDE without PASID", FIRST, .no_ecap = ECAP_PASID, .slot = CONTEXT,
	  .fault = VTD_CONTEXT_RESERVED },
	{ "PRE", FIRST, .slot = CONTEXT, .set = BIT(4) },
	{ "PRE without PRS", FIRST, .no_ecap = ECAP_PRS, .slot = CONTEXT,
	  .set = BIT(4), .fault = VTD_CONTEXT_RESERVED },
	{ "RID_PRIV without SRS", FIRST, .no_ecap = ECAP_SRS, .slot = CONTEXT_HI,
	  .set = BIT(20), .fault = VTD_CONTEXT_RESERVED },
	{ "RID_PRIV without SRE", FIRST, .slot = CONTEXT_HI, .set = BIT(20),
	  .fault = VTD_PASID_SRE, .rid = true },
	{ "RID_PASID", FIRST, .slot = CONTEXT_HI, .set = 8, .rid = true,
	  .fault = VTD_PASID_PRESENT },
	{ "RID_PASID beyond", FIRST, .slot = CONTEXT_HI, .set = BIT(13), .rid = true,
	  .fault = VTD_CONTEXT_RID_PASID },
	{ "RID_PASID within", FIRST, .slot = CONTEXT_HI, .set = BIT(12), .rid = true,
	  .fault = VTD_DIR_PRESENT },
	{ "RID_PASID without RPS", FIRST, .no_ecap = ECAP_RPS, .slot = CONTEXT_HI,
	  .set = 8, .rid = true },
	{ "no PASIDE", FIRST, .slot = CONTEXT, .clear = BIT(3),
	  .fault = VTD_CONTEXT_PASIDE },
	{ "no PASIDE needed", FIRST, .slot = CONTEXT, .clear = BIT(3), .rid = true },
	{ "no DTE", FIRST, .slot = CONTEXT, .clear = BIT(2), .ats = true,
	  .fault = VTD_CONTEXT_DTE },
	{ "no DTE needed", FIRST, .slot = CONTEXT, .clear = BIT(2) },
	{ "context to nowhere", FIRST, .slot = CONTEXT, .set = NOWHERE,
	  .fault = VTD_DIR_ACCESS },

	{ "directory P", FIRST, .slot = DIR, .clear = 1, .fault = VTD_DIR_PRESENT },
	{ "directory FPD", FIRST, .slot = DIR, .set = BIT(1) },
	{ "directory 2", FIRST, .slot = DIR, .set = BIT(2), .fault = VTD_DIR_RESERVED },
	{ "directory 11", FIRST, .slot = DIR, .set = BIT(11),
	  .fault = VTD_DIR_RESERVED },
	{ "directory HAW", FIRST, .slot = DIR, .set = BIT_ULL(HAW),
	  .fault = VTD_DIR_RESERVED },
	{ "directory to nowhere", FIRST, .slot = DIR, .set = NOWHERE,
	  .fault = VTD_PASID_ACCESS },

	{ "PASID P", FIRST, .slot = PASID_0, .clear = 1, .fault = VTD_PASID_PRESENT },
	{ "PASID 5", FIRST, .slot = PASID_0, .set = BIT(5),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 10", SECOND, .slot = PASID_0, .set = BIT(10),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 11", SECOND, .slot = PASID_0, .set = BIT(11),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID SSPTPTR HAW", SECOND, .slot = PASID_0, .set = BIT_ULL(HAW),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 80", FIRST, .slot = PASID_1, .set = BIT(16),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 86", FIRST, .slot = PASID_1, .set = BIT(22),
	  .fault = VTD_PASID_RESERVED },
	{ "CD without MTS", FIRST, .slot = PASID_1, .set = BIT(25),
	  .fault = VTD_PASID_RESERVED },
	{ "PAT without MTS", FIRST, .slot = PASID_1, .set = BIT_ULL(63),
	  .fault = VTD_PASID_RESERVED },
	{ "PWSNP without SMPWC", FIRST, .no_ecap = ECAP_SMPWC, .slot = PASID_1,
	  .fault = VTD_PASID_RESERVED },
	{ "PGSNP", FIRST, .slot = PASID_1, .set = BIT(24) },
	{ "PGSNP without SC", FIRST, .no_ecap = ECAP_SC, .slot = PASID_1,
	  .set = BIT(24), .fault = VTD_PASID_RESERVED },
	{ "SRE without SRS", FIRST, .no_ecap = ECAP_SRS, .slot = PASID_2, .set = 1,
	  .fault = VTD_PASID_RESERVED },
	{ "WPE without SRS", FIRST, .no_ecap = ECAP_SRS, .slot = PASID_2,
	  .set = BIT(4), .fault = VTD_PASID_RESERVED },
	{ "ERE without ERS", FIRST, .no_ecap = ECAP_ERS, .slot = PASID_2, .set = 2,
	  .fault = VTD_PASID_RESERVED },
	{ "EAFE", FIRST, .slot = PASID_2, .set = BIT(7) },
	{ "EAFE without EAFS", FIRST, .no_ecap = ECAP_EAFS, .slot = PASID_2,
	  .set = BIT(7), .fault = VTD_PASID_RESERVED },
	{ "SSADE", SECOND, .slot = PASID_0, .set = BIT(9) },
	{ "SSADE without SSADS", SECOND, .no_ecap = ECAP_SSADS, .slot = PASID_0,
	  .set = BIT(9), .fault = VTD_PASID_RESERVED },
	{ "PASID 136", FIRST, .slot = PASID_2, .set = BIT(8),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 139", FIRST, .slot = PASID_2, .set = BIT(11),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID FSPTPTR HAW", FIRST, .slot = PASID_2, .set = BIT_ULL(HAW),
	  .fault = VTD_PASID_RESERVED },
	{ "PASID 192", FIRST, .slot = PASID_3, .set = 1, .fault = VTD_PASID_RESERVED },
	{ "PASID 511", FIRST, .slot = PASID_7, .set = BIT_ULL(63),
	  .fault = VTD_PASID_RESERVED },
	{ "PGTT 0", FIRST, .slot = PASID_0, .clear = 7 << 6,
	  .fault = VTD_PASID_INVALID },
	{ "PGTT 5", FIRST, .slot = PASID_0, .set = 4 << 6, .fault = VTD_PASID_INVALID },
	{ "no FSTS", FIRST, .no_ecap = ECAP_FSTS, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "no SSTS", SECOND, .no_ecap = ECAP_SSTS, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "no NEST", NESTED, .no_ecap = ECAP_NEST, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "no PT", PASS, .no_ecap = ECAP_PT, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "FSPM 1 without FS5LP", FIRST, .no_cap = CAP_FS5LP, .slot = PASID_2,
	  .set = BIT(2), .fault = VTD_PASID_INVALID },
	{ "FSPM 2", FIRST, .slot = PASID_2, .set = BIT(3), .fault = VTD_PASID_INVALID },
	{ "AW 0", SECOND, .slot = PASID_0, .clear = 7 << 2, .fault = VTD_PASID_INVALID },
	{ "AW 6", SECOND, .slot = PASID_0, .set = 4 << 2, .fault = VTD_PASID_INVALID },
	{ "AW not in SAGAW", SECOND, .no_cap = CAP_SAGAW_4, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "AW not in SAGAW, nested", NESTED, .no_cap = CAP_SAGAW_4, .slot = PASID_0,
	  .fault = VTD_PASID_INVALID },
	{ "AW not the largest, pass-through", PASS, .slot = PASID_0, .clear = 1 << 2,
	  .fault = VTD_PASID_INVALID },
	{ "AW does not matter, first stage", FIRST, .slot = PASID_0, .set = 2 << 2 },
	{ "supervisor without SRE", FIRST, .slot = PASID_0,
	  .access = VTD_READ | VTD_PRIV, .fault = VTD_PASID_SRE },
	{ "supervisor", FIRST, .slot = PASID_2, .set = 1,
	  .access = VTD_READ | VTD_PRIV },
	{ "execute without ERE", FIRST, .slot = PASID_0, .access = VTD_EXEC,
	  .fault = VTD_PASID_ERE },
	{ "execute", FIRST, .slot = PASID_2, .set = 2, .access = VTD_EXEC },

	{ "not canonical", FIRST, .slot = PASID_0, .addr = BIT_ULL(47),
	  .fault = VTD_CANONICAL },
	{ "canonical, upper half", FIRST, .slot = PASID_0, .addr = ~0ULL << 47,
	  .fault = VTD_FIRST_PRESENT },
	{ "FSPTPTR to nowhere", FIRST, .slot = PASID_2, .set = NOWHERE,
	  .fault = VTD_FIRST_ROOT },
	{ "first P 4", FIRST, .slot = FS4, .clear = 1, .fault = VTD_FIRST_PRESENT },
	{ "first P 3", FIRST, .slot = FS3, .clear = 1, .fault = VTD_FIRST_PRESENT },
	{ "first P 2", FIRST, .slot = FS2, .clear = 1, .fault = VTD_FIRST_PRESENT },
	{ "first P 1", FIRST, .slot = FS1, .clear = 1, .fault = VTD_FIRST_PRESENT },
	{ "first PS 4", FIRST, .slot = FS4, .set = LARGE, .fault = VTD_FIRST_RESERVED },
	{ "first HAW 4", FIRST, .slot = FS4, .set = BIT_ULL(HAW),
	  .fault = VTD_FIRST_RESERVED },
	{ "first HAW 1", FIRST, .slot = FS1, .set = BIT_ULL(HAW),
	  .fault = VTD_FIRST_RESERVED },
	{ "first 51", FIRST, .slot = FS2, .set = BIT_ULL(51),
	  .fault = VTD_FIRST_RESERVED },
	{ "first ignored bits", FIRST, .slot = FS1, .set = GENMASK_ULL(62, 52) | 7 << 9 },
	{ "first to nowhere", FIRST, .slot = FS3, .set = NOWHERE,
	  .fault = VTD_FIRST_ACCESS },
	{ "first 2M 13", FIRST, .slot = FS_2M, .set = BIT(13), .addr = ADDR_2M,
	  .fault = VTD_FIRST_RESERVED },
	{ "first 2M PAT", FIRST, .slot = FS_2M, .set = BIT(12), .addr = ADDR_2M },
	{ "first 1G 29", FIRST, .slot = FS_1G, .set = BIT(29), .addr = ADDR_1G,
	  .fault = VTD_FIRST_RESERVED },
	{ "first 1G without FS1GP", FIRST, .no_cap = CAP_FS1GP, .slot = FS_1G,
	  .addr = ADDR_1G, .fault = VTD_FIRST_RESERVED },
	{ "first read-only 1", FIRST, .slot = FS1, .clear = 2, .access = VTD_WRITE,
	  .fault = VTD_WRITE_RIGHT },
	{ "first read-only 4", FIRST, .slot = FS4, .clear = 2, .access = VTD_WRITE,
	  .fault = VTD_WRITE_RIGHT },
	{ "first read-only, read", FIRST, .slot = FS4, .clear = 2 },
	{ "first supervisor 1", FIRST, .slot = FS1, .clear = 4, .fault = VTD_USER },
	{ "first supervisor 3", FIRST, .slot = FS3, .clear = 4, .fault = VTD_USER },
	{ "first interrupt range", FIRST, .slot = FS1, .set = 0xfee01000,
	  .clear = PAGE, .fault = VTD_INTERRUPT },

	{ "second beyond AW", SECOND, .slot = PASID_0, .addr = BIT_ULL(48),
	  .fault = VTD_BEYOND },
	{ "second within AW", SECOND, .slot = PASID_0, .addr = BIT_ULL(48) - 1,
	  .fault = VTD_SECOND_RIGHTS },
	{ "SSPTPTR to nowhere", SECOND, .slot = PASID_0, .set = NOWHERE,
	  .fault = VTD_SECOND_ROOT },
	{ "second not present 4", SECOND, .slot = SS4, .clear = 3,
	  .fault = VTD_SECOND_RIGHTS },
	{ "second not present 1", SECOND, .slot = SS1, .clear = 3,
	  .fault = VTD_SECOND_RIGHTS },
	{ "second write-only, read", SECOND, .slot = SS1, .clear = 1,
	  .fault = VTD_SECOND_RIGHTS },
	{ "second write-only, write", SECOND, .slot = SS1, .clear = 1,
	  .access = VTD_WRITE },
	{ "second read-only 2", SECOND, .slot = SS2, .clear = 2, .access = VTD_WRITE,
	  .fault = VTD_SECOND_RIGHTS },
	{ "second PS 4", SECOND, .slot = SS4, .set = LARGE,
	  .fault = VTD_SECOND_RESERVED },
	{ "second HAW", SECOND, .slot = SS2, .set = BIT_ULL(HAW),
	  .fault = VTD_SECOND_RESERVED },
	{ "second SNP", SECOND, .slot = SS1, .set = BIT(11) },
	{ "second SNP without SC", SECOND, .no_ecap = ECAP_SC, .slot = SS1,
	  .set = BIT(11), .fault = VTD_SECOND_RESERVED },
	{ "second 2M 12", SECOND, .slot = SS_2M, .set = BIT(12), .addr = ADDR_2M,
	  .fault = VTD_SECOND_RESERVED },
	{ "second 2M without SSLPS", SECOND, .no_cap = CAP_SS2M, .slot = SS_2M,
	  .addr = ADDR_2M, .fault = VTD_SECOND_RESERVED },
	{ "second 1G 29", SECOND, .slot = SS_1G, .set = BIT(29), .addr = ADDR_1G,
	  .fault = VTD_SECOND_RESERVED },
	{ "second 1G without SSLPS", SECOND, .no_cap = CAP_SS1G, .slot = SS_1G,
	  .addr = ADDR_1G, .fault = VTD_SECOND_RESERVED },
	{ "second to nowhere", SECOND, .slot = SS3, .set = NOWHERE,
	  .fault = VTD_SECOND_ACCESS },

	{ "nested root beyond AW", NESTED, .slot = PASID_2, .set = BIT_ULL(50),
	  .fault = VTD_FIRST_WIDTH },
	{ "nested root not mapped", NESTED, .slot = PASID_2, .set = BIT_ULL(40),
	  .fault = VTD_FIRST_ROOT_READ },
	{ "nested table not mapped", NESTED, .slot = FS4, .set = BIT_ULL(40),
	  .fault = VTD_FIRST_READ },
	{ "nested page not mapped", NESTED, .slot = FS1, .set = BIT_ULL(40),
	  .fault = VTD_SECOND_RIGHTS },
	{ "nested page beyond AW", NESTED, .slot = FS1, .set = BIT_ULL(48),
	  .fault = VTD_FIRST_RESERVED },
	{ "nested page read-only", NESTED, .slot = SS1, .clear = 2,
	  .access = VTD_WRITE, .fault = VTD_SECOND_RIGHTS },
	{ "nested page read-only, first", NESTED, .slot = FS2, .clear = 2,
	  .access = VTD_WRITE, .fault = VTD_WRITE_RIGHT },

	{ "legacy root P", LEGACY, .slot = ROOT, .clear = 1, .rid = true,
	  .fault = VTD_LEGACY_ROOT_PRESENT },
	{ "legacy root 1", LEGACY, .slot = ROOT, .set = 2, .rid = true,
	  .fault = VTD_LEGACY_ROOT_RESERVED },
	{ "legacy root 11", LEGACY, .slot = ROOT, .set = BIT(11), .rid = true,
	  .fault = VTD_LEGACY_ROOT_RESERVED },
	{ "legacy root HAW", LEGACY, .slot = ROOT, .set = BIT_ULL(HAW), .rid = true,
	  .fault = VTD_LEGACY_ROOT_RESERVED },
	{ "legacy root 64", LEGACY, .slot = ROOT_HI, .set = 1, .rid = true,
	  .fault = VTD_LEGACY_ROOT_RESERVED },
	{ "legacy root to nowhere", LEGACY, .slot = ROOT, .set = NOWHERE, .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_ACCESS },
	{ "legacy context P", LEGACY, .slot = CONTEXT, .clear = 1, .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_PRESENT },
	{ "legacy context FPD", LEGACY, .slot = CONTEXT, .set = BIT(1), .rid = true },
	{ "legacy context 4", LEGACY, .slot = CONTEXT, .set = BIT(4), .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy context 11", LEGACY, .slot = CONTEXT, .set = BIT(11), .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy context HAW", LEGACY, .slot = CONTEXT, .set = BIT_ULL(HAW),
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy context 67", LEGACY, .slot = CONTEXT_HI, .set = BIT(3), .rid = true },
	{ "legacy context 70", LEGACY, .slot = CONTEXT_HI, .set = BIT(6), .rid = true },
	{ "legacy context 71", LEGACY, .slot = CONTEXT_HI, .set = BIT(7), .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy context 88", LEGACY, .slot = CONTEXT_HI, .set = BIT(24), .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy context 127", LEGACY, .slot = CONTEXT_HI, .set = BIT_ULL(63),
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy domain ID beyond ND", LEGACY, .slot = CONTEXT_HI, .set = BIT(16),
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy TT 11", LEGACY, .slot = CONTEXT, .set = 3 << 2, .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy TT 01 without DT", LEGACY_ATS, .no_ecap = ECAP_DT, .slot = CONTEXT,
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy TT 10 without PT", LEGACY_PASS, .no_ecap = ECAP_PT, .slot = CONTEXT,
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy AW 0", LEGACY, .slot = CONTEXT_HI, .clear = 2, .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy AW 6", LEGACY, .slot = CONTEXT_HI, .set = 4, .rid = true,
	  .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy AW not in SAGAW", LEGACY, .no_cap = CAP_SAGAW_4, .slot = CONTEXT,
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy AW of pass-through", LEGACY_PASS, .slot = CONTEXT_HI, .clear = 1,
	  .rid = true, .fault = VTD_LEGACY_CONTEXT_INVALID },
	{ "legacy pass-through, address", LEGACY_PASS, .slot = CONTEXT,
	  .set = BIT_ULL(63), .rid = true },
	{ "legacy pass-through, bit 11", LEGACY_PASS, .slot = CONTEXT,
	  .set = BIT(11), .rid = true, .fault = VTD_LEGACY_CONTEXT_RESERVED },
	{ "legacy TT 00, translation request", LEGACY, .slot = CONTEXT, .rid = true,
	  .ats = true, .fault = VTD_LEGACY_TRANSLATION },
	{ "legacy TT 01, translation request", LEGACY_ATS, .slot = CONTEXT,
	  .rid = true, .ats = true },
	{ "legacy TT 10, translation request", LEGACY_PASS, .slot = CONTEXT,
	  .rid = true, .ats = true, .fault = VTD_LEGACY_TRANSLATION },
	{ "legacy, with PASID", LEGACY, .slot = CONTEXT, .fault = VTD_ROOT_TABLE_MODE },
	{ "legacy context to nowhere", LEGACY, .slot = CONTEXT, .set = NOWHERE,
	  .rid = true, .fault = VTD_LEGACY_TABLE_ACCESS },
	{ "legacy table to nowhere", LEGACY, .slot = SS2, .set = NOWHERE,
	  .rid = true, .fault = VTD_LEGACY_TABLE_ACCESS },
	{ "legacy entry HAW", LEGACY, .slot = SS1, .set = BIT_ULL(HAW), .rid = true,
	  .fault = VTD_LEGACY_TABLE_RESERVED },
	{ "legacy SNP without SC", LEGACY, .no_ecap = ECAP_SC, .slot = SS1,
	  .set = BIT(11), .rid = true, .fault = VTD_LEGACY_TABLE_RESERVED },
	{ "legacy, not readable", LEGACY, .slot = SS1, .clear = 1, .rid = true,
	  .fault = VTD_LEGACY_READ },
	{ "legacy, not writable", LEGACY, .slot = SS3, .clear = 2, .rid = true,
	  .access = VTD_WRITE, .fault = VTD_LEGACY_WRITE },
	{ "legacy, beyond AW", LEGACY, .slot = CONTEXT, .addr = BIT_ULL(48),
	  .rid = true, .fault = VTD_LEGACY_BEYOND },
	{ "legacy, interrupts", LEGACY, .slot = SS1, .set = 0xfee00000,
	  .clear = PAGE, .rid = true, .fault = VTD_LEGACY_INTERRUPT },
};

KUNIT_ARRAY_PARAM_DESC(check, checks, name);

static void vtd_model_checks(struct kunit *test)
{
	const struct check *c = test->param_value;
	struct world *w = build(test, c->type, CAP_FULL & ~c->no_cap,
				ECAP_FULL & ~c->no_ecap);
	u64 *slot = w->slot[c->slot];
	struct vtd_request req = {
		.sid = SID,
		.pasid = c->rid ? VTD_NO_PASID : PASID,
		.addr = c->addr ?: ADDR,
		.access = c->access ?: VTD_READ,
		.ats = c->ats,
	};
	struct vtd_answers answers;

	*slot = (*slot & ~c->clear) | c->set;
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_EQ(test, 1, answers.nr);
	KUNIT_EXPECT_EQ(test, (unsigned int)c->fault,
			(unsigned int)answers.answer[0].fault);
}

/* FPD in any entry of the path keeps a fault from being reported. */
static void vtd_model_fault_disabled(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;

	*w->slot[PASID_0] &= ~1ULL;
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_FALSE(test, answers.answer[0].silent);
	*w->slot[PASID_0] |= BIT(1);
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_EQ(test, 1, answers.nr);
	KUNIT_EXPECT_TRUE(test, answers.answer[0].silent);
	*w->slot[PASID_0] &= ~BIT(1);
	*w->slot[CONTEXT] |= BIT(1);
	vtd_submitted(w->machine, w, (u64[4]) { 0x11 }, 1);
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_TRUE(test, answers.answer[0].silent);
}

/* Supervisors may write to read-only pages unless WPE is set. */
static void vtd_model_write_protect(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);

	req.access |= VTD_PRIV;
	*w->slot[PASID_2] |= 1;			/* SRE */
	*w->slot[FS1] &= ~2ULL;
	vtd_expect_page(test, w->model, &req, PAGE);

	w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	*w->slot[PASID_2] |= 1 | BIT(4);	/* WPE */
	*w->slot[FS1] &= ~2ULL;
	vtd_expect_fault(test, w->model, &req, VTD_WRITE_RIGHT);
}

/* Accessed and Dirty */
static void vtd_model_accessed(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);

	*w->slot[FS1] &= ~0x60ULL;
	*w->slot[FS3] &= ~0x20ULL;
	req.access = VTD_READ;
	vtd_expect_page(test, w->model, &req, PAGE);
	KUNIT_EXPECT_EQ(test, 0x20, *w->slot[FS1] & 0x60);
	KUNIT_EXPECT_EQ(test, 0x20, *w->slot[FS3] & 0x60);
	req.access = VTD_WRITE;
	vtd_expect_page(test, w->model, &req, PAGE);
	KUNIT_EXPECT_EQ(test, 0x60, *w->slot[FS1] & 0x60);

	w = build(test, SECOND, CAP_FULL, ECAP_FULL);
	vtd_expect_page(test, w->model, &req, PAGE);
	KUNIT_EXPECT_EQ(test, 0, *w->slot[SS1] & 0x300);
	*w->slot[PASID_0] |= BIT(9);		/* SSADE */
	vtd_submitted(w->machine, w, (u64[4]) { 0x37 }, 1);
	vtd_expect_page(test, w->model, &req, PAGE);
	KUNIT_EXPECT_EQ(test, 0x300, *w->slot[SS1] & 0x300);
	KUNIT_EXPECT_EQ(test, 0x100, *w->slot[SS4] & 0x300);
}

/* Without snooping A/D cannot be updated. */
static void vtd_model_accessed_no_snoop(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;
	unsigned int i;

	*w->slot[PASID_1] &= ~BIT_ULL(23);
	*w->slot[FS1] &= ~0x40ULL;
	for (i = 0; i < w->nr_pages; i++)
		vtd_written_back(w->machine, w->pages[i], PAGE_SIZE);
	vtd_expect_fault(test, w->model, &req, VTD_FIRST_AD);
	req.access = VTD_READ;
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_FALSE(test, !!answers.answer[0].fault);
}

/* Caches and invalidation */

#define CC_GLOBAL		{ 0x11 }
#define CC_DEVICE(sid)		{ 0x31 | (u64)(sid) << 32 }
/* Legacy mode: also by domain ID */
#define LCC_DOMAIN(did)		{ 0x21 | (did) << 16 }
#define LCC_DEVICE(did, sid)	LCC_MASKED(did, sid, 0)
#define LCC_MASKED(did, sid, fm) \
				{ 0x31 | (did) << 16 | (u64)(sid) << 32 | (u64)(fm) << 48 }
#define CC_MASKED(sid, fm)	{ 0x31 | (u64)(sid) << 32 | (u64)(fm) << 48 }
#define PC_DOMAIN(did)		{ 0x07 | (did) << 16 }
#define PC_PASID(did, pasid)	{ 0x17 | (did) << 16 | (u64)(pasid) << 32 }
#define PC_GLOBAL		{ 0x37 }
#define TLB_GLOBAL		{ 0x12 }
#define TLB_DOMAIN(did)		{ 0x22 | (did) << 16 }
#define TLB_PAGES(did, page)	{ 0x32 | (did) << 16, (page) }
#define PTLB_PASID(did, pasid)	{ 0x26 | (did) << 16 | (u64)(pasid) << 32 }
#define PTLB_PAGES(did, pasid, page) \
				{ 0x36 | (did) << 16 | (u64)(pasid) << 32, (page) }
#define DTLB(sid, page)		{ 0x03 | (u64)(sid) << 32, (page) }
#define PDTLB(sid, pasid, page)	{ 0x08 | (sid) << 16 | (u64)(pasid) << 32, (page) }
#define WAIT			{ 0x25 | 1ULL << 32, 0x1000 }
#define IH			BIT(6)
#define DTLB_ALL		(GENMASK_ULL(62, 12) | 1)
#define PDTLB_ALL		(GENMASK_ULL(62, 12) | BIT(11))
#define GLOBAL			BIT(0)
#define NEXT_PAGE(addr)		((addr) ^ SZ_4K)

#define MAX_STEPS	12

/*
 * Memory changes, and only the descriptors in @covers remove the cached
 * entries.
 */
struct cached {
	const char *name;
	unsigned int type;
	enum slot slot;
	u64 set, clear;
	u64 addr;			/* ADDR if 0 */
	bool rid, ats;
	bool global;			/* the device's TLB takes that bit */
	u64 misses[MAX_STEPS][4];
	u64 covers[4][4];		/* each of them does */
	/* executed before and after each, to clear other caches */
	u64 also[4][4];
};

static const struct cached cached[] = {
	{ "context", FIRST, CONTEXT, .clear = 1,
	  .misses = { CC_DEVICE(SID + 1), CC_DEVICE(SID + 8), CC_MASKED(SID + 8, 3),
		      CC_MASKED(SID ^ 4, 0), PC_GLOBAL, TLB_GLOBAL,
		      PDTLB(SID, PASID, PDTLB_ALL), WAIT },
	  .covers = { CC_GLOBAL, CC_DEVICE(SID), CC_MASKED(SID ^ 4, 1),
		      CC_MASKED(SID ^ 7, 3) } },
	{ "PASID entry", FIRST, PASID_0, .clear = 1,
	  .misses = { PC_PASID(DID, 0), PC_PASID(OTHER_DID, PASID),
		      PC_PASID(DID, PASID + 64), PC_DOMAIN(RID_DID), CC_GLOBAL,
		      TLB_GLOBAL, PTLB_PASID(DID, PASID), WAIT },
	  .covers = { PC_GLOBAL, PC_DOMAIN(DID), PC_PASID(DID, PASID) } },
	{ "PASID entry of the RID", FIRST, RID_0, .clear = 1, .rid = true,
	  .misses = { PC_PASID(RID_DID, PASID), PC_PASID(DID, 0), PC_DOMAIN(DID) },
	  .covers = { PC_GLOBAL, PC_DOMAIN(RID_DID), PC_PASID(RID_DID, 0) } },
	{ "PASID entry, second stage", SECOND, PASID_0, .clear = 1,
	  .misses = { PC_PASID(RID_DID, PASID), TLB_DOMAIN(DID) },
	  .covers = { PC_PASID(DID, PASID) } },
	{ "directory entry", FIRST, DIR, .clear = 1,
	  .misses = { PC_PASID(DID, PASID + 64), TLB_GLOBAL },
	  .covers = { PC_GLOBAL }, .also = { PC_GLOBAL } },
	{ "first-stage page", FIRST, FS1, .clear = 1,
	  .misses = { PTLB_PAGES(DID, PASID, NEXT_PAGE(ADDR)),
		      PTLB_PAGES(DID, PASID, ADDR + SZ_4K),
		      PTLB_PAGES(DID, 0, ADDR), PTLB_PAGES(RID_DID, PASID, ADDR),
		      PTLB_PASID(DID, 0), PTLB_PASID(OTHER_DID, PASID),
		      TLB_DOMAIN(OTHER_DID), TLB_PAGES(DID, ADDR), CC_GLOBAL,
		      PC_GLOBAL, PDTLB(SID, PASID, PDTLB_ALL), WAIT },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR | IH), PTLB_PASID(DID, PASID),
		      PTLB_PAGES(DID, PASID, (ADDR & ~0x1fffULL) | 1),
		      TLB_DOMAIN(DID) } },
	{ "first-stage page of the RID", FIRST, FS1, .clear = 1, .rid = true,
	  .misses = { PTLB_PAGES(RID_DID, PASID, ADDR), PTLB_PASID(DID, 0) },
	  .covers = { PTLB_PAGES(RID_DID, 0, ADDR | IH), TLB_GLOBAL,
		      PTLB_PASID(RID_DID, 0), TLB_DOMAIN(RID_DID) } },
	{ "part of a large page", FIRST, FS_2M, .clear = 1, .addr = ADDR_2M + SZ_64K,
	  .misses = { PTLB_PAGES(DID, PASID, ADDR_2M + SZ_64K),
		      PTLB_PAGES(DID, PASID, ADDR_2M | 5),
		      PTLB_PAGES(DID, PASID, ADDR_2M | 8),
		      PTLB_PAGES(DID, PASID, (ADDR_2M + SZ_1M) | 8),
		      PTLB_PAGES(DID, PASID, (ADDR_2M + SZ_2M) | 9) },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR_2M | 9),
		      PTLB_PAGES(DID, PASID, (ADDR_2M & ~(SZ_4M - 1ULL)) | 10) } },
	{ "device TLB, part of a large page", FIRST, FS_2M, .clear = 1,
	  .addr = ADDR_2M + SZ_64K, .ats = true,
	  .misses = { PDTLB(SID, PASID, ADDR_2M + SZ_64K),
		      PDTLB(SID, PASID, ADDR_2M | (SZ_512K - SZ_4K) | BIT(11)) },
	  .covers = { PDTLB(SID, PASID, PDTLB_ALL),
		      PDTLB(SID, PASID, ADDR_2M | (SZ_1M - SZ_4K) | BIT(11)) },
	  .also = { TLB_GLOBAL } },
	{ "first-stage table", FIRST, FS2, .clear = 1,
	  .misses = { PTLB_PAGES(DID, PASID, ADDR | IH),
		      PTLB_PAGES(DID, PASID, ADDR + SZ_4M),
		      PTLB_PAGES(DID, 0, ADDR), PTLB_PASID(DID, 0),
		      TLB_PAGES(DID, ADDR), PC_GLOBAL },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR), PTLB_PASID(DID, PASID),
		      TLB_DOMAIN(DID), TLB_GLOBAL } },
	{ "topmost first-stage table's entry", FIRST, FS4, .clear = 1,
	  .misses = { PTLB_PAGES(DID, PASID, ADDR | IH) },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR) } },
	{ "second-stage page", SECOND, SS1, .clear = 3,
	  .misses = { TLB_PAGES(DID, NEXT_PAGE(ADDR)), TLB_PAGES(RID_DID, ADDR),
		      PTLB_PASID(DID, PASID), PTLB_PAGES(DID, PASID, ADDR),
		      TLB_DOMAIN(RID_DID), PC_GLOBAL, WAIT },
	  .covers = { TLB_PAGES(DID, ADDR | IH), TLB_DOMAIN(DID), TLB_GLOBAL,
		      TLB_PAGES(DID, (ADDR & ~0x1fffULL) | 1) } },
	{ "second-stage table", SECOND, SS2, .clear = 3,
	  .misses = { TLB_PAGES(DID, ADDR | IH), TLB_PAGES(DID, ADDR + SZ_4M),
		      PTLB_PASID(DID, PASID), TLB_DOMAIN(RID_DID) },
	  .covers = { TLB_PAGES(DID, ADDR), TLB_DOMAIN(DID), TLB_GLOBAL } },
	{ "nested page, first stage", NESTED, FS1, .clear = 1,
	  .misses = { PTLB_PAGES(DID, PASID, NEXT_PAGE(ADDR)),
		      PTLB_PAGES(RID_DID, PASID, ADDR), PTLB_PASID(DID, 0),
		      TLB_PAGES(OTHER_DID, GUEST_PAGE) },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR | IH), PTLB_PASID(DID, PASID),
		      TLB_DOMAIN(DID), TLB_PAGES(DID, 0) } },
	{ "nested table, first stage", NESTED, FS2, .clear = 1,
	  .misses = { PTLB_PAGES(DID, PASID, ADDR | IH) },
	  .covers = { PTLB_PAGES(DID, PASID, ADDR), PTLB_PASID(DID, PASID) } },
	{ "nested page, second stage", NESTED, SS1, .clear = 3,
	  .misses = { PTLB_PAGES(DID, PASID, NEXT_PAGE(ADDR)),
		      TLB_PAGES(OTHER_DID, GUEST_PAGE) },
	  .covers = { TLB_PAGES(DID, GUEST_PAGE | IH), TLB_DOMAIN(DID) } },
	{ "nested table, second stage", NESTED, SS2, .clear = 3,
	  .misses = { PTLB_PASID(DID, PASID), PTLB_PAGES(DID, PASID, ADDR),
		      TLB_PAGES(DID, GUEST_PAGE | IH) },
	  .covers = { TLB_PAGES(DID, GUEST_PAGE), TLB_DOMAIN(DID), TLB_GLOBAL } },
	{ "device TLB", FIRST, FS1, .clear = 1, .rid = true, .ats = true,
	  .misses = { TLB_GLOBAL, PDTLB(SID, 0, PDTLB_ALL), DTLB(SID, ADDR + SZ_4K),
		      DTLB(SID, (ADDR + SZ_4K) | 1) },
	  .covers = { DTLB(SID, ADDR), DTLB(SID, (ADDR & ~0x1fffULL) | 1),
		      DTLB(SID, DTLB_ALL) }, .also = { TLB_GLOBAL } },
	{ "device TLB with PASID", FIRST, FS1, .clear = 1, .ats = true,
	  .misses = { TLB_GLOBAL, DTLB(SID, DTLB_ALL),
		      PDTLB(SID, PASID + 1, PDTLB_ALL),
		      PDTLB(SID, PASID + 1, PDTLB_ALL | GLOBAL),
		      PDTLB(SID, PASID, ADDR + SZ_4K) },
	  .covers = { PDTLB(SID, PASID, ADDR), PDTLB(SID, PASID, PDTLB_ALL),
		      PDTLB(SID, PASID, (ADDR & ~0x3fffULL) | BIT(12) | BIT(11)) },
	  .also = { TLB_GLOBAL } },
	{ "device TLB, all PASIDs", FIRST, FS1, .clear = 1, .ats = true, .global = true,
	  .misses = { TLB_GLOBAL, DTLB(SID, DTLB_ALL), PDTLB(SID, PASID + 1, PDTLB_ALL),
		      PDTLB(SID, 0, (ADDR + SZ_4K) | GLOBAL) },
	  .covers = { PDTLB(SID, 0, ADDR | GLOBAL), PDTLB(SID, 0, PDTLB_ALL | GLOBAL) },
	  .also = { TLB_GLOBAL } },
	{ "device TLB, not of all PASIDs", FIRST, FS1, .clear = 1, .rid = true, .ats = true,
	  .global = true,
	  .misses = { TLB_GLOBAL, PDTLB(SID, 0, PDTLB_ALL | GLOBAL) },
	  .covers = { DTLB(SID, ADDR) }, .also = { TLB_GLOBAL } },
	/* Otherwise the device TLB is refilled from the IOTLB. */
	{ "device TLB before IOTLB", FIRST, FS1, .clear = 1, .ats = true,
	  .misses = { PDTLB(SID, PASID, PDTLB_ALL), PTLB_PASID(DID, PASID) },
	  .covers = { PDTLB(SID, PASID, PDTLB_ALL) } },
	/* Otherwise it is refilled from the PASID cache. */
	{ "IOTLB before PASID cache", FIRST, PASID_0, .clear = 1, .ats = true,
	  .misses = { PTLB_PASID(DID, PASID), PDTLB(SID, PASID, PDTLB_ALL),
		      PC_PASID(DID, PASID), PTLB_PASID(DID, PASID) },
	  .covers = { PDTLB(SID, PASID, PDTLB_ALL) } },

	{ "legacy context", LEGACY, CONTEXT, .clear = 1, .rid = true,
	  .misses = { LCC_DEVICE(OTHER_DID, SID), LCC_DEVICE(DID, SID + 1),
		      LCC_DEVICE(0, SID), LCC_DOMAIN(OTHER_DID), TLB_GLOBAL,
		      TLB_DOMAIN(DID), DTLB(SID, DTLB_ALL), WAIT },
	  .covers = { CC_GLOBAL, LCC_DOMAIN(DID), LCC_DEVICE(DID, SID),
		      LCC_MASKED(DID, SID ^ 7, 3) } },
	{ "legacy pass-through", LEGACY_PASS, CONTEXT, .clear = 1, .rid = true,
	  .misses = { LCC_DEVICE(OTHER_DID, SID), TLB_DOMAIN(DID) },
	  .covers = { LCC_DEVICE(DID, SID), LCC_DOMAIN(DID) } },
	{ "legacy page", LEGACY, SS1, .clear = 3, .rid = true,
	  .misses = { TLB_PAGES(DID, NEXT_PAGE(ADDR)), TLB_PAGES(OTHER_DID, ADDR),
		      TLB_DOMAIN(OTHER_DID), CC_GLOBAL, LCC_DOMAIN(DID), WAIT },
	  .covers = { TLB_PAGES(DID, ADDR | IH), TLB_DOMAIN(DID), TLB_GLOBAL,
		      TLB_PAGES(DID, (ADDR & ~0x1fffULL) | 1) } },
	{ "legacy table", LEGACY, SS2, .clear = 3, .rid = true,
	  .misses = { TLB_PAGES(DID, ADDR | IH), TLB_PAGES(DID, ADDR + SZ_4M),
		      TLB_DOMAIN(OTHER_DID), CC_GLOBAL },
	  .covers = { TLB_PAGES(DID, ADDR), TLB_DOMAIN(DID), TLB_GLOBAL } },
	{ "legacy device TLB", LEGACY_ATS, SS1, .clear = 3, .rid = true, .ats = true,
	  .misses = { TLB_GLOBAL, DTLB(SID, ADDR + SZ_4K) },
	  .covers = { DTLB(SID, ADDR), DTLB(SID, DTLB_ALL) },
	  .also = { TLB_GLOBAL } },
};

KUNIT_ARRAY_PARAM_DESC(cached, cached, name);

static struct vtd_request cached_request(const struct cached *c)
{
	struct vtd_request req = model_request(c->addr ?: ADDR);

	req.access = VTD_READ;
	req.ats = c->ats;
	if (c->rid)
		req.pasid = VTD_NO_PASID;

	return req;
}

/* Fill the caches, then change the entry. Returns what is cached. */
static u64 make_stale(struct kunit *test, struct world *w, const struct cached *c)
{
	u64 page = c->addr ? PAGE_2M + (c->addr - ADDR_2M) :
		   c->type == LEGACY_PASS ? ADDR : PAGE;
	struct vtd_request req = cached_request(c);

	if (!c->ats) {
		/* an IOMMU without device TLBs in the way */
		vtd_expect_page(test, w->model, &req, page);
	} else {
		if (c->global)
			vtd_model_set_global(w->model, SID);
		vtd_model_watch(w->model, SID, req.pasid, req.addr);
		vtd_expect_page(test, w->model, &req, page);
	}
	*w->slot[c->slot] = (*w->slot[c->slot] & ~c->clear) | c->set;
	vtd_stored(w->machine);
	vtd_expect_stale(test, w->model, &req, page);

	return page;
}

static void vtd_model_caches(struct kunit *test)
{
	const struct cached *c = test->param_value;
	struct vtd_request req = cached_request(c);
	unsigned int i;

	struct world *w = build(test, c->type, CAP_FULL, ECAP_FULL);
	u64 page = make_stale(test, w, c);

	for (i = 0; i < MAX_STEPS && c->misses[i][0]; i++) {
		vtd_submitted(w->machine, w, c->misses[i], 1);
		vtd_expect_stale(test, w->model, &req, page);
	}
	vtd_expect_no_errors(test, w->machine);
}

/* Each cover is sufficient, together with clearing the other caches. */
static void vtd_model_invalidates(struct kunit *test)
{
	const struct cached *c = test->param_value;
	struct vtd_request req = cached_request(c);
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(c->covers) && c->covers[i][0]; i++) {
		struct world *w = build(test, c->type, CAP_FULL, ECAP_FULL);

		make_stale(test, w, c);
		for (j = 0; j < ARRAY_SIZE(c->also) && c->also[j][0]; j++)
			vtd_submitted(w->machine, w, c->also[j], 1);
		/* in order, if that is tested */
		for (j = 0; c->ats && j < MAX_STEPS && c->misses[j][0]; j++)
			vtd_submitted(w->machine, w, c->misses[j], 1);
		vtd_submitted(w->machine, w, c->covers[i], 1);
		vtd_expect_gone(test, w->model, &req);
		vtd_expect_no_errors(test, w->machine);
		vtd_model_unwatch(w->model);
	}
	KUNIT_EXPECT_GT(test, i, 0);
}

/* A changed page is one of two until it is invalidated. */
static void vtd_model_old_or_new(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	u64 new = PAGE ^ SZ_64K;

	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[FS1] ^= SZ_64K;
	vtd_expect_stale(test, w->model, &req, PAGE);
	vtd_expect_stale(test, w->model, &req, new);
	vtd_submitted(w->machine, w, (u64[4])PTLB_PAGES(DID, PASID, ADDR | IH), 1);
	vtd_expect_page(test, w->model, &req, new);
}

/* Two PASIDs with one domain ID share cached second-stage translations. */
static void vtd_model_domain_id_shared(struct kunit *test)
{
	struct world *w = build(test, SECOND, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);

	*w->slot[PASID_1] ^= DID ^ RID_DID;
	vtd_expect_page(test, w->model, &req, PAGE);
	/* the RID gets tables of its own, but no domain ID */
	*w->slot[RID_0] = (*w->slot[RID_0] & ~PAGE_MASK) | virt_to_phys(new_page(test));
	req.pasid = VTD_NO_PASID;
	vtd_expect_stale(test, w->model, &req, PAGE);
}

/*
 * Caching mode: entries that are not present are cached, except in the first
 * stage.
 */
struct cm_case {
	const char *name;
	unsigned int type;
	enum slot slot;
	u64 bit;
	bool cached;
	u64 covers[4];
};

static const struct cm_case cm_cases[] = {
	{ "context", FIRST, CONTEXT, 1, true, CC_DEVICE(SID) },
	{ "directory", FIRST, DIR, 1, true, PC_PASID(DID, PASID) },
	{ "PASID entry", FIRST, PASID_0, 1, true, PC_PASID(DID, PASID) },
	{ "first stage", FIRST, FS1, 1, false },
	{ "second stage", SECOND, SS1, 3, true, TLB_PAGES(DID, ADDR) },
	{ "legacy context", LEGACY, CONTEXT, 1, true, LCC_DEVICE(0, SID) },
	{ "legacy context, all without domain", LEGACY, CONTEXT, 1, true, LCC_DOMAIN(0) },
	{ "legacy page", LEGACY, SS1, 3, true, TLB_PAGES(DID, ADDR | IH) },
	{ "legacy table", LEGACY, SS2, 3, true, TLB_DOMAIN(DID) },
	{ "nested, second stage", NESTED, SS1, 3, true, TLB_PAGES(DID, GUEST_PAGE) },
};

KUNIT_ARRAY_PARAM_DESC(cm, cm_cases, name);

static void vtd_model_caching_mode(struct kunit *test)
{
	const struct cm_case *c = test->param_value;
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;
	struct world *w;

	if (is_legacy(c->type))
		req.pasid = VTD_NO_PASID;
	w = build(test, c->type, CAP_FULL | CAP_CM, ECAP_FULL);
	*w->slot[c->slot] &= ~c->bit;
	vtd_expect_gone(test, w->model, &req);
	*w->slot[c->slot] |= c->bit;
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_EQ(test, c->cached ? 2 : 1, answers.nr);
	vtd_expect_stale(test, w->model, &req, PAGE);
	if (c->cached)
		vtd_submitted(w->machine, w, c->covers, 1);
	vtd_expect_page(test, w->model, &req, PAGE);
	vtd_expect_no_errors(test, w->machine);

	/* without, nothing is remembered */
	w = build(test, c->type, CAP_FULL, ECAP_FULL);
	*w->slot[c->slot] &= ~c->bit;
	vtd_expect_gone(test, w->model, &req);
	*w->slot[c->slot] |= c->bit;
	vtd_expect_page(test, w->model, &req, PAGE);
}

/* Descriptors that stop the queue */

struct wrong {
	const char *name;
	u64 desc[4];
	u64 no_cap, no_ecap;
	bool legacy;
};

#define AM(n)	(n)

static const struct wrong wrongs[] = {
	{ "type 0", { 0x0 } },
	{ "type 10", { 0xa } },
	{ "type 15", { 0xf } },
	{ "context, granularity 0", { 0x01 } },
	{ "context, domain in scalable mode", { 0x21 } },
	{ "context, bit 6", { 0x51 | 0x20 } },
	{ "context, bit 50", { 0x11 | BIT_ULL(50) } },
	{ "context, bit 64", { 0x11, 1 } },
	{ "PASID cache, granularity 2", { 0x27 } },
	{ "PASID cache, bit 6", { 0x37 | BIT(6) } },
	{ "PASID cache, bit 52", { 0x37 | BIT_ULL(52) } },
	{ "PASID cache, bit 64", { 0x37, 1 } },
	{ "PASID cache, domain ID", PC_DOMAIN(256) },
	{ "IOTLB, granularity 0", { 0x02 } },
	{ "IOTLB, bit 8", { 0x12 | BIT(8) } },
	{ "IOTLB, bit 32", { 0x12 | BIT_ULL(32) } },
	{ "IOTLB, bit 71", TLB_PAGES(DID, BIT(7)) },
	{ "IOTLB, domain ID", TLB_DOMAIN(256) },
	{ "IOTLB, beyond MAMV", TLB_PAGES(DID, AM(19)) },
	{ "IOTLB, not aligned", TLB_PAGES(DID, SZ_4K | AM(1)) },
	{ "IOTLB, pages without PSI", TLB_PAGES(DID, 0), .no_cap = CAP_PSI },
	{ "PASID IOTLB, granularity 0", { 0x06 } },
	{ "PASID IOTLB, granularity 1", { 0x16 } },
	{ "PASID IOTLB, bit 6", { 0x26 | BIT(6) } },
	{ "PASID IOTLB, bit 52", { 0x26 | BIT_ULL(52) } },
	{ "PASID IOTLB, an address without pages", { 0x26, SZ_4K } },
	{ "PASID IOTLB, bit 71", PTLB_PAGES(DID, PASID, BIT(7)) },
	{ "PASID IOTLB, beyond MAMV", PTLB_PAGES(DID, PASID, AM(19)) },
	{ "PASID IOTLB, AM 52", PTLB_PAGES(DID, PASID, AM(52)) },
	{ "PASID IOTLB, not aligned", PTLB_PAGES(DID, PASID, SZ_8K | AM(2)) },
	{ "PASID IOTLB, domain ID", PTLB_PASID(256, PASID) },
	{ "PASID IOTLB, bit 128", { 0x26, 0, 1 } },
	{ "PASID IOTLB, bit 255", { 0x26, 0, 0, BIT_ULL(63) } },
	{ "device TLB, bit 4", { 0x13 | (u64)SID << 32 } },
	{ "device TLB, bit 21", { 0x03 | BIT(21) | (u64)SID << 32 } },
	{ "device TLB, bit 48", { 0x03 | BIT_ULL(48) | (u64)SID << 32 } },
	{ "device TLB, bit 65", DTLB(SID, 2) },
	{ "device TLB, no such device", DTLB(SID + 1, 0) },
	{ "device TLB without DT", DTLB(SID, 0), .no_ecap = ECAP_DT },
	{ "PASID device TLB, bit 9", { 0x08 | BIT(9) | SID << 16 } },
	{ "PASID device TLB, bit 65", PDTLB(SID, PASID, 2) },
	{ "PASID device TLB, bit 74", PDTLB(SID, PASID, BIT(10)) },
	{ "PASID device TLB, no such device", PDTLB(SID + 1, PASID, 0) },
	{ "PASID device TLB without PASID", PDTLB(SID, PASID, 0),
	  .no_ecap = ECAP_PASID },
	{ "wait, bit 8", { 0x05 | BIT(8) } },
	{ "wait, bit 64", { 0x05, 1 } },
	{ "legacy, context, granularity 0", { 0x01 }, .legacy = true },
	{ "legacy, context, domain ID", LCC_DOMAIN(256), .legacy = true },
	{ "legacy, context, domain ID of a device", LCC_DEVICE(256, SID), .legacy = true },
	{ "legacy, PASID cache", PC_GLOBAL, .legacy = true },
	{ "legacy, PASID IOTLB", PTLB_PASID(DID, PASID), .legacy = true },
	{ "legacy, PASID device TLB", PDTLB(SID, PASID, 0), .legacy = true },
};

KUNIT_ARRAY_PARAM_DESC(wrong, wrongs, name);

static void vtd_model_wrong_descriptors(struct kunit *test)
{
	const struct wrong *c = test->param_value;
	struct world *w = build(test, c->legacy ? LEGACY_PASS : PASS,
				CAP_FULL & ~c->no_cap, ECAP_FULL & ~c->no_ecap);
	u64 both[8] = { 0x12 };

	/* in any place */
	memcpy(&both[4], c->desc, sizeof(c->desc));
	vtd_submitted(w->machine, w, both, 2);
	KUNIT_EXPECT_EQ(test, 1, vtd_errors(w->machine));
	vtd_submitted(w->machine, w, both, 1);
	vtd_expect_no_errors(test, w->machine);

	vtd_submitted(w->machine, test, both, 1);
	KUNIT_EXPECT_EQ(test, 1, vtd_errors(w->machine));
}

/* Memory */

static void write_all_back(struct world *w)
{
	unsigned int i;

	for (i = 0; i < w->nr_pages; i++)
		vtd_written_back(w->machine, w->pages[i], PAGE_SIZE);
}

/* A store may or may not have reached memory. */
static void vtd_model_not_coherent(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL & ~ECAP_C);
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;

	/* never written back: may be garbage, at every step */
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_GT(test, answers.nr, 2);
	vtd_expect_stale(test, w->model, &req, PAGE);

	w = build(test, FIRST, CAP_FULL, ECAP_FULL & ~ECAP_C);
	write_all_back(w);
	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[PASID_0] &= ~1ULL;
	vtd_submitted(w->machine, w, (u64[4])PC_GLOBAL, 1);
	vtd_submitted(w->machine, w, (u64[4])TLB_GLOBAL, 1);
	vtd_expect_stale(test, w->model, &req, PAGE);
	vtd_written_back(w->machine, w->slot[PASID_0], 1);
	vtd_expect_stale(test, w->model, &req, PAGE);
	vtd_submitted(w->machine, w, (u64[4])PC_GLOBAL, 1);
	vtd_expect_fault(test, w->model, &req, VTD_PASID_PRESENT);
}

/* Paging structures are snooped if PWSNP is set, whatever C is. */
static void vtd_model_page_walk_snoop(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;

	*w->slot[PASID_1] &= ~BIT_ULL(23);
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_EQ(test, 2, answers.nr);

	w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	*w->slot[PASID_1] &= ~BIT_ULL(23);
	write_all_back(w);
	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[FS1] &= ~1ULL;
	vtd_submitted(w->machine, w, (u64[4])TLB_GLOBAL, 1);
	vtd_expect_stale(test, w->model, &req, PAGE);
	vtd_written_back(w->machine, w->slot[FS1], 8);
	vtd_submitted(w->machine, w, (u64[4])TLB_GLOBAL, 1);
	vtd_expect_fault(test, w->model, &req, VTD_FIRST_PRESENT);
}

/* Lines are written back as a whole, and no others with them. */
static void vtd_model_cache_lines(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL & ~ECAP_C);
	struct vtd_request req = model_request(ADDR);

	write_all_back(w);
	*w->slot[PASID_0] |= BIT(5);		/* reserved */
	*w->slot[RID_0] |= BIT(5);
	vtd_written_back(w->machine, w->slot[PASID_7], 8);
	vtd_expect_fault(test, w->model, &req, VTD_PASID_RESERVED);
	req.pasid = VTD_NO_PASID;
	vtd_expect_stale(test, w->model, &req, PAGE);
}

/* A table must be invalidated before it is freed. */
static void vtd_model_freed_table(struct kunit *test)
{
	struct world *w = build(test, SECOND, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;
	u64 *table;

	vtd_expect_page(test, w->model, &req, PAGE);
	table = phys_to_virt(*w->slot[SS2] & PAGE_MASK);
	*w->slot[SS2] = 0;
	req.addr += SZ_4K;
	vtd_ask(w->model, &req, &answers);
	vtd_expect_no_errors(test, w->machine);

	free_page_of(w, table);
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_LT(test, 0, vtd_errors(w->machine));
	vtd_submitted(w->machine, w, (u64[4])TLB_GLOBAL, 1);
	vtd_expect_gone(test, w->model, &req);
	vtd_expect_no_errors(test, w->machine);
}

/* What software must not do in legacy mode */

static struct vtd_request legacy_request(void)
{
	struct vtd_request req = model_request(ADDR);

	req.pasid = VTD_NO_PASID;
	return req;
}

static void expect_error(struct kunit *test, struct world *w,
			 const struct vtd_request *req)
{
	struct vtd_answers answers;

	vtd_ask(w->model, req, &answers);
	KUNIT_EXPECT_LT(test, 0, vtd_errors(w->machine));
}

/*
 * A present context entry changes to another one: invalidate the old one first.
 */
static void vtd_model_legacy_context_changes(struct kunit *test)
{
	struct world *w = build(test, LEGACY, CAP_FULL, ECAP_FULL);
	struct vtd_request req = legacy_request();
	u64 was = *w->slot[CONTEXT];

	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[CONTEXT] = was | 1 << 2;
	expect_error(test, w, &req);

	w = build(test, LEGACY, CAP_FULL, ECAP_FULL);
	was = *w->slot[CONTEXT];
	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[CONTEXT] = was & ~1ULL;
	vtd_stored(w->machine);
	vtd_submitted(w->machine, w, (u64[4])LCC_DEVICE(DID, SID), 1);
	*w->slot[CONTEXT] = was | 1 << 2;
	vtd_expect_page(test, w->model, &req, PAGE);
	vtd_expect_no_errors(test, w->machine);
}

/*
 * The same domain ID with another table, while the first one's pages are cached
 */
static void vtd_model_legacy_domain_id(struct kunit *test)
{
	struct world *w = build(test, LEGACY, CAP_FULL, ECAP_FULL);
	struct vtd_request req = legacy_request();
	u64 other = virt_to_phys(new_page(test));

	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[CONTEXT] &= ~1ULL;
	vtd_submitted(w->machine, w, (u64[4])LCC_DEVICE(DID, SID), 1);
	vtd_expect_no_errors(test, w->machine);
	*w->slot[CONTEXT] = other | 1;
	expect_error(test, w, &req);

	/* page-selective with IH: cached tables stay */
	vtd_submitted(w->machine, w, (u64[4])TLB_PAGES(DID, ADDR | IH), 1);
	expect_error(test, w, &req);
	vtd_submitted(w->machine, w, (u64[4])TLB_DOMAIN(DID), 1);
	vtd_errors(w->machine);
	vtd_expect_fault(test, w->model, &req, VTD_LEGACY_WRITE);
	vtd_expect_no_errors(test, w->machine);
}

/* With caching mode, domain ID 0 is hardware's. */
static void vtd_model_legacy_domain_id_0(struct kunit *test)
{
	struct world *w = build(test, LEGACY, CAP_FULL, ECAP_FULL);
	struct vtd_request req = legacy_request();

	*w->slot[CONTEXT_HI] &= ~0xff00ULL;
	vtd_expect_page(test, w->model, &req, PAGE);
	vtd_expect_no_errors(test, w->machine);

	w = build(test, LEGACY, CAP_FULL | CAP_CM, ECAP_FULL);
	*w->slot[CONTEXT_HI] &= ~0xff00ULL;
	expect_error(test, w, &req);
}

/* Pages freed below a context entry, and without coherency */
static void vtd_model_legacy_memory(struct kunit *test)
{
	struct world *w = build(test, LEGACY, CAP_FULL, ECAP_FULL);
	struct vtd_request req = legacy_request();
	struct vtd_answers answers;
	u64 *table;

	vtd_expect_page(test, w->model, &req, PAGE);
	table = phys_to_virt(*w->slot[SS2] & PAGE_MASK);
	*w->slot[SS2] = 0;
	free_page_of(w, table);
	expect_error(test, w, &req);
	vtd_submitted(w->machine, w, (u64[4])TLB_DOMAIN(DID), 1);
	vtd_errors(w->machine);
	vtd_expect_gone(test, w->model, &req);
	vtd_expect_no_errors(test, w->machine);

	w = build(test, LEGACY, CAP_FULL, ECAP_FULL & ~ECAP_C);
	write_all_back(w);
	vtd_expect_page(test, w->model, &req, PAGE);
	*w->slot[SS1] = 0;
	vtd_submitted(w->machine, w, (u64[4])TLB_DOMAIN(DID), 1);
	vtd_expect_stale(test, w->model, &req, PAGE);
	vtd_written_back(w->machine, w->slot[SS1], 8);
	vtd_submitted(w->machine, w, (u64[4])TLB_DOMAIN(DID), 1);
	vtd_expect_fault(test, w->model, &req, VTD_LEGACY_WRITE);
	*w->slot[CONTEXT] &= ~1ULL;
	vtd_submitted(w->machine, w, (u64[4])LCC_DEVICE(DID, SID), 1);
	vtd_ask(w->model, &req, &answers);
	KUNIT_EXPECT_EQ(test, 2, answers.nr);
	vtd_written_back(w->machine, w->slot[CONTEXT], 16);
	vtd_submitted(w->machine, w, (u64[4])LCC_DEVICE(DID, SID), 1);
	vtd_expect_fault(test, w->model, &req, VTD_LEGACY_CONTEXT_PRESENT);
}

/* Devices see states that exist only between two stores. */
struct seen {
	struct world *w;
	unsigned int calls, present;
};

static void look(struct vtd_machine *machine, void *data)
{
	struct vtd_request req = model_request(ADDR);
	struct vtd_answers answers;
	struct seen *seen = data;
	unsigned int i;

	vtd_ask(seen->w->model, &req, &answers);
	seen->calls++;
	for (i = 0; i < answers.nr; i++)
		seen->present += !answers.answer[i].fault;
}

static void vtd_model_between_stores(struct kunit *test)
{
	struct world *w = build(test, FIRST, CAP_FULL, ECAP_FULL);
	struct vtd_request req = model_request(ADDR);
	struct seen seen = { w };
	u64 entry = *w->slot[PASID_0];

	*w->slot[PASID_0] = 0;
	vtd_model_watch(w->model, SID, PASID, ADDR);
	vtd_machine_between(w->machine, look, &seen);
	*w->slot[PASID_0] = entry;
	vtd_stored(w->machine);
	*w->slot[PASID_0] = 0;
	vtd_stored(w->machine);
	vtd_machine_between(w->machine, NULL, NULL);
	KUNIT_EXPECT_EQ(test, 2, seen.calls);
	KUNIT_EXPECT_EQ(test, 2, seen.present);
	/* cached meanwhile */
	vtd_expect_stale(test, w->model, &req, PAGE);
}

static int vtd_model_test_init(struct kunit *test)
{
	struct world *w = kunit_kzalloc(test, sizeof(*w), GFP_KERNEL);

	if (!w)
		return -ENOMEM;
	test->priv = w;

	return kunit_add_action_or_reset(test, free_pages_of, w);
}

static struct kunit_case vtd_model_test_cases[] = {
	KUNIT_CASE_PARAM(vtd_model_translates, type_gen_params),
	KUNIT_CASE(vtd_model_pass_through),
	KUNIT_CASE_PARAM(vtd_model_checks, check_gen_params),
	KUNIT_CASE(vtd_model_fault_disabled),
	KUNIT_CASE(vtd_model_write_protect),
	KUNIT_CASE(vtd_model_accessed),
	KUNIT_CASE(vtd_model_accessed_no_snoop),
	KUNIT_CASE_PARAM(vtd_model_caches, cached_gen_params),
	KUNIT_CASE_PARAM(vtd_model_invalidates, cached_gen_params),
	KUNIT_CASE(vtd_model_old_or_new),
	KUNIT_CASE(vtd_model_domain_id_shared),
	KUNIT_CASE_PARAM(vtd_model_caching_mode, cm_gen_params),
	KUNIT_CASE_PARAM(vtd_model_wrong_descriptors, wrong_gen_params),
	KUNIT_CASE(vtd_model_not_coherent),
	KUNIT_CASE(vtd_model_page_walk_snoop),
	KUNIT_CASE(vtd_model_cache_lines),
	KUNIT_CASE(vtd_model_freed_table),
	KUNIT_CASE(vtd_model_legacy_context_changes),
	KUNIT_CASE(vtd_model_legacy_domain_id),
	KUNIT_CASE(vtd_model_legacy_domain_id_0),
	KUNIT_CASE(vtd_model_legacy_memory),
	KUNIT_CASE(vtd_model_between_stores),
	{}
};

static struct kunit_suite vtd_model_test_suite = {
	.name = "intel-iommu-vtd-model",
	.init = vtd_model_test_init,
	.test_cases = vtd_model_test_cases,
};

kunit_test_suite(vtd_model_test_suite);
