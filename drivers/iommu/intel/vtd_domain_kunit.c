// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of domains, checked by the VT-d model. After every operation it
 * shows that devices reach exactly what the driver considers mapped: for every
 * device and PASID that was ever attached, and for every address that was ever
 * mapped.
 */

#include <kunit/test.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/iommu-gpasid.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <uapi/linux/iommufd.h>

#include "paging_domain.h"
#include "iommu.h"
#include "pasid.h"
#include "vtd_caps.h"
#include "vtd_fake.h"

#define CAP_PLAIN	(CAP_ND_256 | CAP_SAGAW_4 | CAP_MGAW(48) | CAP_SS2M | CAP_SS1G | \
			 CAP_PSI | CAP_FS1GP)
#define CAP_BIG		(CAP_PLAIN | CAP_MAMV(18))	/* 1 GiB at once */
#define CAP_SMALL	(CAP_PLAIN | CAP_MAMV(9))	/* 2 MiB */
#define ECAP_PLAIN	(ECAP_C | ECAP_QI | ECAP_DT | ECAP_PT | ECAP_SC | ECAP_NEST | \
			 ECAP_PASID | ECAP_SMTS | ECAP_SSTS | ECAP_FSTS | ECAP_SMPWC)

#define RW	(IOMMU_READ | IOMMU_WRITE)
#define PA	0x1000000000ULL			/* never accessed; 1 GiB aligned */
#define IOVA	(16ULL * SZ_1G)

#define MAX_SLOTS	6
#define MAX_ADDRS	16

/* A PASID of a device, or its RID, and the attached domain */
struct slot {
	struct device *dev;
	u32 pasid;
	struct iommu_domain *domain;
};

struct domain_test {
	struct vtd_fake fake;
	struct slot slots[MAX_SLOTS];
	unsigned int nr_slots;
	u64 addrs[MAX_ADDRS];
	unsigned int nr_addrs;
};

static void check_access(struct kunit *test)
{
	struct domain_test *ctx = test->priv;
	unsigned int i, j;

	cond_resched();
	for (i = 0; i < ctx->nr_slots; i++) {
		struct slot *slot = &ctx->slots[i];

		for (j = 0; j < ctx->nr_addrs; j++) {
			u64 addr = ctx->addrs[j], pa = 0;

			if (slot->domain)
				pa = iommu_iova_to_phys(slot->domain, addr);
			if (pa)
				vtd_fake_expect(test, slot->dev, slot->pasid, addr, pa);
			else
				vtd_fake_expect_gone(test, slot->dev, slot->pasid, addr);
		}
	}
	vtd_expect_no_errors(test, ctx->fake.machine);
}

static void watch(struct kunit *test, u64 addr)
{
	struct domain_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ctx->nr_addrs; i++) {
		if (ctx->addrs[i] == addr)
			return;
	}

	KUNIT_ASSERT_LT(test, ctx->nr_addrs, MAX_ADDRS);
	ctx->addrs[ctx->nr_addrs++] = addr;
	for (i = 0; i < ctx->nr_slots; i++)
		vtd_fake_watch(test, ctx->slots[i].dev, ctx->slots[i].pasid, addr);
}

/* The ends of a range, and the pages next to them */
static void watch_range(struct kunit *test, u64 iova, size_t size)
{
	watch(test, iova - SZ_4K);
	watch(test, iova);
	watch(test, iova + size / 2);
	watch(test, iova + size - 1);
	watch(test, iova + size);
}

static void forget_addrs(struct kunit *test)
{
	struct domain_test *ctx = test->priv;
	unsigned int i;

	ctx->nr_addrs = 0;
	for (i = 0; i < ctx->nr_slots; i++)
		vtd_model_unwatch(vtd_fake_model(test, ctx->slots[i].dev));
}

static struct slot *add_slot(struct kunit *test, struct device *dev, u32 pasid)
{
	struct domain_test *ctx = test->priv;
	struct slot *slot = &ctx->slots[ctx->nr_slots++];
	unsigned int i;

	KUNIT_ASSERT_LE(test, ctx->nr_slots, MAX_SLOTS);
	*slot = (struct slot) { .dev = dev, .pasid = pasid };
	for (i = 0; i < ctx->nr_addrs; i++)
		vtd_fake_watch(test, dev, pasid, ctx->addrs[i]);

	return slot;
}

static int attach_slot(struct slot *slot, struct iommu_domain *domain)
{
	int ret;

	if (slot->pasid == IOMMU_NO_PASID)
		ret = domain->ops->attach_dev(domain, slot->dev);
	else
		ret = domain->ops->set_dev_pasid(domain, slot->dev, slot->pasid,
						 slot->domain);
	if (!ret)
		slot->domain = domain;

	return ret;
}

static void detach_slot(struct slot *slot)
{
	if (!slot->domain)
		return;
	if (slot->pasid == IOMMU_NO_PASID)
		device_block_translation(slot->dev);
	else
		intel_iommu_ops.remove_dev_pasid(slot->dev, slot->pasid, slot->domain);
	slot->domain = NULL;
}

static void attach_and_check(struct kunit *test, struct slot *slot, struct iommu_domain *domain)
{
	KUNIT_ASSERT_EQ(test, 0, attach_slot(slot, domain));
	check_access(test);
}

static void detach_and_check(struct kunit *test, struct slot *slot)
{
	detach_slot(slot);
	check_access(test);
}

static void map_and_check(struct kunit *test, struct iommu_domain *domain, u64 iova, size_t size)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, iova, PA + iova, size, RW,
					   GFP_KERNEL));
	check_access(test);
}

static void unmap_and_check(struct kunit *test, struct iommu_domain *domain, u64 iova, size_t size)
{
	KUNIT_ASSERT_EQ(test, size, iommu_unmap(domain, iova, size));
	check_access(test);
}

/* Detach devices before domains are freed. */
static void detach_all_slots(void *data)
{
	struct domain_test *ctx = data;
	unsigned int i;

	for (i = 0; i < ctx->nr_slots; i++)
		detach_slot(&ctx->slots[i]);
}

static struct iommu_domain *first_domain(struct kunit *test, struct device *dev)
{
	struct dmar_domain *domain = vtd_fake_keep(test, intel_paging_domain_alloc(dev, true, 0));

	domain->domain.type = IOMMU_DOMAIN_UNMANAGED;

	return &domain->domain;
}

/* As nest parent, so that it is second-level if there are both */
static struct iommu_domain *second_domain(struct kunit *test, struct device *dev)
{
	struct dmar_domain *domain = vtd_fake_domain(test, dev, IOMMU_HWPT_ALLOC_NEST_PARENT);

	/* whatever the machine's own IOMMUs are like */
	domain->iotlb_sync_map = true;

	return &domain->domain;
}

/* Configurations of hardware and attachments */

struct setting {
	const char *name;
	u64 cap, no_ecap;
	unsigned int iommus, devs;	/* devices: behind each IOMMU */
	bool rid, pasid, ats;
};

static const struct setting settings[] = {
	{ "RID", CAP_BIG, 0, 1, 1, .rid = true },
	{ "RID, ATS", CAP_BIG, 0, 1, 1, .rid = true, .ats = true },
	{ "RID, not coherent", CAP_BIG, ECAP_C | ECAP_SMPWC, 1, 1, .rid = true },
	{ "PASID", CAP_BIG, 0, 1, 1, .pasid = true },
	{ "PASID, ATS, not coherent", CAP_BIG, ECAP_C | ECAP_SMPWC, 1, 1,
	  .pasid = true, .ats = true },
	{ "RID and PASID, ATS", CAP_BIG, 0, 1, 1, .rid = true, .pasid = true,
	  .ats = true },
	{ "RID and PASID, small MAMV", CAP_SMALL, 0, 1, 1, .rid = true,
	  .pasid = true },
	{ "RID, caching mode", CAP_BIG | CAP_CM, 0, 1, 1, .rid = true },
	{ "PASID, caching mode, not coherent", CAP_BIG | CAP_CM, ECAP_C | ECAP_SMPWC,
	  1, 1, .pasid = true },
	{ "2 devices, ATS", CAP_BIG, 0, 1, 2, .rid = true, .ats = true },
	{ "2 IOMMUs, RID and PASID, ATS", CAP_BIG, 0, 2, 1, .rid = true,
	  .pasid = true, .ats = true },
};

KUNIT_ARRAY_PARAM_DESC(setting, settings, name);

static struct device *domain_create_devices(struct kunit *test)
{
	const struct setting *c = test->param_value;
	struct domain_test *ctx = test->priv;
	unsigned int i, j;

	for (i = 0; i < c->iommus; i++) {
		struct intel_iommu *iommu = vtd_fake_iommu(test, c->cap,
							   ECAP_PLAIN & ~c->no_ecap);

		for (j = 0; j < c->devs; j++) {
			struct device *dev = vtd_fake_device(test, iommu, c->ats);

			if (c->rid)
				add_slot(test, dev, IOMMU_NO_PASID);
			if (c->pasid)
				add_slot(test, dev, 7);
		}
	}

	return ctx->slots[0].dev;
}

/* A domain of either level, attached everywhere */
static struct iommu_domain *attach_everywhere(struct kunit *test,
					      struct iommu_domain *(*alloc)(struct kunit *test,
									    struct device *dev))
{
	struct iommu_domain *domain = alloc(test, domain_create_devices(test));
	struct domain_test *ctx = test->priv;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	for (i = 0; i < ctx->nr_slots; i++)
		attach_and_check(test, &ctx->slots[i], domain);

	return domain;
}

/* Map and unmap */

static const size_t sizes[] = { SZ_4K, 3 * SZ_4K, SZ_64K, SZ_2M, 5 * SZ_2M, SZ_1G };

static void map_and_unmap(struct kunit *test, struct iommu_domain *domain)
{
	unsigned int i, again;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		u64 iova = IOVA + (u64)i * SZ_1G;

		watch_range(test, iova, sizes[i]);
		for (again = 0; again < 2; again++) {
			map_and_check(test, domain, iova, sizes[i]);
			unmap_and_check(test, domain, iova, sizes[i]);
		}
		forget_addrs(test);
	}
}

static void domain_first_map(struct kunit *test)
{
	map_and_unmap(test, attach_everywhere(test, first_domain));
}

static void domain_second_map(struct kunit *test)
{
	map_and_unmap(test, attach_everywhere(test, second_domain));
}

/* Ranges that are not aligned to their size, and neighbours that stay */
static void domain_unmap_parts(struct kunit *test, struct iommu_domain *domain)
{
	watch(test, IOVA);
	watch_range(test, IOVA + SZ_2M - SZ_4K, SZ_8K);
	watch(test, IOVA + SZ_4M - SZ_4K);

	map_and_check(test, domain, IOVA, SZ_2M - SZ_8K);
	map_and_check(test, domain, IOVA + SZ_2M - SZ_8K, SZ_16K);
	map_and_check(test, domain, IOVA + SZ_2M + SZ_8K, SZ_2M - SZ_8K);
	unmap_and_check(test, domain, IOVA + SZ_2M - SZ_4K, SZ_8K);
	map_and_check(test, domain, IOVA + SZ_2M - SZ_4K, SZ_8K);
	unmap_and_check(test, domain, IOVA + SZ_4K, SZ_4M - SZ_8K);
}

static void domain_first_parts(struct kunit *test)
{
	domain_unmap_parts(test, attach_everywhere(test, first_domain));
}

static void domain_second_parts(struct kunit *test)
{
	domain_unmap_parts(test, attach_everywhere(test, second_domain));
}

/* Unmap whole tables of small pages: PA is not aligned. */
static void unmap_tables(struct kunit *test, struct iommu_domain *domain)
{
	unsigned int again;

	watch_range(test, IOVA, SZ_4M);
	watch(test, IOVA + SZ_64K);
	for (again = 0; again < 2; again++) {
		KUNIT_ASSERT_EQ(test, 0, iommu_map(domain, IOVA, PA + SZ_4K, SZ_4M, RW,
						   GFP_KERNEL));
		check_access(test);
		unmap_and_check(test, domain, IOVA, SZ_4M);
		map_and_check(test, domain, IOVA, SZ_64K);
		unmap_and_check(test, domain, IOVA, SZ_64K);
	}
}

static void domain_second_tables(struct kunit *test)
{
	unmap_tables(test, attach_everywhere(test, second_domain));
}

/* A large page replaces a table, and is replaced by it again. */
static void superpage_over_table(struct kunit *test, struct iommu_domain *domain)
{
	unsigned int again;

	watch_range(test, IOVA + SZ_64K, SZ_4K);
	watch(test, IOVA + SZ_4M);
	for (again = 0; again < 2; again++) {
		map_and_check(test, domain, IOVA + SZ_64K, SZ_4K);
		unmap_and_check(test, domain, IOVA + SZ_64K, SZ_4K);
		map_and_check(test, domain, IOVA, SZ_2M);
		unmap_and_check(test, domain, IOVA, SZ_2M);
		map_and_check(test, domain, IOVA, SZ_1G);
		unmap_and_check(test, domain, IOVA, SZ_1G);
	}
}

static void domain_first_superpage(struct kunit *test)
{
	superpage_over_table(test, attach_everywhere(test, first_domain));
}

static void domain_second_superpage(struct kunit *test)
{
	superpage_over_table(test, attach_everywhere(test, second_domain));
}

/* Large pages are split. */
static void split_large(struct kunit *test, struct iommu_domain *domain)
{
	watch_range(test, IOVA + SZ_64K, SZ_4K);
	watch_range(test, IOVA + SZ_2M - SZ_4K, SZ_8K);
	watch(test, IOVA + SZ_4M - SZ_4K);
	map_and_check(test, domain, IOVA, SZ_4M);
	unmap_and_check(test, domain, IOVA + SZ_64K, SZ_4K);
	unmap_and_check(test, domain, IOVA + SZ_2M - SZ_4K, SZ_8K);
	map_and_check(test, domain, IOVA + SZ_64K, SZ_4K);
	unmap_and_check(test, domain, IOVA, SZ_2M - SZ_4K);
	forget_addrs(test);

	watch_range(test, IOVA + SZ_1G + SZ_2M + SZ_4K, SZ_4K);
	watch(test, IOVA + SZ_2G - SZ_4K);
	map_and_check(test, domain, IOVA + SZ_1G, SZ_1G);
	unmap_and_check(test, domain, IOVA + SZ_1G + SZ_2M + SZ_4K, SZ_4K);
}

static void domain_first_split(struct kunit *test)
{
	split_large(test, attach_everywhere(test, first_domain));
}

static void domain_second_split(struct kunit *test)
{
	split_large(test, attach_everywhere(test, second_domain));
}

/* A device may have used what a failed map unwinds. */
static void unwind(struct kunit *test, struct iommu_domain *domain)
{
	watch_range(test, IOVA, SZ_16K);
	map_and_check(test, domain, IOVA + SZ_8K, SZ_4K);
	KUNIT_EXPECT_EQ(test, -EADDRINUSE, iommu_map(domain, IOVA, PA, SZ_16K, RW,
						     GFP_KERNEL));
	check_access(test);
}

static void domain_first_unwind(struct kunit *test)
{
	unwind(test, attach_everywhere(test, first_domain));
}

static void domain_second_unwind(struct kunit *test)
{
	unwind(test, attach_everywhere(test, second_domain));
}

/* Deferred invalidations are made when they are requested. */
static void unmap_deferred(struct kunit *test, struct iommu_domain *domain)
{
	struct iommu_iotlb_gather gather;

	watch_range(test, IOVA, SZ_64K);
	watch_range(test, IOVA + SZ_1G, SZ_2M);
	map_and_check(test, domain, IOVA, SZ_64K);
	map_and_check(test, domain, IOVA + SZ_1G, SZ_2M);

	iommu_iotlb_gather_init(&gather);
	iommu_unmap_fast(domain, IOVA, SZ_32K, &gather);
	iommu_unmap_fast(domain, IOVA + SZ_32K, SZ_32K, &gather);
	iommu_unmap_fast(domain, IOVA + SZ_1G, SZ_2M, &gather);
	iommu_iotlb_sync(domain, &gather);
	check_access(test);

	map_and_check(test, domain, IOVA, SZ_64K);
	iommu_iotlb_gather_init(&gather);
	gather.queued = true;
	iommu_unmap_fast(domain, IOVA, SZ_64K, &gather);
	iommu_flush_iotlb_all(domain);
	check_access(test);
	put_pages_list(&gather.freelist);
}

static void domain_first_deferred(struct kunit *test)
{
	unmap_deferred(test, attach_everywhere(test, first_domain));
}

static void domain_second_deferred(struct kunit *test)
{
	unmap_deferred(test, attach_everywhere(test, second_domain));
}

/* Attach, replace, detach */

static void domain_attach(struct kunit *test)
{
	struct iommu_domain *first, *second, *identity, *domains[4];
	struct device *dev = domain_create_devices(test);
	struct domain_test *ctx = test->priv;
	unsigned int i, from, to;

	first = first_domain(test, dev);
	second = second_domain(test, dev);
	domains[0] = first;
	domains[1] = second;
	domains[2] = first_domain(test, dev);
	domains[3] = second_domain(test, dev);
	identity = intel_iommu_ops.identity_domain;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));

	for (i = 0; i < ARRAY_SIZE(domains); i++)
		KUNIT_ASSERT_EQ(test, 0, iommu_map(domains[i], IOVA, PA + i * SZ_1G,
						   SZ_2M, RW, GFP_KERNEL));
	watch_range(test, IOVA, SZ_2M);

	for (i = 0; i < ctx->nr_slots; i++) {
		struct slot *slot = &ctx->slots[i];

		for (from = 0; from < ARRAY_SIZE(domains); from++) {
			for (to = 0; to < ARRAY_SIZE(domains); to++) {
				/* the core does not do that */
				if (to == from)
					continue;
				if (slot->domain != domains[from])
					attach_and_check(test, slot, domains[from]);
				attach_and_check(test, slot, domains[to]);
			}
			detach_and_check(test, slot);
			attach_and_check(test, slot, domains[from]);
			/* unmapped pages translate to their own address */
			KUNIT_ASSERT_EQ(test, 0, attach_slot(slot, identity));
			vtd_fake_expect(test, slot->dev, slot->pasid, IOVA, IOVA);
			attach_and_check(test, slot, domains[from]);
		}
		/*
		 * the old domain is mapped and unmapped through other
		 * attachments
		 */
		unmap_and_check(test, slot->domain, IOVA, SZ_2M);
		map_and_check(test, slot->domain, IOVA, SZ_2M);
	}
	for (i = 0; i < ctx->nr_slots; i++)
		detach_and_check(test, &ctx->slots[i]);
}

/* If a domain is incompatible with the IOMMU, the old one stays attached. */
static void domain_attach_refused(struct kunit *test)
{
	struct iommu_domain *good, *bad;
	struct domain_test *ctx = test->priv;
	struct device *dev = domain_create_devices(test), *odd;
	unsigned int i;

	odd = vtd_fake_device(test, vtd_fake_iommu(test, CAP_BIG | CAP_MGAW(64) | CAP_FS5LP,
						   ECAP_PLAIN), false);
	good = first_domain(test, dev);
	bad = first_domain(test, odd);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	watch_range(test, IOVA, SZ_64K);
	map_and_check(test, good, IOVA, SZ_64K);
	for (i = 0; i < ctx->nr_slots; i++) {
		struct slot *slot = &ctx->slots[i];

		if (slot->pasid == IOMMU_NO_PASID)
			continue;
		attach_and_check(test, slot, good);
		KUNIT_EXPECT_EQ(test, -EINVAL, attach_slot(slot, bad));
		check_access(test);
		KUNIT_EXPECT_PTR_EQ(test, good, slot->domain);
	}
}

/*
 * Legacy mode: the second level by context entries, for requests without PASID
 */

#define CAP_3_LEVELS	((CAP_BIG & ~(CAP_SAGAW_4 | CAP_MGAW(48))) | CAP_SAGAW_3 | \
			 CAP_MGAW(39))
#define SCALABLE	(ECAP_NEST | ECAP_PASID | ECAP_SMTS | ECAP_SSTS | ECAP_FSTS | \
			 ECAP_SMPWC)

static const struct setting legacy_settings[] = {
	{ "plain", CAP_BIG, SCALABLE, 1, 1, .rid = true },
	{ "ATS", CAP_BIG, SCALABLE, 1, 1, .rid = true, .ats = true },
	{ "not coherent", CAP_BIG, SCALABLE | ECAP_C, 1, 1, .rid = true },
	{ "small MAMV", CAP_SMALL, SCALABLE, 1, 1, .rid = true },
	{ "no PSI", CAP_BIG & ~CAP_PSI, SCALABLE, 1, 1, .rid = true },
	{ "3 levels", CAP_3_LEVELS, SCALABLE, 1, 1, .rid = true },
	{ "caching mode", CAP_BIG | CAP_CM, SCALABLE, 1, 1, .rid = true },
	{ "caching mode, not coherent, no PSI", (CAP_BIG & ~CAP_PSI) | CAP_CM,
	  SCALABLE | ECAP_C, 1, 1, .rid = true },
	{ "2 devices, ATS", CAP_BIG, SCALABLE, 1, 2, .rid = true, .ats = true },
	{ "2 IOMMUs, caching mode", CAP_BIG | CAP_CM, SCALABLE, 2, 1, .rid = true },
};

KUNIT_ARRAY_PARAM_DESC(legacy, legacy_settings, name);

static struct iommu_domain *legacy_domain(struct kunit *test, struct device *dev)
{
	struct dmar_domain *domain = vtd_fake_domain(test, dev, 0);

	/* whatever the machine's own IOMMUs are like */
	domain->iotlb_sync_map = true;

	return &domain->domain;
}

static void domain_legacy_map(struct kunit *test)
{
	map_and_unmap(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_parts(struct kunit *test)
{
	domain_unmap_parts(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_tables(struct kunit *test)
{
	unmap_tables(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_superpage(struct kunit *test)
{
	superpage_over_table(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_split(struct kunit *test)
{
	split_large(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_unwind(struct kunit *test)
{
	unwind(test, attach_everywhere(test, legacy_domain));
}

static void domain_legacy_deferred(struct kunit *test)
{
	unmap_deferred(test, attach_everywhere(test, legacy_domain));
}

/* Pass-through leaves no translation to the device's TLB: TT 10 forbids it. */
static void pass_through(struct kunit *test, struct slot *slot)
{
	struct iommu_domain *identity = intel_iommu_ops.identity_domain;
	struct vtd_model *model = vtd_fake_model(test, slot->dev);
	struct vtd_request req;

	KUNIT_ASSERT_EQ(test, 0, attach_slot(slot, identity));
	req = vtd_fake_request(slot->dev, slot->pasid, IOVA);
	req.ats = false;
	vtd_expect_page(test, model, &req, IOVA);
	req.ats = true;
	vtd_expect_fault(test, model, &req, VTD_LEGACY_TRANSLATION);
}

/*
 * A domain that replaces another one also gets its domain ID, if no other
 * device still uses that.
 */
static void domain_legacy_attach(struct kunit *test)
{
	struct device *dev = domain_create_devices(test);
	struct domain_test *ctx = test->priv;
	struct iommu_domain *a, *b;
	unsigned int i;

	a = legacy_domain(test, dev);
	b = legacy_domain(test, dev);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(a, IOVA, PA, SZ_2M, RW, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_map(b, IOVA, PA + SZ_1G, SZ_64K, RW, GFP_KERNEL));
	watch_range(test, IOVA, SZ_64K);
	watch(test, IOVA + SZ_2M - SZ_4K);
	check_access(test);

	for (i = 0; i < ctx->nr_slots; i++) {
		struct slot *slot = &ctx->slots[i];
		size_t size = i & 1 ? SZ_2M : SZ_64K;

		attach_and_check(test, slot, a);
		attach_and_check(test, slot, b);
		detach_and_check(test, slot);
		attach_and_check(test, slot, a);
		pass_through(test, slot);
		attach_and_check(test, slot, b);
		pass_through(test, slot);
		detach_and_check(test, slot);
		attach_and_check(test, slot, i & 1 ? a : b);
		/*
		 * the old domain is mapped and unmapped through other
		 * attachments
		 */
		unmap_and_check(test, slot->domain, IOVA, size);
		map_and_check(test, slot->domain, IOVA, size);
	}
	for (i = 0; i < ctx->nr_slots; i++)
		detach_and_check(test, &ctx->slots[i]);
}

/* Tables are freed with the domain, after hardware has stopped using them. */
static void domain_legacy_free(struct kunit *test)
{
	struct device *dev = domain_create_devices(test);
	struct domain_test *ctx = test->priv;
	struct iommu_domain *domain;
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	domain = intel_iommu_ops.domain_alloc_user(dev, 0, NULL, NULL);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	to_dmar_domain(domain)->iotlb_sync_map = true;
	watch_range(test, IOVA, SZ_64K);
	for (i = 0; i < ctx->nr_slots; i++)
		attach_and_check(test, &ctx->slots[i], domain);
	map_and_check(test, domain, IOVA, SZ_64K);
	for (i = 0; i < ctx->nr_slots; i++)
		detach_and_check(test, &ctx->slots[i]);
	iommu_domain_free(domain);
	check_access(test);
}

/* Descriptors since the last call */
static unsigned int descriptors(struct kunit *test)
{
	struct domain_test *ctx = test->priv;
	unsigned int n = ctx->fake.descs;

	ctx->fake.descs = 0;
	return n;
}

/* No unnecessary invalidations */
static void domain_legacy_descriptors(struct kunit *test)
{
	const struct setting *c = test->param_value;
	struct iommu_domain *domain = legacy_domain(test, domain_create_devices(test));
	struct domain_test *ctx = test->priv;
	unsigned int i, cm = !!(c->cap & CAP_CM);
	unsigned int tlbs = c->ats ? ctx->nr_slots : 0;

	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	for (i = 0; i < ctx->nr_slots; i++) {
		attach_and_check(test, &ctx->slots[i], domain);
		/*
		 * a context entry, and entries cached for the domain ID before
		 */
		KUNIT_EXPECT_EQ(test, cm * 2, descriptors(test));
	}
	map_and_check(test, domain, IOVA, SZ_64K);
	KUNIT_EXPECT_EQ(test, cm * c->iommus, descriptors(test));
	unmap_and_check(test, domain, IOVA, SZ_64K);
	KUNIT_EXPECT_EQ(test, c->iommus + tlbs, descriptors(test));
	for (i = 0; i < ctx->nr_slots; i++) {
		detach_and_check(test, &ctx->slots[i]);
		KUNIT_EXPECT_EQ(test, 2 + c->ats, descriptors(test));
	}
}

/* Nested translation */

/*
 * The guest's table maps IOVA, and the following page to the page after the
 * next.
 */
struct guest {
	struct dmar_domain *parent, *nested;
	struct vtd_table table;
};

static void guest_expect(struct kunit *test, u64 offset, u64 pa)
{
	struct domain_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < ctx->nr_slots; i++) {
		struct slot *slot = &ctx->slots[i];

		if (pa)
			vtd_fake_expect(test, slot->dev, slot->pasid, IOVA + offset, pa);
		else
			vtd_fake_expect_gone(test, slot->dev, slot->pasid,
					     IOVA + offset);
	}
	vtd_expect_no_errors(test, ctx->fake.machine);
}

static void guest_unmap(struct kunit *test, struct guest *guest, u64 gpa, size_t size)
{
	KUNIT_ASSERT_EQ(test, size, iommu_unmap(&guest->parent->domain, gpa, size));
}

static int guest_invalidate(struct guest *guest, u64 addr, u64 npages, bool leaf)
{
	return intel_gpasid_ops.invalidate(&guest->nested->domain, addr, npages, leaf);
}

static void guest_settle(struct kunit *test, struct guest *guest)
{
	struct device *dev = domain_create_devices(test);
	struct domain_test *ctx = test->priv;
	unsigned int i;

	guest->parent = to_dmar_domain(second_domain(test, dev));
	guest->table = vtd_guest_table(test, guest->parent, IOVA, GUEST_DATA);
	vtd_fake_store(test, guest->table.leaf + 1, (GUEST_DATA + SZ_8K) | FL_PAGE);
	guest->nested = vtd_guest_nested(test, dev, guest->parent, guest->table.root);
	guest->nested->iotlb_sync_map = true;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, detach_all_slots, ctx));
	vtd_guest_map(test, guest->parent, GUEST_DATA, PA, SZ_2M);
	for (i = 0; i < ctx->nr_slots; i++) {
		KUNIT_ASSERT_EQ(test, 0, attach_slot(&ctx->slots[i], &guest->nested->domain));
		vtd_fake_watch(test, ctx->slots[i].dev, ctx->slots[i].pasid, IOVA);
		vtd_fake_watch(test, ctx->slots[i].dev, ctx->slots[i].pasid, IOVA + SZ_4K);
	}
	guest_expect(test, 0, PA);
	guest_expect(test, SZ_4K, PA + SZ_8K);
}

/* The host changes the second level below a guest. */
static void domain_nested_second_level(struct kunit *test)
{
	struct guest guest;

	guest_settle(test, &guest);
	guest_unmap(test, &guest, GUEST_DATA, SZ_2M);
	guest_expect(test, 0, 0);
	guest_expect(test, SZ_4K, 0);

	/* small pages in place of the large one, and the other way round */
	vtd_guest_map(test, guest.parent, GUEST_DATA, PA + SZ_1G + SZ_4K, SZ_16K);
	guest_expect(test, 0, PA + SZ_1G + SZ_4K);
	guest_expect(test, SZ_4K, PA + SZ_1G + 3 * SZ_4K);
	guest_unmap(test, &guest, GUEST_DATA, SZ_4K);
	guest_expect(test, 0, 0);
	guest_expect(test, SZ_4K, PA + SZ_1G + 3 * SZ_4K);
	guest_unmap(test, &guest, GUEST_DATA + SZ_4K, 3 * SZ_4K);
	vtd_guest_map(test, guest.parent, GUEST_DATA, PA + SZ_2G, SZ_2M);
	guest_expect(test, 0, PA + SZ_2G);
	guest_expect(test, SZ_4K, PA + SZ_2G + SZ_8K);
}

/* The host replaces a page that holds a guest's table. */
static void domain_nested_table_moves(struct kunit *test)
{
	u64 *page = vtd_fake_page(test);
	struct guest guest;
	u64 gpa;

	guest_settle(test, &guest);
	gpa = GUEST_TABLES + virt_to_phys(guest.table.page[1]);
	guest_unmap(test, &guest, gpa, SZ_4K);
	guest_expect(test, 0, 0);

	vtd_fake_store(test, &page[0], (GUEST_DATA + SZ_64K) | FL_PAGE);
	vtd_guest_map(test, guest.parent, gpa, virt_to_phys(page), SZ_4K);
	guest_expect(test, 0, PA + SZ_64K);
	guest_expect(test, SZ_4K, 0);
}

/* The guest changes its table and has it invalidated. */
static void domain_nested_first_level(struct kunit *test)
{
	struct vtd_table *table;
	struct guest guest;
	u64 entry;

	guest_settle(test, &guest);
	table = &guest.table;
	vtd_fake_store(test, table->leaf, (GUEST_DATA + SZ_64K) | FL_PAGE);
	KUNIT_EXPECT_EQ(test, 0, guest_invalidate(&guest, IOVA, 1, true));
	guest_expect(test, 0, PA + SZ_64K);

	entry = table->page[2][0];
	vtd_fake_store(test, &table->page[2][0], 0);
	KUNIT_EXPECT_EQ(test, 0, guest_invalidate(&guest, IOVA, 512, false));
	guest_expect(test, 0, 0);
	guest_expect(test, SZ_4K, 0);

	vtd_fake_store(test, &table->page[2][0], entry);
	guest_expect(test, 0, PA + SZ_64K);
	vtd_fake_store(test, &table->page[4][0], 0);
	KUNIT_EXPECT_EQ(test, 0, guest_invalidate(&guest, 0, U64_MAX, false));
	guest_expect(test, 0, 0);
}

static int domain_test_init(struct kunit *test)
{
	struct domain_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);

	return vtd_fake_init(test, ctx ? &ctx->fake : NULL);
}

static struct kunit_case domain_test_cases[] = {
	KUNIT_CASE_PARAM(domain_first_map, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_map, setting_gen_params),
	KUNIT_CASE_PARAM(domain_first_parts, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_parts, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_tables, setting_gen_params),
	KUNIT_CASE_PARAM(domain_first_superpage, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_superpage, setting_gen_params),
	KUNIT_CASE_PARAM(domain_first_split, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_split, setting_gen_params),
	KUNIT_CASE_PARAM(domain_first_unwind, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_unwind, setting_gen_params),
	KUNIT_CASE_PARAM(domain_first_deferred, setting_gen_params),
	KUNIT_CASE_PARAM(domain_second_deferred, setting_gen_params),
	KUNIT_CASE_PARAM(domain_attach, setting_gen_params),
	KUNIT_CASE_PARAM(domain_attach_refused, setting_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_map, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_parts, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_tables, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_superpage, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_split, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_unwind, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_deferred, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_attach, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_free, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_legacy_descriptors, legacy_gen_params),
	KUNIT_CASE_PARAM(domain_nested_second_level, setting_gen_params),
	KUNIT_CASE_PARAM(domain_nested_table_moves, setting_gen_params),
	KUNIT_CASE_PARAM(domain_nested_first_level, setting_gen_params),
	{}
};

static struct kunit_suite domain_test_suite = {
	.name = "intel-iommu-domain",
	.init = domain_test_init,
	.test_cases = domain_test_cases,
};

kunit_test_suite(domain_test_suite);
