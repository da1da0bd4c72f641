// SPDX-License-Identifier: GPL-2.0
/*
 * Guest PASIDs by iommu_bind_gpasid(). The "guest" is a set of pages that a domain on
 * the device's RID maps at guest-physical addresses from 0 on. The tests write
 * first-level tables into them.
 */
#include <linux/iommu-gpasid.h>

#include "vtd_dma.h"

#define GUEST_PAGES	64
#define IOVA		0x7f1234567000UL
#define PASID		0x12345
#define OTHER		0xfffff
#define RW		(IOMMU_READ | IOMMU_WRITE)

/* Entries of first-level tables, VT-d section 9.7: present, writable, user, accessed */
#define TABLE		(BIT(0) | BIT(1) | BIT(2) | BIT(5))
#define LEAF		(TABLE | BIT(6))	/* dirty */
#define WRITABLE	BIT(1)

struct guest {
	struct testdev *dev;
	struct iommu_domain *parent;
	u64 *pages[GUEST_PAGES];	/* by page of guest-physical address */
	unsigned int used;
	/* page requests: the expected page, its entry, and the requests at each level */
	u64 wanted, *leaf;
	unsigned int first, second;
};

static u64 new_page(struct kunit *test, struct guest *guest)
{
	KUNIT_ASSERT_LT(test, guest->used, GUEST_PAGES);
	memset(guest->pages[guest->used], 0, PAGE_SIZE);
	return guest->used++ * PAGE_SIZE;
}

static u64 *at(struct guest *guest, u64 gpa)
{
	return guest->pages[gpa / PAGE_SIZE % GUEST_PAGES];
}

/* The last-level entry for @iova below @root; adds missing tables. */
static u64 *entry(struct kunit *test, struct guest *guest, u64 root, u64 iova)
{
	u64 *e = at(guest, root) + (iova >> 39 & 511);
	int shift;

	for (shift = 30; shift >= 12; shift -= 9) {
		if (!*e)
			*e = new_page(test, guest) | TABLE;
		e = at(guest, *e) + (iova >> shift & 511);
	}
	return e;
}

/* A guest table that maps a page of data at IOVA */
struct table {
	u64 root, data;
	u64 *leaf;
};

static struct table new_table(struct kunit *test, struct guest *guest)
{
	struct table table = {
		.root = new_page(test, guest), .data = new_page(test, guest),
	};

	table.leaf = entry(test, guest, table.root, IOVA);
	*table.leaf = table.data | LEAF;
	return table;
}

static int bind_with(struct guest *guest, u32 pasid, u64 root,
		     const struct iopf_client *client)
{
	struct iommu_gpasid_bind_data data = {
		.pasid = pasid, .root = root, .addr_width = 48,
	};

	return iommu_bind_gpasid(&guest->dev->pdev->dev, &data, client);
}

static int bind(struct guest *guest, u32 pasid, u64 root)
{
	return bind_with(guest, pasid, root, NULL);
}

static int unbind(struct guest *guest, u32 pasid)
{
	return iommu_unbind_gpasid(&guest->dev->pdev->dev, pasid);
}

static int invalidate(struct guest *guest, u32 pasid, u64 addr, u64 npages)
{
	return iommu_invalidate_gpasid(&guest->dev->pdev->dev, pasid, addr, npages, false);
}

static bool reads(struct guest *guest, u32 how, u32 pasid, u64 gpa)
{
	return testdev_reads(guest->dev, how, pasid, IOVA, at(guest, gpa));
}

static bool writes(struct guest *guest, u32 how, u32 pasid, u64 gpa)
{
	return testdev_writes(guest->dev, how, pasid, IOVA, at(guest, gpa));
}

static bool refused(struct guest *guest, u32 pasid)
{
	return testdev_refused(guest->dev, pasid, IOVA);
}

static void end_guest(void *data)
{
	struct guest *guest = data;
	struct device *dev = &guest->dev->pdev->dev;

	if (iommu_get_domain_for_dev(dev) == guest->parent)
		iommu_detach_device(guest->parent, dev);
	iommu_domain_free(guest->parent);
}

static u64 asked_for(const struct iopf_group *group)
{
	return list_first_entry(&group->faults, struct iopf_fault, list)->fault.prm.addr;
}

static int served(struct iopf_group *group, bool well)
{
	iopf_group_response(group, well ? IOMMU_PAGE_RESP_SUCCESS : IOMMU_PAGE_RESP_INVALID);
	iopf_free_group(group);
	return 0;
}

/* The guest serves the request: it maps the page in its first-level table. */
static int serve_first(struct iopf_group *group)
{
	struct guest *guest = group->domain->fault_data;

	guest->first++;
	WRITE_ONCE(*guest->leaf, guest->wanted | LEAF);
	return served(group, asked_for(group) == IOVA);
}

/* The host serves the request: it maps the page in the second level. */
static int serve_second(struct iopf_group *group)
{
	struct guest *guest = group->domain->fault_data;
	u64 gpa = asked_for(group);

	guest->second++;
	return served(group, gpa == guest->wanted &&
		      !iommu_map(guest->parent, gpa, virt_to_phys(at(guest, gpa)),
				 PAGE_SIZE, RW, GFP_KERNEL));
}

static int gpasid_init(struct kunit *test)
{
	struct guest *guest = kunit_kzalloc(test, sizeof(*guest), GFP_KERNEL);
	struct testdev *dev = testdev_get(test);
	int i;

	KUNIT_ASSERT_NOT_NULL(test, guest);
	guest->dev = dev;
	for (i = 0; i < GUEST_PAGES; i++)
		guest->pages[i] = testdev_page(test);
	guest->parent = testdev_domain(dev, true);
	if (IS_ERR(guest->parent))
		kunit_skip(test, "no nested translation here");
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, end_guest, guest));
	if (iopf_reportable(guest->parent, &dev->pdev->dev) & IOPF_REPORT_NESTED_L2) {
		struct iopf_client client = {
			.reports = IOPF_REPORT_NESTED_L2,
			.handler = serve_second,
			.data = guest,
		};

		KUNIT_ASSERT_EQ(test, 0, iopf_register(guest->parent, &dev->pdev->dev,
						       &client));
	}
	for (i = 0; i < GUEST_PAGES; i++)
		KUNIT_ASSERT_EQ(test, 0, iommu_map(guest->parent, i * PAGE_SIZE,
						   virt_to_phys(guest->pages[i]),
						   PAGE_SIZE, RW, GFP_KERNEL));
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device(guest->parent, &dev->pdev->dev));
	test->priv = guest;
	return 0;
}

/* The PASID uses both levels, the RID the second level only, other PASIDs none. */
static void bound_and_unbound(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest);

	KUNIT_EXPECT_TRUE(test, refused(guest, PASID));
	KUNIT_ASSERT_EQ(test, 0, bind(guest, PASID, table.root));
	KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, PASID, table.data));
	KUNIT_EXPECT_TRUE(test, writes(guest, PLAIN, PASID, table.data));
	KUNIT_EXPECT_TRUE(test, refused(guest, OTHER));
	KUNIT_EXPECT_TRUE(test, refused(guest, RID));
	KUNIT_EXPECT_TRUE(test, testdev_reads(guest->dev, PLAIN, RID, table.data,
					      at(guest, table.data)));
	KUNIT_EXPECT_EQ(test, -EBUSY, bind(guest, PASID, table.root));
	KUNIT_EXPECT_EQ(test, 0, unbind(guest, PASID));
	KUNIT_EXPECT_TRUE(test, refused(guest, PASID));
	KUNIT_EXPECT_EQ(test, -ENOENT, unbind(guest, PASID));
}

/* Every PASID has its own table; unbinding one does not affect the others. */
static void side_by_side(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table tables[8];
	int i;

	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		tables[i] = new_table(test, guest);
		KUNIT_ASSERT_EQ(test, 0, bind(guest, 1 + 0x1fff * i, tables[i].root));
	}
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		KUNIT_EXPECT_TRUE(test, writes(guest, PLAIN, 1 + 0x1fff * i,
					       tables[i].data));
	KUNIT_EXPECT_EQ(test, 0, unbind(guest, 1));
	KUNIT_EXPECT_TRUE(test, refused(guest, 1));
	for (i = 1; i < ARRAY_SIZE(tables); i++)
		KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, 1 + 0x1fff * i,
					      tables[i].data));
	for (i = 1; i < ARRAY_SIZE(tables); i++)
		KUNIT_EXPECT_EQ(test, 0, unbind(guest, 1 + 0x1fff * i));
}

/*
 * The guest changes an entry and invalidates it. Before the invalidation the device
 * may use the old page, and does so if the IOMMU caches everything that it may cache.
 */
static void invalidated(struct kunit *test, u32 how, u64 addr, u64 npages)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest);
	u64 data = new_page(test, guest);

	KUNIT_ASSERT_EQ(test, 0, bind(guest, PASID, table.root));
	KUNIT_EXPECT_TRUE(test, reads(guest, how, PASID, table.data));
	WRITE_ONCE(*table.leaf, data | LEAF);
	if (vtd_strict)
		KUNIT_EXPECT_TRUE(test, reads(guest, how, PASID, table.data));
	KUNIT_EXPECT_EQ(test, 0, invalidate(guest, PASID, addr, npages));
	KUNIT_EXPECT_TRUE(test, reads(guest, how, PASID, data));
	KUNIT_EXPECT_TRUE(test, writes(guest, how, PASID, data));

	WRITE_ONCE(*table.leaf, 0);
	KUNIT_EXPECT_EQ(test, 0, invalidate(guest, PASID, addr, npages));
	KUNIT_EXPECT_FALSE(test, reads(guest, how, PASID, data));
	KUNIT_EXPECT_FALSE(test, writes(guest, how, PASID, data));
	KUNIT_EXPECT_EQ(test, 0, unbind(guest, PASID));
}

static void invalidate_page(struct kunit *test)
{
	invalidated(test, PLAIN, IOVA, 1);
}

static void invalidate_all(struct kunit *test)
{
	invalidated(test, PLAIN, 0, U64_MAX);
}

static void invalidate_page_of_tlb(struct kunit *test)
{
	invalidated(test, BY_TLB, IOVA, 1);
}

static void invalidate_all_of_tlb(struct kunit *test)
{
	invalidated(test, BY_TLB, 0, U64_MAX);
}

/* An access needs the permission of both levels. */
static void both_levels_must_allow(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest);

	WRITE_ONCE(*table.leaf, table.data | (LEAF & ~WRITABLE));
	KUNIT_ASSERT_EQ(test, 0, bind(guest, PASID, table.root));
	KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, PASID, table.data));
	KUNIT_EXPECT_FALSE(test, writes(guest, PLAIN, PASID, table.data));

	WRITE_ONCE(*table.leaf, table.data | LEAF);
	KUNIT_EXPECT_EQ(test, 0, invalidate(guest, PASID, IOVA, 1));
	KUNIT_EXPECT_TRUE(test, writes(guest, PLAIN, PASID, table.data));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(guest->parent, table.data, PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, refused(guest, PASID));

	/* a table page that is not mapped in the second level */
	KUNIT_ASSERT_EQ(test, 0, iommu_map(guest->parent, table.data,
					   virt_to_phys(at(guest, table.data)), PAGE_SIZE,
					   RW, GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, PASID, table.data));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(guest->parent, table.root, PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, refused(guest, PASID));
	KUNIT_EXPECT_EQ(test, 0, unbind(guest, PASID));
}

/* Bind another table to the same PASID: no entry of the old one is still cached. */
static void rebind(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest), other = new_table(test, guest);
	int i;

	for (i = 0; i < 32; i++) {
		struct table *now = i % 2 ? &other : &table;

		KUNIT_ASSERT_EQ(test, 0, bind(guest, PASID, now->root));
		KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, PASID, now->data));
		KUNIT_EXPECT_TRUE(test, writes(guest, BY_TLB, PASID, now->data));
		KUNIT_EXPECT_EQ(test, 0, unbind(guest, PASID));
	}
	KUNIT_EXPECT_EQ(test, 0, readl(guest->dev->regs + VTDT_TLB));
}

/* Detaching the second level from the RID also unbinds the guest's tables. */
static void unbound_with_parent(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest);

	KUNIT_ASSERT_EQ(test, 0, bind(guest, PASID, table.root));
	KUNIT_EXPECT_TRUE(test, reads(guest, PLAIN, PASID, table.data));
	iommu_detach_device(guest->parent, &guest->dev->pdev->dev);
	KUNIT_EXPECT_TRUE(test, refused(guest, PASID));
	KUNIT_EXPECT_EQ(test, -ENOENT, unbind(guest, PASID));
}

/* If neither level maps a page, the guest serves the first request, the host the second. */
static void page_requests_by_level(struct kunit *test)
{
	struct guest *guest = test->priv;
	struct table table = new_table(test, guest);
	struct iopf_client client = {
		.reports = IOPF_REPORT_NESTED_L1,
		.handler = serve_first,
		.data = guest,
	};

	if (!guest->parent->iopf_handler)
		kunit_skip(test, "no page requests here");
	guest->wanted = table.data;
	guest->leaf = table.leaf;
	*table.leaf = 0;
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(guest->parent, table.data, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, 0, bind_with(guest, PASID, table.root, &client));

	KUNIT_EXPECT_FALSE(test, reads(guest, BY_TLB, PASID, table.data));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS,
			testdev_asks(guest->dev, VTDT_WANT_READ, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, 1, guest->first);
	KUNIT_EXPECT_EQ(test, 0, guest->second);
	KUNIT_EXPECT_FALSE(test, reads(guest, BY_TLB, PASID, table.data));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS,
			testdev_asks(guest->dev, VTDT_WANT_READ, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, 1, guest->first);
	KUNIT_EXPECT_EQ(test, 1, guest->second);
	KUNIT_EXPECT_TRUE(test, reads(guest, BY_TLB, PASID, table.data));
	KUNIT_EXPECT_TRUE(test, writes(guest, BY_TLB, PASID, table.data));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS,
			testdev_asks(guest->dev, VTDT_WANT_READ, PASID, IOVA));
	KUNIT_EXPECT_EQ(test, 1, guest->first);
	KUNIT_EXPECT_EQ(test, 1, guest->second);

	KUNIT_EXPECT_EQ(test, 0, unbind(guest, PASID));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			testdev_asks(guest->dev, VTDT_WANT_READ, PASID, IOVA));
}

static struct kunit_case gpasid_cases[] = {
	KUNIT_CASE(bound_and_unbound),
	KUNIT_CASE(side_by_side),
	KUNIT_CASE(invalidate_page),
	KUNIT_CASE(invalidate_all),
	KUNIT_CASE(invalidate_page_of_tlb),
	KUNIT_CASE(invalidate_all_of_tlb),
	KUNIT_CASE(both_levels_must_allow),
	KUNIT_CASE(rebind),
	KUNIT_CASE(unbound_with_parent),
	KUNIT_CASE(page_requests_by_level),
	{ }
};

static struct kunit_suite gpasid_suite = {
	.name = "vtd_gpasid",
	.init = gpasid_init,
	.test_cases = gpasid_cases,
};
kunit_test_suite(gpasid_suite);
