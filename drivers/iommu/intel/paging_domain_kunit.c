// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite for paging domains of both levels: their configuration, which
 * IOMMUs may use them, what an attachment programs, and exactly which
 * invalidations an operation submits.
 *
 * IOMMUs and devices are fake: structures with capabilities that the test
 * chooses, and without registers. They have no queue: for them,
 * qi_submit_sync() calls a recorder, which decodes descriptors by the layouts
 * of the specification rather than the driver's macros. Real IOMMUs of the
 * machine are not touched.
 *
 * Sections are those of the VT-d specification.
 */

#include <kunit/device.h>
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/bitfield.h>
#include <linux/bitmap.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dmar.h>
#include <linux/init.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <uapi/linux/iommufd.h>

#include "../iommu-pages.h"
#include "iommu.h"
#include "paging_domain.h"
#include "pasid.h"
#include "pgtable_test.h"
#include "vtd_caps.h"

/* A plain IOMMU: 4 levels, 2 MiB pages, coherent, address masks up to 1 GiB */
#define MAMV		18
#define CAP_PLAIN	(CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(48) | CAP_PSI | \
			 CAP_MAMV(MAMV))
#define ECAP_PLAIN	(ECAP_QI | ECAP_DT | ECAP_SC | ECAP_PASID | ECAP_SMTS | \
			 ECAP_FSTS | ECAP_SMPWC)
/* One with a second stage only */
#define CAP_SECOND	(CAP_PLAIN | CAP_SS2M | CAP_SS1G)
#define ECAP_SECOND	((ECAP_PLAIN & ~ECAP_FSTS) | ECAP_SSTS)
/* One without scalable mode */
#define ECAP_LEGACY	(ECAP_QI | ECAP_DT | ECAP_SC)

#define FAKE_SEQ_ID	0x10000		/* far from those of real IOMMUs */
#define FAKE_BUS	0x40
#define FAKE_QDEP	5
#define FAKE_PASIDS	64		/* as many as one PASID table holds */
#define RW		(IOMMU_READ | IOMMU_WRITE)
#define PA		0x4000000000ULL		/* never accessed; 1 GiB aligned */

/* Second-level entries, section 9.8 */
#define SL_R		BIT_ULL(0)
#define SL_W		BIT_ULL(1)
#define SL_D		BIT_ULL(9)
#define SL_SNP		BIT_ULL(11)

/* Recorder */

/* Descriptor types, section 6.5.2 */
enum {
	INV_IOTLB = 2,
	INV_DEV_TLB = 3,
	INV_PASID_IOTLB = 6,
	INV_PASID_CACHE = 7,
	INV_PASID_DEV_TLB = 8,
};

/* One descriptor, decoded */
struct invalidation {
	struct intel_iommu *iommu;
	unsigned int type;
	u16 did;		/* not in device-TLB descriptors */
	u32 pasid;		/* not in IOTLB descriptors */
	u16 sid;		/* device-TLB descriptors only */
	u64 first, last;	/* the range, inclusive */
	bool all;		/* PASID- or domain-selective: the range does not matter */
	bool ih;
	u64 invalid;		/* anything reserved or unknown */
};

struct attachment {
	struct dmar_domain *domain;
	struct device *dev;
	ioasid_t pasid;
};

#define MAX_LOG		64
#define MAX_ATTACHED	4

/* The last invalidation by registers, and the number of them */
struct register_flush {
	unsigned int nr;
	u16 did;
	u64 addr;
	unsigned int order;
};

struct driver_test {
	/*
	 * Descriptors in the order of submission. Those below seen were
	 * expected.
	 */
	struct invalidation log[MAX_LOG];
	unsigned int nr, seen;

	struct attachment attached[MAX_ATTACHED];
	unsigned int nr_attached;

	unsigned int nr_iommus, nr_devs;
	struct register_flush flushed;
};

static void set_range(struct invalidation *inv, u64 addr, unsigned int order)
{
	u64 mask = order >= 52 ? U64_MAX : ((u64)SZ_4K << order) - 1;

	inv->first = addr & ~mask;
	inv->last = addr | mask;
}

/* Section 6.5.2.3. DR and DW (drain) are always set. */
static void decode_iotlb(const struct qi_desc *desc, struct invalidation *inv)
{
	u64 addr = desc->qw1 & GENMASK_ULL(63, 12);
	unsigned int am = FIELD_GET(GENMASK_ULL(5, 0), desc->qw1);

	inv->did = FIELD_GET(GENMASK_ULL(31, 16), desc->qw0);
	inv->invalid = desc->qw0 & (GENMASK_ULL(63, 32) | GENMASK_ULL(15, 8));

	switch (FIELD_GET(GENMASK_ULL(5, 4), desc->qw0)) {
	case 2:	/* domain-selective */
		inv->all = true;
		inv->invalid |= desc->qw1;
		set_range(inv, 0, 52);
		break;
	case 3:	/* page-selective within domain */
		inv->ih = desc->qw1 & BIT_ULL(6);
		inv->invalid |= desc->qw1 & GENMASK_ULL(11, 7);
		inv->invalid |= am > cap_max_amask_val(inv->iommu->cap);
		set_range(inv, addr, am);
		inv->invalid |= addr != inv->first;
		break;
	default:
		inv->invalid |= desc->qw0;
	}
}

/* Section 6.5.2.4 */
static void decode_pasid_iotlb(const struct qi_desc *desc, struct invalidation *inv)
{
	u64 addr = desc->qw1 & GENMASK_ULL(63, 12);
	unsigned int am = FIELD_GET(GENMASK_ULL(5, 0), desc->qw1);

	inv->did = FIELD_GET(GENMASK_ULL(31, 16), desc->qw0);
	inv->pasid = FIELD_GET(GENMASK_ULL(51, 32), desc->qw0);
	inv->invalid = desc->qw0 & (GENMASK_ULL(63, 52) | GENMASK_ULL(15, 6));

	switch (FIELD_GET(GENMASK_ULL(5, 4), desc->qw0)) {
	case 2:	/* PASID-selective */
		inv->all = true;
		inv->invalid |= desc->qw1;
		set_range(inv, 0, 52);
		break;
	case 3:	/* page-selective within PASID */
		inv->ih = desc->qw1 & BIT_ULL(6);
		inv->invalid |= desc->qw1 & GENMASK_ULL(11, 7);
		inv->invalid |= am > cap_max_amask_val(inv->iommu->cap);
		set_range(inv, addr, am);
		inv->invalid |= addr != inv->first;
		break;
	default:
		inv->invalid |= desc->qw0;
	}
}

/*
 * Sections 6.5.2.5 and 6.5.2.6: with S, the lowest 0 in the address is the size
 */
static void decode_dev_tlb_range(u64 addr, bool s, struct invalidation *inv)
{
	set_range(inv, addr & GENMASK_ULL(63, 12), s ? ffz(addr >> 12) + 1 : 0);
}

static void decode(const struct qi_desc *desc, struct invalidation *inv)
{
	inv->type = FIELD_GET(GENMASK_ULL(3, 0), desc->qw0);

	switch (inv->type) {
	case INV_IOTLB:
		decode_iotlb(desc, inv);
		break;
	case INV_PASID_IOTLB:
		decode_pasid_iotlb(desc, inv);
		break;
	case INV_DEV_TLB:
		inv->sid = FIELD_GET(GENMASK_ULL(47, 32), desc->qw0);
		inv->invalid = desc->qw0 & (GENMASK_ULL(51, 48) |
					    GENMASK_ULL(31, 21) |
					    GENMASK_ULL(11, 4));
		inv->invalid |= desc->qw1 & GENMASK_ULL(11, 1);
		decode_dev_tlb_range(desc->qw1, desc->qw1 & BIT_ULL(0), inv);
		break;
	case INV_PASID_DEV_TLB:
		inv->sid = FIELD_GET(GENMASK_ULL(31, 16), desc->qw0);
		inv->pasid = FIELD_GET(GENMASK_ULL(51, 32), desc->qw0);
		inv->invalid = desc->qw0 & GENMASK_ULL(11, 9);
		inv->invalid |= desc->qw1 & GENMASK_ULL(10, 0);
		decode_dev_tlb_range(desc->qw1, desc->qw1 & BIT_ULL(11), inv);
		break;
	case INV_PASID_CACHE:	/* section 6.5.2.2; granularity 1: PASID */
		inv->did = FIELD_GET(GENMASK_ULL(31, 16), desc->qw0);
		inv->pasid = FIELD_GET(GENMASK_ULL(51, 32), desc->qw0);
		inv->invalid = FIELD_GET(GENMASK_ULL(5, 4), desc->qw0) != 1;
		inv->invalid |= desc->qw0 & (GENMASK_ULL(63, 52) |
					     GENMASK_ULL(15, 6));
		inv->invalid |= desc->qw1;
		break;
	default:
		inv->invalid = desc->qw0;
	}

	inv->invalid |= desc->qw2 | desc->qw3;
}

/*
 * Replaces qi_submit_sync() for fakes. Descriptors that do not fit are only
 * counted.
 */
static int record(struct intel_iommu *iommu, struct qi_desc *desc,
		  unsigned int count, unsigned long options)
{
	struct driver_test *ctx = kunit_get_current_test()->priv;
	unsigned int i;

	for (i = 0; i < count; i++, ctx->nr++) {
		struct invalidation *inv = &ctx->log[ctx->nr];

		if (ctx->nr >= MAX_LOG)
			continue;

		*inv = (struct invalidation) { .iommu = iommu };
		decode(&desc[i], inv);
	}

	return 0;
}

static bool same_invalidation(const struct invalidation *a,
			      const struct invalidation *b)
{
	return a->iommu == b->iommu && a->type == b->type &&
	       a->did == b->did && a->pasid == b->pasid && a->sid == b->sid &&
	       a->first == b->first && a->last == b->last &&
	       a->all == b->all && a->ih == b->ih && a->invalid == b->invalid;
}

static void print_invalidation(struct kunit *test, const char *what,
			       const struct invalidation *inv)
{
	kunit_err(test, "%s iommu %d type %u did %u pasid %u sid %#x %#llx-%#llx%s ih %d invalid %#llx\n",
		  what, inv->iommu->seq_id - FAKE_SEQ_ID, inv->type, inv->did,
		  inv->pasid, inv->sid, inv->first, inv->last,
		  inv->all ? " (all)" : "", inv->ih, inv->invalid);
}

static void expect_no_more(struct kunit *test)
{
	struct driver_test *ctx = test->priv;
	unsigned int i;

	KUNIT_EXPECT_EQ_MSG(test, ctx->nr, ctx->seen, "too many invalidations");
	for (i = ctx->seen; i < min(ctx->nr, MAX_LOG); i++)
		print_invalidation(test, "unexpected:", &ctx->log[i]);
	ctx->seen = ctx->nr;
}

/* Exactly one of the next @n descriptors is @want. */
static void expect_among(struct kunit *test, unsigned int n,
			 const struct invalidation *want)
{
	struct driver_test *ctx = test->priv;
	unsigned int i, found = 0;

	for (i = ctx->seen; i < min(ctx->seen + n, ctx->nr); i++)
		found += same_invalidation(&ctx->log[i], want);

	KUNIT_EXPECT_EQ_MSG(test, found, 1, "invalidation missing or repeated");
	if (found == 1)
		return;

	print_invalidation(test, "wanted:", want);
	for (i = ctx->seen; i < min(ctx->seen + n, ctx->nr); i++)
		print_invalidation(test, "got:   ", &ctx->log[i]);
}

/* Fakes */

static struct intel_iommu *fake_iommu(struct kunit *test, u64 cap, u64 ecap)
{
	struct driver_test *ctx = test->priv;
	struct intel_iommu *iommu;
	unsigned int nr = ctx->nr_iommus++;

	iommu = kunit_kzalloc(test, sizeof(*iommu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu);
	iommu->domain_ids = kunit_kzalloc(test, BITS_TO_BYTES(256), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, iommu->domain_ids);
	/* Domain IDs that differ between IOMMUs, and from PASIDs */
	bitmap_set(iommu->domain_ids, 0, 100 + nr);

	iommu->cap = cap;
	iommu->ecap = ecap;
	iommu->gcmd = DMA_GCMD_TE;
	iommu->seq_id = FAKE_SEQ_ID + nr;
	iommu->node = NUMA_NO_NODE;
	iommu->agaw = iommu_calculate_agaw(iommu);
	snprintf(iommu->name, sizeof(iommu->name), "fake-iommu%u", nr);
	raw_spin_lock_init(&iommu->register_lock);
	raw_spin_lock_init(&iommu->device_rbtree_lock);
	spin_lock_init(&iommu->lock);
	iommu->flush.flush_context = qi_flush_context;
	iommu->flush.flush_iotlb = qi_flush_iotlb;
	iommu->iommu.dev = kunit_device_register(test, iommu->name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, iommu->iommu.dev);

	return iommu;
}

static void *fake_page(struct kunit *test)
{
	void *page = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_TRUE(test, PAGE_ALIGNED(page));

	return page;
}

/* A directory with its first table, so that the driver allocates none. */
static struct pasid_table *paging_fake_pasid_table(struct kunit *test)
{
	struct pasid_table *table;
	struct pasid_dir_entry *dir = fake_page(test);

	table = kunit_kzalloc(test, sizeof(*table), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, table);
	dir->val = virt_to_phys(fake_page(test)) | PASID_PTE_PRESENT;
	table->table = dir;
	table->max_pasid = FAKE_PASIDS;

	return table;
}

static struct device *fake_dev(struct kunit *test, struct intel_iommu *iommu)
{
	struct driver_test *ctx = test->priv;
	struct device_domain_info *info;
	struct dev_iommu *dev_iommu;
	struct device *dev;
	char name[16];

	info = kunit_kzalloc(test, sizeof(*info), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, info);
	dev_iommu = kunit_kzalloc(test, sizeof(*dev_iommu), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev_iommu);
	snprintf(name, sizeof(name), "fake-dev%u", ctx->nr_devs);
	dev = kunit_device_register(test, name);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, dev);

	info->dev = dev;
	info->iommu = iommu;
	info->bus = FAKE_BUS;
	info->devfn = ctx->nr_devs++;
	info->ats_qdep = FAKE_QDEP;
	info->pasid_table = paging_fake_pasid_table(test);
#ifdef CONFIG_INTEL_IOMMU_DEBUGFS
	info->debugfs_dentry = ERR_PTR(-ENODEV);	/* show nothing */
#endif
	dev->iommu = dev_iommu;
	guard(mutex)(&iommu_probe_device_lock);
	dev_iommu_priv_set(dev, info);

	return dev;
}

static struct device *fake_pair(struct kunit *test, u64 cap, u64 ecap)
{
	return fake_dev(test, fake_iommu(test, cap, ecap));
}

static struct intel_iommu *iommu_of(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info->iommu;
}

static u16 sid_of(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return FAKE_BUS << 8 | info->devfn;
}

static bool paging_has_ats(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	return info->ats_enabled;
}

KUNIT_DEFINE_ACTION_WRAPPER(free_domain, iommu_domain_free, struct iommu_domain *);

static struct dmar_domain *keep_domain(struct kunit *test,
				       struct iommu_domain *domain)
{
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, free_domain, domain));

	return to_dmar_domain(domain);
}

static struct dmar_domain *paging_domain(struct kunit *test, struct device *dev,
					 bool first_level)
{
	struct dmar_domain *domain;

	domain = keep_domain(test, intel_paging_domain_alloc(dev, first_level, 0));
	domain->domain.type = IOMMU_DOMAIN_UNMANAGED;

	return domain;
}

static struct dmar_domain *fl_domain(struct kunit *test, struct device *dev)
{
	return paging_domain(test, dev, true);
}

static struct dmar_domain *sl_domain(struct kunit *test, struct device *dev)
{
	return paging_domain(test, dev, false);
}

static const struct vtd_pt_cfg *config_of(struct dmar_domain *domain)
{
	return domain->use_first_level ? vtd_pt_fl_config(domain->pgtable) :
					 vtd_pt_sl_config(domain->pgtable);
}

static phys_addr_t root_of(struct dmar_domain *domain)
{
	return domain->use_first_level ? vtd_pt_fl_root(domain->pgtable) :
					 vtd_pt_sl_root(domain->pgtable);
}

static unsigned long tables_of(struct dmar_domain *domain)
{
	return domain->use_first_level ? vtd_pt_fl_nr_tables(domain->pgtable) :
					 vtd_pt_sl_nr_tables(domain->pgtable);
}

static struct dmar_domain *user_domain(struct kunit *test, struct device *dev)
{
	return keep_domain(test, intel_iommu_ops.domain_alloc_user(dev, 0, NULL,
								   NULL));
}

static void untag(void *data)
{
	struct attachment *at = data;

	cache_tag_unassign_domain(at->domain, at->dev, at->pasid);
	domain_detach_iommu(at->domain, iommu_of(at->dev));
}

/* The parts of an attachment that invalidations need. */
static void tag(struct kunit *test, struct dmar_domain *domain,
		struct device *dev, ioasid_t pasid)
{
	struct driver_test *ctx = test->priv;
	struct attachment *at = &ctx->attached[ctx->nr_attached++];

	KUNIT_ASSERT_LE(test, ctx->nr_attached, MAX_ATTACHED);
	*at = (struct attachment) { domain, dev, pasid };
	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, iommu_of(dev)));
	KUNIT_ASSERT_EQ(test, 0, cache_tag_assign_domain(domain, dev, pasid));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, untag, at));
}

/*
 * Two devices behind one IOMMU share what that IOMMU has cached, and all PASIDs
 * share what it has cached of a second level.
 */
static bool iotlb_shared(struct driver_test *ctx, const struct attachment *at)
{
	const struct attachment *other;

	for (other = ctx->attached; other < at; other++) {
		if (iommu_of(other->dev) == iommu_of(at->dev) &&
		    (other->pasid == at->pasid || !at->domain->use_first_level))
			return true;
	}

	return false;
}

static unsigned int flush_count(struct driver_test *ctx)
{
	unsigned int i, n = 0;

	for (i = 0; i < ctx->nr_attached; i++) {
		n += !iotlb_shared(ctx, &ctx->attached[i]);
		n += paging_has_ats(ctx->attached[i].dev);
	}

	return n;
}

/*
 * @order pages at @start are to be invalidated for @at, among @n descriptors.
 */
static void expect_flush_of(struct kunit *test, const struct attachment *at,
			    unsigned int n, u64 start, unsigned int order, bool ih)
{
	struct intel_iommu *iommu = iommu_of(at->dev);
	struct invalidation want = {
		.iommu	= iommu,
		.type	= INV_IOTLB,
		.did	= domain_id_iommu(at->domain, iommu),
	};

	/*
	 * Second-level translations are tagged with the domain ID, not with the
	 * PASID.
	 */
	if (at->domain->use_first_level) {
		want.type = INV_PASID_IOTLB;
		want.pasid = at->pasid;
	}
	if (order > MAMV) {
		want.all = true;
		set_range(&want, 0, 52);
	} else {
		want.ih = ih;
		set_range(&want, start, order);
	}
	if (!iotlb_shared(test->priv, at))
		expect_among(test, n, &want);

	if (!paging_has_ats(at->dev))
		return;

	want = (struct invalidation) {
		.iommu	= iommu,
		.type	= at->pasid ? INV_PASID_DEV_TLB : INV_DEV_TLB,
		.pasid	= at->pasid,
		.sid	= sid_of(at->dev),
	};
	set_range(&want, start, order);
	expect_among(test, n, &want);
}

/*
 * The next descriptors invalidate, for each attachment once, the smallest
 * aligned block around @size bytes at @start.
 */
static void expect_flush(struct kunit *test, u64 start, u64 size, bool ih)
{
	struct driver_test *ctx = test->priv;
	unsigned int i, n = flush_count(ctx), order = 0;

	while ((start ^ (start + size - 1)) >> 12 >> order)
		order++;

	KUNIT_EXPECT_GE_MSG(test, ctx->nr, ctx->seen + n, "invalidations missing");
	for (i = 0; i < ctx->nr_attached; i++)
		expect_flush_of(test, &ctx->attached[i], n, start, order, ih);
	ctx->seen = min(ctx->seen + n, ctx->nr);
}

/* Structure changed: caches of paging structures are included. */
static void expect_structure_flush(struct kunit *test, u64 start, u64 size)
{
	expect_flush(test, start, size, false);
}

/* Only leaves were removed: the hint keeps caches of paging structures. */
static void expect_leaf_flush(struct kunit *test, u64 start, u64 size)
{
	expect_flush(test, start, size, true);
}

static void expect_flush_all(struct kunit *test)
{
	expect_flush(test, 0, U64_MAX, false);
}

/* Capabilities */

static struct paging_caps level_caps_of(struct kunit *test, u64 cap, u64 ecap,
					bool first_level)
{
	struct paging_caps caps;

	intel_paging_caps_init(&caps, first_level);
	intel_paging_caps_restrict(&caps, fake_iommu(test, cap, ecap));

	return caps;
}

static struct paging_caps caps_of(struct kunit *test, u64 cap, u64 ecap)
{
	return level_caps_of(test, cap, ecap, true);
}

static struct paging_caps sl_caps_of(struct kunit *test, u64 cap, u64 ecap)
{
	return level_caps_of(test, cap, ecap, false);
}

static void caps_depth(struct kunit *test)
{
	u64 rest = CAP_PLAIN & ~CAP_SAGAW(0x1f), both = ECAP_PLAIN | ECAP_SSTS;
	unsigned int sagaw;

	for (sagaw = 0; sagaw <= 0x1f; sagaw++) {
		u64 cap = rest | CAP_SAGAW(sagaw);

		KUNIT_EXPECT_EQ(test, BIT(4), caps_of(test, cap, both).levels);
		KUNIT_EXPECT_EQ(test, BIT(4) | BIT(5),
				caps_of(test, cap | CAP_FS5LP, both).levels);
	}
	KUNIT_EXPECT_EQ(test, 0, caps_of(test, CAP_PLAIN, ECAP_SECOND).levels);
	KUNIT_EXPECT_EQ(test, 0, caps_of(test, CAP_PLAIN, ECAP_PLAIN & ~ECAP_SMTS).levels);
}

/* Bits 1 to 3 of SAGAW are 3 to 5 levels, the others are reserved. */
static void caps_second_level_depth(struct kunit *test)
{
	u64 rest = CAP_PLAIN & ~CAP_SAGAW(0x1f);
	unsigned int sagaw;

	for (sagaw = 0; sagaw <= 0x1f; sagaw++) {
		u64 cap = rest | CAP_SAGAW(sagaw);

		KUNIT_EXPECT_EQ(test, (sagaw & 0xe) << 2,
				sl_caps_of(test, cap, ECAP_PLAIN | ECAP_SSTS).levels);
		KUNIT_EXPECT_EQ(test, (sagaw & 0xe) << 2,
				sl_caps_of(test, cap, ECAP_LEGACY).levels);
	}
	KUNIT_EXPECT_EQ(test, 0, sl_caps_of(test, CAP_PLAIN, ECAP_PLAIN).levels);
}

/* An IOMMU of which the stages have no depth in common is usable. */
static void caps_no_common_depth(struct kunit *test)
{
	u64 rest = CAP_PLAIN & ~CAP_SAGAW_4, both = ECAP_PLAIN | ECAP_SSTS;

	/* The number is levels less 2. */
	KUNIT_EXPECT_EQ(test, 3, fake_iommu(test, rest | CAP_SAGAW_5, both)->agaw);
	KUNIT_EXPECT_EQ(test, 2, fake_iommu(test, CAP_PLAIN, both)->agaw);
	KUNIT_EXPECT_EQ(test, 2, fake_iommu(test, rest, ECAP_PLAIN)->agaw);
	KUNIT_EXPECT_EQ(test, 3, fake_iommu(test, rest | CAP_FS5LP,
					    ECAP_PLAIN)->agaw);
	KUNIT_EXPECT_EQ(test, 3, fake_iommu(test, rest | CAP_SAGAW_5,
					    ECAP_SECOND)->agaw);
}

static void caps_page_sizes(struct kunit *test)
{
	/* Capabilities of the second stage do not matter. */
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M,
			caps_of(test, CAP_PLAIN | CAP_SS1G, ECAP_PLAIN).pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M | SZ_1G,
			caps_of(test, CAP_PLAIN | CAP_FS1GP, ECAP_PLAIN).pgsize_bitmap);

	KUNIT_EXPECT_EQ(test, SZ_4K,
			sl_caps_of(test, CAP_PLAIN | CAP_FS1GP, ECAP_SECOND).pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M,
			sl_caps_of(test, CAP_PLAIN | CAP_SS2M, ECAP_SECOND).pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M | SZ_1G,
			sl_caps_of(test, CAP_SECOND, ECAP_SECOND).pgsize_bitmap);
}

/* Superpages are switched off on the command line. */
static void caps_no_superpages(struct kunit *test)
{
	const int before = intel_iommu_superpage;

	intel_iommu_superpage = 0;
	KUNIT_EXPECT_EQ(test, SZ_4K,
			caps_of(test, CAP_PLAIN | CAP_FS1GP, ECAP_PLAIN).pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, SZ_4K,
			sl_caps_of(test, CAP_SECOND, ECAP_SECOND).pgsize_bitmap);
	intel_iommu_superpage = before;
}

static void caps_coherency(struct kunit *test)
{
	KUNIT_EXPECT_TRUE(test, caps_of(test, CAP_PLAIN, ECAP_PLAIN).coherent);
	/* ECAP.C concerns the tables of legacy mode. */
	KUNIT_EXPECT_FALSE(test, caps_of(test, CAP_PLAIN, (ECAP_PLAIN | ECAP_C) &
					 ~ECAP_SMPWC).coherent);
	KUNIT_EXPECT_FALSE(test, sl_caps_of(test, CAP_SECOND, (ECAP_SECOND | ECAP_C) &
					    ~ECAP_SMPWC).coherent);
	KUNIT_EXPECT_TRUE(test, sl_caps_of(test, CAP_SECOND, ECAP_LEGACY | ECAP_C).coherent);
	KUNIT_EXPECT_FALSE(test, sl_caps_of(test, CAP_SECOND,
					    ECAP_LEGACY | ECAP_SMPWC).coherent);
}

static void caps_intersection(struct kunit *test)
{
	struct paging_caps caps;

	intel_paging_caps_init(&caps, true);
	KUNIT_EXPECT_EQ(test, BIT(4) | BIT(5), caps.levels);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M | SZ_1G, caps.pgsize_bitmap);
	KUNIT_EXPECT_TRUE(test, caps.coherent);

	intel_paging_caps_restrict(&caps, fake_iommu(test, CAP_MGAW(57) | CAP_FS5LP,
						     ECAP_SMTS | ECAP_FSTS));
	KUNIT_EXPECT_EQ(test, BIT(4) | BIT(5), caps.levels);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M, caps.pgsize_bitmap);
	KUNIT_EXPECT_FALSE(test, caps.coherent);
	KUNIT_EXPECT_EQ(test, 57, caps.mgaw);

	intel_paging_caps_restrict(&caps, fake_iommu(test, CAP_MGAW(39) | CAP_FS1GP,
						     ECAP_PLAIN));
	KUNIT_EXPECT_EQ(test, BIT(4), caps.levels);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M, caps.pgsize_bitmap);
	KUNIT_EXPECT_FALSE(test, caps.coherent);
	KUNIT_EXPECT_EQ(test, 39, caps.mgaw);

	/*
	 * The order does not matter, and a more capable IOMMU restores nothing.
	 */
	intel_paging_caps_restrict(&caps, fake_iommu(test, CAP_MGAW(57) | CAP_FS5LP | CAP_FS1GP,
						     ECAP_PLAIN));
	KUNIT_EXPECT_EQ(test, BIT(4), caps.levels);
	KUNIT_EXPECT_EQ(test, SZ_4K | SZ_2M, caps.pgsize_bitmap);
	KUNIT_EXPECT_FALSE(test, caps.coherent);
	KUNIT_EXPECT_EQ(test, 39, caps.mgaw);
}

/* Allocation */

struct alloc_case {
	const char *name;
	u64 cap, ecap;
	unsigned int levels;
	unsigned long pgsize_bitmap;
	u64 aperture_end;
	bool coherent;
	bool second;
};

static const struct alloc_case alloc_cases[] = {
	{ "plain", CAP_PLAIN, ECAP_PLAIN,
	  4, SZ_4K | SZ_2M, BIT_ULL(47) - 1, true },
	{ "1 GiB pages, not coherent", CAP_PLAIN | CAP_FS1GP,
	  ECAP_PLAIN & ~ECAP_SMPWC,
	  4, SZ_4K | SZ_2M | SZ_1G, BIT_ULL(47) - 1, false },
	{ "5 levels with a 4-level second stage",
	  CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(57) | CAP_FS5LP, ECAP_PLAIN | ECAP_SSTS,
	  5, SZ_4K | SZ_2M, BIT_ULL(56) - 1, true },
	{ "4 levels with a 5-level second stage",
	  CAP_ND_256 | CAP_SAGAW_5 | CAP_MGAW(57), ECAP_PLAIN | ECAP_SSTS,
	  4, SZ_4K | SZ_2M, BIT_ULL(47) - 1, true },
	{ "MGAW of 39", CAP_ND_256 | CAP_MGAW(39), ECAP_PLAIN,
	  4, SZ_4K | SZ_2M, BIT_ULL(39) - 1, true },
	{ "4 of 4 and 5 levels, MGAW of 48", CAP_ND_256 | CAP_MGAW(48) | CAP_FS5LP,
	  ECAP_PLAIN, 4, SZ_4K | SZ_2M, BIT_ULL(47) - 1, true },
	{ "5 of 4 and 5 levels, MGAW of 49", CAP_ND_256 | CAP_MGAW(49) | CAP_FS5LP,
	  ECAP_PLAIN, 5, SZ_4K | SZ_2M, BIT_ULL(49) - 1, true },

	/*
	 * The second level's depth: the fewest levels that are enough, or the
	 * most
	 */
	{ "second level", CAP_SECOND, ECAP_SECOND,
	  4, SZ_4K | SZ_2M | SZ_1G, BIT_ULL(48) - 1, true, true },
	{ "second level, 39 of 39 to 57 bits",
	  CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(39), ECAP_SECOND,
	  3, SZ_4K, BIT_ULL(39) - 1, true, true },
	{ "second level, 40 of 39 to 57 bits",
	  CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(40), ECAP_SECOND,
	  4, SZ_4K, BIT_ULL(40) - 1, true, true },
	{ "second level, 48 of 39 to 57 bits",
	  CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(48), ECAP_SECOND,
	  4, SZ_4K, BIT_ULL(48) - 1, true, true },
	{ "second level, 57 of 39 to 57 bits",
	  CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(57), ECAP_SECOND,
	  5, SZ_4K, BIT_ULL(57) - 1, true, true },
	{ "second level, 39 of 57 bits",
	  CAP_ND_256 | CAP_SAGAW_5 | CAP_MGAW(39), ECAP_SECOND,
	  5, SZ_4K, BIT_ULL(39) - 1, true, true },
	{ "second level, MGAW beyond its depth",
	  CAP_ND_256 | CAP_SAGAW_3 | CAP_SAGAW_4 | CAP_MGAW(57), ECAP_SECOND,
	  4, SZ_4K, BIT_ULL(48) - 1, true, true },
	{ "second level, 3 levels with a first of 4", CAP_ND_256 | CAP_SAGAW_3 |
	  CAP_MGAW(39) | CAP_SS2M, ECAP_PLAIN | ECAP_SSTS,
	  3, SZ_4K | SZ_2M, BIT_ULL(39) - 1, true, true },
	{ "second level, not coherent", CAP_SECOND, ECAP_SECOND & ~ECAP_SMPWC,
	  4, SZ_4K | SZ_2M | SZ_1G, BIT_ULL(48) - 1, false, true },
};

KUNIT_ARRAY_PARAM_DESC(alloc, alloc_cases, name);

struct level_case {
	const char *name;
	bool first_level;
};

static const struct level_case level_cases[] = {
	{ "first level", true },
	{ "second level", false },
};

KUNIT_ARRAY_PARAM_DESC(level, level_cases, name);

static void expect_as_allocated(struct kunit *test, struct dmar_domain *domain)
{
	const struct alloc_case *c = test->param_value;
	const struct vtd_pt_cfg *cfg = config_of(domain);

	KUNIT_EXPECT_EQ(test, c->pgsize_bitmap, domain->domain.pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, 0, domain->domain.geometry.aperture_start);
	KUNIT_EXPECT_EQ(test, c->aperture_end, domain->domain.geometry.aperture_end);
	KUNIT_EXPECT_TRUE(test, domain->domain.geometry.force_aperture);
	KUNIT_EXPECT_PTR_EQ(test, c->second ? &intel_sl_domain_ops : &intel_fl_domain_ops,
			    domain->domain.ops);
	KUNIT_EXPECT_PTR_EQ(test, &intel_iommu_ops, domain->domain.owner);
	KUNIT_EXPECT_TRUE(test, c->second != domain->use_first_level);
	KUNIT_EXPECT_EQ(test, c->levels, cfg->levels);
	KUNIT_EXPECT_EQ(test, c->pgsize_bitmap, cfg->pgsize_bitmap);
	KUNIT_EXPECT_EQ(test, c->coherent, cfg->coherent);
	KUNIT_EXPECT_PTR_EQ(test, domain, cfg->owner);
}

/* The features of a domain are fixed at allocation. */
static void alloc_fixes_features(struct kunit *test)
{
	const struct alloc_case *c = test->param_value;
	struct device *dev = fake_pair(test, c->cap, c->ecap);
	struct intel_iommu *better = fake_iommu(test, CAP_ND_256 | CAP_SAGAW_5 |
						CAP_MGAW(57) | CAP_FS5LP | CAP_FS1GP,
						ECAP_PLAIN | ECAP_SSTS);
	struct dmar_domain *domain = paging_domain(test, dev, !c->second);
	phys_addr_t root = root_of(domain);

	expect_as_allocated(test, domain);

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
	expect_as_allocated(test, domain);
	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, better));
	expect_as_allocated(test, domain);
	domain_detach_iommu(domain, better);
	expect_as_allocated(test, domain);
	device_block_translation(dev);
	expect_as_allocated(test, domain);
	KUNIT_EXPECT_EQ(test, root, root_of(domain));
}

/*
 * Addresses beyond the aperture are refused, the last one in it is not, whether
 * the depth of the table or the width of the hardware's addresses ends it.
 */
static void alloc_aperture(struct kunit *test)
{
	static const struct { u64 cap; u64 end; bool first; } cases[] = {
		{ CAP_PLAIN, BIT_ULL(47), true },
		{ CAP_ND_256 | CAP_MGAW(39), BIT_ULL(39), true },
		{ CAP_SECOND, BIT_ULL(48) },
		{ CAP_ND_256 | CAP_SAGAW_3 | CAP_MGAW(39), BIT_ULL(39) },
		{ CAP_ND_256 | CAP_SAGAW_3 | CAP_MGAW(57), BIT_ULL(39) },
		{ CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(40), BIT_ULL(40) },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bool first_level = cases[i].first;
		u64 ecap = first_level ? ECAP_PLAIN : ECAP_SECOND;
		struct device *dev = fake_pair(test, cases[i].cap, ecap);
		struct iommu_domain *domain = &paging_domain(test, dev, first_level)->domain;
		u64 end = cases[i].end;

		KUNIT_EXPECT_EQ(test, end - 1, domain->geometry.aperture_end);
		KUNIT_EXPECT_EQ(test, 0, iommu_map(domain, end - SZ_4K, PA, SZ_4K, RW,
						   GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, PA, iommu_iova_to_phys(domain, end - SZ_4K));
		KUNIT_EXPECT_EQ(test, -ERANGE, iommu_map(domain, end, PA, SZ_4K, RW,
							 GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain, end, SZ_4K));
		KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, end));
	}
}

static void alloc_charges_users_only(struct kunit *test)
{
	const struct level_case *c = test->param_value;
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_PLAIN | ECAP_SSTS);
	struct dmar_domain *kernel = paging_domain(test, dev, c->first_level);
	struct dmar_domain *user;

	user = keep_domain(test, intel_paging_domain_alloc(dev, c->first_level,
							   __GFP_ACCOUNT));
	KUNIT_EXPECT_EQ(test, 0u, (__force u32)config_of(kernel)->gfp);
	KUNIT_EXPECT_EQ(test, (__force u32)__GFP_ACCOUNT,
			(__force u32)config_of(user)->gfp);

	/* They are also the only ones whose tables are limited. */
	KUNIT_EXPECT_EQ(test, 0, config_of(kernel)->max_pages);
	KUNIT_EXPECT_EQ(test, max(totalram_pages() / 64, (unsigned long)SZ_64M / SZ_4K),
			config_of(user)->max_pages);
}

/*
 * The real allocator of pages, which the library's tests replace: tables lie on
 * the device's node. Needs a machine with two.
 */
static void alloc_on_node(struct kunit *test)
{
	const struct level_case *c = test->param_value;
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_PLAIN | ECAP_SSTS);
	int nid;

	if (nr_node_ids < 2)
		kunit_skip(test, "this machine has one NUMA node");

	for_each_node_state(nid, N_MEMORY) {
		struct dmar_domain *domain;
		unsigned int level;
		phys_addr_t table;

		set_dev_node(dev, nid);
		domain = paging_domain(test, dev, c->first_level);
		KUNIT_ASSERT_EQ(test, 0, iommu_map(&domain->domain, 0, PA, SZ_4K, RW,
						   GFP_KERNEL));
		table = root_of(domain);
		for (level = 4; level; level--) {
			KUNIT_EXPECT_EQ(test, nid, page_to_nid(pfn_to_page(PHYS_PFN(table))));
			table = *(u64 *)phys_to_virt(table) & GENMASK_ULL(51, 12);
		}
		KUNIT_EXPECT_EQ(test, PA, table);
	}
}

static void *no_page(const struct vtd_pt_cfg *cfg, gfp_t gfp)
{
	return NULL;
}

/* KASAN and kmemleak detect leaks of this. */
static void alloc_without_memory(struct kunit *test)
{
	const struct level_case *c = test->param_value;
	struct device *dev = fake_pair(test, CAP_SECOND,
				       c->first_level ? ECAP_PLAIN : ECAP_SECOND);

	kunit_activate_static_stub(test, vtd_pt_fl_alloc_page, no_page);
	kunit_activate_static_stub(test, vtd_pt_sl_alloc_page, no_page);
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOMEM),
			    intel_paging_domain_alloc(dev, c->first_level, 0));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOMEM),
			    intel_iommu_ops.domain_alloc_user(dev, 0, NULL, NULL));
	kunit_deactivate_static_stub(test, vtd_pt_fl_alloc_page);
	kunit_deactivate_static_stub(test, vtd_pt_sl_alloc_page);

	paging_domain(test, dev, c->first_level);
}

/*
 * Every IOMMU must be able to use the domain. The IOMMUs of the machine that
 * runs this may lack the level, or may have no depth in common.
 */
static void alloc_without_device(struct kunit *test)
{
	const struct level_case *c = test->param_value;
	struct paging_caps caps;
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;
	struct dmar_domain *domain;
	unsigned int refused = 0;

	intel_paging_caps_init(&caps, c->first_level);
	rcu_read_lock();
	for_each_active_iommu(iommu, drhd)
		intel_paging_caps_restrict(&caps, iommu);
	rcu_read_unlock();
	if (!caps.levels) {
		KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
				    intel_paging_domain_alloc(NULL, c->first_level, 0));
		return;
	}

	domain = paging_domain(test, NULL, c->first_level);
	rcu_read_lock();
	for_each_active_iommu(iommu, drhd)
		refused += !!intel_paging_domain_compatible(domain, iommu);
	rcu_read_unlock();
	KUNIT_EXPECT_EQ(test, 0, refused);
}

/* No IOMMU can walk the level. */
static void alloc_without_level(struct kunit *test)
{
	struct device *first = fake_pair(test, CAP_SECOND, ECAP_PLAIN);
	struct device *second = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct device *legacy = fake_pair(test, CAP_SECOND, ECAP_LEGACY);

	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
			    intel_paging_domain_alloc(first, false, 0));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
			    intel_paging_domain_alloc(second, true, 0));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
			    intel_paging_domain_alloc(legacy, true, 0));
}

/* Domains for users: the first level serves where there is no second. */
static void alloc_user(struct kunit *test)
{
	struct device *first = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	struct device *second = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct device *both = fake_pair(test, CAP_SECOND, ECAP_PLAIN | ECAP_SSTS);
	/* without scalable mode there is no first stage to use */
	struct device *legacy = fake_pair(test, CAP_SECOND, ECAP_PLAIN & ~ECAP_SMTS);
	struct dmar_domain *domain = user_domain(test, first);

	KUNIT_EXPECT_PTR_EQ(test, &intel_fl_domain_ops, domain->domain.ops);
	KUNIT_EXPECT_EQ(test, IOMMU_DOMAIN_UNMANAGED, domain->domain.type);
	KUNIT_ASSERT_NOT_NULL(test, domain->pgtable);
	KUNIT_EXPECT_EQ(test, (__force u32)__GFP_ACCOUNT,
			(__force u32)vtd_pt_fl_config(domain->pgtable)->gfp);

	KUNIT_EXPECT_PTR_EQ(test, &intel_sl_domain_ops,
			    user_domain(test, second)->domain.ops);
	KUNIT_EXPECT_NOT_NULL(test, user_domain(test, second)->pgtable);
	KUNIT_EXPECT_PTR_EQ(test, &intel_sl_domain_ops,
			    user_domain(test, legacy)->domain.ops);

	if (strstr(saved_command_line, "fl_user"))
		KUNIT_EXPECT_PTR_EQ(test, &intel_fl_domain_ops,
				    user_domain(test, both)->domain.ops);
	else
		KUNIT_EXPECT_PTR_EQ(test, &intel_sl_domain_ops,
				    user_domain(test, both)->domain.ops);
}

/* Features of the second level only are not offered by the first. */
static void alloc_user_flags(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	static const u32 flags[] = {
		IOMMU_HWPT_ALLOC_NEST_PARENT,
		IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EOPNOTSUPP),
				    intel_iommu_ops.domain_alloc_user(dev, flags[i],
								      NULL, NULL));
}

/* Which IOMMU may use a domain */

struct compat_case {
	const char *name;
	u64 domain_cap, domain_ecap;
	u64 cap, ecap;
	int ret;
	bool second;
};

#define CAP_47		(CAP_ND_256 | CAP_MGAW(47))	/* the same aperture for all */
#define CAP_39		(CAP_ND_256 | CAP_MGAW(39))
#define CAP_57		(CAP_ND_256 | CAP_MGAW(57))

static const struct compat_case compat_cases[] = {
	{ "same", CAP_PLAIN, ECAP_PLAIN, CAP_PLAIN, ECAP_PLAIN, 0 },
	{ "5 levels on 4", CAP_57 | CAP_FS5LP, ECAP_PLAIN,
	  CAP_57, ECAP_PLAIN, -EINVAL },
	{ "4 of 4 and 5 levels on 4", CAP_47 | CAP_FS5LP, ECAP_PLAIN,
	  CAP_47, ECAP_PLAIN, 0 },
	{ "4 levels on 5", CAP_47, ECAP_PLAIN,
	  CAP_47 | CAP_FS5LP, ECAP_PLAIN, 0 },
	{ "1 GiB pages", CAP_47 | CAP_FS1GP, ECAP_PLAIN,
	  CAP_47, ECAP_PLAIN, -EINVAL },
	{ "no 1 GiB pages needed", CAP_47, ECAP_PLAIN,
	  CAP_47 | CAP_FS1GP, ECAP_PLAIN, 0 },
	{ "coherent table, walk not coherent", CAP_47, ECAP_PLAIN,
	  CAP_47, ECAP_PLAIN & ~ECAP_SMPWC, -EINVAL },
	{ "table not coherent, coherent walk", CAP_47, ECAP_PLAIN & ~ECAP_SMPWC,
	  CAP_47, ECAP_PLAIN, 0 },
	{ "no first stage", CAP_PLAIN, ECAP_PLAIN,
	  CAP_PLAIN, (ECAP_PLAIN & ~ECAP_FSTS) | ECAP_SSTS, -EINVAL },
	{ "legacy mode", CAP_PLAIN, ECAP_PLAIN,
	  CAP_PLAIN, (ECAP_PLAIN & ~ECAP_SMTS) | ECAP_C, -EINVAL },
	{ "MGAW too small", CAP_PLAIN, ECAP_PLAIN,
	  CAP_ND_256 | CAP_MGAW(46), ECAP_PLAIN, -EINVAL },
	{ "MGAW just enough", CAP_PLAIN, ECAP_PLAIN,
	  CAP_47, ECAP_PLAIN, 0 },
	{ "SAGAW does not matter", CAP_47 | CAP_SAGAW_4, ECAP_PLAIN,
	  CAP_47 | CAP_SAGAW_3, ECAP_PLAIN | ECAP_SSTS, 0 },

	{ "second level: same", CAP_SECOND, ECAP_SECOND, CAP_SECOND, ECAP_SECOND, 0, true },
	{ "second level: 4 levels on 3", CAP_39 | CAP_SAGAW_4, ECAP_SECOND,
	  CAP_39 | CAP_SAGAW_3, ECAP_SECOND, -EINVAL, true },
	{ "second level: 3 levels on 4", CAP_39 | CAP_SAGAW_3, ECAP_SECOND,
	  CAP_39 | CAP_SAGAW_4, ECAP_SECOND, -EINVAL, true },
	{ "second level: 4 levels on 3 to 5", CAP_39 | CAP_SAGAW_4, ECAP_SECOND,
	  CAP_39 | CAP_SAGAW(0xe), ECAP_SECOND, 0, true },
	{ "second level: 2 MiB pages", CAP_39 | CAP_SAGAW_3 | CAP_SS2M, ECAP_SECOND,
	  CAP_39 | CAP_SAGAW_3, ECAP_SECOND, -EINVAL, true },
	{ "second level: 1 GiB pages", CAP_SECOND, ECAP_SECOND,
	  CAP_SECOND & ~CAP_SS1G, ECAP_SECOND, -EINVAL, true },
	{ "second level: small pages", CAP_39 | CAP_SAGAW_3, ECAP_SECOND,
	  CAP_39 | CAP_SAGAW_3 | CAP_SS2M | CAP_SS1G, ECAP_SECOND, 0, true },
	{ "second level: coherent table, walk not coherent", CAP_SECOND, ECAP_SECOND,
	  CAP_SECOND, ECAP_SECOND & ~ECAP_SMPWC, -EINVAL, true },
	{ "second level: table not coherent, coherent walk",
	  CAP_SECOND, ECAP_SECOND & ~ECAP_SMPWC, CAP_SECOND, ECAP_SECOND, 0, true },
	{ "second level: MGAW too small", CAP_SECOND, ECAP_SECOND,
	  (CAP_SECOND & ~CAP_MGAW(64)) | CAP_MGAW(47), ECAP_SECOND, -EINVAL, true },
	{ "second level: there is none", CAP_SECOND, ECAP_SECOND,
	  CAP_SECOND, ECAP_PLAIN, -EINVAL, true },
	{ "second level: both levels", CAP_SECOND, ECAP_SECOND,
	  CAP_SECOND, ECAP_PLAIN | ECAP_SSTS, 0, true },
};

KUNIT_ARRAY_PARAM_DESC(compat, compat_cases, name);

static void compatible(struct kunit *test)
{
	const struct compat_case *c = test->param_value;
	struct device *dev = fake_pair(test, c->cap, c->ecap);
	struct dmar_domain *domain;

	domain = paging_domain(test, fake_pair(test, c->domain_cap, c->domain_ecap),
			       !c->second);
	KUNIT_EXPECT_EQ(test, c->ret, intel_paging_domain_compatible(domain, iommu_of(dev)));
	KUNIT_EXPECT_EQ(test, c->ret,
			prepare_domain_attach_device(&domain->domain, dev));
	KUNIT_EXPECT_EQ(test, c->ret,
			domain->domain.ops->attach_dev(&domain->domain, dev));
	KUNIT_EXPECT_EQ(test, !c->ret, !list_empty(&domain->devices));
	device_block_translation(dev);
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->devices));
}

/* Whether new mappings need a flush is fixed at allocation. */
static void sync_map_fixed_at_alloc(struct kunit *test)
{
	struct device *rwbf = fake_pair(test, CAP_PLAIN | CAP_RWBF, ECAP_PLAIN);
	struct device *cm = fake_pair(test, CAP_PLAIN | CAP_CM, ECAP_PLAIN);
	struct dmar_domain *domain = fl_domain(test, cm);

	KUNIT_EXPECT_FALSE(test, domain->iotlb_sync_map);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			prepare_domain_attach_device(&domain->domain, rwbf));
	KUNIT_ASSERT_EQ(test, 0, domain_attach_iommu(domain, iommu_of(rwbf)));
	KUNIT_EXPECT_FALSE(test, domain->iotlb_sync_map);
	domain_detach_iommu(domain, iommu_of(rwbf));

	/* section 6.1: caching mode does not concern first-level entries */
	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, cm));
	KUNIT_EXPECT_FALSE(test, domain->iotlb_sync_map);
	device_block_translation(cm);

	domain->iotlb_sync_map = true;
	KUNIT_EXPECT_EQ(test, 0, prepare_domain_attach_device(&domain->domain, rwbf));
}

static void sync_map_second_level(struct kunit *test)
{
	struct device *cm = fake_pair(test, CAP_SECOND | CAP_CM, ECAP_SECOND);
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct dmar_domain *domain = user_domain(test, dev);
	/* a real IOMMU may have caching mode */
	bool need = domain_need_iotlb_sync_map(false);

	KUNIT_EXPECT_TRUE(test, need == domain->iotlb_sync_map);
	KUNIT_EXPECT_EQ(test, 0, prepare_domain_attach_device(&domain->domain, dev));
	KUNIT_EXPECT_EQ(test, need ? 0 : -EINVAL,
			prepare_domain_attach_device(&domain->domain, cm));
	KUNIT_EXPECT_TRUE(test, need == domain->iotlb_sync_map);
}

/* What an attachment programs: the PASID-table entry, section 9.6 */

static const u64 *paging_pasid_entry(struct device *dev, ioasid_t pasid)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct pasid_dir_entry *dir = info->pasid_table->table;

	return get_pasid_table_from_pde(dir)[pasid].val;
}

static void expect_entry(struct kunit *test, struct dmar_domain *domain,
			 struct device *dev, ioasid_t pasid, bool snoop)
{
	const u64 *e = paging_pasid_entry(dev, pasid);
	unsigned int levels = config_of(domain)->levels;
	bool first = domain->use_first_level;

	KUNIT_EXPECT_EQ(test, 1, FIELD_GET(BIT_ULL(0), e[0]));		/* P */
	KUNIT_EXPECT_EQ(test, first ? 1 : 2, FIELD_GET(GENMASK_ULL(8, 6), e[0])); /* PGTT */
	KUNIT_EXPECT_EQ(test, domain_id_iommu(domain, iommu_of(dev)),
			FIELD_GET(GENMASK_ULL(15, 0), e[1]));		/* DID */
	KUNIT_EXPECT_EQ(test, config_of(domain)->coherent,
			FIELD_GET(BIT_ULL(23), e[1]));			/* PWSNP */
	KUNIT_EXPECT_EQ(test, snoop && first, FIELD_GET(BIT_ULL(24), e[1])); /* PGSNP */
	if (first) {
		KUNIT_EXPECT_EQ(test, levels == 5,
				FIELD_GET(GENMASK_ULL(3, 2), e[2]));	/* FSPM */
		KUNIT_EXPECT_EQ(test, root_of(domain), e[2] & GENMASK_ULL(63, 12));
	} else {
		KUNIT_EXPECT_EQ(test, levels - 2, FIELD_GET(GENMASK_ULL(4, 2), e[0])); /* AW */
		KUNIT_EXPECT_EQ(test, root_of(domain), e[0] & GENMASK_ULL(63, 12));
		KUNIT_EXPECT_EQ(test, 0ULL, e[2]);
	}
}

static void expect_no_entry(struct kunit *test, struct device *dev, ioasid_t pasid)
{
	const u64 *e = paging_pasid_entry(dev, pasid);

	KUNIT_EXPECT_EQ(test, 0ULL, e[0] | e[1] | e[2]);
}

/* Section 6.5.3.3: PASID cache, then what was cached with the entry. */
static void expect_entry_flush(struct kunit *test, struct device *dev,
			       u16 did, ioasid_t pasid, bool first_level)
{
	struct driver_test *ctx = test->priv;
	struct invalidation want = {
		.iommu	= iommu_of(dev),
		.type	= INV_PASID_CACHE,
		.did	= did,
		.pasid	= pasid,
	};

	expect_among(test, 1, &want);
	ctx->seen++;
	want.type = first_level ? INV_PASID_IOTLB : INV_IOTLB;
	want.pasid = first_level ? pasid : 0;
	want.all = true;
	set_range(&want, 0, 52);
	expect_among(test, 1, &want);
	ctx->seen++;
}

static void attach_rid(struct kunit *test)
{
	const struct alloc_case *c = test->param_value;
	struct device *dev = fake_pair(test, c->cap, c->ecap);
	struct intel_iommu *iommu = iommu_of(dev);
	unsigned int ids = bitmap_weight(iommu->domain_ids, 256);
	struct dmar_domain *domain = paging_domain(test, dev, !c->second);
	u16 did;

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
	did = domain_id_iommu(domain, iommu);
	expect_entry(test, domain, dev, IOMMU_NO_PASID, false);
	expect_no_more(test);

	device_block_translation(dev);
	expect_no_entry(test, dev, IOMMU_NO_PASID);
	expect_entry_flush(test, dev, did, IOMMU_NO_PASID, !c->second);
	expect_no_more(test);
	KUNIT_EXPECT_EQ(test, ids, bitmap_weight(iommu->domain_ids, 256));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->cache_tags));
}

static void attach_pasid(struct kunit *test)
{
	const struct alloc_case *c = test->param_value;
	struct device *dev = fake_pair(test, c->cap, c->ecap);
	struct intel_iommu *iommu = iommu_of(dev);
	unsigned int ids = bitmap_weight(iommu->domain_ids, 256);
	struct dmar_domain *domain = paging_domain(test, dev, !c->second);
	u16 did;

	KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->set_dev_pasid(&domain->domain,
								   dev, 7, NULL));
	did = domain_id_iommu(domain, iommu);
	expect_entry(test, domain, dev, 7, false);
	expect_no_entry(test, dev, IOMMU_NO_PASID);
	expect_no_more(test);

	intel_iommu_ops.remove_dev_pasid(dev, 7, &domain->domain);
	expect_no_entry(test, dev, 7);
	expect_entry_flush(test, dev, did, 7, !c->second);
	expect_no_more(test);
	KUNIT_EXPECT_EQ(test, ids, bitmap_weight(iommu->domain_ids, 256));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->cache_tags));
}

/* Attaching to a PASID makes the same checks as to a RID. */
static void attach_pasid_refused(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_57, ECAP_PLAIN);
	struct dmar_domain *five;

	five = fl_domain(test, fake_pair(test, CAP_57 | CAP_FS5LP, ECAP_PLAIN));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			five->domain.ops->set_dev_pasid(&five->domain, dev, 7, NULL));
	expect_no_entry(test, dev, 7);
	KUNIT_EXPECT_TRUE(test, list_empty(&five->dev_pasids));
}

/* Snooping is enforced in every entry of a domain, also in later ones. */
static void attach_enforce_snooping(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	struct device *late = fake_dev(test, iommu_of(dev));
	struct device *never = fake_pair(test, CAP_PLAIN, ECAP_PLAIN & ~ECAP_SC);
	struct dmar_domain *domain = fl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;
	u16 did;

	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, dev));
	KUNIT_ASSERT_EQ(test, 0, d->ops->set_dev_pasid(d, dev, 7, NULL));
	did = domain_id_iommu(domain, iommu_of(dev));
	/* Entries of the first level do not remember it: mappings may exist. */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(d, SZ_1G, PA, SZ_4K, RW, GFP_KERNEL));

	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	expect_entry(test, domain, dev, IOMMU_NO_PASID, true);
	expect_entry(test, domain, dev, 7, true);
	expect_entry_flush(test, dev, did, IOMMU_NO_PASID, true);
	expect_entry_flush(test, dev, did, 7, true);
	expect_no_more(test);

	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, late));
	expect_entry(test, domain, late, IOMMU_NO_PASID, true);
	KUNIT_EXPECT_EQ(test, -EINVAL, d->ops->attach_dev(d, never));

	device_block_translation(late);
	intel_iommu_ops.remove_dev_pasid(dev, 7, d);
	device_block_translation(dev);
}

static void attach_cannot_enforce_snooping(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	struct device *never = fake_pair(test, CAP_PLAIN, ECAP_PLAIN & ~ECAP_SC);
	struct dmar_domain *domain = fl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;

	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, dev));
	KUNIT_ASSERT_EQ(test, 0, d->ops->set_dev_pasid(d, never, 7, NULL));
	KUNIT_EXPECT_FALSE(test, d->ops->enforce_cache_coherency(d));
	expect_entry(test, domain, dev, IOMMU_NO_PASID, false);
	expect_entry(test, domain, never, 7, false);

	intel_iommu_ops.remove_dev_pasid(never, 7, d);
	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	device_block_translation(dev);
}

/* Invalidations */

struct inv_case {
	const char *name;
	bool rid, pasid, ats;
	unsigned int iommus, devs;	/* devices: behind each IOMMU */
	bool second;
};

static const struct inv_case inv_cases[] = {
	{ "not attached", .iommus = 1, .devs = 1 },
	{ "RID", .rid = true, .iommus = 1, .devs = 1 },
	{ "RID, ATS", .rid = true, .ats = true, .iommus = 1, .devs = 1 },
	{ "PASID", .pasid = true, .iommus = 1, .devs = 1 },
	{ "PASID, ATS", .pasid = true, .ats = true, .iommus = 1, .devs = 1 },
	{ "RID and PASID, ATS", .rid = true, .pasid = true, .ats = true,
	  .iommus = 1, .devs = 1 },
	{ "2 devices, ATS", .rid = true, .ats = true, .iommus = 1, .devs = 2 },
	{ "2 IOMMUs, ATS", .pasid = true, .ats = true, .iommus = 2, .devs = 1 },
	{ "2 IOMMUs with 2 devices, ATS", .rid = true, .ats = true,
	  .iommus = 2, .devs = 2 },
	{ "second level, not attached", .iommus = 1, .devs = 1, .second = true },
	{ "second level, RID", .rid = true, .iommus = 1, .devs = 1, .second = true },
	{ "second level, RID, ATS", .rid = true, .ats = true, .iommus = 1, .devs = 1,
	  .second = true },
	{ "second level, PASID, ATS", .pasid = true, .ats = true, .iommus = 1, .devs = 1,
	  .second = true },
	{ "second level, 2 IOMMUs with 2 devices, ATS", .rid = true, .ats = true,
	  .iommus = 2, .devs = 2, .second = true },
};

KUNIT_ARRAY_PARAM_DESC(inv, inv_cases, name);

static void inv_attach(struct kunit *test, struct dmar_domain *domain,
		       struct device *dev)
{
	const struct inv_case *c = test->param_value;
	struct device_domain_info *info = dev_iommu_priv_get(dev);

	info->ats_enabled = c->ats;
	if (c->rid)
		tag(test, domain, dev, IOMMU_NO_PASID);
	if (c->pasid)
		tag(test, domain, dev, 7);
}

/* The domain of a test, attached as the parameter says */
static struct iommu_domain *inv_domain(struct kunit *test)
{
	const struct inv_case *c = test->param_value;
	struct dmar_domain *domain = NULL;
	unsigned int i, j;

	for (i = 0; i < c->iommus; i++) {
		struct intel_iommu *iommu;

		iommu = c->second ? fake_iommu(test, CAP_SECOND, ECAP_SECOND) :
				    fake_iommu(test, CAP_PLAIN | CAP_FS1GP, ECAP_PLAIN);
		for (j = 0; j < c->devs; j++) {
			struct device *dev = fake_dev(test, iommu);

			if (!domain)
				domain = paging_domain(test, dev, !c->second);
			/* whatever the machine's own IOMMUs are like */
			domain->iotlb_sync_map = false;
			inv_attach(test, domain, dev);
		}
	}

	return &domain->domain;
}

static void paging_map(struct kunit *test, struct iommu_domain *domain, u64 iova, size_t size)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, iova, PA + iova, size, RW,
					   GFP_KERNEL));
}

static void paging_unmap(struct kunit *test, struct iommu_domain *domain, u64 iova,
			 size_t size)
{
	KUNIT_ASSERT_EQ(test, size, iommu_unmap(domain, iova, size));
}

#define IOVA	(16ULL * SZ_1G)

static const size_t inv_sizes[] = { SZ_4K, 3 * SZ_4K, SZ_64K, SZ_2M, 5 * SZ_2M, SZ_1G };

/* Hardware does not cache entries that are not present (section 6.1). */
static void inv_none_on_map(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(inv_sizes); i++)
		paging_map(test, domain, IOVA + (u64)i * SZ_1G, inv_sizes[i]);
	expect_no_more(test);
}

static void inv_unmap(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(inv_sizes); i++) {
		u64 iova = IOVA + (u64)i * SZ_1G;

		paging_map(test, domain, iova, inv_sizes[i]);
		paging_unmap(test, domain, iova, inv_sizes[i]);
		expect_leaf_flush(test, iova, inv_sizes[i]);
		expect_no_more(test);
	}
}

static void flush_by_registers(struct intel_iommu *iommu, u16 did, u64 addr,
			       unsigned int size_order, u64 type)
{
	struct driver_test *ctx = kunit_get_current_test()->priv;

	ctx->flushed = (struct register_flush) {
		.nr = ctx->flushed.nr + 1, .did = did, .addr = addr, .order = size_order,
	};
}

/* An IOMMU whose queue could not be allocated */
static void inv_unmap_without_queue(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_LEGACY);
	struct dmar_domain *domain = sl_domain(test, dev);
	struct driver_test *ctx = test->priv;

	tag(test, domain, dev, IOMMU_NO_PASID);
	iommu_of(dev)->flush.flush_iotlb = flush_by_registers;
	paging_map(test, &domain->domain, IOVA, SZ_4K);
	ctx->flushed.nr = 0;
	paging_unmap(test, &domain->domain, IOVA, SZ_4K);
	KUNIT_EXPECT_EQ(test, 1, ctx->flushed.nr);
	KUNIT_EXPECT_EQ(test, domain_id_iommu(domain, iommu_of(dev)), ctx->flushed.did);
	KUNIT_EXPECT_EQ(test, IOVA, ALIGN_DOWN(ctx->flushed.addr, SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, ctx->flushed.order);
	expect_no_more(test);
}

/* A range that is not aligned to its size needs a larger mask. */
static void inv_unmap_unaligned(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA, SZ_4M);
	paging_unmap(test, domain, IOVA, SZ_4M);
	expect_leaf_flush(test, IOVA, SZ_4M);

	paging_map(test, domain, IOVA + SZ_4K, 2 * SZ_4K);
	paging_unmap(test, domain, IOVA + SZ_4K, 2 * SZ_4K);
	expect_leaf_flush(test, IOVA, SZ_16K);

	paging_map(test, domain, IOVA + SZ_2M - SZ_4K, 2 * SZ_4K);
	paging_unmap(test, domain, IOVA + SZ_2M - SZ_4K, 2 * SZ_4K);
	expect_leaf_flush(test, IOVA, SZ_4M);
	expect_no_more(test);
}

static void inv_unmap_queued(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	struct iommu_iotlb_gather gather;

	paging_map(test, domain, IOVA, SZ_2M);
	paging_map(test, domain, IOVA + SZ_1G, SZ_64K);

	iommu_iotlb_gather_init(&gather);
	gather.queued = true;
	KUNIT_EXPECT_EQ(test, SZ_2M, iommu_unmap_fast(domain, IOVA, SZ_2M, &gather));
	KUNIT_EXPECT_EQ(test, SZ_64K, iommu_unmap_fast(domain, IOVA + SZ_1G, SZ_64K,
						       &gather));
	expect_no_more(test);

	iommu_flush_iotlb_all(domain);
	expect_flush_all(test);
	expect_no_more(test);
}

/* Changes of the structure cannot wait for the flush queue. */
static void inv_split_queued(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	struct iommu_iotlb_gather gather;

	paging_map(test, domain, IOVA, SZ_2M);
	iommu_iotlb_gather_init(&gather);
	gather.queued = true;
	KUNIT_EXPECT_EQ(test, SZ_4K, iommu_unmap_fast(domain, IOVA, SZ_4K, &gather));
	expect_structure_flush(test, IOVA, SZ_2M);
	expect_no_more(test);
}

static void inv_gather(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	struct iommu_iotlb_gather gather;

	paging_map(test, domain, IOVA, SZ_16K);
	paging_map(test, domain, IOVA + SZ_1G, SZ_64K);
	iommu_iotlb_gather_init(&gather);

	/* Neighbours are gathered ... */
	iommu_unmap_fast(domain, IOVA, SZ_4K, &gather);
	iommu_unmap_fast(domain, IOVA + SZ_4K, SZ_4K, &gather);
	iommu_unmap_fast(domain, IOVA + SZ_8K, SZ_8K, &gather);
	expect_no_more(test);

	/* ... a distant range ends the first one, ... */
	iommu_unmap_fast(domain, IOVA + SZ_1G, SZ_64K, &gather);
	expect_leaf_flush(test, IOVA, SZ_16K);
	expect_no_more(test);

	/* ... and is flushed at the end. */
	iommu_iotlb_sync(domain, &gather);
	expect_leaf_flush(test, IOVA + SZ_1G, SZ_64K);
	expect_no_more(test);
}

/* Nothing was unmapped, so nothing is to be invalidated. */
static void inv_empty_gather(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);
	struct iommu_iotlb_gather gather;

	iommu_iotlb_gather_init(&gather);
	iommu_iotlb_sync(domain, &gather);
	expect_no_more(test);

	KUNIT_EXPECT_EQ(test, 0, iommu_unmap(domain,
					     domain->geometry.aperture_end + 1, SZ_4K));
	expect_no_more(test);

	/* An unmap that fails leaves the gathered range alone. */
	paging_map(test, domain, IOVA, SZ_4K);
	iommu_unmap_fast(domain, IOVA, SZ_4K, &gather);
	KUNIT_EXPECT_EQ(test, 0, iommu_unmap_fast(domain, domain->geometry.aperture_end + 1,
						  SZ_4K, &gather));
	expect_no_more(test);
	iommu_iotlb_sync(domain, &gather);
	expect_leaf_flush(test, IOVA, SZ_4K);
	expect_no_more(test);
}

/*
 * A table that hardware may have cached is invalidated before the large page is
 * used.
 */
static void inv_superpage_over_table(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA + SZ_64K, SZ_4K);
	paging_unmap(test, domain, IOVA + SZ_64K, SZ_4K);
	expect_leaf_flush(test, IOVA + SZ_64K, SZ_4K);

	paging_map(test, domain, IOVA, SZ_2M);
	expect_structure_flush(test, IOVA, SZ_2M);
	expect_no_more(test);

	paging_unmap(test, domain, IOVA, SZ_2M);
	expect_leaf_flush(test, IOVA, SZ_2M);
	paging_map(test, domain, IOVA, SZ_1G);
	expect_structure_flush(test, IOVA, SZ_1G);
	expect_no_more(test);
}

static void inv_split(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA, SZ_4M);

	/* all of the large page, then the unmapped part */
	paging_unmap(test, domain, IOVA + SZ_64K, SZ_4K);
	expect_structure_flush(test, IOVA, SZ_2M);
	expect_leaf_flush(test, IOVA + SZ_64K, SZ_4K);
	expect_no_more(test);

	/* the page is split now */
	paging_unmap(test, domain, IOVA + SZ_128K, SZ_4K);
	expect_leaf_flush(test, IOVA + SZ_128K, SZ_4K);
	expect_no_more(test);

	/* the end of one that was split, the head of one that was not */
	paging_unmap(test, domain, IOVA + SZ_2M - SZ_4K, 2 * SZ_4K);
	expect_structure_flush(test, IOVA + SZ_2M, SZ_2M);
	expect_leaf_flush(test, IOVA, SZ_4M);
	expect_no_more(test);

	KUNIT_EXPECT_EQ(test, PA + IOVA, iommu_iova_to_phys(domain, IOVA));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA + SZ_64K));
	KUNIT_EXPECT_EQ(test, PA + IOVA + SZ_4M - 1,
			iommu_iova_to_phys(domain, IOVA + SZ_4M - 1));
}

static void inv_split_1g(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA, SZ_1G);
	paging_unmap(test, domain, IOVA + SZ_2M + SZ_4K, SZ_4K);
	expect_structure_flush(test, IOVA, SZ_1G);
	expect_structure_flush(test, IOVA + SZ_2M, SZ_2M);
	expect_leaf_flush(test, IOVA + SZ_2M + SZ_4K, SZ_4K);
	expect_no_more(test);
}

/* A device may have used what a failed map unwinds. */
static void inv_failed_map(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA + SZ_8K, SZ_4K);
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iommu_map(domain, IOVA, PA, SZ_16K, RW, GFP_KERNEL));
	expect_leaf_flush(test, IOVA, SZ_8K);
	expect_no_more(test);

	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA));
	KUNIT_EXPECT_EQ(test, PA + IOVA + SZ_8K,
			iommu_iova_to_phys(domain, IOVA + SZ_8K));

	/* refused at once: nothing to unwind */
	KUNIT_EXPECT_EQ(test, -EADDRINUSE,
			iommu_map(domain, IOVA + SZ_8K, PA, SZ_4K, RW, GFP_KERNEL));
	expect_no_more(test);
}

/* An address mask beyond MAMV is an invalid descriptor. */
static void inv_beyond_mamv(struct kunit *test)
{
	struct iommu_domain *domain = inv_domain(test);

	paging_map(test, domain, IOVA, SZ_1G);
	paging_unmap(test, domain, IOVA, SZ_1G);
	expect_leaf_flush(test, IOVA, SZ_1G);		/* just fits */

	paging_map(test, domain, IOVA, SZ_2G);
	paging_unmap(test, domain, IOVA, SZ_2G);
	expect_leaf_flush(test, IOVA, SZ_2G);		/* PASID-selective */
	expect_no_more(test);
}

/*
 * Map one page at a time, at ever new addresses: when nothing is mapped, the
 * owner of the address space can free the tables, but the few of a single
 * buffer stay.
 */
static void free_empty_tables(struct kunit *test)
{
	const struct level_case *c = test->param_value;
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_PLAIN | ECAP_SSTS);
	struct dmar_domain *domain = paging_domain(test, dev, c->first_level);
	u64 iova;

	paging_map(test, &domain->domain, IOVA, SZ_4K);
	paging_unmap(test, &domain->domain, IOVA, SZ_4K);
	iommu_free_empty_tables(&domain->domain);
	KUNIT_EXPECT_EQ(test, 4, tables_of(domain));

	/* 64 tables are kept, 65 are freed. */
	for (iova = IOVA; tables_of(domain) < 64; iova += SZ_2M) {
		paging_map(test, &domain->domain, iova, SZ_4K);
		paging_unmap(test, &domain->domain, iova, SZ_4K);
	}
	iommu_free_empty_tables(&domain->domain);
	KUNIT_EXPECT_EQ(test, 64, tables_of(domain));
	paging_map(test, &domain->domain, iova, SZ_4K);
	paging_unmap(test, &domain->domain, iova, SZ_4K);
	iommu_free_empty_tables(&domain->domain);
	KUNIT_EXPECT_EQ(test, 1, tables_of(domain));

	for (iova = IOVA; iova < IOVA + SZ_1G; iova += SZ_2M) {
		paging_map(test, &domain->domain, iova, SZ_4K);
		if (iova < IOVA + SZ_1G - SZ_2M)
			paging_unmap(test, &domain->domain, iova, SZ_4K);
	}
	KUNIT_EXPECT_LT(test, 512, tables_of(domain));
	iommu_free_empty_tables(&domain->domain);	/* there is one left */
	KUNIT_EXPECT_LT(test, 512, tables_of(domain));

	paging_unmap(test, &domain->domain, IOVA + SZ_1G - SZ_2M, SZ_4K);
	iommu_free_empty_tables(&domain->domain);
	KUNIT_EXPECT_EQ(test, 1, tables_of(domain));
	paging_map(test, &domain->domain, IOVA, SZ_4K);
	KUNIT_EXPECT_NE(test, 0, iommu_iova_to_phys(&domain->domain, IOVA));
}

/*
 * The second level: unmapping a part of a superpage keeps the rest, and does
 * not take the data for a page table, as 6.12 does.
 */

struct part_case {
	const char *name;
	s64 offset;	/* from the beginning of the superpage */
	size_t size;
};

static const struct part_case part_cases[] = {
	{ "head", 0, SZ_4K },
	{ "middle", SZ_1M, SZ_4K },
	{ "tail", SZ_2M - SZ_4K, SZ_4K },
	{ "most", 0, SZ_2M - SZ_4K },
	{ "all", 0, SZ_2M },
	{ "from below", -(s64)SZ_4K, SZ_8K },
	{ "to above", SZ_2M - SZ_4K, SZ_8K },
	{ "hole below", -(s64)SZ_8K, SZ_4K },
};

KUNIT_ARRAY_PARAM_DESC(part, part_cases, name);

#define SUPERPAGE_ORDER	9

static void free_superpage(void *pages)
{
	free_pages((unsigned long)pages, SUPERPAGE_ORDER);
}

/* A word of data that looks like a present entry of a page table */
static u64 data_word(unsigned int i)
{
	return (u64)i << 12 | SL_R | SL_W;
}

static u64 *superpage_of_data(struct kunit *test)
{
	u64 *data = (void *)__get_free_pages(GFP_KERNEL, SUPERPAGE_ORDER);
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, data);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_superpage, data));
	for (i = 0; i < SZ_2M / sizeof(*data); i++)
		data[i] = data_word(i);

	return data;
}

static void expect_data_intact(struct kunit *test, const u64 *data)
{
	unsigned int i, wrong = 0;

	for (i = 0; i < SZ_2M / sizeof(*data); i++)
		wrong += data[i] != data_word(i);
	KUNIT_EXPECT_EQ_MSG(test, 0, wrong, "words of data overwritten");
}

static void second_level_part_of_superpage(struct kunit *test)
{
	const struct part_case *c = test->param_value;
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct iommu_domain *domain = &user_domain(test, dev)->domain;
	u64 *data = superpage_of_data(test);
	phys_addr_t pa = virt_to_phys(data);
	s64 at;

	paging_map(test, domain, IOVA - SZ_4K, SZ_4K);
	paging_map(test, domain, IOVA + SZ_2M, SZ_4K);
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA, pa, SZ_2M, RW, GFP_KERNEL));

	paging_unmap(test, domain, IOVA + c->offset, c->size);
	expect_data_intact(test, data);
	for (at = -(s64)SZ_4K; at <= SZ_2M; at += SZ_4K) {
		phys_addr_t want = at < 0 || at == SZ_2M ? PA + IOVA + at : pa + at;

		if (at >= c->offset && at < c->offset + (s64)c->size)
			want = 0;
		KUNIT_ASSERT_EQ(test, want, iommu_iova_to_phys(domain, IOVA + at));
	}

	/* Holes may be unmapped. */
	paging_unmap(test, domain, IOVA, SZ_2M);
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA + SZ_1M + SZ_4K));
	expect_data_intact(test, data);
}

static void second_level_whole_superpages(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct iommu_domain *domain = &user_domain(test, dev)->domain;
	u64 end = domain->geometry.aperture_end + 1;

	/* small pages and superpages in one go */
	paging_map(test, domain, IOVA - SZ_4K, SZ_4M + SZ_8K);
	paging_unmap(test, domain, IOVA - SZ_4K, SZ_4M + SZ_8K);
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA - SZ_4K));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, IOVA + SZ_4M));

	/* the last superpage, behind which there is nothing to look up */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, end - SZ_2M, PA, SZ_2M, RW,
					   GFP_KERNEL));
	paging_unmap(test, domain, end - SZ_2M, SZ_2M);
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(domain, end - SZ_2M));
}

/* The entry for @iova at @level of a second-level table */
static u64 *sl_slot(struct kunit *test, struct dmar_domain *domain, u64 iova,
		    unsigned int level)
{
	unsigned int l = config_of(domain)->levels;
	u64 *table = phys_to_virt(root_of(domain));

	for (; l > level; l--) {
		u64 entry = table[iova >> (3 + 9 * l) & 511];

		KUNIT_ASSERT_NE(test, 0, entry & (SL_R | SL_W));
		table = phys_to_virt(entry & GENMASK_ULL(51, 12));
	}

	return &table[iova >> (3 + 9 * level) & 511];
}

static void expect_snoop(struct kunit *test, struct dmar_domain *domain, u64 iova,
			 bool snoop)
{
	struct iommu_domain *d = &domain->domain;

	/* IOMMU_CACHE of the caller does not matter. */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(d, iova, PA, SZ_4K, RW, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(d, iova + SZ_4K, PA, SZ_4K, RW | IOMMU_CACHE,
					   GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(d, iova + SZ_2M, PA, SZ_2M, RW | IOMMU_CACHE,
					   GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, snoop, !!(*sl_slot(test, domain, iova, 1) & SL_SNP));
	KUNIT_EXPECT_EQ(test, snoop, !!(*sl_slot(test, domain, iova + SZ_4K, 1) & SL_SNP));
	KUNIT_EXPECT_EQ(test, snoop, !!(*sl_slot(test, domain, iova + SZ_2M, 2) & SL_SNP));
}

/* Snooping is enforced in leaves, and only if nothing is mapped without. */
static void second_level_snoop(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct device *never = fake_pair(test, CAP_SECOND, ECAP_SECOND & ~ECAP_SC);
	struct dmar_domain *domain = sl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;

	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, never));
	KUNIT_EXPECT_FALSE(test, d->ops->enforce_cache_coherency(d));
	device_block_translation(never);

	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, dev));
	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	expect_entry(test, domain, dev, IOMMU_NO_PASID, false);
	expect_snoop(test, domain, IOVA, true);
	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	KUNIT_EXPECT_EQ(test, -EINVAL, d->ops->attach_dev(d, never));
	device_block_translation(dev);
}

/* A map that fails decides nothing; a map in progress has decided. */
static struct iommu_domain *being_mapped;

static void *no_page_and_no_snoop(const struct vtd_pt_cfg *cfg, gfp_t gfp)
{
	struct kunit *test = kunit_get_current_test();

	KUNIT_EXPECT_FALSE(test, being_mapped->ops->enforce_cache_coherency(being_mapped));

	return NULL;
}

static void second_level_snoop_after_failure(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct dmar_domain *domain = sl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;
	size_t mapped;

	being_mapped = d;
	KUNIT_ASSERT_EQ(test, 0, d->ops->attach_dev(d, dev));
	KUNIT_EXPECT_EQ(test, -EINVAL, d->ops->map_pages(d, IOVA, PA, SZ_8K, 1, RW, GFP_KERNEL,
							 &mapped));
	KUNIT_EXPECT_EQ(test, -ERANGE, d->ops->map_pages(d, BIT_ULL(48), PA, SZ_4K, 1, RW,
							 GFP_KERNEL, &mapped));
	kunit_activate_static_stub(test, vtd_pt_sl_alloc_page, no_page_and_no_snoop);
	KUNIT_EXPECT_EQ(test, -ENOMEM, d->ops->map_pages(d, IOVA, PA, SZ_4K, 1, RW, GFP_KERNEL,
							 &mapped));
	kunit_deactivate_static_stub(test, vtd_pt_sl_alloc_page);
	KUNIT_EXPECT_TRUE(test, d->ops->enforce_cache_coherency(d));
	expect_snoop(test, domain, IOVA, true);
	device_block_translation(dev);
}

/* A map that fails in the middle has mapped the first half. */
static void second_level_snoop_after_half(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct dmar_domain *domain = sl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;
	size_t mapped;

	being_mapped = d;
	KUNIT_ASSERT_EQ(test, 0, vtd_pt_sl_prealloc(domain->pgtable, IOVA, SZ_2M, GFP_KERNEL));
	kunit_activate_static_stub(test, vtd_pt_sl_alloc_page, no_page_and_no_snoop);
	KUNIT_EXPECT_EQ(test, -ENOMEM, d->ops->map_pages(d, IOVA, PA, SZ_4K, 1024, RW,
							 GFP_KERNEL, &mapped));
	kunit_deactivate_static_stub(test, vtd_pt_sl_alloc_page);
	KUNIT_EXPECT_EQ(test, SZ_2M, mapped);
	KUNIT_EXPECT_FALSE(test, d->ops->enforce_cache_coherency(d));
	paging_unmap(test, d, IOVA, SZ_2M);
}

static void second_level_snoop_after_map(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	struct dmar_domain *domain = sl_domain(test, dev);
	struct iommu_domain *d = &domain->domain;

	expect_snoop(test, domain, IOVA, false);
	KUNIT_EXPECT_FALSE(test, d->ops->enforce_cache_coherency(d));
	expect_snoop(test, domain, IOVA + SZ_1G, false);

	/* Mappings that are gone count, too. */
	paging_unmap(test, d, IOVA, SZ_4M);
	paging_unmap(test, d, IOVA + SZ_1G, SZ_4M);
	KUNIT_EXPECT_FALSE(test, d->ops->enforce_cache_coherency(d));
}

/* Legacy mode: the context entry, section 9.3, has the depth and the root. */
static void second_level_context_entry(struct kunit *test)
{
	static const struct { u64 cap; unsigned int aw; } cases[] = {
		{ CAP_39 | CAP_SAGAW_3 | CAP_SAGAW_4, 1 },
		{ CAP_SECOND | CAP_SAGAW_3, 2 },
		{ CAP_ND_256 | CAP_SAGAW(0xe) | CAP_MGAW(57), 3 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct device *dev = fake_pair(test, cases[i].cap, ECAP_LEGACY | ECAP_C);
		struct dmar_domain *domain = sl_domain(test, dev);
		struct intel_iommu *iommu = iommu_of(dev);
		struct context_entry *context;

		iommu->root_entry = fake_page(test);
		KUNIT_ASSERT_EQ(test, 0, domain->domain.ops->attach_dev(&domain->domain, dev));
		context = iommu_context_addr(iommu, FAKE_BUS, sid_of(dev) & 0xff, 0);
		KUNIT_ASSERT_NOT_NULL(test, context);
		KUNIT_EXPECT_EQ(test, 1, context->lo & GENMASK_ULL(11, 0));	/* P, TT 0 */
		KUNIT_EXPECT_EQ(test, root_of(domain), context->lo & GENMASK_ULL(63, 12));
		KUNIT_EXPECT_EQ(test, cases[i].aw, FIELD_GET(GENMASK_ULL(2, 0), context->hi));
		KUNIT_EXPECT_EQ(test, domain_id_iommu(domain, iommu),
				FIELD_GET(GENMASK_ULL(23, 8), context->hi));
		device_block_translation(dev);
		KUNIT_EXPECT_EQ(test, 0ULL, context->lo | context->hi);
		iommu_free_page(PTR_ALIGN_DOWN(context, PAGE_SIZE));
	}
}

/*
 * Some hardware mishandles read-only pages under a nested entry (erratum
 * 772415).
 */
static void second_level_nest_parent(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_PLAIN | ECAP_SSTS | ECAP_NEST);
	struct iommu_domain *parent, *plain = &sl_domain(test, dev)->domain;

	parent = intel_iommu_ops.domain_alloc_user(dev, IOMMU_HWPT_ALLOC_NEST_PARENT, NULL, NULL);
	keep_domain(test, parent);
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_map(parent, IOVA, PA, SZ_4K, IOMMU_READ,
						 GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys(parent, IOVA));
	KUNIT_EXPECT_EQ(test, 0, iommu_map(parent, IOVA, PA, SZ_4K, RW, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, iommu_map(parent, IOVA + SZ_4K, PA, SZ_4K, IOMMU_WRITE,
					   GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, iommu_map(plain, IOVA, PA, SZ_4K, IOMMU_READ, GFP_KERNEL));
}

/*
 * @start to @end is gathered for @size bytes at @iova; nothing, if they are
 * equal.
 */
static void paging_expect_dirty(struct kunit *test, struct iommu_domain *domain, u64 iova,
				u64 size, unsigned long flags, u64 start, u64 end)
{
	struct iommu_iotlb_gather gather;
	struct iommu_dirty_bitmap dirty;

	iommu_dirty_bitmap_init(&dirty, NULL, &gather);
	KUNIT_EXPECT_EQ(test, 0, domain->dirty_ops->read_and_clear_dirty(domain, iova, size,
									 flags, &dirty));
	if (start == end) {
		KUNIT_EXPECT_GT(test, gather.start, gather.end);
		return;
	}
	KUNIT_EXPECT_EQ(test, start, gather.start);
	KUNIT_EXPECT_EQ(test, end - 1, gather.end);
}

static void second_level_dirty(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_SECOND, ECAP_SECOND | ECAP_SSADS);
	struct device *cannot = fake_pair(test, CAP_SECOND, ECAP_SECOND);
	u32 flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING;
	struct dmar_domain *domain;
	struct iommu_domain *d;
	u64 *small, *large;

	domain = keep_domain(test, intel_iommu_ops.domain_alloc_user(dev, flags, NULL, NULL));
	d = &domain->domain;
	/* Also before tracking is switched on */
	KUNIT_EXPECT_EQ(test, -EINVAL, prepare_domain_attach_device(d, cannot));
	paging_map(test, d, IOVA, SZ_16K);
	paging_map(test, d, IOVA + SZ_2M, SZ_2M);
	small = sl_slot(test, domain, IOVA + SZ_4K, 1);
	large = sl_slot(test, domain, IOVA + SZ_2M, 2);
	paging_expect_dirty(test, d, 0, IOVA + SZ_1G, 0, 0, 0);

	*small |= SL_D;
	paging_expect_dirty(test, d, IOVA, SZ_4K, 0, 0, 0);
	paging_expect_dirty(test, d, IOVA, SZ_16K, IOMMU_DIRTY_NO_CLEAR,
			    IOVA + SZ_4K, IOVA + SZ_8K);
	KUNIT_EXPECT_EQ(test, SL_D, *small & SL_D);
	paging_expect_dirty(test, d, IOVA, SZ_16K, 0, IOVA + SZ_4K, IOVA + SZ_8K);
	KUNIT_EXPECT_EQ(test, 0, *small & SL_D);
	paging_expect_dirty(test, d, IOVA, SZ_16K, 0, 0, 0);
	KUNIT_EXPECT_EQ(test, PA + IOVA + SZ_4K, iommu_iova_to_phys(d, IOVA + SZ_4K));

	/*
	 * A large page as a whole; of a part, the rest has yet to be reported.
	 */
	*large |= SL_D;
	paging_expect_dirty(test, d, IOVA, SZ_4M, IOMMU_DIRTY_NO_CLEAR, IOVA + SZ_2M, IOVA + SZ_4M);
	paging_expect_dirty(test, d, IOVA + SZ_2M + SZ_64K, SZ_4K, 0,
			    IOVA + SZ_2M + SZ_64K, IOVA + SZ_2M + SZ_64K + SZ_4K);
	KUNIT_EXPECT_EQ(test, SL_D, *large & SL_D);
	paging_expect_dirty(test, d, IOVA + SZ_2M, SZ_2M, 0, IOVA + SZ_2M, IOVA + SZ_4M);
	KUNIT_EXPECT_EQ(test, 0, *large & SL_D);
	KUNIT_EXPECT_EQ(test, PA + IOVA + SZ_2M, iommu_iova_to_phys(d, IOVA + SZ_2M));

	/* A split copies the bit of the page. */
	*large |= SL_D;
	paging_unmap(test, d, IOVA + SZ_2M, SZ_4K);
	paging_expect_dirty(test, d, IOVA, SZ_1G, 0, IOVA + SZ_2M + SZ_4K, IOVA + SZ_4M);
}

/* Calls of the iommu core */

/* The map and unmap calls that a driver gets, page by page */
static struct {
	struct kunit *test;
	unsigned long pgsizes, iova;
	phys_addr_t paddr;
	size_t left;
} pages;

/* The next page has to be the largest that fits. */
static size_t next_page(void)
{
	unsigned long size = BIT(30);

	while (!(pages.pgsizes & size) || size > pages.left ||
	       !IS_ALIGNED(pages.iova | pages.paddr, size))
		size >>= 1;

	return size;
}

static size_t expect_pages(size_t pgsize, size_t pgcount)
{
	size_t i;

	for (i = 0; i < pgcount; i++) {
		if (pgsize > pages.left || pgsize != next_page()) {
			KUNIT_FAIL(pages.test, "%zx at %lx to %llx, %zx left, of %lx", pgsize,
				   pages.iova, (u64)pages.paddr, pages.left, pages.pgsizes);
			return 0;
		}
		pages.iova += pgsize;
		pages.paddr += pgsize;
		pages.left -= pgsize;
	}

	return pgsize * pgcount;
}

static int expect_map_pages(struct iommu_domain *domain, unsigned long iova,
			    phys_addr_t paddr, size_t pgsize, size_t pgcount, int prot,
			    gfp_t gfp, size_t *mapped)
{
	*mapped = expect_pages(pgsize, pgcount);

	return *mapped ? 0 : -EINVAL;
}

static size_t expect_unmap_pages(struct iommu_domain *domain, unsigned long iova,
				 size_t pgsize, size_t pgcount,
				 struct iommu_iotlb_gather *gather)
{
	return expect_pages(pgsize, pgcount);
}

static void expect_page_sizes(struct iommu_domain *domain, unsigned long iova,
			      phys_addr_t paddr, size_t size)
{
	pages.pgsizes = domain->pgsize_bitmap;
	pages.iova = iova;
	pages.paddr = paddr;
	pages.left = size;
	KUNIT_EXPECT_EQ(pages.test, 0, iommu_map(domain, iova, paddr, size, RW, GFP_KERNEL));
	KUNIT_EXPECT_EQ(pages.test, pages.left, 0);

	pages.iova = iova;
	pages.paddr = iova;
	pages.left = size;
	KUNIT_EXPECT_EQ(pages.test, size, iommu_unmap(domain, iova, size));
	KUNIT_EXPECT_EQ(pages.test, pages.left, 0);
}

/*
 * A single page needs no search, more do: either way the page size is the
 * largest that fits.
 */
static void core_page_sizes(struct kunit *test)
{
	static const struct iommu_domain_ops ops = {
		.map_pages = expect_map_pages, .unmap_pages = expect_unmap_pages,
	};
	static const unsigned long pgsizes[] = {
		SZ_4K, SZ_4K | SZ_2M, SZ_4K | SZ_2M | SZ_1G, SZ_4K | SZ_64K | SZ_2M,
		SZ_16K | SZ_32M,
	};
	static const unsigned int numbers[] = { 0, 1, 2, 15, 16, 511, 512, 513, 1024, 2048 };
	struct iommu_domain domain = { .ops = &ops, .type = IOMMU_DOMAIN_UNMANAGED };
	unsigned int i, at, to, n;

	pages.test = test;
	for (i = 0; i < ARRAY_SIZE(pgsizes); i++) {
		size_t unit = pgsizes[i] & -pgsizes[i];

		domain.pgsize_bitmap = pgsizes[i];
		for (at = 0; at < ARRAY_SIZE(numbers); at++) {
			for (to = 0; to < ARRAY_SIZE(numbers); to++) {
				for (n = 1; n < ARRAY_SIZE(numbers); n++)
					expect_page_sizes(&domain, numbers[at] * unit,
							  PA + numbers[to] * unit,
							  numbers[n] * unit);
			}
		}
		if (pgsizes[i] & SZ_2M)
			expect_page_sizes(&domain, SZ_1G, PA, SZ_1G);
		cond_resched();
	}
}

/* A driver whose smallest page is 16 KiB, and which maps 0 to 64 KiB - 1 */
static phys_addr_t maps_64k(struct iommu_domain *domain, dma_addr_t iova)
{
	return iova < SZ_64K ? PA + iova : 0;
}

static void core_lookup_length_granule(struct kunit *test)
{
	static const struct iommu_domain_ops ops = { .iova_to_phys = maps_64k };
	struct iommu_domain domain = {
		.ops = &ops, .type = IOMMU_DOMAIN_UNMANAGED, .pgsize_bitmap = SZ_16K,
	};
	size_t length;

	KUNIT_EXPECT_EQ(test, PA, iommu_iova_to_phys_length(&domain, 0, SZ_1M, &length));
	KUNIT_EXPECT_EQ(test, length, SZ_64K);
	KUNIT_EXPECT_EQ(test, PA + SZ_8K + 1,
			iommu_iova_to_phys_length(&domain, SZ_8K + 1, SZ_1M, &length));
	KUNIT_EXPECT_EQ(test, length, SZ_64K - SZ_8K - 1);
	KUNIT_EXPECT_EQ(test, PA + SZ_8K,
			iommu_iova_to_phys_length(&domain, SZ_8K, SZ_32K, &length));
	KUNIT_EXPECT_EQ(test, length, SZ_32K);
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys_length(&domain, SZ_64K, SZ_1M, &length));
	KUNIT_EXPECT_EQ(test, length, 0);
}

/* With a driver that reports lengths, and with one that does not */
static void core_lookup_length(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	struct iommu_domain *domain = &fl_domain(test, dev)->domain;
	const struct iommu_domain_ops *ops = domain->ops;
	struct iommu_domain_ops plain = *ops;
	size_t length;

	plain.iova_to_phys_length = NULL;
	/* Contiguous over the end of a table, and other memory after that */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA + SZ_2M - SZ_8K, PA, SZ_16K, RW,
					   GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA + SZ_2M + SZ_8K, PA, SZ_4K, RW,
					   GFP_KERNEL));

	/* Physical address 0 is valid, with a driver that reports lengths */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, 0, 0, SZ_4K, RW, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys_length(domain, 0, SZ_1M, &length));
	KUNIT_EXPECT_EQ(test, length, SZ_4K);
	paging_unmap(test, domain, 0, SZ_4K);

	/* By small pages, and by small and large ones */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA + SZ_1G, PA, SZ_4K, RW, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA + SZ_1G + SZ_4K, PA + SZ_4K,
					   3 * SZ_2M, RW, GFP_KERNEL));

	for (domain->ops = &plain; ; domain->ops = ops) {
		KUNIT_EXPECT_EQ(test, PA + 5,
				iommu_iova_to_phys_length(domain, IOVA + SZ_2M - SZ_8K + 5,
							  SZ_1M, &length));
		KUNIT_EXPECT_EQ(test, length, SZ_16K - 5);
		KUNIT_EXPECT_EQ(test, PA + SZ_8K,
				iommu_iova_to_phys_length(domain, IOVA + SZ_2M, SZ_1M,
							  &length));
		KUNIT_EXPECT_EQ(test, length, SZ_8K);
		KUNIT_EXPECT_EQ(test, PA + SZ_8K,
				iommu_iova_to_phys_length(domain, IOVA + SZ_2M, 7, &length));
		KUNIT_EXPECT_EQ(test, length, 7);
		KUNIT_EXPECT_EQ(test, 0, iommu_iova_to_phys_length(domain, IOVA, SZ_1M,
								   &length));
		KUNIT_EXPECT_EQ(test, length, 0);
		/* More than one table, or some pages, have */
		KUNIT_EXPECT_EQ(test, PA, iommu_iova_to_phys_length(domain, IOVA + SZ_1G, SZ_1G,
								    &length));
		KUNIT_EXPECT_EQ(test, length, 3 * SZ_2M + SZ_4K);
		KUNIT_EXPECT_EQ(test, PA, iommu_iova_to_phys_length(domain, IOVA + SZ_1G,
								    SZ_4M + 1, &length));
		KUNIT_EXPECT_EQ(test, length, SZ_4M + 1);
		if (domain->ops == ops)
			break;
	}

	paging_unmap(test, domain, IOVA + SZ_2M - SZ_8K, SZ_16K + SZ_4K);
	paging_unmap(test, domain, IOVA + SZ_1G, 3 * SZ_2M + SZ_4K);
}

static struct {
	size_t pgsize, pgcount;
} asked[4];
static unsigned int nr_asked;

static void paging_ask(size_t pgsize, size_t pgcount)
{
	if (nr_asked < ARRAY_SIZE(asked)) {
		asked[nr_asked].pgsize = pgsize;
		asked[nr_asked].pgcount = pgcount;
	}
	nr_asked++;
}

static int ask_map(struct iommu_domain *domain, unsigned long iova, phys_addr_t paddr,
		   size_t pgsize, size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	paging_ask(pgsize, pgcount);
	*mapped = pgsize * pgcount;
	return 0;
}

static size_t ask_unmap(struct iommu_domain *domain, unsigned long iova, size_t pgsize,
			size_t pgcount, struct iommu_iotlb_gather *gather)
{
	paging_ask(pgsize, pgcount);
	return pgsize * pgcount;
}

/* Requesting one page needs no search and has the same result. */
static void core_one_page(struct kunit *test)
{
	static const struct iommu_domain_ops ops = {
		.map_pages	= ask_map,
		.unmap_pages	= ask_unmap,
	};
	static const struct {
		unsigned long sizes, iova;
		size_t size, pgsize, pgcount;
	} cases[] = {
		{ SZ_4K | SZ_2M, SZ_2M, SZ_4K, SZ_4K, 1 },
		{ SZ_4K | SZ_2M, SZ_2M + SZ_4K, SZ_4K, SZ_4K, 1 },
		{ SZ_4K | SZ_2M, SZ_2M, SZ_8K, SZ_4K, 2 },
		{ SZ_4K | SZ_2M, 0, SZ_2M, SZ_2M, 1 },
		{ SZ_4K | SZ_2M, SZ_4K, SZ_2M - SZ_4K, SZ_4K, 511 },
		{ SZ_4K | SZ_2M, SZ_4M, SZ_4M, SZ_2M, 2 },
		{ SZ_4K | SZ_2M | SZ_1G, 0, SZ_1G, SZ_1G, 1 },
		{ SZ_64K | SZ_2M, 0, SZ_64K, SZ_64K, 1 },
		{ SZ_64K | SZ_2M, SZ_64K, SZ_128K, SZ_64K, 2 },
		{ SZ_2M, SZ_2M, SZ_2M, SZ_2M, 1 },
		{ SZ_4K | SZ_8K | SZ_16K, SZ_16K, SZ_8K, SZ_8K, 1 },
	};
	struct iommu_domain domain = { .type = IOMMU_DOMAIN_UNMANAGED, .ops = &ops };
	unsigned int i, way;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		domain.pgsize_bitmap = cases[i].sizes;
		for (way = 0; way < 2; way++) {
			nr_asked = 0;
			if (way)
				KUNIT_EXPECT_EQ(test, cases[i].size,
						iommu_unmap(&domain, cases[i].iova,
							    cases[i].size));
			else
				KUNIT_EXPECT_EQ(test, 0,
						iommu_map(&domain, cases[i].iova,
							  cases[i].iova, cases[i].size, RW,
							  GFP_KERNEL));
			KUNIT_EXPECT_EQ(test, 1, nr_asked);
			KUNIT_EXPECT_EQ(test, cases[i].pgsize, asked[0].pgsize);
			KUNIT_EXPECT_EQ(test, cases[i].pgcount, asked[0].pgcount);
		}
	}

	/* A size that is no multiple of the smallest page is refused. */
	domain.pgsize_bitmap = SZ_64K;
	nr_asked = 0;
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_map(&domain, SZ_4K, SZ_4K, SZ_64K, RW, GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, 0, nr_asked);
}

/*
 * Requires scalable mode, which fakes have, and real IOMMUs without
 * write-buffer flushing, as fakes have no register for it.
 */
static int driver_test_init(struct kunit *test)
{
	if (!intel_iommu_sm)
		kunit_skip(test, "scalable mode is disabled (intel_iommu=sm_off)");
	if (domain_need_iotlb_sync_map(true))
		kunit_skip(test, "an IOMMU of this machine needs write-buffer flushing");

	test->priv = kunit_kzalloc(test, sizeof(struct driver_test), GFP_KERNEL);
	if (!test->priv)
		return -ENOMEM;

	kunit_activate_static_stub(test, qi_submit_sync, record);

	return 0;
}

/* Statistics */

#ifdef CONFIG_INTEL_IOMMU_DEBUGFS

#define MOST_STEPS	20000

/* Reads the statistics of a table that has no end before others progress. */
static struct {
	struct kunit *test;
	struct completion begun;
	unsigned int steps;
	bool enough;
} reader;

static bool count_endless_table(struct dmar_domain *domain, u64 *iova,
				struct vtd_pt_stats *stats)
{
	complete(&reader.begun);
	if (READ_ONCE(reader.enough) || reader.steps == MOST_STEPS)
		return false;

	reader.steps++;
	fsleep(1000);

	return true;
}

static int reader_main(void *buffer)
{
	struct seq_file m = { .buf = buffer, .size = PAGE_SIZE };
	int ret;

	current->kunit_test = reader.test;
	ret = pgtable_stats_show(&m, NULL);
	current->kunit_test = NULL;
	kthread_complete_and_exit(NULL, ret);
}

/* Domains are allocated and freed while a large table is counted. */
static void stats_do_not_block_domains(struct kunit *test)
{
	struct device *dev = fake_pair(test, CAP_PLAIN, ECAP_PLAIN);
	struct iommu_domain *domain;
	struct task_struct *task;
	void *buffer = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, buffer);
	/* The reader has at least this one. */
	fl_domain(test, dev);
	kunit_activate_static_stub(test, pgtable_count_leaves, count_endless_table);
	reader.test = test;
	reader.steps = 0;
	reader.enough = false;
	init_completion(&reader.begun);
	task = kthread_create(reader_main, buffer, "pgtable-stats");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	get_task_struct(task);
	wake_up_process(task);

	wait_for_completion(&reader.begun);
	domain = intel_paging_domain_alloc(dev, true, 0);
	if (!IS_ERR(domain))
		intel_paging_domain_free(domain);
	WRITE_ONCE(reader.enough, true);

	KUNIT_EXPECT_EQ(test, 0, kthread_stop_put(task));
	KUNIT_EXPECT_FALSE(test, IS_ERR(domain));
	KUNIT_EXPECT_LT(test, reader.steps, MOST_STEPS);
}

#else

static void stats_do_not_block_domains(struct kunit *test)
{
	kunit_skip(test, "no statistics in this kernel");
}

#endif

static struct kunit_case driver_test_cases[] = {
	KUNIT_CASE(caps_depth),
	KUNIT_CASE(caps_second_level_depth),
	KUNIT_CASE(caps_no_common_depth),
	KUNIT_CASE(caps_page_sizes),
	KUNIT_CASE(caps_no_superpages),
	KUNIT_CASE(caps_coherency),
	KUNIT_CASE(caps_intersection),
	KUNIT_CASE_PARAM(alloc_fixes_features, alloc_gen_params),
	KUNIT_CASE(alloc_aperture),
	KUNIT_CASE_PARAM(free_empty_tables, level_gen_params),
	KUNIT_CASE_PARAM(alloc_charges_users_only, level_gen_params),
	KUNIT_CASE_PARAM(alloc_on_node, level_gen_params),
	KUNIT_CASE_PARAM(alloc_without_memory, level_gen_params),
	KUNIT_CASE_PARAM(alloc_without_device, level_gen_params),
	KUNIT_CASE(alloc_without_level),
	KUNIT_CASE(alloc_user),
	KUNIT_CASE(alloc_user_flags),
	KUNIT_CASE_PARAM(compatible, compat_gen_params),
	KUNIT_CASE(sync_map_fixed_at_alloc),
	KUNIT_CASE(sync_map_second_level),
	KUNIT_CASE_PARAM(attach_rid, alloc_gen_params),
	KUNIT_CASE_PARAM(attach_pasid, alloc_gen_params),
	KUNIT_CASE(attach_pasid_refused),
	KUNIT_CASE(attach_enforce_snooping),
	KUNIT_CASE(attach_cannot_enforce_snooping),
	KUNIT_CASE_PARAM(inv_none_on_map, inv_gen_params),
	KUNIT_CASE_PARAM(inv_unmap, inv_gen_params),
	KUNIT_CASE(inv_unmap_without_queue),
	KUNIT_CASE_PARAM(inv_unmap_unaligned, inv_gen_params),
	KUNIT_CASE_PARAM(inv_unmap_queued, inv_gen_params),
	KUNIT_CASE_PARAM(inv_split_queued, inv_gen_params),
	KUNIT_CASE_PARAM(inv_gather, inv_gen_params),
	KUNIT_CASE_PARAM(inv_empty_gather, inv_gen_params),
	KUNIT_CASE_PARAM(inv_superpage_over_table, inv_gen_params),
	KUNIT_CASE_PARAM(inv_split, inv_gen_params),
	KUNIT_CASE_PARAM(inv_split_1g, inv_gen_params),
	KUNIT_CASE_PARAM(inv_failed_map, inv_gen_params),
	KUNIT_CASE_PARAM(inv_beyond_mamv, inv_gen_params),
	KUNIT_CASE(core_page_sizes),
	KUNIT_CASE(core_lookup_length),
	KUNIT_CASE(core_lookup_length_granule),
	KUNIT_CASE(core_one_page),
	KUNIT_CASE_PARAM(second_level_part_of_superpage, part_gen_params),
	KUNIT_CASE(second_level_whole_superpages),
	KUNIT_CASE(second_level_snoop),
	KUNIT_CASE(second_level_snoop_after_failure),
	KUNIT_CASE(second_level_snoop_after_half),
	KUNIT_CASE(second_level_snoop_after_map),
	KUNIT_CASE(second_level_context_entry),
	KUNIT_CASE(second_level_nest_parent),
	KUNIT_CASE(second_level_dirty),
	KUNIT_CASE(stats_do_not_block_domains),
	{}
};

static struct kunit_suite driver_test_suite = {
	.name = "intel-iommu-paging-domain",
	.init = driver_test_init,
	.test_cases = driver_test_cases,
};

kunit_test_suite(driver_test_suite);
