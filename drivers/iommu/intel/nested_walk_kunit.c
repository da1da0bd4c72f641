// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of nested_walk(), which finds out where a nested translation
 * stops.
 *
 * The guest is a pool of pages, any of which serves as a table of any level.
 * The second level is built by hand, so that it can have entries that the
 * driver never makes. The VT-d model returns the fault that hardware would
 * report for a request. It determines the level, the address and the missing
 * access that nested_walk() has to find.
 *
 * Parameters, as nested_walk_kunit.seed=: the seed of the random test, which
 * prints the one that it takes, and the number of its cases.
 */

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iommu-gpasid.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/set_memory.h>
#include <linux/sizes.h>
#include <uapi/linux/iommufd.h>

#include "iommu.h"
#include "nested_walk.h"
#include "pgtable.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#undef MODULE_PARAM_PREFIX
#define MODULE_PARAM_PREFIX "nested_walk_kunit."

static unsigned long long seed;
module_param(seed, ullong, 0444);
MODULE_PARM_DESC(seed, "Seed of the random test; 0 takes a new one");

#define DEFAULT_CASES	(IS_ENABLED(CONFIG_KASAN) ? 50000 : 500000)
static unsigned int cases = DEFAULT_CASES;
module_param(cases, uint, 0444);
MODULE_PARM_DESC(cases, "Cases of the random test");

#define CAP_WALK	(CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(57) | CAP_SS2M | CAP_SS1G | \
			 CAP_PSI | CAP_MAMV(18) | CAP_FS5LP)
#define ECAP_WALK	(ECAP_C | ECAP_QI | ECAP_PT | ECAP_SC | ECAP_NEST | ECAP_SRS | \
			 ECAP_EAFS | ECAP_PASID | ECAP_SMTS | ECAP_SSTS | ECAP_FSTS | \
			 ECAP_SMPWC)

#define PERM_R		IOMMU_FAULT_PERM_READ
#define PERM_W		IOMMU_FAULT_PERM_WRITE
#define PERM_X		IOMMU_FAULT_PERM_EXEC
#define PERM_S		IOMMU_FAULT_PERM_PRIV
#define PERM_RW		(PERM_R | PERM_W)

/* An entry of the guest, section 9.7 */
#define G_P		BIT_ULL(0)
#define G_W		BIT_ULL(1)
#define G_U		BIT_ULL(2)
#define G_A		BIT_ULL(5)
#define G_D		BIT_ULL(6)
#define G_PS		BIT_ULL(7)
#define G_EA		BIT_ULL(10)
#define G_GOOD		(G_P | G_W | G_U | G_A | G_D)
/* and of the host, section 9.8 */
#define H_R		BIT_ULL(0)
#define H_W		BIT_ULL(1)
#define H_RW		(H_R | H_W)
#define H_PS		BIT_ULL(7)

#define MAX_LEVELS	5
#define MIN_LEVELS	3	/* of the second level */
#define NOWHERE		(70ULL * SZ_1G)		/* host address without memory */
#define INTERRUPTS	0xfee00000ULL
#define MAX_LOADS	35

/* IOMMUs with different features that affect a guest's entries */
static const struct {
	u64 cap;
	u8 haw;
	bool has_1g;
} hardware[] = {
	{ CAP_WALK | CAP_FS1GP, 46, true },
	{ CAP_WALK, 40, false },
};

struct walk_test {
	struct vtd_fake fake;
	struct vtd_model *models[ARRAY_SIZE(hardware)];
	unsigned int hw;
	struct dmar_domain *parent, *domain;
	unsigned int second_levels;
	struct page *block;			/* 2 MiB of host memory for the guest */
	u64 *second[MAX_LEVELS + 1][2];		/* tables of the second level, by level */
	u64 *pages[MAX_LEVELS + 1];		/* second[][0] below the topmost */
	struct vtd_pt *tables[MAX_LEVELS + 1];	/* by their number of levels */
	struct rnd_state rnd;
	struct iopf_stop last;			/* the result of nested_walk() */
	unsigned int wrong;
};

static unsigned int nth_index(u64 addr, unsigned int level)
{
	return addr >> (3 + 9 * level) & 511;
}

static u64 reach(unsigned int level)
{
	return 1ULL << (3 + 9 * level);
}

/* The page of the guest's memory that is the @n-th of the block */
static u64 block_hpa(struct walk_test *ctx, unsigned int n)
{
	return page_to_phys(ctx->block) + n * SZ_4K;
}

static u64 *block_page(struct walk_test *ctx, unsigned int n)
{
	return page_address(ctx->block) + n * SZ_4K;
}

static void free_block(void *data)
{
	struct page *block = data;
	unsigned int i;

	for (i = 0; i < 512; i++)
		__free_page(block + i);
}

/* The result of hardware */

static void walk_pasid_entry(struct walk_test *ctx, u64 *qw)
{
	const struct dmar_domain *domain = ctx->domain;
	u32 flags = domain->s1_cfg.flags;

	memset(qw, 0, 64);
	qw[0] = 1 | (ctx->second_levels - 2) << 2 | 3 << 6 | vtd_pt_sl_root(ctx->parent->pgtable);
	qw[1] = 1 | BIT_ULL(23);		/* DID, PWSNP */
	qw[2] = domain->s1_pgtbl;
	if (flags & IOMMU_VTD_S1_SRE)
		qw[2] |= BIT_ULL(0);
	if (domain->s1_cfg.addr_width == 57)
		qw[2] |= BIT_ULL(2);
	if (flags & IOMMU_VTD_S1_WPE)
		qw[2] |= BIT_ULL(4);
	if (flags & IOMMU_VTD_S1_EAFE)
		qw[2] |= BIT_ULL(7);
}

static struct vtd_answer hardware_says(struct kunit *test, u64 addr, unsigned int access)
{
	struct vtd_request req = { .addr = addr, .access = access };
	struct walk_test *ctx = test->priv;
	struct vtd_answers answers;
	u64 qw[8];

	walk_pasid_entry(ctx, qw);
	vtd_translate(ctx->models[ctx->hw], qw, &req, &answers);
	KUNIT_ASSERT_EQ(test, 1, answers.nr);

	return answers.answer[0];
}

/* Derive the expected result from hardware's fault for one kind of access */
static struct iopf_stop stop_of(struct kunit *test, const struct vtd_answer *answer,
				u64 addr, u32 perm)
{
	u64 page = addr & PAGE_MASK, gpa = answer->gpa & PAGE_MASK;

	switch (answer->fault) {
	case VTD_OK:
		return (struct iopf_stop) { .level = IOPF_LEVEL_NONE };
	case VTD_CANONICAL:
	case VTD_FIRST_PRESENT:
	case VTD_FIRST_RESERVED:
	case VTD_USER:
	case VTD_WRITE_RIGHT:
	case VTD_FIRST_AD:
		return (struct iopf_stop) { IOPF_LEVEL_1, page, perm };
	case VTD_FIRST_WIDTH:
	case VTD_FIRST_ROOT_READ:
	case VTD_FIRST_READ:
		return (struct iopf_stop) { IOPF_LEVEL_2, gpa, PERM_R };
	case VTD_FIRST_WRITE:
		return (struct iopf_stop) { IOPF_LEVEL_2, gpa, PERM_W };
	case VTD_SECOND_RIGHTS:
	case VTD_NESTED_BEYOND:
		return (struct iopf_stop) { IOPF_LEVEL_2, gpa, perm };
	case VTD_PASID_SRE:
	case VTD_PASID_ERE:
	case VTD_FIRST_ROOT:
	case VTD_FIRST_ACCESS:
	case VTD_INTERRUPT:
		return (struct iopf_stop) { .level = IOPF_LEVEL_REFUSED };
	default:
		KUNIT_FAIL(test, "fault %x", answer->fault);
		return (struct iopf_stop) { .level = IOPF_LEVEL_REFUSED };
	}
}

/*
 * A page request may be for both accesses, a request that hardware translates
 * is for one. The stop of the combined request is the earlier one of the two.
 * An interrupt address is found only after all other checks.
 */
static struct iopf_stop both(const struct iopf_stop *read, const struct iopf_stop *write,
			     const struct vtd_answer *write_answer)
{
	struct iopf_stop stop = *write;

	if (write->level == IOPF_LEVEL_NONE || write_answer->fault == VTD_INTERRUPT)
		return *read;
	if (read->level == write->level && read->addr == write->addr)
		stop.perm |= read->perm;

	return stop;
}

static struct iopf_stop expected(struct kunit *test, u64 addr, u32 perm,
				 enum vtd_fault *fault)
{
	unsigned int access = (perm & PERM_S ? VTD_PRIV : 0) | (perm & PERM_X ? VTD_EXEC : 0);
	struct vtd_answer answer[2];
	struct iopf_stop stop[2];

	if (!(perm & PERM_RW))
		perm |= PERM_R;
	answer[0] = hardware_says(test, addr, access | VTD_READ);
	stop[0] = stop_of(test, &answer[0], addr, PERM_R);
	*fault = answer[0].fault;
	if (!(perm & PERM_W))
		return stop[0];

	answer[1] = hardware_says(test, addr, access | VTD_WRITE);
	stop[1] = stop_of(test, &answer[1], addr, PERM_W);
	*fault = answer[1].fault;
	if (!(perm & PERM_R))
		return stop[1];

	return both(&stop[0], &stop[1], &answer[1]);
}

/* Compare walk and model for each access. Returns the fault of hardware. */
static enum vtd_fault check_walk(struct kunit *test, u64 addr, u32 perm, unsigned int *loads)
{
	struct walk_test *ctx = test->priv;
	struct iopf_stop want, got;
	enum vtd_fault fault;

	want = expected(test, addr, perm, &fault);
	memset(&got, 0xff, sizeof(got));
	*loads = nested_walk(ctx->domain, addr, perm, &got);
	ctx->last = got;
	if (got.level == want.level && got.addr == want.addr && got.perm == want.perm &&
	    *loads <= MAX_LOADS)
		return fault;

	if (ctx->wrong++ < 10)
		kunit_err(test, "%llx, perm %x, fault %x: level %u %llx %x, not %u %llx %x (%u loads)",
			  addr, perm, fault, got.level, got.addr, got.perm, want.level,
			  want.addr, want.perm, *loads);
	return fault;
}

/* A guest and a host whose tables allow everything */

#define WALK_VA		0x123456789000ULL
#define GPA_TABLES	(3ULL * SZ_1G)	/* guest address of the table of level 0, 1, ... */
#define GPA_PAGE	(GPA_TABLES + SZ_2M + 7 * SZ_4K)

static u64 gpa_table(unsigned int level)
{
	return GPA_TABLES + level * SZ_4K;
}

/* The guest's entry for WALK_VA at @level */
static u64 *guest_entry(struct walk_test *ctx, unsigned int level)
{
	return &block_page(ctx, level)[nth_index(WALK_VA, level)];
}

/*
 * The second level's entry for @gpa at @level; GPA_PAGE has its own last table.
 */
static u64 *host_entry(struct walk_test *ctx, u64 gpa, unsigned int level)
{
	return &ctx->second[level][level == 1 && gpa >= GPA_TABLES + SZ_2M][nth_index(gpa, level)];
}

static void set_levels(struct walk_test *ctx, unsigned int first, unsigned int second)
{
	unsigned int level;

	ctx->domain->s1_cfg.addr_width = first == 5 ? 57 : 48;
	ctx->second_levels = second;
	ctx->parent->pgtable = ctx->tables[second];
	for (level = MIN_LEVELS; level <= MAX_LEVELS; level++)
		ctx->second[level][0] = level == second ?
			phys_to_virt(vtd_pt_sl_root(ctx->parent->pgtable)) : ctx->pages[level];
}

static void set_hardware(struct walk_test *ctx, unsigned int hw)
{
	ctx->hw = hw;
	ctx->domain->s1_haw = hardware[hw].haw;
	ctx->domain->s1_1g = hardware[hw].has_1g;
}

static void build_good(struct walk_test *ctx, unsigned int first, unsigned int second)
{
	unsigned int i, level;

	for (i = 0; i < 512; i++)
		clear_page(block_page(ctx, i));
	set_hardware(ctx, 0);
	set_levels(ctx, first, second);
	for (level = 1; level <= MAX_LEVELS; level++) {
		clear_page(ctx->second[level][0]);
		clear_page(ctx->second[level][1]);
	}

	ctx->domain->s1_cfg.flags = 0;
	ctx->domain->s1_ad = true;
	ctx->domain->s1_pgtbl = gpa_table(first);
	for (level = first; level > 1; level--)
		*guest_entry(ctx, level) = gpa_table(level - 1) | G_GOOD;
	*guest_entry(ctx, 1) = GPA_PAGE | G_GOOD;

	for (level = second; level > 1; level--) {
		*host_entry(ctx, GPA_TABLES, level) =
			virt_to_phys(ctx->second[level - 1][0]) | H_RW;
	}
	*host_entry(ctx, GPA_PAGE, 2) = virt_to_phys(ctx->second[1][1]) | H_RW;
	for (level = first; level; level--)
		*host_entry(ctx, gpa_table(level), 1) = block_hpa(ctx, level) | H_RW;
	*host_entry(ctx, GPA_PAGE, 1) = block_hpa(ctx, 100) | H_RW;
}

/* Directed cases: one entry differs from those above */

#define SRE	IOMMU_VTD_S1_SRE
#define WPE	IOMMU_VTD_S1_WPE
#define EAFE	IOMMU_VTD_S1_EAFE
#define PAGE_OF	0			/* in place of a level: GPA_PAGE itself */
#define NO_TABLE	99

struct rule {
	const char *name;
	u32 flags, perm;
	/* the guest's entry of this level */
	unsigned int level;
	u64 set, clear;
	/*
	 * the second level's entry for the guest's table of this level, or
	 * PAGE_OF
	 */
	unsigned int host;
	u64 host_clear, host_set;
	/* expected result */
	enum iopf_level found;
	u32 missing;
	unsigned int at;		/* level 2: the table of this level, or PAGE_OF */
	u64 addr;			/* instead of WALK_VA */
	unsigned int hw;
	bool no_ad;
	u64 gpa;			/* level 2: this */
};

#define IS_NONE		.host = NO_TABLE, .found = IOPF_LEVEL_NONE
#define IS_FIRST(m)	.host = NO_TABLE, .found = IOPF_LEVEL_1, .missing = (m)
#define IS_SECOND(l, m)	.found = IOPF_LEVEL_2, .missing = (m), .at = (l)
#define IS_REFUSED	.host = NO_TABLE, .found = IOPF_LEVEL_REFUSED

static const struct rule rules[] = {
	{ "nothing missing, read", 0, PERM_R, IS_NONE },
	{ "nothing missing, write", 0, PERM_RW, IS_NONE },
	{ "neither read nor write", 0, 0, IS_NONE },
	{ "execute", 0, PERM_R | PERM_X, IS_REFUSED },
	{ "supervisor without SRE", 0, PERM_R | PERM_S, IS_REFUSED },
	{ "supervisor with SRE", SRE, PERM_R | PERM_S, IS_NONE },
	{ "not canonical, bit 47", 0, PERM_RW, IS_FIRST(PERM_RW), .addr = WALK_VA | BIT_ULL(47) },
	{ "not canonical, bit 63", 0, PERM_W, IS_FIRST(PERM_W), .addr = WALK_VA | BIT_ULL(63) },

	{ "not present, 4", 0, PERM_RW, 4, .clear = G_P, IS_FIRST(PERM_RW) },
	{ "not present, 2", 0, PERM_R, 2, .clear = G_P, IS_FIRST(PERM_R) },
	{ "not present, 1", 0, PERM_W, 1, .clear = G_P, IS_FIRST(PERM_W) },
	{ "size at level 4", 0, PERM_R, 4, G_PS, IS_FIRST(PERM_R) },
	{ "beyond HAW, table", 0, PERM_R, 3, BIT_ULL(46), IS_FIRST(PERM_R) },
	{ "beyond HAW, page", 0, PERM_R, 1, BIT_ULL(51), IS_FIRST(PERM_R) },
	{ "beyond HAW of another IOMMU", 0, PERM_R, 1, BIT_ULL(45), IS_FIRST(PERM_R), .hw = 1 },
	{ "ignored bits", 0, PERM_RW, 1, BIT_ULL(63) | GENMASK_ULL(62, 52) | BIT_ULL(9), IS_NONE },
	{ "1G where there is none", 0, PERM_R, 3, G_PS, GENMASK_ULL(29, 12), IS_FIRST(PERM_R),
	  .hw = 1 },
	{ "2M misaligned", 0, PERM_R, 2, G_PS | BIT_ULL(13), IS_FIRST(PERM_R) },
	{ "1G misaligned", 0, PERM_R, 3, G_PS | BIT_ULL(29), IS_FIRST(PERM_R) },

	{ "2M with PAT", 0, PERM_W, 2, G_PS | BIT_ULL(12), GENMASK_ULL(20, 12), .host = NO_TABLE,
	  .found = IOPF_LEVEL_2, .missing = PERM_W, .gpa = GPA_TABLES + (WALK_VA & (SZ_2M - 1)) },
	{ "1G", 0, PERM_R, 3, G_PS, GENMASK_ULL(29, 12), .host = NO_TABLE,
	  .found = IOPF_LEVEL_2, .missing = PERM_R, .gpa = GPA_TABLES + (WALK_VA & (SZ_1G - 1)) },

	{ "user to supervisor's, 1", 0, PERM_RW, 1, .clear = G_U, IS_FIRST(PERM_RW) },
	{ "user to supervisor's, 4", 0, PERM_R, 4, .clear = G_U, IS_FIRST(PERM_R) },
	{ "supervisor to supervisor's", SRE, PERM_R | PERM_S, 1, .clear = G_U, IS_NONE },
	{ "write to read-only, 1", 0, PERM_RW, 1, .clear = G_W, IS_FIRST(PERM_W) },
	{ "write to read-only, 3", WPE, PERM_W, 3, .clear = G_W, IS_FIRST(PERM_W) },
	{ "read of read-only", 0, PERM_R, 1, .clear = G_W, IS_NONE },
	{ "supervisor writes, no WPE", SRE, PERM_W | PERM_S, 1, .clear = G_W, IS_NONE },
	{ "supervisor writes, WPE", SRE | WPE, PERM_RW | PERM_S, 1, .clear = G_W,
	  IS_FIRST(PERM_W) },

	{ "root not mapped", 0, PERM_RW, .host = 4, .host_clear = H_RW, IS_SECOND(4, PERM_R) },
	{ "table not mapped", 0, PERM_W, .host = 2, .host_clear = H_RW, IS_SECOND(2, PERM_R) },
	{ "table write-only", 0, PERM_W, .host = 1, .host_clear = H_R, IS_SECOND(1, PERM_R) },
	{ "table read-only, A and D are set", 0, PERM_RW, .host = 1, .host_clear = H_W,
	  .found = IOPF_LEVEL_NONE },
	{ "A to set, 4", 0, PERM_R, 4, .clear = G_A, .host = 4, .host_clear = H_W,
	  IS_SECOND(4, PERM_W) },
	{ "A to set, 1", 0, PERM_R, 1, .clear = G_A, .host = 1, .host_clear = H_W,
	  IS_SECOND(1, PERM_W) },
	{ "D to set", 0, PERM_RW, 1, .clear = G_D, .host = 1, .host_clear = H_W,
	  IS_SECOND(1, PERM_W) },
	{ "D to set, but it is a read", 0, PERM_R, 1, .clear = G_D, .host = 1,
	  .host_clear = H_W, .found = IOPF_LEVEL_NONE },
	{ "D of a table means nothing", 0, PERM_RW, 2, .clear = G_D, .host = 2,
	  .host_clear = H_W, .found = IOPF_LEVEL_NONE },
	{ "EA to set", EAFE, PERM_R, .host = 3, .host_clear = H_W, IS_SECOND(3, PERM_W),
	  .level = 4, .set = G_EA },
	{ "EA without EAFE", 0, PERM_R, .host = 3, .host_clear = H_W,
	  .found = IOPF_LEVEL_NONE },
	{ "first level before A", 0, PERM_W, 1, .clear = G_A | G_W, .host = 1,
	  .host_clear = H_W, .found = IOPF_LEVEL_1, .missing = PERM_W },
	{ "A cannot be set", 0, PERM_RW, 3, .clear = G_A, IS_FIRST(PERM_RW), .no_ad = true },
	{ "D cannot be set", 0, PERM_RW, 1, .clear = G_D, IS_FIRST(PERM_W), .no_ad = true },
	{ "A/D need not be set", 0, PERM_RW, IS_NONE, .no_ad = true },

	{ "page not mapped", 0, PERM_RW, .host = PAGE_OF, .host_clear = H_RW,
	  IS_SECOND(PAGE_OF, PERM_RW) },
	{ "page not mapped, neither read nor write", 0, 0, .host = PAGE_OF,
	  .host_clear = H_RW, IS_SECOND(PAGE_OF, PERM_R) },
	{ "page read-only", 0, PERM_RW, .host = PAGE_OF, .host_clear = H_W,
	  IS_SECOND(PAGE_OF, PERM_W) },
	{ "page write-only", 0, PERM_RW, .host = PAGE_OF, .host_clear = H_R,
	  IS_SECOND(PAGE_OF, PERM_R) },
	{ "read of a read-only page", 0, PERM_R, .host = PAGE_OF, .host_clear = H_W,
	  .found = IOPF_LEVEL_NONE },
	{ "first level before the page's second", 0, PERM_RW, 1, .clear = G_W,
	  .host = PAGE_OF, .host_clear = H_RW, .found = IOPF_LEVEL_1, .missing = PERM_W },
	{ "page beyond the second level", 0, PERM_R, 1, BIT_ULL(39), .host = NO_TABLE,
	  .found = IOPF_LEVEL_2, .missing = PERM_R, .gpa = GPA_PAGE | BIT_ULL(39) },
	{ "table beyond the second level", 0, PERM_W, 3, BIT_ULL(45), .host = NO_TABLE,
	  .found = IOPF_LEVEL_2, .missing = PERM_R,
	  .gpa = (GPA_TABLES + 2 * SZ_4K) | BIT_ULL(45) },
	{ "interrupt address", 0, PERM_R, .host = PAGE_OF, .host_clear = GENMASK_ULL(51, 12),
	  .host_set = INTERRUPTS + SZ_64K, .found = IOPF_LEVEL_REFUSED },
	{ "page outside of memory", 0, PERM_R, .host = PAGE_OF,
	  .host_clear = GENMASK_ULL(51, 12), .host_set = NOWHERE, .found = IOPF_LEVEL_NONE },
	{ "table outside of memory", 0, PERM_R, .host = 2, .host_clear = GENMASK_ULL(51, 12),
	  .host_set = NOWHERE, .found = IOPF_LEVEL_REFUSED },
};

KUNIT_ARRAY_PARAM_DESC(rule, rules, name);

static void apply_rule(struct walk_test *ctx, const struct rule *c)
{
	set_hardware(ctx, c->hw);
	ctx->domain->s1_cfg.flags = c->flags;
	ctx->domain->s1_ad = !c->no_ad;
	if (c->level) {
		*guest_entry(ctx, c->level) &= ~c->clear;
		*guest_entry(ctx, c->level) |= c->set;
	}
	if (c->host != NO_TABLE) {
		u64 *entry = host_entry(ctx, c->host ? gpa_table(c->host) : GPA_PAGE, 1);

		*entry &= ~c->host_clear;
		*entry |= c->host_set;
	}
}

static void check_rule(struct kunit *test, unsigned int first, unsigned int second)
{
	const struct rule *c = test->param_value;
	struct walk_test *ctx = test->priv;
	u64 addr = (c->addr ?: WALK_VA) + 0x123;
	struct iopf_stop stop;
	unsigned int loads;
	u64 want = 0;

	build_good(ctx, first, second);
	apply_rule(ctx, c);
	if (c->found == IOPF_LEVEL_1)
		want = addr & PAGE_MASK;
	else if (c->found == IOPF_LEVEL_2)
		want = c->gpa ?: (c->at ? gpa_table(c->at) : GPA_PAGE);

	loads = nested_walk(ctx->domain, addr, c->perm, &stop);
	KUNIT_EXPECT_EQ(test, c->found, stop.level);
	KUNIT_EXPECT_EQ(test, want, stop.addr);
	KUNIT_EXPECT_EQ(test, c->missing, stop.perm);
	KUNIT_EXPECT_LE(test, loads, first * (second + 1) + second);
	/* In these tests the model only has coherent hardware. */
	if (!c->no_ad)
		check_walk(test, addr, c->perm, &loads);
	KUNIT_EXPECT_EQ(test, 0, ctx->wrong);
}

static void nested_walk_rule(struct kunit *test)
{
	const struct rule *c = test->param_value;

	check_rule(test, 4, 4);
	check_rule(test, 4, 3);
	/* With 5 levels, bit 47 is an address bit. */
	if (c->addr != (WALK_VA | BIT_ULL(47)))
		check_rule(test, 5, 5);
}

/* A table in memory that a guest cannot have, such as the kernel's code */
static void nested_walk_reserved_table(struct kunit *test)
{
	u64 reserved = __pa_symbol(nested_walk_reserved_table) & PAGE_MASK;
	struct walk_test *ctx = test->priv;
	struct iopf_stop stop;

	KUNIT_ASSERT_TRUE(test, PageReserved(pfn_to_page(PHYS_PFN(reserved))));
	build_good(ctx, 4, 4);
	*host_entry(ctx, gpa_table(3), 1) = reserved | H_RW;
	KUNIT_EXPECT_EQ(test, 4 + 1 + 4, nested_walk(ctx->domain, WALK_VA, PERM_R, &stop));
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_REFUSED, stop.level);
}

#if defined(CONFIG_MEMORY_FAILURE) && defined(CONFIG_HUGETLB_PAGE)
/*
 * A table in a huge page with a memory error, which is flagged in the head page
 */
static void nested_walk_poisoned_table(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	struct iopf_stop stop;
	struct folio *folio;
	struct page *table;

	folio = folio_alloc(GFP_KERNEL, 1);
	KUNIT_ASSERT_NOT_NULL(test, folio);
	table = folio_page(folio, 1);
	build_good(ctx, 4, 4);
	copy_page(page_address(table), block_page(ctx, 3));
	*host_entry(ctx, gpa_table(3), 1) = page_to_phys(table) | H_RW;
	nested_walk(ctx->domain, WALK_VA, PERM_R, &stop);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_NONE, stop.level);

	__folio_set_hugetlb(folio);
	SetPageHWPoison(folio_page(folio, 0));
	nested_walk(ctx->domain, WALK_VA, PERM_R, &stop);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_REFUSED, stop.level);

	ClearPageHWPoison(folio_page(folio, 0));
	__folio_clear_hugetlb(folio);
	folio_put(folio);
}
#endif

/*
 * A table in a page that was removed from the kernel's mapping, as pages with a
 * memory error are. A machine check in the walk takes the same exit.
 */
static void nested_walk_unmapped_table(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	struct iopf_stop stop;
	unsigned long table;

	build_good(ctx, 4, 4);
	table = (unsigned long)block_page(ctx, 3);
	KUNIT_ASSERT_EQ(test, 0, set_memory_np(table, 1));
	nested_walk(ctx->domain, WALK_VA, PERM_R, &stop);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_REFUSED, stop.level);

	KUNIT_ASSERT_EQ(test, 0, set_memory_p(table, 1));
	nested_walk(ctx->domain, WALK_VA, PERM_R, &stop);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_NONE, stop.level);
}

/* Everything has been unmapped: the topmost table is empty. */
static void nested_walk_without_table(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	struct iopf_stop stop;

	build_good(ctx, 4, 4);
	clear_page(ctx->second[4][0]);
	KUNIT_EXPECT_EQ(test, 1, nested_walk(ctx->domain, WALK_VA, PERM_W, &stop));
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_2, stop.level);
	KUNIT_EXPECT_EQ(test, gpa_table(4), stop.addr);
	KUNIT_EXPECT_EQ(test, PERM_R, stop.perm);
}

/* A walk must not change the guest's tables. */
static void nested_walk_only_reads(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	struct iopf_stop stop;
	unsigned int level;

	build_good(ctx, 5, 4);
	ctx->domain->s1_cfg.flags = EAFE;
	for (level = 5; level; level--)
		*guest_entry(ctx, level) &= ~(G_A | G_D);
	nested_walk(ctx->domain, WALK_VA, PERM_RW, &stop);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_NONE, stop.level);
	for (level = 5; level; level--)
		KUNIT_EXPECT_EQ(test, 0, *guest_entry(ctx, level) & (G_A | G_D | G_EA));
}

/* Random guests on random hosts */

static u32 walk_below(struct walk_test *ctx, u32 n)
{
	return prandom_u32_state(&ctx->rnd) % n;
}

static bool chance(struct walk_test *ctx, u32 percent)
{
	return walk_below(ctx, 100) < percent;
}

/*
 * Slots that are used in a table; those of the block's 4 KiB pages are the
 * same.
 */
static const u16 slots[] = { 0, 1, 2, 3, 510, 511 };

static unsigned int any_slot(struct walk_test *ctx)
{
	return slots[walk_below(ctx, ARRAY_SIZE(slots))];
}

/* The block's place within 1 GiB */
static unsigned int block_slot(struct walk_test *ctx)
{
	return nth_index(page_to_phys(ctx->block), 2);
}

/*
 * A guest address, in the guest's memory if it is mapped: slot 2 at level 3
 * maps 1 GiB, of which only the block belongs to the guest.
 */
static u64 any_gpa(struct walk_test *ctx)
{
	unsigned int three = walk_below(ctx, 3), two = walk_below(ctx, 4);
	u64 gpa = (u64)any_slot(ctx) << 12;

	gpa |= (u64)(two == 2 || three == 2 ? block_slot(ctx) : two) << 21;
	gpa |= (u64)three << 30;
	if (chance(ctx, 8))
		gpa |= BIT_ULL(39);
	if (chance(ctx, 2))
		gpa |= BIT_ULL(48);

	return gpa;
}

static u64 any_guest_entry(struct walk_test *ctx)
{
	u64 entry = any_gpa(ctx) | G_GOOD | G_EA;

	if (chance(ctx, 6)) {
		entry = (entry & ~GENMASK_ULL(chance(ctx, 50) ? 29 : 20, 12)) | G_PS;
		if (chance(ctx, 10))
			entry |= BIT_ULL(12 + walk_below(ctx, 10));
	}
	if (chance(ctx, 3))
		entry &= ~G_P;
	if (chance(ctx, 6))
		entry &= ~G_W;
	if (chance(ctx, 6))
		entry &= ~G_U;
	if (chance(ctx, 10))
		entry &= ~G_A;
	if (chance(ctx, 20))
		entry &= ~G_D;
	if (chance(ctx, 10))
		entry &= ~G_EA;
	if (chance(ctx, 10))
		entry |= BIT_ULL(63) | (u64)walk_below(ctx, 2048) << 52 | BIT_ULL(9) | BIT_ULL(11);
	if (chance(ctx, 2))
		entry ^= BIT_ULL(39 + walk_below(ctx, 13));

	return entry;
}

static u64 any_host_page(struct walk_test *ctx, unsigned int level)
{
	if (chance(ctx, 3))
		return (level == 1 ? INTERRUPTS : NOWHERE) | (level > 1 ? H_PS : 0);
	if (chance(ctx, 2))
		return (level == 3 ? NOWHERE : NOWHERE + SZ_2M) | (level > 1 ? H_PS : 0);
	if (level == 1)
		return block_hpa(ctx, any_slot(ctx));

	return (page_to_phys(ctx->block) & ~(reach(level) - 1)) | H_PS;
}

static u64 any_host_entry(struct walk_test *ctx, unsigned int level, unsigned int slot)
{
	bool page = level == 1 || (level == 2 && chance(ctx, 20)) ||
		    (level == 3 && slot == 2);
	u64 entry;

	if (chance(ctx, 1))
		return 0;
	entry = page ? any_host_page(ctx, level) :
		       virt_to_phys(ctx->second[level - 1][walk_below(ctx, 2)]);
	if (chance(ctx, 3))
		return entry | H_R;
	if (chance(ctx, 1))
		return entry | H_W;

	return entry | H_RW;
}

static void change_host(struct walk_test *ctx, unsigned int level, unsigned int table,
			unsigned int nth)
{
	unsigned int slot = slots[nth];

	if (level == 2)
		slot = nth == 2 ? block_slot(ctx) : nth;
	else if (level > 2)
		slot = nth % 3;
	ctx->second[level][table][slot] = any_host_entry(ctx, level, slot);
}

static void change_guest(struct walk_test *ctx, unsigned int page, unsigned int nth)
{
	block_page(ctx, slots[page])[slots[nth]] = any_guest_entry(ctx);
}

static void change_domain(struct walk_test *ctx)
{
	struct dmar_domain *domain = ctx->domain;

	set_hardware(ctx, walk_below(ctx, ARRAY_SIZE(hardware)));
	set_levels(ctx, 4 + walk_below(ctx, 2), 3 + walk_below(ctx, 3));
	domain->s1_cfg.flags = walk_below(ctx, 8) & (SRE | WPE | EAFE);
	domain->s1_pgtbl = any_gpa(ctx);
}

static void change_something(struct walk_test *ctx)
{
	unsigned int what = walk_below(ctx, 100);

	if (what < 50)
		change_guest(ctx, walk_below(ctx, ARRAY_SIZE(slots)),
			     walk_below(ctx, ARRAY_SIZE(slots)));
	else if (what < 90)
		change_host(ctx, 1 + walk_below(ctx, MAX_LEVELS), walk_below(ctx, 2),
			    walk_below(ctx, ARRAY_SIZE(slots)));
	else
		change_domain(ctx);
}

static void build_random(struct walk_test *ctx)
{
	unsigned int i, j;

	build_good(ctx, 4, 4);
	for (i = 0; i < ARRAY_SIZE(slots); i++) {
		for (j = 0; j < ARRAY_SIZE(slots); j++)
			change_guest(ctx, i, j);
	}
	for (i = 1; i <= MAX_LEVELS; i++) {
		for (j = 0; j < ARRAY_SIZE(slots); j++) {
			change_host(ctx, i, 0, j);
			change_host(ctx, i, 1, j);
		}
	}
	change_domain(ctx);
}

static u64 any_gva(struct walk_test *ctx)
{
	unsigned int levels = ctx->domain->s1_cfg.addr_width == 57 ? 5 : 4, level;
	u64 gva = walk_below(ctx, SZ_4K);

	for (level = 1; level <= levels; level++)
		gva |= (u64)any_slot(ctx) << (3 + 9 * level);
	gva = sign_extend64(gva, 2 + 9 * (levels + 1));
	if (chance(ctx, 2))
		gva ^= BIT_ULL(47 + walk_below(ctx, 17));

	return gva;
}

static u32 any_perm(struct walk_test *ctx)
{
	u32 perm = chance(ctx, 98) ? 1 + walk_below(ctx, 3) : 0;

	if (chance(ctx, 25))
		perm |= PERM_S;
	if (chance(ctx, 1))
		perm |= PERM_X;

	return perm;
}

/* Results that must have occurred */
static const struct {
	enum vtd_fault fault;
	const char *name;
} outcomes[] = {
	{ VTD_OK, "nothing missing" },
	{ VTD_PASID_ERE, "execute" },
	{ VTD_PASID_SRE, "supervisor" },
	{ VTD_CANONICAL, "not canonical" },
	{ VTD_FIRST_PRESENT, "1: not present" },
	{ VTD_FIRST_RESERVED, "1: reserved bits" },
	{ VTD_USER, "1: U/S" },
	{ VTD_WRITE_RIGHT, "1: R/W" },
	{ VTD_FIRST_WIDTH, "2: table beyond" },
	{ VTD_FIRST_ROOT_READ, "2: root" },
	{ VTD_FIRST_READ, "2: table" },
	{ VTD_FIRST_WRITE, "2: A/D/EA" },
	{ VTD_SECOND_RIGHTS, "2: page" },
	{ VTD_NESTED_BEYOND, "2: page beyond" },
	{ VTD_FIRST_ROOT, "root is no memory" },
	{ VTD_FIRST_ACCESS, "table is no memory" },
	{ VTD_INTERRUPT, "interrupts" },
};

static void show_outcomes(struct kunit *test, const unsigned int *seen)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(outcomes); i++) {
		unsigned int n = seen[outcomes[i].fault];

		kunit_info(test, "%-18s %8u", outcomes[i].name, n);
		KUNIT_EXPECT_GT_MSG(test, n, 0, "%s", outcomes[i].name);
	}
}

/* Number of loads, by the guest's levels and the result */
struct loads {
	unsigned int n[IOPF_LEVEL_REFUSED + 1][MAX_LOADS + 1];
};

static const char * const found[] = {
	[IOPF_LEVEL_1]		= "level 1",
	[IOPF_LEVEL_2]		= "level 2",
	[IOPF_LEVEL_NONE]	= "nothing",
	[IOPF_LEVEL_REFUSED]	= "refused",
};

static void show_median(struct kunit *test, unsigned int levels, const char *what,
			const unsigned int *n)
{
	unsigned int i, min = MAX_LOADS, max = 0, sum = 0, half = 0, median = 0;

	for (i = 0; i <= MAX_LOADS; i++) {
		sum += n[i];
		min = n[i] ? min(min, i) : min;
		max = n[i] ? i : max;
	}
	for (i = 0; half <= sum / 2 && i <= MAX_LOADS; i++) {
		half += n[i];
		median = i;
	}
	kunit_info(test, "random, %u levels, %s: %6u, loads min %2u median %2u max %2u",
		   levels, what, sum, min, median, max);
}

static void show_loads(struct kunit *test, unsigned int levels, const struct loads *loads)
{
	unsigned int i;

	for (i = IOPF_LEVEL_1; i < ARRAY_SIZE(found); i++)
		show_median(test, levels, found[i], loads->n[i]);
}

static void nested_walk_random(struct kunit *test)
{
	unsigned int *seen, n, i, five;
	unsigned long long start = seed ?: get_random_u64();
	struct walk_test *ctx = test->priv;
	u64 began = ktime_get_ns();
	struct loads *loads;

	loads = kunit_kzalloc(test, 2 * sizeof(*loads), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, loads);
	seen = kunit_kcalloc(test, 256, sizeof(*seen), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, seen);
	kunit_info(test, "nested_walk_kunit.seed=%llu nested_walk_kunit.cases=%u", start,
		   cases);
	prandom_seed_state(&ctx->rnd, start);
	build_random(ctx);

	for (i = 0; i < cases && ctx->wrong < 10; i++) {
		change_something(ctx);
		seen[check_walk(test, any_gva(ctx), any_perm(ctx), &n)]++;
		five = ctx->domain->s1_cfg.addr_width == 57;
		loads[five].n[min(ctx->last.level, IOPF_LEVEL_REFUSED)][min(n, MAX_LOADS)]++;
		if (!(i % 256))
			cond_resched();
	}
	KUNIT_EXPECT_EQ(test, 0, ctx->wrong);
	kunit_info(test, "%u cases in %llu ms", i,
		   (ktime_get_ns() - began) / NSEC_PER_MSEC);
	show_outcomes(test, seen);
	show_loads(test, 4, &loads[0]);
	show_loads(test, 5, &loads[1]);
}

/* Cost of a walk */

#define TIMES		(IS_ENABLED(CONFIG_KASAN) ? 100 : 5000)
#define BATCHES		10

/* Take the fastest batch, as the others were disturbed. */
static u64 time_batches(struct walk_test *ctx, void (*batch)(struct walk_test *ctx))
{
	u64 best = U64_MAX, began;
	unsigned int i;

	for (i = 0; i < BATCHES; i++) {
		began = ktime_get_ns();
		batch(ctx);
		best = min(best, ktime_get_ns() - began);
		cond_resched();
	}

	/*
	 * A jiffies clock may not have advanced, and callers divide by the
	 * time.
	 */
	return max(best, 1);
}

static void batch_walks(struct walk_test *ctx)
{
	struct iopf_stop stop;
	unsigned int i;

	for (i = 0; i < TIMES; i++)
		nested_walk(ctx->domain, WALK_VA, PERM_RW, &stop);
}

static void batch_lookups(struct walk_test *ctx)
{
	const struct iommu_domain_ops *ops = intel_iommu_ops.default_domain_ops;
	unsigned int i;

	for (i = 0; i < TIMES; i++)
		ops->iova_to_phys(&ctx->parent->domain, GPA_PAGE);
}

static void batch_waits(struct walk_test *ctx)
{
	unsigned int i;

	for (i = 0; i < TIMES; i++)
		nested_walk_wait(ctx->parent);
}

/* @lookup: how long TIMES lookups in the second level take */
static void show_cost(struct kunit *test, const char *pages, u64 lookup, unsigned int want)
{
	struct walk_test *ctx = test->priv;
	unsigned int first = ctx->domain->s1_cfg.addr_width == 57 ? 5 : 4, loads;
	u64 walk = time_batches(ctx, batch_walks);
	struct iopf_stop stop;

	loads = nested_walk(ctx->domain, WALK_VA, PERM_RW, &stop);
	kunit_info(test, "%u on %u levels, %s: %u loads, %llu ns, %llu.%llu lookups", first,
		   ctx->second_levels, pages, loads, walk / TIMES, walk / lookup,
		   walk * 10 / lookup % 10);
	KUNIT_EXPECT_EQ(test, want, loads);
	KUNIT_EXPECT_EQ(test, IOPF_LEVEL_NONE, stop.level);
}

/* Large pages of the host for tables and page */
static void host_large(struct walk_test *ctx)
{
	*host_entry(ctx, GPA_TABLES, 2) = page_to_phys(ctx->block) | H_PS | H_RW;
	*host_entry(ctx, GPA_PAGE, 2) = NOWHERE | H_PS | H_RW;
}

static void nested_walk_cost(struct kunit *test)
{
	static const u8 levels[][2] = { { 4, 3 }, { 4, 4 }, { 5, 4 }, { 5, 5 } };
	struct walk_test *ctx = test->priv;
	unsigned int i, first, second;
	u64 lookup;

	for (i = 0; i < ARRAY_SIZE(levels); i++) {
		first = levels[i][0];
		second = levels[i][1];

		build_good(ctx, first, second);
		lookup = time_batches(ctx, batch_lookups);
		kunit_info(test, "a lookup in %u levels: %llu ns; waiting without a walk: %llu ns",
			   second, lookup / TIMES,
			   time_batches(ctx, batch_waits) / TIMES);
		show_cost(test, "4K on 4K", lookup, first * (second + 1) + second);
		*guest_entry(ctx, 2) = (GPA_PAGE & ~(SZ_2M - 1ULL)) | G_GOOD | G_PS;
		*host_entry(ctx, GPA_PAGE, 2) = NOWHERE | H_PS | H_RW;
		show_cost(test, "2M on 4K, page on 2M", lookup,
			  (first - 1) * (second + 1) + second - 1);
		build_good(ctx, first, second);
		host_large(ctx);
		show_cost(test, "4K on 2M", lookup, first * second + second - 1);
	}
}

/* A nest parent of the driver, and a compatible device */
static struct dmar_domain *real_parent(struct kunit *test, struct device **dev)
{
	struct intel_iommu *iommu;

	iommu = vtd_fake_iommu(test, (CAP_WALK & ~CAP_SAGAW(0xa) & ~CAP_MGAW(64)) |
			       CAP_MGAW(48), ECAP_WALK);
	*dev = vtd_fake_device(test, iommu, false);

	return vtd_fake_domain(test, *dev, IOMMU_HWPT_ALLOC_NEST_PARENT);
}

/* Features that the driver records of IOMMUs */

static void nested_walk_capabilities(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	struct dmar_domain *domain = ctx->domain;
	struct intel_iommu *iommu;

	iommu = vtd_fake_iommu(test, CAP_WALK | CAP_FS1GP, ECAP_WALK);
	domain->s1_haw = 52;
	domain->s1_1g = true;
	domain->s1_ad = true;
	nested_walk_suit(domain, iommu);
	KUNIT_EXPECT_EQ(test, iommu->haw, domain->s1_haw);
	KUNIT_EXPECT_TRUE(test, domain->s1_1g);
	KUNIT_EXPECT_TRUE(test, domain->s1_ad);

	/*
	 * Each further IOMMU lacks something, and the first one is attached
	 * again.
	 */
	nested_walk_suit(domain, vtd_fake_iommu(test, CAP_WALK, ECAP_WALK));
	nested_walk_suit(domain, iommu);
	KUNIT_EXPECT_FALSE(test, domain->s1_1g);
	KUNIT_EXPECT_TRUE(test, domain->s1_ad);
	nested_walk_suit(domain, vtd_fake_iommu(test, CAP_WALK, ECAP_WALK & ~ECAP_SMPWC));
	nested_walk_suit(domain, iommu);
	KUNIT_EXPECT_FALSE(test, domain->s1_ad);
}

/* They are recorded at attach. */
static void nested_walk_attach(struct kunit *test)
{
	struct dmar_domain *parent, *domain;
	struct device *dev;

	parent = real_parent(test, &dev);
	domain = vtd_guest_nested(test, dev, parent, GPA_TABLES);
	KUNIT_EXPECT_EQ(test, 52, domain->s1_haw);
	KUNIT_EXPECT_TRUE(test, domain->s1_1g);
	KUNIT_EXPECT_TRUE(test, domain->s1_ad);

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->set_dev_pasid(&domain->domain, dev, 5,
								   NULL));
	KUNIT_EXPECT_EQ(test, vtd_fake_iommu_of(dev)->haw, domain->s1_haw);
	KUNIT_EXPECT_FALSE(test, domain->s1_1g);
	KUNIT_EXPECT_TRUE(test, domain->s1_ad);
	intel_iommu_ops.remove_dev_pasid(dev, 5, &domain->domain);
}

/* The second level of the driver, unmapped while it is walked */

struct race {
	struct kunit *test;
	struct dmar_domain *parent, *domain;
	u64 *table[5];			/* as the guest has filled them, by level */
	struct page *page[5];		/* the pages that are mapped instead now */
	u64 *poison;			/* a table that must not be walked */
	atomic_t none, second, poisoned, strange;
	struct completion done;
};

#define RACE_TABLES	(2ULL * SZ_2M)	/* guest addresses, all in one table */
#define RACE_PAGE	(RACE_TABLES + SZ_64K)
#define GPA_POISON	(5ULL * SZ_1G)
#define RACE_WALKERS	2
#define RACE_MS		(IS_ENABLED(CONFIG_KASAN) ? 1000 : 3000)

static void race_found(struct race *race, const struct iopf_stop *stop)
{
	u64 addr = stop->addr;

	if (stop->level == IOPF_LEVEL_NONE)
		atomic_inc(&race->none);
	else if (stop->level == IOPF_LEVEL_2 && addr == GPA_POISON)
		atomic_inc(&race->poisoned);
	else if (stop->level == IOPF_LEVEL_2 && addr >= RACE_TABLES && addr <= RACE_PAGE)
		atomic_inc(&race->second);
	else
		atomic_inc(&race->strange);
}

static int race_walker(void *data)
{
	struct race *race = data;
	struct iopf_stop stop;

	while (!kthread_should_stop()) {
		nested_walk(race->domain, WALK_VA, PERM_RW, &stop);
		race_found(race, &stop);
		cond_resched();
	}

	return 0;
}

static int walk_race_map(struct race *race, unsigned int level)
{
	struct page *page = alloc_page(GFP_KERNEL);
	int ret;

	if (!page)
		return -ENOMEM;
	copy_page(page_address(page), race->table[level]);
	ret = iommu_map(&race->parent->domain, RACE_TABLES + level * SZ_4K,
			page_to_phys(page), SZ_4K, IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
	if (ret)
		__free_page(page);
	else
		race->page[level] = page;

	return ret;
}

/* After an unmap, the caller may reuse the page. */
static void race_poison(struct race *race, unsigned int level)
{
	if (!race->page[level])
		return;
	copy_page(page_address(race->page[level]), race->poison);
	__free_page(race->page[level]);
	race->page[level] = NULL;
}

static void race_unmap(struct race *race, unsigned int level)
{
	iommu_unmap(&race->parent->domain, RACE_TABLES + level * SZ_4K, SZ_4K);
	race_poison(race, level);
}

/*
 * Unmap everything at once: then a table of the second level is freed as well,
 * and may be allocated again next.
 */
static void race_unmap_all(struct race *race)
{
	struct page *page[4];
	unsigned int i, level;

	iommu_unmap(&race->parent->domain, RACE_TABLES, SZ_2M);
	for (i = 0; i < ARRAY_SIZE(page); i++) {
		page[i] = alloc_page(GFP_KERNEL);
		if (page[i])
			memset64(page_address(page[i]), virt_to_phys(race->poison) | H_RW,
				 512);
	}
	for (level = 1; level <= 4; level++)
		race_poison(race, level);
	for (i = 0; i < ARRAY_SIZE(page); i++) {
		if (page[i])
			__free_page(page[i]);
	}
}

static void race_map_all(struct race *race)
{
	unsigned int level;

	for (level = 1; level <= 4; level++)
		KUNIT_ASSERT_EQ(race->test, 0, walk_race_map(race, level));
	KUNIT_ASSERT_EQ(race->test, 0,
			iommu_map(&race->parent->domain, RACE_PAGE, NOWHERE, SZ_4K,
				  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
}

static struct race *race_prepare(struct kunit *test)
{
	struct walk_test *ctx = test->priv;
	unsigned int level;
	struct device *dev;
	struct race *race;

	race = kunit_kzalloc(test, sizeof(*race), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, race);
	race->test = test;
	race->parent = real_parent(test, &dev);
	race->domain = ctx->domain;
	race->domain->s2_domain = race->parent;
	race->domain->s1_pgtbl = RACE_TABLES + 4 * SZ_4K;
	race->poison = vtd_fake_page(test);
	memset64(race->poison, GPA_POISON | G_GOOD, 512);
	for (level = 1; level <= 4; level++) {
		u64 next = level > 1 ? RACE_TABLES + (level - 1) * SZ_4K : RACE_PAGE;

		race->table[level] = vtd_fake_page(test);
		race->table[level][nth_index(WALK_VA, level)] = next | G_GOOD;
	}

	return race;
}

static void nested_walk_races(struct kunit *test)
{
	struct task_struct *walker[RACE_WALKERS];
	struct race *race = race_prepare(test);
	unsigned int i, level, rounds = 0;
	ktime_t end;

	race_map_all(race);
	for (i = 0; i < RACE_WALKERS; i++) {
		walker[i] = kthread_run(race_walker, race, "nested_walk/%u", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(walker[i]));
	}

	end = ktime_add_ms(ktime_get(), RACE_MS);
	for (; ktime_before(ktime_get(), end); rounds++) {
		udelay(get_random_u32_below(5));
		if (rounds % 8 == 7) {
			race_unmap_all(race);
			race_map_all(race);
		} else {
			level = 1 + get_random_u32_below(4);
			race_unmap(race, level);
			if (walk_race_map(race, level))
				break;
		}
		cond_resched();
	}

	for (i = 0; i < RACE_WALKERS; i++)
		kthread_stop(walker[i]);
	race_unmap_all(race);
	kunit_info(test, "%u unmapped, walks: %d complete, %d stopped at level 2", rounds,
		   atomic_read(&race->none), atomic_read(&race->second));
	KUNIT_EXPECT_GT(test, rounds, 100);
	KUNIT_EXPECT_GT(test, atomic_read(&race->none), 0);
	KUNIT_EXPECT_GT(test, atomic_read(&race->second), 0);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&race->poisoned));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&race->strange));
}

/* An unmap does not return while a walk is in progress. */

static int do_unmap(void *data)
{
	struct race *race = data;

	iommu_unmap(&race->parent->domain, RACE_PAGE, SZ_4K);
	complete(&race->done);

	return 0;
}

static int do_flush_all(void *data)
{
	struct race *race = data;

	iommu_flush_iotlb_all(&race->parent->domain);
	complete(&race->done);

	return 0;
}

/*
 * A page of 2 MiB replaces the table that is left after unmapping single pages.
 */
static int do_map_large(void *data)
{
	struct race *race = data;

	iommu_map(&race->parent->domain, 4 * SZ_2M, NOWHERE, SZ_2M,
		  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
	complete(&race->done);

	return 0;
}

static void expect_wait(struct race *race, int (*todo)(void *data), bool waits)
{
	spinlock_t *lock = &race->parent->walk_lock;
	struct kunit *test = race->test;
	struct task_struct *task;
	unsigned int i;
	bool done;

	init_completion(&race->done);
	task = kthread_create(todo, race, "nested_walk_wait");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	/* This CPU will not run it while the lock is held. */
	migrate_disable();
	kthread_bind(task, cpumask_any_but(cpu_online_mask, smp_processor_id()));
	spin_lock(lock);
	wake_up_process(task);
	/* The other CPU of an emulated machine may not run for a while. */
	for (i = 0; i < (waits ? 100 : 10000) && !completion_done(&race->done); i++)
		mdelay(1);
	done = completion_done(&race->done);
	spin_unlock(lock);
	migrate_enable();

	KUNIT_EXPECT_EQ(test, waits, !done);
	wait_for_completion(&race->done);
}

static void nested_walk_waits(struct kunit *test)
{
	struct race *race = race_prepare(test);

	if (num_online_cpus() < 2)
		kunit_skip(test, "needs two CPUs");

	race_map_all(race);
	expect_wait(race, do_unmap, true);
	expect_wait(race, do_flush_all, true);
	KUNIT_ASSERT_EQ(test, 0, iommu_map(&race->parent->domain, 4 * SZ_2M, NOWHERE, SZ_4K,
					   IOMMU_READ | IOMMU_WRITE, GFP_KERNEL));
	iommu_unmap(&race->parent->domain, 4 * SZ_2M, SZ_4K);
	/* The table that a large page replaces is not freed. */
	expect_wait(race, do_map_large, false);
	iommu_unmap(&race->parent->domain, 4 * SZ_2M, SZ_2M);

	/* Other domains are not delayed. */
	race->parent->nested_parent = false;
	expect_wait(race, do_flush_all, false);
	race->parent->nested_parent = true;
	race_unmap_all(race);
}

/* A nest parent's topmost table stays. */
static void nested_walk_parent_keeps_levels(struct kunit *test)
{
	struct dmar_domain *parent;
	struct intel_iommu *iommu;
	struct device *dev;
	phys_addr_t root;

	parent = real_parent(test, &dev);
	root = vtd_pt_sl_root(parent->pgtable);
	iommu = vtd_fake_iommu(test, (CAP_WALK & ~CAP_SAGAW(0xc) & ~CAP_MGAW(64)) |
			       CAP_MGAW(39), ECAP_WALK);
	dev = vtd_fake_device(test, iommu, false);
	KUNIT_EXPECT_EQ(test, -EINVAL, prepare_domain_attach_device(&parent->domain, dev));
	KUNIT_EXPECT_EQ(test, root, vtd_pt_sl_root(parent->pgtable));
}

KUNIT_DEFINE_ACTION_WRAPPER(destroy_table, vtd_pt_sl_destroy, struct vtd_pt *);

/*
 * A table of the library, for its root: its entries are made by the test,
 * including some that the library would never make.
 */
static void create_table(struct kunit *test, unsigned int levels)
{
	const struct vtd_pt_cfg cfg = {
		.levels		= levels,
		.pgsize_bitmap	= SZ_4K,
		.coherent	= true,
		.nid		= NUMA_NO_NODE,
	};
	struct walk_test *ctx = test->priv;
	struct vtd_pt *pt = vtd_pt_sl_create(&cfg);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, pt);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy_table, pt));
	ctx->tables[levels] = pt;
}

static int walk_test_init(struct kunit *test)
{
	struct walk_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	unsigned int i, level;
	struct vtd_hw hw;
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	for (i = 0; i < ARRAY_SIZE(hardware); i++) {
		hw = (struct vtd_hw) {
			.cap = hardware[i].cap,
			.ecap = ECAP_WALK,
			.haw = hardware[i].haw,
		};
		ctx->models[i] = vtd_model_add(ctx->fake.machine, &ctx->models[i], &hw);
	}

	ctx->block = alloc_pages(GFP_KERNEL, get_order(SZ_2M));
	KUNIT_ASSERT_NOT_NULL(test, ctx->block);
	split_page(ctx->block, get_order(SZ_2M));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_block, ctx->block));
	for (level = 1; level <= MAX_LEVELS; level++) {
		ctx->pages[level] = vtd_fake_page(test);
		ctx->second[level][0] = ctx->pages[level];
		ctx->second[level][1] = vtd_fake_page(test);
	}
	for (level = MIN_LEVELS; level <= MAX_LEVELS; level++)
		create_table(test, level);

	ctx->parent = kunit_kzalloc(test, sizeof(*ctx->parent), GFP_KERNEL);
	ctx->domain = kunit_kzalloc(test, sizeof(*ctx->domain), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, ctx->parent);
	KUNIT_ASSERT_NOT_NULL(test, ctx->domain);
	spin_lock_init(&ctx->parent->walk_lock);
	ctx->parent->nested_parent = true;
	ctx->domain->s2_domain = ctx->parent;
	spin_lock_init(&ctx->domain->lock);
	build_good(ctx, 4, 4);

	return 0;
}

static struct kunit_case walk_test_cases[] = {
	KUNIT_CASE_PARAM(nested_walk_rule, rule_gen_params),
	KUNIT_CASE(nested_walk_reserved_table),
#if defined(CONFIG_MEMORY_FAILURE) && defined(CONFIG_HUGETLB_PAGE)
	KUNIT_CASE(nested_walk_poisoned_table),
#endif
	KUNIT_CASE(nested_walk_unmapped_table),
	KUNIT_CASE(nested_walk_without_table),
	KUNIT_CASE(nested_walk_only_reads),
	KUNIT_CASE_SLOW(nested_walk_random),
	KUNIT_CASE(nested_walk_cost),
	KUNIT_CASE(nested_walk_capabilities),
	KUNIT_CASE(nested_walk_attach),
	KUNIT_CASE(nested_walk_waits),
	KUNIT_CASE_SLOW(nested_walk_races),
	KUNIT_CASE(nested_walk_parent_keeps_levels),
	{}
};

static struct kunit_suite walk_test_suite = {
	.name = "intel-iommu-nested-walk",
	.init = walk_test_init,
	.test_cases = walk_test_cases,
};

kunit_test_suite(walk_test_suite);
