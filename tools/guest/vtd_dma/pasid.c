// SPDX-License-Identifier: GPL-2.0
/*
 * Paging domains on PASIDs of the device, through the IOMMU API: first-level domains,
 * and nest parents, which are second-level domains.
 */
#include "vtd_dma.h"

#define IOVA	0x7f1234567000UL
#define RW	(IOMMU_READ | IOMMU_WRITE)

static const u32 pasids[] = { 1, 0x12345, 0xfffff };

/* A domain with one page at IOVA, attached to at most one PASID */
struct space {
	struct testdev *dev;
	struct iommu_domain *domain;
	u64 *page;
	u32 pasid;
};

static void detach(struct space *space)
{
	if (space->pasid != RID)
		iommu_detach_device_pasid(space->domain, &space->dev->pdev->dev,
					  space->pasid);
	space->pasid = RID;
}

static void free_space(void *data)
{
	struct space *space = data;

	detach(space);
	iommu_domain_free(space->domain);
}

static struct space *new_space(struct kunit *test, bool parent)
{
	struct space *space = kunit_kzalloc(test, sizeof(*space), GFP_KERNEL);
	struct testdev *dev = testdev_get(test);

	KUNIT_ASSERT_NOT_NULL(test, space);
	space->dev = dev;
	space->pasid = RID;
	space->page = testdev_page(test);
	space->domain = testdev_domain(dev, parent);
	KUNIT_ASSERT_FALSE(test, IS_ERR(space->domain));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, free_space, space));
	return space;
}

static void map(struct kunit *test, struct space *space)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_map(space->domain, IOVA, virt_to_phys(space->page),
					   PAGE_SIZE, RW, GFP_KERNEL));
}

static void attach(struct kunit *test, struct space *space, u32 pasid)
{
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device_pasid(space->domain,
							   &space->dev->pdev->dev,
							   pasid, NULL));
	space->pasid = pasid;
}

static int pasid_init(struct kunit *test)
{
	struct testdev *dev = testdev_get(test);
	bool parent = test->param_value && *(const bool *)test->param_value;
	struct iommu_domain *domain;

	if (dev->pdev->dev.iommu->max_pasids <= 0xfffff)
		kunit_skip(test, "the device has no PASIDs of 20 bits");
	domain = testdev_domain(dev, parent);
	if (IS_ERR(domain))
		kunit_skip(test, "no such domain here");
	iommu_domain_free(domain);
	test->priv = dev;
	return 0;
}

static const bool parents[] = { false, true };

static void parent_desc(const bool *parent, char *desc)
{
	strscpy(desc, *parent ? "nest parent" : "paging domain", KUNIT_PARAM_DESC_SIZE);
}

KUNIT_ARRAY_PARAM(parent, parents, parent_desc);

static struct space *new_space_of(struct kunit *test)
{
	return new_space(test, *(const bool *)test->param_value);
}

/* The smallest PASID, the largest, and one in another leaf of the directory */
static void attach_and_detach(struct kunit *test)
{
	struct space *space = new_space_of(test);
	struct testdev *dev = test->priv;
	int i;

	map(test, space);
	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		KUNIT_EXPECT_TRUE(test, testdev_refused(dev, pasids[i], IOVA));
		attach(test, space, pasids[i]);
		KUNIT_EXPECT_TRUE(test, testdev_reads(dev, PLAIN, pasids[i], IOVA,
						      space->page));
		KUNIT_EXPECT_TRUE(test, testdev_writes(dev, PLAIN, pasids[i], IOVA,
						       space->page));
		KUNIT_EXPECT_TRUE(test, testdev_refused(dev, pasids[i] ^ 2, IOVA));
		KUNIT_EXPECT_TRUE(test, testdev_refused(dev, RID, IOVA));
		detach(space);
		KUNIT_EXPECT_TRUE(test, testdev_refused(dev, pasids[i], IOVA));
	}
}

/* The same IOVA is a different page for each PASID. */
static void side_by_side(struct kunit *test)
{
	struct space *spaces[ARRAY_SIZE(pasids)];
	struct testdev *dev = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(pasids); i++) {
		spaces[i] = new_space_of(test);
		map(test, spaces[i]);
		attach(test, spaces[i], pasids[i]);
	}
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		KUNIT_EXPECT_TRUE(test, testdev_writes(dev, PLAIN, pasids[i], IOVA,
						       spaces[i]->page));
	for (i = 0; i < ARRAY_SIZE(pasids); i++)
		KUNIT_EXPECT_TRUE(test, testdev_reads(dev, PLAIN, pasids[i], IOVA,
						      spaces[i]->page));
}

/* Map and unmap while a PASID is attached: no stale entry is left in a cache. */
static void unmapped(struct kunit *test, u32 how)
{
	struct space *space = new_space_of(test);
	struct testdev *dev = test->priv;

	attach(test, space, 5);
	KUNIT_EXPECT_FALSE(test, testdev_reads(dev, how, 5, IOVA, space->page));
	map(test, space);
	KUNIT_EXPECT_TRUE(test, testdev_reads(dev, how, 5, IOVA, space->page));
	KUNIT_EXPECT_EQ(test, PAGE_SIZE, iommu_unmap(space->domain, IOVA, PAGE_SIZE));
	KUNIT_EXPECT_FALSE(test, testdev_reads(dev, how, 5, IOVA, space->page));
	KUNIT_EXPECT_FALSE(test, testdev_writes(dev, how, 5, IOVA, space->page));
	map(test, space);
	KUNIT_EXPECT_TRUE(test, testdev_writes(dev, how, 5, IOVA, space->page));
}

static void unmapped_untranslated(struct kunit *test)
{
	unmapped(test, PLAIN);
}

static void unmapped_by_tlb(struct kunit *test)
{
	struct testdev *dev = test->priv;

	if (!dev->pdev->ats_enabled)
		kunit_skip(test, "no ATS here");
	unmapped(test, BY_TLB);
}

/* A client that maps the requested page */
static int map_requested_page(struct iopf_group *group)
{
	struct space *space = group->domain->fault_data;
	struct iopf_fault *iopf = list_first_entry(&group->faults, struct iopf_fault, list);
	int ret = -EINVAL;

	if (group->fault_count == 1 && iopf->fault.prm.addr == IOVA)
		ret = iommu_map(space->domain, IOVA, virt_to_phys(space->page), PAGE_SIZE,
				RW, GFP_KERNEL);
	iopf_group_response(group, ret ? IOMMU_PAGE_RESP_INVALID : IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);
	return 0;
}

static void page_requests(struct kunit *test)
{
	struct space *space = new_space(test, *(const bool *)test->param_value);
	struct device *dev = &space->dev->pdev->dev;
	struct iommu_attach_handle handle;
	struct iopf_client client = {
		.reports = IOPF_REPORT_FLAT,
		.handler = map_requested_page,
		.data = space,
	};

	if (!(iopf_reportable(space->domain, dev) & IOPF_REPORT_FLAT))
		kunit_skip(test, "no page requests here");
	KUNIT_EXPECT_FALSE(test, iopf_path_ready(dev));
	KUNIT_ASSERT_EQ(test, 0, iopf_register(space->domain, dev, &client));
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device_pasid(space->domain, dev, 5, &handle));
	KUNIT_EXPECT_TRUE(test, iopf_path_ready(dev));

	KUNIT_EXPECT_FALSE(test, testdev_writes(space->dev, BY_TLB, 5, IOVA, space->page));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			testdev_asks(space->dev, VTDT_WANT_WRITE, 5, IOVA + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_SUCCESS,
			testdev_asks(space->dev, VTDT_WANT_WRITE, 5, IOVA));
	KUNIT_EXPECT_TRUE(test, testdev_writes(space->dev, BY_TLB, 5, IOVA, space->page));
	/* no client is registered for the RID or for another PASID */
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			testdev_asks(space->dev, VTDT_WANT_READ, RID, IOVA));
	KUNIT_EXPECT_EQ(test, IOMMU_PAGE_RESP_INVALID,
			testdev_asks(space->dev, VTDT_WANT_READ, 6, IOVA));

	iommu_detach_device_pasid(space->domain, dev, 5);
	KUNIT_EXPECT_FALSE(test, iopf_path_ready(dev));
	KUNIT_EXPECT_EQ(test, -1, testdev_asks(space->dev, VTDT_WANT_READ, 5, IOVA));
}

static struct kunit_case pasid_cases[] = {
	KUNIT_CASE_PARAM(attach_and_detach, parent_gen_params),
	KUNIT_CASE_PARAM(side_by_side, parent_gen_params),
	KUNIT_CASE_PARAM(unmapped_untranslated, parent_gen_params),
	KUNIT_CASE_PARAM(unmapped_by_tlb, parent_gen_params),
	KUNIT_CASE_PARAM(page_requests, parent_gen_params),
	{ }
};

static struct kunit_suite pasid_suite = {
	.name = "vtd_pasid",
	.init = pasid_init,
	.test_cases = pasid_cases,
};
kunit_test_suite(pasid_suite);
