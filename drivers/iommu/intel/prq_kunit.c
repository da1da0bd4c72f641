// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of page requests: from the descriptor in the IOMMU's queue to the
 * client, and to the answer in the invalidation queue.
 *
 * The IOMMU and its devices are fakes (vtd_fake.h). The page request queue is
 * memory to which the tests write descriptors by section 7.4.1 of the VT-d
 * specification. The guest is a first-level table that maps one page, which the
 * second level does not map at first.
 */

#include <kunit/device.h>
#include <kunit/test.h>
#include <kunit/test-bug.h>
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/iommu-gpasid.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/pci.h>
#include <linux/rbtree.h>
#include <linux/sched.h>
#include <linux/sizes.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <uapi/linux/iommufd.h>

#include "../iommu-priv.h"
#include "../kunit_memory.h"
#include "paging_domain.h"
#include "iommu.h"
#include "pasid.h"
#include "vtd_fake.h"

#define PASID		5

/* Descriptors, section 7.4.1 */
#define PRQ_TYPE	1ULL
#define PRQ_PASID(p)	(BIT_ULL(8) | (u64)(p) << 32)
#define PRQ_RID(rid)	((u64)(rid) << 16)
#define PRQ_EXEC	BIT_ULL(52)
#define PRQ_PRIV	BIT_ULL(53)
#define PRQ_READ	BIT_ULL(0)	/* of the second quadword */
#define PRQ_WRITE	BIT_ULL(1)
#define PRQ_LAST	BIT_ULL(2)
#define PRQ_GROUP(g)	((u64)(g) << 3)

/* Answers, section 7.7 */
#define ANSWER_CODE(a)	((a)[0] >> 12 & 0xf)
#define ANSWER_RID(a)	((a)[0] >> 16 & 0xffff)
#define ANSWER_PASID(a)	((a)[0] >> 32 & 0xfffff)
#define ANSWER_HAS_PASID(a)	((a)[0] >> 4 & 1)
#define ANSWER_GROUP(a)	((a)[1] >> 3 & 0x1ff)
#define NO_ANSWER	~0u

#define KEEP_MAX	600

/* Keeps groups until the test answers them. */
struct client {
	struct iopf_group *group[KEEP_MAX];
	atomic_t nr;
	bool answers;			/* answer at once, with success */
	bool refuses;
};

struct prq_test {
	struct vtd_fake fake;
	struct kunit *test;
	struct intel_iommu *iommu;
	struct device *dev;
	u16 rid;
	struct iommu_group *group;
	struct dmar_domain *parent;
	struct vtd_table table;		/* the guest's */
	struct client flat, level1, level2;
	struct iommu_attach_handle handle;
	u64 before[IOPF_EVENTS];
	int open_at_answer;
};

static struct dmar_domain *paging(struct kunit *test, u32 flags)
{
	struct prq_test *ctx = test->priv;

	return vtd_fake_domain(test, ctx->dev, flags);
}

static struct dmar_domain *prq_nested(struct kunit *test)
{
	struct prq_test *ctx = test->priv;

	return vtd_guest_nested(test, ctx->dev, ctx->parent, ctx->table.root);
}

static int take(struct iopf_group *group)
{
	struct client *client = group->domain->fault_data;
	int nr;

	if (client->refuses)
		return -EBUSY;
	if (client->answers) {
		atomic_inc(&client->nr);
		iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS);
		iopf_free_group(group);
		return 0;
	}
	nr = atomic_fetch_inc(&client->nr);
	if (nr >= KEEP_MAX)
		return -ENOSPC;
	client->group[nr] = group;

	return 0;
}

static int prq_reg(struct kunit *test, struct dmar_domain *domain, struct client *client,
		   u32 reports, u32 flags)
{
	struct prq_test *ctx = test->priv;
	struct iopf_client iopf = {
		.reports = reports,
		.flags = flags,
		.handler = take,
		.data = client,
	};

	return iopf_register(&domain->domain, ctx->dev, &iopf);
}

/* Answer the oldest of a client's groups. */
static void prq_answer(struct client *client, enum iommu_page_response_code code)
{
	struct iopf_group *group = client->group[0];

	memmove(client->group, client->group + 1, sizeof(client->group) - sizeof(group));
	atomic_dec(&client->nr);
	iopf_group_response(group, code);
	iopf_free_group(group);
}

/*
 * The core's group has no devices, as the core would release them at the end.
 * It keeps the handles, and the tests call the driver.
 */
static int prq_attach_pasid(struct device *dev, struct iommu_domain *domain, u32 pasid,
			    struct iommu_attach_handle *handle)
{
	int ret = domain->ops->set_dev_pasid(domain, dev, pasid, NULL);

	return ret ?: iommu_attach_device_pasid(domain, dev, pasid, handle);
}

static void prq_replace_pasid(struct device *dev, struct iommu_domain *domain, u32 pasid,
			      struct iommu_attach_handle *handle, struct iommu_domain *old)
{
	domain->ops->set_dev_pasid(domain, dev, pasid, old);
	iommu_replace_device_pasid(domain, dev, pasid, handle);
}

static void prq_detach_pasid(struct device *dev, struct iommu_domain *domain, u32 pasid)
{
	intel_iommu_ops.remove_dev_pasid(dev, pasid, domain);
	iommu_detach_device_pasid(domain, dev, pasid);
}

static int on_pasid(struct kunit *test, struct dmar_domain *domain)
{
	struct prq_test *ctx = test->priv;

	return prq_attach_pasid(ctx->dev, &domain->domain, PASID, &ctx->handle);
}

static void off_pasid(struct kunit *test, struct dmar_domain *domain)
{
	struct prq_test *ctx = test->priv;

	prq_detach_pasid(ctx->dev, &domain->domain, PASID);
}

/* As hardware does: put a descriptor into the queue. */
static void post(struct intel_iommu *iommu, u64 qw0, u64 qw1)
{
	u64 tail = readq(iommu->reg + DMAR_PQT_REG);
	u64 *desc = (void *)iommu->prq + tail;

	desc[0] = qw0 | PRQ_TYPE;
	desc[1] = qw1;
	desc[2] = 0;
	desc[3] = 0;
	writeq((tail + 32) & PRQ_RING_MASK, iommu->reg + DMAR_PQT_REG);
}

static void prq_request(struct kunit *test, u64 qw0, u64 qw1)
{
	struct prq_test *ctx = test->priv;

	post(ctx->iommu, qw0 | PRQ_RID(ctx->rid), qw1);
}

static void pass(struct kunit *test)
{
	struct prq_test *ctx = test->priv;

	KUNIT_EXPECT_TRUE(test, intel_iommu_handle_prq(ctx->iommu));
}

/* Change of a counter since the last call */
static u64 counted(struct kunit *test, enum iopf_event event)
{
	struct prq_test *ctx = test->priv;
	u64 now = iopf_counted(ctx->iommu->iopf_queue, event), was = ctx->before[event];

	ctx->before[event] = now;

	return now - was;
}

/* One answer came since @before, or none. */
static void expect_answer(struct kunit *test, unsigned int before, unsigned int code)
{
	struct prq_test *ctx = test->priv;

	if (code == NO_ANSWER) {
		KUNIT_EXPECT_EQ(test, before, ctx->fake.responses);
		return;
	}
	KUNIT_EXPECT_EQ(test, before + 1, ctx->fake.responses);
	KUNIT_EXPECT_EQ(test, code, ANSWER_CODE(ctx->fake.response));
}

/* Requests that no client gets */

struct refused_case {
	const char *name;
	u64 qw0, qw1;
	bool unknown;			/* from a RID without a device */
	enum iopf_event event;
	unsigned int answer;
};

static const struct refused_case refused_cases[] = {
	{ "stop marker", PRQ_PASID(PASID), PRQ_LAST, false,
	  IOPF_EVENT_STOP_MARKER, NO_ANSWER },
	{ "stop marker, unknown device", PRQ_PASID(PASID), PRQ_LAST, true,
	  IOPF_EVENT_STOP_MARKER, NO_ANSWER },
	{ "no access, no PASID, last", 0, PRQ_LAST, false,
	  IOPF_EVENT_MALFORMED, QI_RESP_INVALID },
	{ "no access, not last", PRQ_PASID(PASID), 0, false,
	  IOPF_EVENT_MALFORMED, NO_ANSWER },
	{ "no such type", 2, PRQ_LAST | PRQ_READ, false,
	  IOPF_EVENT_MALFORMED, NO_ANSWER },
	{ "unknown device", PRQ_PASID(PASID), PRQ_LAST | PRQ_READ, true,
	  IOPF_EVENT_UNKNOWN_DEVICE, QI_RESP_INVALID },
	{ "unknown device, not last", PRQ_PASID(PASID), PRQ_READ, true,
	  IOPF_EVENT_UNKNOWN_DEVICE, NO_ANSWER },
	{ "PASID that is not attached", PRQ_PASID(PASID), PRQ_LAST | PRQ_READ, false,
	  IOPF_EVENT_UNSERVED, QI_RESP_INVALID },
	{ "no PASID, not attached", 0, PRQ_LAST | PRQ_WRITE, false,
	  IOPF_EVENT_UNSERVED, QI_RESP_INVALID },
};

KUNIT_ARRAY_PARAM_DESC(refused, refused_cases, name);

static void request_refused(struct kunit *test)
{
	const struct refused_case *c = test->param_value;
	struct prq_test *ctx = test->priv;
	unsigned int before = ctx->fake.responses;
	u16 rid = c->unknown ? ctx->rid + 8 : ctx->rid;

	post(ctx->iommu, c->qw0 | PRQ_RID(rid), c->qw1 | PRQ_GROUP(9) | GVA);
	pass(test);

	KUNIT_EXPECT_EQ(test, 1, counted(test, c->event));
	KUNIT_EXPECT_EQ(test, c->answer == QI_RESP_INVALID,
			counted(test, IOPF_EVENT_INVALID));
	expect_answer(test, before, c->answer);
	if (c->answer == NO_ANSWER)
		return;
	KUNIT_EXPECT_EQ(test, rid, ANSWER_RID(ctx->fake.response));
	KUNIT_EXPECT_EQ(test, 9, ANSWER_GROUP(ctx->fake.response));
	KUNIT_EXPECT_EQ(test, !!(c->qw0 & PRQ_PASID(0)),
			ANSWER_HAS_PASID(ctx->fake.response));
}

/* A device that is on no queue, whose request hardware should have refused */
static void device_without_queue(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	unsigned int before = ctx->fake.responses;

	KUNIT_EXPECT_TRUE(test, iopf_path_ready(ctx->dev));
	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_FALSE(test, iopf_path_ready(ctx->dev));
	prq_request(test, PRQ_PASID(PASID), PRQ_LAST | PRQ_READ | GVA);
	pass(test);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_UNSERVED));
	expect_answer(test, before, QI_RESP_INVALID);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
}

/* Which client gets a request */

/* Handle a group of one request, and return the client that got it. */
static struct client *prq_ask(struct kunit *test, u64 qw0, u64 access, u64 addr)
{
	struct prq_test *ctx = test->priv;
	struct client *clients[] = { &ctx->flat, &ctx->level1, &ctx->level2 };
	struct client *reported_to = NULL;
	unsigned int i;

	prq_request(test, PRQ_PASID(PASID) | qw0, access | PRQ_LAST | PRQ_GROUP(17) | addr);
	pass(test);
	for (i = 0; i < ARRAY_SIZE(clients); i++) {
		if (!atomic_read(&clients[i]->nr))
			continue;
		KUNIT_EXPECT_NULL(test, reported_to);
		KUNIT_EXPECT_EQ(test, 1, atomic_read(&clients[i]->nr));
		reported_to = clients[i];
	}

	return reported_to;
}

static void expect_reported(struct kunit *test, struct client *who, u64 access, u64 addr,
			    u64 reported_addr, u32 reported_perm)
{
	struct prq_test *ctx = test->priv;
	unsigned int before = ctx->fake.responses;
	const struct iommu_fault_page_request *prm;
	struct client *reported_to = prq_ask(test, 0, access, addr);

	KUNIT_ASSERT_PTR_EQ(test, who, reported_to);
	KUNIT_ASSERT_EQ(test, 1, who->group[0]->fault_count);
	prm = &list_first_entry(&who->group[0]->faults, struct iopf_fault, list)->fault.prm;
	KUNIT_EXPECT_EQ(test, reported_addr, prm->addr);
	KUNIT_EXPECT_EQ(test, reported_perm, prm->perm);
	KUNIT_EXPECT_EQ(test, PASID, prm->pasid);
	KUNIT_EXPECT_TRUE(test, prm->flags & IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);
	expect_answer(test, before, NO_ANSWER);

	prq_answer(who, IOMMU_PAGE_RESP_SUCCESS);
	expect_answer(test, before, QI_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, ctx->rid, ANSWER_RID(ctx->fake.response));
	KUNIT_EXPECT_EQ(test, PASID, ANSWER_PASID(ctx->fake.response));
	KUNIT_EXPECT_EQ(test, 17, ANSWER_GROUP(ctx->fake.response));
}

static void expect_unreported(struct kunit *test, u64 qw0, u64 access, u64 addr,
			      enum iopf_event event, unsigned int code)
{
	struct prq_test *ctx = test->priv;
	unsigned int before = ctx->fake.responses;

	counted(test, event);
	KUNIT_EXPECT_NULL(test, prq_ask(test, qw0, access, addr));
	KUNIT_EXPECT_EQ(test, 1, counted(test, event));
	expect_answer(test, before, code);
}

static void reported_flat(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = paging(test, 0);
	u64 end = domain->domain.geometry.aperture_end + 1;

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->flat, IOPF_REPORT_FLAT, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	expect_reported(test, &ctx->flat, PRQ_READ, GVA, GVA, IOMMU_FAULT_PERM_READ);
	expect_reported(test, &ctx->flat, PRQ_WRITE, end - SZ_4K, end - SZ_4K,
			IOMMU_FAULT_PERM_WRITE);
	expect_unreported(test, 0, PRQ_READ, end, IOPF_EVENT_REFUSED, QI_RESP_INVALID);
	if (domain->use_first_level) {
		expect_unreported(test, PRQ_PRIV, PRQ_READ, GVA, IOPF_EVENT_REFUSED,
				  QI_RESP_INVALID);
		expect_unreported(test, PRQ_EXEC, PRQ_READ, GVA, IOPF_EVENT_REFUSED,
				  QI_RESP_INVALID);
	} else {
		KUNIT_EXPECT_PTR_EQ(test, &ctx->flat, prq_ask(test, PRQ_PRIV, PRQ_READ, GVA));
		prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	}
	off_pasid(test, domain);
	expect_unreported(test, 0, PRQ_READ, GVA, IOPF_EVENT_UNSERVED, QI_RESP_INVALID);
}

/* The second level has no privileges, and the first level permits none. */
static void reported_flat_second_level(struct kunit *test)
{
	reported_flat(test);
}

static void reported_flat_first_level(struct kunit *test)
{
	struct prq_test *ctx = test->priv;

	ctx->iommu->ecap &= ~ECAP_SSTS;
	reported_flat(test);
	ctx->iommu->ecap |= ECAP_SSTS;
}

/* A process's tables: supervisor and execute requests are refused. */
static void reported_for_process(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct iommu_domain *domain;
	unsigned long addr;

	if (!IS_ENABLED(CONFIG_INTEL_IOMMU_SVM))
		kunit_skip(test, "no SVA in this kernel");

	addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	domain = intel_iommu_ops.domain_alloc_sva(ctx->dev, current->mm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, domain);
	/* as the core does; SVA is disabled on x86 */
	domain->type = IOMMU_DOMAIN_SVA;
	domain->mm = current->mm;
	domain->owner = &intel_iommu_ops;
	domain->iopf_handler = take;
	domain->iopf_reports = IOPF_REPORT_FLAT;
	domain->fault_data = &ctx->flat;

	KUNIT_ASSERT_EQ(test, 0, prq_attach_pasid(ctx->dev, domain, PASID, &ctx->handle));
	expect_reported(test, &ctx->flat, PRQ_WRITE, addr, addr, IOMMU_FAULT_PERM_WRITE);
	expect_unreported(test, PRQ_PRIV, PRQ_READ, addr, IOPF_EVENT_REFUSED, QI_RESP_INVALID);
	expect_unreported(test, PRQ_EXEC, PRQ_READ, addr, IOPF_EVENT_REFUSED, QI_RESP_INVALID);
	prq_detach_pasid(ctx->dev, domain, PASID);
	domain->ops->free(domain);
}

/* A nested domain with a client of each level on the PASID */
static struct dmar_domain *nested_on_pasid(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->level1, IOPF_REPORT_NESTED_L1, 0));
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, ctx->parent, &ctx->level2,
					 IOPF_REPORT_NESTED_L2, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));

	return domain;
}

static void reported_by_level(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = nested_on_pasid(test);

	/* The page: level 2 until it is mapped there, then none */
	expect_reported(test, &ctx->level2, PRQ_WRITE, GVA, GUEST_DATA,
			IOMMU_FAULT_PERM_WRITE);
	vtd_guest_map(test, ctx->parent, GUEST_DATA, HOST_DATA, SZ_4K);
	expect_unreported(test, 0, PRQ_WRITE, GVA, IOPF_EVENT_MAPPED, QI_RESP_SUCCESS);

	/* The guest's entry */
	*ctx->table.leaf = 0;
	expect_reported(test, &ctx->level1, PRQ_READ, GVA, GVA, IOMMU_FAULT_PERM_READ);
	expect_reported(test, &ctx->level1, PRQ_READ, BIT_ULL(60), BIT_ULL(60),
			IOMMU_FAULT_PERM_READ);
	expect_unreported(test, PRQ_PRIV, PRQ_READ, GVA, IOPF_EVENT_REFUSED, QI_RESP_INVALID);

	/* A table of the guest */
	iommu_unmap(&ctx->parent->domain, ctx->table.root, SZ_4K);
	expect_reported(test, &ctx->level2, PRQ_READ, GVA, ctx->table.root,
			IOMMU_FAULT_PERM_READ);
	off_pasid(test, domain);
}

static void level_without_client(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->level1, IOPF_REPORT_NESTED_L1, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	expect_unreported(test, 0, PRQ_WRITE, GVA, IOPF_EVENT_UNSERVED_LEVEL2,
			  QI_RESP_INVALID);
	off_pasid(test, domain);

	domain = prq_nested(test);
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	*ctx->table.leaf = 0;
	expect_unreported(test, 0, PRQ_WRITE, GVA, IOPF_EVENT_UNSERVED, QI_RESP_INVALID);
	off_pasid(test, domain);
}

/* An attached nest parent has a single level, which is a separate report. */
static void reported_flat_by_parent(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *both = paging(test, IOMMU_HWPT_ALLOC_NEST_PARENT);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, ctx->parent, &ctx->level2,
					 IOPF_REPORT_NESTED_L2, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, ctx->parent));
	expect_unreported(test, 0, PRQ_READ, SZ_1G, IOPF_EVENT_UNSERVED, QI_RESP_INVALID);
	off_pasid(test, ctx->parent);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, both, &ctx->flat,
					 IOPF_REPORT_NESTED_L2 | IOPF_REPORT_FLAT, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, both));
	expect_reported(test, &ctx->flat, PRQ_READ, SZ_1G, SZ_1G, IOMMU_FAULT_PERM_READ);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_FLAT));
	off_pasid(test, both);
}

/* A client with a pinned second level gets all requests without a walk. */
static void pinned_second_level(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->level1, IOPF_REPORT_NESTED_L1,
					 IOPF_CLIENT_PINNED));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	expect_reported(test, &ctx->level1, PRQ_WRITE, GVA, GVA, IOMMU_FAULT_PERM_WRITE);
	off_pasid(test, domain);
}

/* Requests that are kept or not answered */
static int open_requests(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct iommu_fault_param *param;

	param = rcu_dereference_protected(ctx->dev->iommu->fault_param, true);

	return param ? atomic_read(&param->requests) : 0;
}

/* One group, two levels: two clients, and one answer, the worse of the two */
static void group_of_two_levels(struct kunit *test)
{
	static const struct {
		enum iommu_page_response_code first, second;
		unsigned int answer;
	} answers[] = {
		{ IOMMU_PAGE_RESP_SUCCESS, IOMMU_PAGE_RESP_SUCCESS, QI_RESP_SUCCESS },
		{ IOMMU_PAGE_RESP_INVALID, IOMMU_PAGE_RESP_SUCCESS, QI_RESP_INVALID },
		{ IOMMU_PAGE_RESP_SUCCESS, IOMMU_PAGE_RESP_INVALID, QI_RESP_INVALID },
		{ IOMMU_PAGE_RESP_FAILURE, IOMMU_PAGE_RESP_INVALID, QI_RESP_FAILURE },
	};
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = nested_on_pasid(test);
	unsigned int i, order, before;
	struct iopf_fault *iopf;

	for (i = 0; i < 2 * ARRAY_SIZE(answers); i++) {
		order = i % 2;
		before = ctx->fake.responses;
		/*
		 * Another group's, a request of level 1, of level 2, of level 1
		 * again
		 */
		prq_request(test, PRQ_PASID(PASID + 1), PRQ_READ | PRQ_GROUP(3) | GVA);
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | SZ_1M);
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | GVA);
		prq_request(test, PRQ_PASID(PASID),
			    PRQ_READ | PRQ_GROUP(3) | PRQ_LAST | SZ_2M);
		pass(test);

		KUNIT_ASSERT_EQ(test, 1, atomic_read(&ctx->level1.nr));
		KUNIT_ASSERT_EQ(test, 1, atomic_read(&ctx->level2.nr));
		KUNIT_EXPECT_EQ(test, 2, ctx->level1.group[0]->fault_count);
		KUNIT_EXPECT_EQ(test, 1, ctx->level2.group[0]->fault_count);
		iopf = list_last_entry(&ctx->level1.group[0]->faults,
				       struct iopf_fault, list);
		KUNIT_EXPECT_EQ(test, SZ_2M, iopf->fault.prm.addr);
		KUNIT_EXPECT_TRUE(test, iopf->fault.prm.flags &
				  IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);
		iopf = list_first_entry(&ctx->level1.group[0]->faults,
					struct iopf_fault, list);
		KUNIT_EXPECT_EQ(test, SZ_1M, iopf->fault.prm.addr);
		KUNIT_EXPECT_FALSE(test, iopf->fault.prm.flags &
				   IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);
		iopf = list_first_entry(&ctx->level2.group[0]->faults,
					struct iopf_fault, list);
		KUNIT_EXPECT_EQ(test, GUEST_DATA, iopf->fault.prm.addr);
		KUNIT_EXPECT_TRUE(test, iopf->fault.prm.flags &
				  IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE);

		prq_answer(order ? &ctx->level1 : &ctx->level2,
			   order ? answers[i / 2].first : answers[i / 2].second);
		expect_answer(test, before, NO_ANSWER);
		prq_answer(order ? &ctx->level2 : &ctx->level1,
			   order ? answers[i / 2].second : answers[i / 2].first);
		expect_answer(test, before, answers[i / 2].answer);
		KUNIT_EXPECT_EQ(test, 3, ANSWER_GROUP(ctx->fake.response));
	}
	off_pasid(test, domain);
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
}

/* Misbehaving devices and clients */

/* A flat domain with a client on the PASID */
static struct dmar_domain *flat_on_pasid(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = paging(test, 0);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->flat, IOPF_REPORT_FLAT, 0));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));

	return domain;
}

/* During a detach the device may be on no queue while the domain is found. */
static void request_during_detach(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;
	int warned = test_taint(TAINT_WARN);

	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	expect_unreported(test, 0, PRQ_READ, GVA, IOPF_EVENT_UNSERVED, QI_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, warned, test_taint(TAINT_WARN));
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
	off_pasid(test, domain);
}

struct removal {
	struct work_struct work;
	struct completion done;
	struct prq_test *ctx;
	bool early;
};

static void remove_from_queue(struct work_struct *work)
{
	struct removal *removal = container_of(work, struct removal, work);

	iopf_queue_remove_device(removal->ctx->iommu->iopf_queue, removal->ctx->dev);
	complete(&removal->done);
}

static int take_during_removal(struct iopf_group *group)
{
	struct removal *removal = group->domain->fault_data;

	schedule_work(&removal->work);
	removal->early = wait_for_completion_timeout(&removal->done, HZ / 5);
	iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);

	return 0;
}

/* A device leaves its queue only after reports in progress. */
static void removal_waits_for_report(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = paging(test, 0);
	struct removal removal = { .ctx = ctx };
	struct iopf_client iopf = {
		.reports = IOPF_REPORT_FLAT,
		.handler = take_during_removal,
		.data = &removal,
	};

	INIT_WORK_ONSTACK(&removal.work, remove_from_queue);
	init_completion(&removal.done);
	KUNIT_ASSERT_EQ(test, 0, iopf_register(&domain->domain, ctx->dev, &iopf));
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | GVA);
	pass(test);
	flush_work(&removal.work);
	destroy_work_on_stack(&removal.work);
	KUNIT_EXPECT_FALSE(test, removal.early);
	expect_answer(test, 0, QI_RESP_SUCCESS);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
	off_pasid(test, domain);
}

/* A client that does not answer gets a limited number of requests. */
static void flood_of_groups(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < IOPF_MAX_REQUESTS + 50; i++) {
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(i & 511));
		pass(test);
	}
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS, atomic_read(&ctx->flat.nr));
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS, open_requests(test));
	KUNIT_EXPECT_EQ(test, 50, counted(test, IOPF_EVENT_TOO_MANY));
	KUNIT_EXPECT_EQ(test, 50, counted(test, IOPF_EVENT_INVALID));

	/* One answer makes room for one. */
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	for (i = 0; i < 2; i++)
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(i));
	pass(test);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_TOO_MANY));
	while (atomic_read(&ctx->flat.nr))
		prq_answer(&ctx->flat, IOMMU_PAGE_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	off_pasid(test, domain);
}

static void look_at_open_requests(struct kunit *test)
{
	struct prq_test *ctx = test->priv;

	ctx->open_at_answer = open_requests(test);
}

/* The device has its credits back with the answer, and may use them at once. */
static void credits_before_answer(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;

	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(1));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(1) | SZ_4K);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(2));
	pass(test);
	KUNIT_ASSERT_EQ(test, 2, atomic_read(&ctx->flat.nr));
	KUNIT_EXPECT_EQ(test, 3, open_requests(test));
	ctx->fake.meanwhile = look_at_open_requests;
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_NULL(test, ctx->fake.meanwhile);
	KUNIT_EXPECT_EQ(test, open_requests(test), ctx->open_at_answer);
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	off_pasid(test, domain);
}

/* Incomplete groups, as many as there are group numbers */
static void flood_of_partial_groups(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;
	unsigned int i;

	for (i = 0; i < 2 * IOPF_MAX_REQUESTS; i++) {
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(i & 255));
		pass(test);
	}
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS, open_requests(test));
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS, counted(test, IOPF_EVENT_PARTIAL));
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS, counted(test, IOPF_EVENT_TOO_MANY));
	KUNIT_EXPECT_EQ(test, 0, ctx->fake.responses);

	/*
	 * The last request of one: the limit is reached, so the group is
	 * dropped.
	 */
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(3));
	pass(test);
	expect_answer(test, 0, QI_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS - 2, open_requests(test));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(4));
	pass(test);
	KUNIT_ASSERT_EQ(test, 1, atomic_read(&ctx->flat.nr));
	KUNIT_EXPECT_EQ(test, 3, ctx->flat.group[0]->fault_count);
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);

	/* An overflow, as the driver handles it */
	counted(test, IOPF_EVENT_DISCARDED);
	iopf_queue_discard_partial(ctx->iommu->iopf_queue);
	KUNIT_EXPECT_EQ(test, IOPF_MAX_REQUESTS - 4, counted(test, IOPF_EVENT_DISCARDED));
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	off_pasid(test, domain);
}

/* Groups have the same number on two PASIDs and without. */
static void same_group_number(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct iommu_attach_handle other = {};
	struct prq_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, prq_attach_pasid(ctx->dev, &domain->domain, PASID + 1,
						  &other));
	/* Nothing is attached for requests without PASID: they are not kept. */
	prq_request(test, 0, PRQ_READ | PRQ_GROUP(7) | SZ_4K);
	prq_request(test, 0, PRQ_READ | PRQ_GROUP(7) | PRQ_LAST);
	prq_request(test, PRQ_PASID(PASID + 1), PRQ_READ | PRQ_GROUP(7) | SZ_4K);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7) | SZ_8K);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(8) | SZ_4K);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7) | PRQ_LAST | SZ_16K);
	pass(test);
	KUNIT_ASSERT_EQ(test, 1, atomic_read(&ctx->flat.nr));
	KUNIT_EXPECT_EQ(test, 2, ctx->flat.group[0]->fault_count);
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, 2, open_requests(test));
	KUNIT_EXPECT_EQ(test, 2, counted(test, IOPF_EVENT_UNSERVED));
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_INVALID));

	/*
	 * The core's group has no devices, so do here what the core does for
	 * each.
	 */
	prq_detach_pasid(ctx->dev, &domain->domain, PASID + 1);
	iopf_forget_handles(ctx->dev);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_DISCARDED));
	KUNIT_EXPECT_EQ(test, 1, open_requests(test));

	/* The device leaves with an incomplete group */
	off_pasid(test, domain);
	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_DISCARDED));
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
}

static void client_refuses(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;

	ctx->flat.refuses = true;
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7) | PRQ_LAST);
	pass(test);
	expect_answer(test, 0, QI_RESP_INVALID);
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	off_pasid(test, domain);
}

/*
 * Suspend and resume, which clears the status; whether the queue had overflowed
 */
static void sleep_with(struct kunit *test, u32 status)
{
	struct prq_test *ctx = test->priv;
	void __iomem *prs = ctx->iommu->reg + DMAR_PRS_REG;

	writel(status, prs);
	intel_iommu_suspend_prq(ctx->iommu);
	writel(0, prs);
	intel_iommu_resume_prq(ctx->iommu);
	writel(0, prs);
	intel_iommu_handle_prq(ctx->iommu);
}

/* The last of a group may be lost before the suspend, and is lost only then. */
static void overflow_during_suspend(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);

	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7));
	pass(test);

	sleep_with(test, 0);
	KUNIT_EXPECT_EQ(test, 0, counted(test, IOPF_EVENT_OVERFLOW));
	KUNIT_EXPECT_EQ(test, 1, open_requests(test));
	sleep_with(test, DMA_PRS_PRO);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_OVERFLOW));
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_DISCARDED));
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	sleep_with(test, 0);
	KUNIT_EXPECT_EQ(test, 0, counted(test, IOPF_EVENT_OVERFLOW));
	off_pasid(test, domain);
}

/* A new client never gets requests that were kept for the previous one. */
static void partial_group_of_old_client(struct kunit *test)
{
	struct dmar_domain *old = flat_on_pasid(test), *domain = prq_nested(test);
	struct iommu_attach_handle handle = {};
	struct prq_test *ctx = test->priv;

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->level1, IOPF_REPORT_NESTED_L1,
					 IOPF_CLIENT_PINNED));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7) | SZ_4K);
	pass(test);

	/* The core's group has no devices, so nothing is dropped yet. */
	prq_replace_pasid(ctx->dev, &domain->domain, PASID, &handle, &old->domain);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(7) | PRQ_LAST | SZ_8K);
	pass(test);
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&ctx->flat.nr));
	KUNIT_ASSERT_EQ(test, 1, atomic_read(&ctx->level1.nr));
	KUNIT_EXPECT_EQ(test, 1, ctx->level1.group[0]->fault_count);
	prq_answer(&ctx->level1, IOMMU_PAGE_RESP_SUCCESS);

	KUNIT_EXPECT_EQ(test, 1, open_requests(test));
	iopf_forget_handles(ctx->dev);
	KUNIT_EXPECT_EQ(test, 1, counted(test, IOPF_EVENT_DISCARDED));
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	off_pasid(test, domain);
}

/*
 * A client may keep a group after detach, and answer it while page requests are
 * enabled.
 */
static void group_kept_after_detach(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;

	KUNIT_EXPECT_PTR_EQ(test, &ctx->flat, prq_ask(test, 0, PRQ_READ, GVA));
	off_pasid(test, domain);
	expect_answer(test, 0, NO_ANSWER);
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	expect_answer(test, 0, QI_RESP_SUCCESS);
}

/*
 * The device leaves its queue while the client has groups of it, and is added
 * again. Its requests are answered when it has left. The client keeps its
 * groups until it frees them. The client's answers are ignored, also after the
 * device was added again.
 */
static void group_kept_after_removal(struct kunit *test)
{
	struct dmar_domain *domain = flat_on_pasid(test);
	struct prq_test *ctx = test->priv;

	KUNIT_EXPECT_PTR_EQ(test, &ctx->flat, prq_ask(test, 0, PRQ_READ, GVA));
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | PRQ_GROUP(2) | SZ_8K);
	pass(test);
	KUNIT_ASSERT_EQ(test, 2, atomic_read(&ctx->flat.nr));
	off_pasid(test, domain);

	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake.responses);
	KUNIT_EXPECT_EQ(test, QI_RESP_INVALID, ANSWER_CODE(ctx->fake.response));
	KUNIT_EXPECT_EQ(test, 2, counted(test, IOPF_EVENT_INVALID));
	KUNIT_EXPECT_EQ(test, 1, ctx->flat.group[0]->fault_count);

	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
	prq_answer(&ctx->flat, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake.responses);
	KUNIT_EXPECT_EQ(test, 0, counted(test, IOPF_EVENT_SUCCESS));
	KUNIT_EXPECT_EQ(test, 0, open_requests(test));
}

/* The same for a group of two clients, one of which has answered */
static void shared_group_after_removal(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = nested_on_pasid(test);

	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | SZ_1M);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | PRQ_LAST | GVA);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(4) | SZ_1M);
	prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(4) | PRQ_LAST | GVA);
	pass(test);
	KUNIT_ASSERT_EQ(test, 2, atomic_read(&ctx->level1.nr));
	KUNIT_ASSERT_EQ(test, 2, atomic_read(&ctx->level2.nr));

	prq_answer(&ctx->level1, IOMMU_PAGE_RESP_SUCCESS);
	off_pasid(test, domain);
	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake.responses);
	KUNIT_EXPECT_EQ(test, 2, counted(test, IOPF_EVENT_INVALID));

	prq_answer(&ctx->level2, IOMMU_PAGE_RESP_SUCCESS);
	prq_answer(&ctx->level2, IOMMU_PAGE_RESP_SUCCESS);
	prq_answer(&ctx->level1, IOMMU_PAGE_RESP_SUCCESS);
	KUNIT_EXPECT_EQ(test, 2, ctx->fake.responses);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
}

/*
 * Each allocation for a group of two levels fails once: the answer makes the
 * device repeat its requests, nothing leaks, and the next try succeeds.
 */
static void group_without_memory(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = nested_on_pasid(test);
	unsigned int nth, before, failures = 0;
	bool failed;

	for (nth = 1, failed = true; failed; nth++) {
		before = ctx->fake.responses;
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | SZ_1M);
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_GROUP(3) | PRQ_LAST | GVA);
		kunit_fail_allocation(nth);
		intel_iommu_handle_prq(ctx->iommu);
		failed = kunit_allocation_failed();
		failures += failed;

		while (atomic_read(&ctx->level1.nr))
			prq_answer(&ctx->level1, IOMMU_PAGE_RESP_SUCCESS);
		while (atomic_read(&ctx->level2.nr))
			prq_answer(&ctx->level2, IOMMU_PAGE_RESP_SUCCESS);
		expect_answer(test, before, QI_RESP_SUCCESS);
		KUNIT_EXPECT_EQ(test, failed, !!counted(test, IOPF_EVENT_NO_MEMORY));
		KUNIT_EXPECT_EQ(test, 0, open_requests(test));
	}
	kunit_info(test, "%u allocations failed\n", failures);
	off_pasid(test, domain);
}

static void without_iommu(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device *stranger = kunit_device_register(test, "no-iommu");

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, stranger);
	KUNIT_EXPECT_FALSE(test, iopf_path_ready(stranger));
	KUNIT_EXPECT_EQ(test, 0, iopf_reportable(&ctx->parent->domain, stranger));
}

/* Costs, for information only */

#define COST_ROUNDS	2000

static u64 time_requests(struct kunit *test, struct dmar_domain *domain)
{
	struct prq_test *ctx = test->priv;
	unsigned int i;
	u64 start;

	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	start = ktime_get_ns();
	for (i = 0; i < COST_ROUNDS; i++) {
		prq_request(test, PRQ_PASID(PASID), PRQ_READ | PRQ_LAST | GVA);
		intel_iommu_handle_prq(ctx->iommu);
	}
	start = ktime_get_ns() - start;
	off_pasid(test, domain);

	return max(start / COST_ROUNDS, 1);	/* a jiffies clock may not advance */
}

/* From the queue to the answer, with and without finding the level */
static void cost_of_level(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *walked = prq_nested(test), *pinned = prq_nested(test);
	u64 with, without;

	ctx->level1.answers = true;
	*ctx->table.leaf = 0;
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, walked, &ctx->level1, IOPF_REPORT_NESTED_L1, 0));
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, pinned, &ctx->level1, IOPF_REPORT_NESTED_L1,
					 IOPF_CLIENT_PINNED));
	without = time_requests(test, pinned);
	with = time_requests(test, walked);
	KUNIT_EXPECT_EQ(test, 2 * COST_ROUNDS, counted(test, IOPF_EVENT_LEVEL1));
	kunit_info(test, "a request: %llu ns, with second level pinned: %llu ns, ratio %llu.%02llu\n",
		   with, without, with / without, with * 100 / without % 100);
}

/* Registration */

struct register_case {
	const char *name;
	u32 reports, flags;
	enum { PAGING, PARENT, NESTED } domain;
	bool pathless;
	int ret;
};

static const struct register_case register_cases[] = {
	{ "paging, flat", IOPF_REPORT_FLAT, 0, PAGING, false, 0 },
	{ "paging, level 1", IOPF_REPORT_NESTED_L1, 0, PAGING, false, -EOPNOTSUPP },
	{ "paging, level 2", IOPF_REPORT_NESTED_L2, 0, PAGING, false, -EOPNOTSUPP },
	{ "paging, flat and level 2", IOPF_REPORT_FLAT | IOPF_REPORT_NESTED_L2, 0,
	  PAGING, false, -EOPNOTSUPP },
	{ "parent, flat", IOPF_REPORT_FLAT, 0, PARENT, false, 0 },
	{ "parent, level 2", IOPF_REPORT_NESTED_L2, 0, PARENT, false, 0 },
	{ "parent, both", IOPF_REPORT_FLAT | IOPF_REPORT_NESTED_L2, 0, PARENT, false, 0 },
	{ "parent, level 1", IOPF_REPORT_NESTED_L1, 0, PARENT, false, -EOPNOTSUPP },
	{ "nested, level 1", IOPF_REPORT_NESTED_L1, 0, NESTED, false, 0 },
	{ "nested, pinned", IOPF_REPORT_NESTED_L1, IOPF_CLIENT_PINNED, NESTED, false, 0 },
	{ "nested, flat", IOPF_REPORT_FLAT, 0, NESTED, false, -EOPNOTSUPP },
	{ "nested, level 2", IOPF_REPORT_NESTED_L2, 0, NESTED, false, -EOPNOTSUPP },
	{ "nothing", 0, 0, PAGING, false, -EINVAL },
	{ "unknown report", BIT(3), 0, PAGING, false, -EINVAL },
	{ "unknown flag", IOPF_REPORT_FLAT, BIT(2), PAGING, false, -EINVAL },
	{ "flat, pinned", IOPF_REPORT_FLAT, IOPF_CLIENT_PINNED, PAGING, false, -EINVAL },
	{ "level 2, pinned", IOPF_REPORT_NESTED_L2, IOPF_CLIENT_PINNED, PARENT, false,
	  -EINVAL },
	{ "no path, flat", IOPF_REPORT_FLAT, 0, PAGING, true, -EOPNOTSUPP },
	{ "no path, level 1", IOPF_REPORT_NESTED_L1, 0, NESTED, true, -EOPNOTSUPP },
	{ "no path, level 2", IOPF_REPORT_NESTED_L2, 0, PARENT, true, -EOPNOTSUPP },
};

KUNIT_ARRAY_PARAM_DESC(register, register_cases, name);

static void register_client(struct kunit *test)
{
	const struct register_case *c = test->param_value;
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = c->domain == PAGING ? paging(test, 0) :
				     c->domain == PARENT ? ctx->parent : prq_nested(test);
	bool possible;

	if (c->pathless)
		iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);

	possible = !(c->reports & ~iopf_reportable(&domain->domain, ctx->dev));
	if (c->ret != -EINVAL)
		KUNIT_EXPECT_EQ(test, possible, !c->ret);
	KUNIT_EXPECT_EQ(test, c->ret, prq_reg(test, domain, &ctx->flat, c->reports, c->flags));
	KUNIT_EXPECT_EQ(test, !c->ret, !!domain->domain.iopf_handler);
	if (!c->ret)
		KUNIT_EXPECT_EQ(test, -EBUSY, prq_reg(test, domain, &ctx->flat, c->reports,
						      c->flags));
	if (c->pathless)
		KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue,
							       ctx->dev));
}

/* An IOMMU without nesting cannot tell levels apart. */
static void no_nesting(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	ctx->iommu->ecap &= ~ECAP_NEST;
	KUNIT_EXPECT_EQ(test, IOPF_REPORT_FLAT,
			iopf_reportable(&ctx->parent->domain, ctx->dev));
	KUNIT_EXPECT_EQ(test, 0, iopf_reportable(&domain->domain, ctx->dev));
	ctx->iommu->ecap |= ECAP_NEST;
}

/* It fails after the first attachment, also after that of a nested domain. */
static void register_too_late(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, domain));
	KUNIT_EXPECT_EQ(test, -EBUSY, prq_reg(test, domain, &ctx->level1,
					      IOPF_REPORT_NESTED_L1, 0));
	KUNIT_EXPECT_EQ(test, -EBUSY, prq_reg(test, ctx->parent, &ctx->level2,
					      IOPF_REPORT_NESTED_L2, 0));
	off_pasid(test, domain);
	KUNIT_EXPECT_EQ(test, -EBUSY, prq_reg(test, domain, &ctx->level1,
					      IOPF_REPORT_NESTED_L1, 0));
}

static unsigned int iopf_users(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);

	return info->iopf_users;
}

/* Page requests are enabled while an attached domain needs them. */
static void enabled_by_attach(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *plain = prq_nested(test), *first = prq_nested(test);
	struct dmar_domain *flat = paging(test, 0);
	struct iommu_attach_handle other = {};

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, first, &ctx->level1, IOPF_REPORT_NESTED_L1, 0));
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, flat, &ctx->flat, IOPF_REPORT_FLAT, 0));

	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, plain));
	KUNIT_EXPECT_EQ(test, 0, iopf_users(test));
	off_pasid(test, plain);

	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, first));
	KUNIT_EXPECT_EQ(test, 1, iopf_users(test));
	KUNIT_ASSERT_EQ(test, 0, prq_attach_pasid(ctx->dev, &flat->domain, PASID + 1, &other));
	KUNIT_EXPECT_EQ(test, 2, iopf_users(test));
	KUNIT_ASSERT_EQ(test, 0, flat->domain.ops->attach_dev(&flat->domain, ctx->dev));
	KUNIT_EXPECT_EQ(test, 3, iopf_users(test));
	KUNIT_ASSERT_EQ(test, 0, flat->domain.ops->attach_dev(&flat->domain, ctx->dev));
	KUNIT_EXPECT_EQ(test, 3, iopf_users(test));
	KUNIT_ASSERT_EQ(test, 0, plain->domain.ops->attach_dev(&plain->domain, ctx->dev));
	KUNIT_EXPECT_EQ(test, 2, iopf_users(test));
	device_block_translation(ctx->dev);
	KUNIT_EXPECT_EQ(test, 2, iopf_users(test));
	prq_detach_pasid(ctx->dev, &flat->domain, PASID + 1);
	KUNIT_EXPECT_EQ(test, 1, iopf_users(test));
	off_pasid(test, first);
	KUNIT_EXPECT_EQ(test, 0, iopf_users(test));

	/*
	 * A client of the second level needs requests of nested domains without
	 * a client.
	 */
	ctx->parent = paging(test, IOMMU_HWPT_ALLOC_NEST_PARENT);
	ctx->table = vtd_guest_table(test, ctx->parent, GVA, GUEST_DATA);
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, ctx->parent, &ctx->level2,
					 IOPF_REPORT_NESTED_L2, 0));
	plain = prq_nested(test);
	KUNIT_ASSERT_EQ(test, 0, on_pasid(test, plain));
	KUNIT_EXPECT_EQ(test, 1, iopf_users(test));
	off_pasid(test, plain);
	KUNIT_EXPECT_EQ(test, 0, iopf_users(test));
}

/* Attaching fails if they cannot be enabled, and changes nothing. */
static void attach_without_page_requests(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct dmar_domain *domain = prq_nested(test);

	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, domain, &ctx->level1, IOPF_REPORT_NESTED_L1, 0));
	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_EQ(test, -ENODEV, on_pasid(test, domain));
	KUNIT_EXPECT_EQ(test, -ENODEV,
			domain->domain.ops->attach_dev(&domain->domain, ctx->dev));
	KUNIT_EXPECT_EQ(test, 0, iopf_users(test));
	KUNIT_EXPECT_TRUE(test, list_empty(&domain->dev_pasids));
	KUNIT_EXPECT_FALSE(test, vtd_fake_has_id(domain));
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
}

/* Draining */

struct drain {
	struct device *dev;
	u32 pasid;
	struct completion done;
};

static int drain_thread(void *data)
{
	struct drain *drain = data;

	intel_iommu_drain_pasid_prq(drain->dev, drain->pasid, 9);
	complete(&drain->done);

	return 0;
}

static void empty_queue(struct intel_iommu *iommu)
{
	writeq(0, iommu->reg + DMAR_PQH_REG);
	writeq(0, iommu->reg + DMAR_PQT_REG);
}

static size_t waiting(struct intel_iommu *iommu)
{
	unsigned long flags;
	size_t nr;

	spin_lock_irqsave(&iommu->prq_handled.lock, flags);
	nr = list_count_nodes(&iommu->prq_handled.head);
	spin_unlock_irqrestore(&iommu->prq_handled.lock, flags);

	return nr;
}

/* Returns when the drain is over, or waits. */
static void start_drain(struct kunit *test, struct drain *drain)
{
	struct prq_test *ctx = test->priv;
	size_t others = waiting(ctx->iommu);

	init_completion(&drain->done);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(drain_thread, drain, "drain")));
	while (!completion_done(&drain->done) && waiting(ctx->iommu) == others)
		usleep_range(1000, 2000);
}

/* Does draining @pasid wait for a request of @rid with @qw0? */
static bool drain_waits(struct kunit *test, u32 pasid, u16 rid, u64 qw0)
{
	struct prq_test *ctx = test->priv;
	struct drain drain = { .dev = ctx->dev, .pasid = pasid };
	bool waited;

	empty_queue(ctx->iommu);
	post(ctx->iommu, qw0 | PRQ_RID(rid), PRQ_READ | PRQ_LAST);
	start_drain(test, &drain);
	waited = !completion_done(&drain.done);
	if (waited)
		pass(test);
	wait_for_completion(&drain.done);

	return waited;
}

/* Draining waits for requests of the device and its PASID, and no others. */
static void drain_own_requests(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);

	info->pri_enabled = 1;
	KUNIT_EXPECT_TRUE(test, drain_waits(test, PASID, ctx->rid, PRQ_PASID(PASID)));
	KUNIT_EXPECT_FALSE(test, drain_waits(test, PASID, ctx->rid + 8, PRQ_PASID(PASID)));
	KUNIT_EXPECT_FALSE(test, drain_waits(test, PASID + 1, ctx->rid, PRQ_PASID(PASID)));
	KUNIT_EXPECT_FALSE(test, drain_waits(test, PASID, ctx->rid, 0));
	KUNIT_EXPECT_TRUE(test, drain_waits(test, IOMMU_NO_PASID, ctx->rid, 0));
	KUNIT_EXPECT_TRUE(test, drain_waits(test, IOMMU_NO_PASID, ctx->rid, PRQ_PASID(0)));
	KUNIT_EXPECT_FALSE(test, drain_waits(test, IOMMU_NO_PASID, ctx->rid,
					     PRQ_PASID(PASID)));
	info->pri_enabled = 0;
}

/* Draining invalidates what the entry of the PASID has cached, not that of the RID. */
static void drain_by_domain_of_entry(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device *dev = vtd_fake_device(test, ctx->iommu, true);
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct dmar_domain *domain = paging(test, 0);
	u16 did;

	KUNIT_ASSERT_EQ(test, 0, dmar_domain_attach_device(ctx->parent, dev));
	KUNIT_ASSERT_EQ(test, 0, domain_set_dev_pasid(domain, dev, PASID, NULL));
	did = domain_id_iommu(domain, ctx->iommu);
	info->pri_enabled = 1;
	intel_iommu_ops.remove_dev_pasid(dev, PASID, &domain->domain);
	info->pri_enabled = 0;
	KUNIT_EXPECT_EQ(test, did, ctx->fake.drain_did);
	device_block_translation(dev);
}

/*
 * Two drains at once: each is woken. A device that keeps making requests delays
 * neither.
 */
static void drain_ends(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);
	struct drain drains[] = {
		{ .dev = ctx->dev, .pasid = PASID },
		{ .dev = ctx->dev, .pasid = IOMMU_NO_PASID },
	};
	unsigned int i;

	info->pri_enabled = 1;
	empty_queue(ctx->iommu);
	for (i = 0; i < ARRAY_SIZE(drains); i++) {
		prq_request(test, drains[i].pasid ? PRQ_PASID(PASID) : 0, PRQ_READ | PRQ_LAST);
		start_drain(test, &drains[i]);
		KUNIT_EXPECT_FALSE(test, completion_done(&drains[i].done));
	}

	/*
	 * A request that a pass does not handle: it has already read the tail.
	 */
	for (i = 0; i < 2; i++) {
		WRITE_ONCE(ctx->iommu->prq_passes, ctx->iommu->prq_passes + 1);
		wake_up_all(&ctx->iommu->prq_handled);
	}
	for (i = 0; i < ARRAY_SIZE(drains); i++)
		wait_for_completion(&drains[i].done);
	info->pri_enabled = 0;
}

struct held_work {
	struct work_struct work;
	struct completion go_on;
};

static void hold_up(struct work_struct *work)
{
	wait_for_completion(&container_of(work, struct held_work, work)->go_on);
}

/* Does draining end while requests of other devices are being handled? */
static bool drain_passes_work(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct drain drain = { .dev = ctx->dev, .pasid = PASID };
	struct held_work held;
	unsigned long left;

	empty_queue(ctx->iommu);
	INIT_WORK_ONSTACK(&held.work, hold_up);
	init_completion(&held.go_on);
	init_completion(&drain.done);
	queue_work(ctx->iommu->iopf_queue->wq, &held.work);
	KUNIT_ASSERT_FALSE(test, IS_ERR(kthread_run(drain_thread, &drain, "drain")));
	left = wait_for_completion_timeout(&drain.done, 10 * HZ);
	complete(&held.go_on);
	if (!left)
		wait_for_completion(&drain.done);
	flush_work(&held.work);
	destroy_work_on_stack(&held.work);

	return left;
}

/* Is the device on the queue, or was it just removed? */
static void drain_does_not_flush_work(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);

	info->pri_enabled = 1;
	KUNIT_EXPECT_TRUE(test, drain_passes_work(test));
	iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	KUNIT_EXPECT_TRUE(test, drain_passes_work(test));
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(ctx->iommu->iopf_queue, ctx->dev));
	info->pri_enabled = 0;
}

/* Races */

#define RACE_ROUNDS	1500

struct race {
	struct prq_test *ctx;
	struct dmar_domain *domains[3];
	unsigned int posted;
	bool over;
};

/* A device that makes all kinds of requests, with and without PASID */
static void race_requests(void *data)
{
	struct race *race = data;
	struct prq_test *ctx = race->ctx;
	unsigned int i;

	for (i = 0; i < RACE_ROUNDS; i++) {
		u64 qw0 = PRQ_RID(ctx->rid) | (i % 5 ? PRQ_PASID(PASID) : 0);

		post(ctx->iommu, qw0, PRQ_READ | PRQ_GROUP(i % 7) | GVA);
		post(ctx->iommu, qw0, PRQ_READ | PRQ_GROUP(i % 7) | PRQ_LAST | SZ_2M);
		race->posted++;
		intel_iommu_handle_prq(ctx->iommu);
		cond_resched();
	}
	WRITE_ONCE(race->over, true);
}

static void race_attach(void *data)
{
	struct iommu_attach_handle handles[2] = {};
	struct race *race = data;
	struct device *dev = race->ctx->dev;
	struct iommu_domain *old = NULL;
	unsigned int i;

	for (i = 0; !READ_ONCE(race->over); i++) {
		struct iommu_domain *domain = &race->domains[i % 3]->domain;

		if (old)
			prq_replace_pasid(dev, domain, PASID, &handles[i % 2], old);
		else
			prq_attach_pasid(dev, domain, PASID, &handles[i % 2]);
		old = domain;
		if (i % 4 == 3) {
			prq_detach_pasid(dev, old, PASID);
			old = NULL;
		}
		cond_resched();
	}
	if (old)
		prq_detach_pasid(dev, old, PASID);
}

/* Map and unmap the second level, and change the guest's table. */
static void prq_race_map(void *data)
{
	struct race *race = data;
	struct prq_test *ctx = race->ctx;
	unsigned int i;

	for (i = 0; !READ_ONCE(race->over); i++) {
		iommu_map(&ctx->parent->domain, GUEST_DATA, HOST_DATA, SZ_4K,
			  IOMMU_READ | IOMMU_WRITE, GFP_KERNEL);
		WRITE_ONCE(*ctx->table.leaf, i & 1 ? GUEST_DATA | FL_PAGE : 0);
		iommu_unmap(&ctx->parent->domain, GUEST_DATA, SZ_4K);
		cond_resched();
	}
}

/*
 * Every group is answered once, whatever its PASID is attached to at the
 * moment, and nothing is kept. KUnit does not associate the threads with the
 * test, so the model does not see them; KASAN, KCSAN and lockdep check the
 * race.
 */
static void race_requests_and_attach(struct kunit *test)
{
	const vtd_fake_fn threads[] = { race_requests, race_attach, prq_race_map };
	struct prq_test *ctx = test->priv;
	struct race race = { .ctx = ctx };
	struct iommu_fault_param *param;
	u64 answers;

	race.domains[0] = prq_nested(test);
	race.domains[1] = prq_nested(test);
	race.domains[2] = paging(test, 0);
	ctx->flat.answers = true;
	ctx->level1.answers = true;
	ctx->level2.answers = true;
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, race.domains[0], &ctx->level1,
					 IOPF_REPORT_NESTED_L1, 0));
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, race.domains[2], &ctx->flat,
					 IOPF_REPORT_FLAT, 0));
	KUNIT_ASSERT_EQ(test, 0, prq_reg(test, ctx->parent, &ctx->level2,
					 IOPF_REPORT_NESTED_L2, 0));
	vtd_fake_run(test, threads, ARRAY_SIZE(threads), &race);

	answers = counted(test, IOPF_EVENT_SUCCESS) + counted(test, IOPF_EVENT_INVALID) +
		  counted(test, IOPF_EVENT_FAILURE);
	KUNIT_EXPECT_EQ(test, race.posted, answers);
	kunit_info(test, "level 1: %llu, level 2: %llu, flat: %llu, mapped: %llu, unserved: %llu\n",
		   counted(test, IOPF_EVENT_LEVEL1), counted(test, IOPF_EVENT_LEVEL2),
		   counted(test, IOPF_EVENT_FLAT), counted(test, IOPF_EVENT_MAPPED),
		   counted(test, IOPF_EVENT_UNSERVED));
	/* As the core would for each device of its group */
	iopf_forget_handles(ctx->dev);
	param = rcu_dereference_protected(ctx->dev->iommu->fault_param, true);
	KUNIT_EXPECT_TRUE(test, list_empty(&param->faults));
	KUNIT_EXPECT_TRUE(test, list_empty(&param->partial));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&param->requests));
	KUNIT_EXPECT_EQ(test, 0, iopf_users(test));
}

static void cleanup(void *data)
{
	struct prq_test *ctx = data;
	struct iommu_fault_param *param;

	param = rcu_dereference_protected(ctx->dev->iommu->fault_param, true);
	if (param) {
		/* Nothing is left open. */
		KUNIT_EXPECT_EQ(ctx->test, 0, atomic_read(&param->requests));
		iopf_queue_remove_device(ctx->iommu->iopf_queue, ctx->dev);
	}
	iopf_queue_free(ctx->iommu->iopf_queue);
	ctx->dev->iommu_group = NULL;
	iommu_group_put(ctx->group);
	free_pages((unsigned long)ctx->iommu->prq, PRQ_ORDER);
}

static void make_queue(struct kunit *test)
{
	struct prq_test *ctx = test->priv;
	struct intel_iommu *iommu = ctx->iommu;
	struct device_domain_info *info = dev_iommu_priv_get(ctx->dev);

	iommu->reg = (void __force __iomem *)vtd_fake_page(test);
	iommu->prq = (void *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, PRQ_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, iommu->prq);
	init_waitqueue_head(&iommu->prq_handled);
	iommu->iopf_queue = iopf_queue_alloc("vtd-fake");
	KUNIT_ASSERT_NOT_NULL(test, iommu->iopf_queue);
	rb_link_node(&info->node, NULL, &iommu->device_rbtree.rb_node);
	rb_insert_color(&info->node, &iommu->device_rbtree);

	iommu->iommu.ops = &intel_iommu_ops;
	ctx->dev->iommu->iommu_dev = &iommu->iommu;
	ctx->dev->iommu->max_pasids = 64;
	ctx->group = iommu_group_alloc();
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, ctx->group);
	ctx->dev->iommu_group = ctx->group;
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(iommu->iopf_queue, ctx->dev));
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, cleanup, ctx));
}

static int prq_test_init(struct kunit *test)
{
	struct prq_test *ctx = kunit_kzalloc(test, sizeof(*ctx), GFP_KERNEL);
	struct device_domain_info *info;
	int ret;

	ret = vtd_fake_init(test, ctx ? &ctx->fake : NULL);
	if (ret)
		return ret;

	ctx->test = test;
	ctx->iommu = vtd_fake_iommu(test, CAP_NESTING, ECAP_NESTING | ECAP_SRS);
	ctx->dev = vtd_fake_device(test, ctx->iommu, false);
	info = dev_iommu_priv_get(ctx->dev);
	ctx->rid = PCI_DEVID(info->bus, info->devfn);
	make_queue(test);
	ctx->parent = paging(test, IOMMU_HWPT_ALLOC_NEST_PARENT);
	ctx->table = vtd_guest_table(test, ctx->parent, GVA, GUEST_DATA);

	return 0;
}

static struct kunit_case prq_test_cases[] = {
	KUNIT_CASE_PARAM(request_refused, refused_gen_params),
	KUNIT_CASE(device_without_queue),
	KUNIT_CASE(reported_flat_first_level),
	KUNIT_CASE(reported_flat_second_level),
	KUNIT_CASE(reported_for_process),
	KUNIT_CASE(reported_by_level),
	KUNIT_CASE(level_without_client),
	KUNIT_CASE(reported_flat_by_parent),
	KUNIT_CASE(pinned_second_level),
	KUNIT_CASE(group_of_two_levels),
	KUNIT_CASE(request_during_detach),
	KUNIT_CASE(removal_waits_for_report),
	KUNIT_CASE(flood_of_groups),
	KUNIT_CASE(credits_before_answer),
	KUNIT_CASE(flood_of_partial_groups),
	KUNIT_CASE(same_group_number),
	KUNIT_CASE(client_refuses),
	KUNIT_CASE(overflow_during_suspend),
	KUNIT_CASE(partial_group_of_old_client),
	KUNIT_CASE(group_kept_after_detach),
	KUNIT_CASE(group_kept_after_removal),
	KUNIT_CASE(shared_group_after_removal),
	KUNIT_CASE(group_without_memory),
	KUNIT_CASE(without_iommu),
	KUNIT_CASE(cost_of_level),
	KUNIT_CASE_PARAM(register_client, register_gen_params),
	KUNIT_CASE(no_nesting),
	KUNIT_CASE(register_too_late),
	KUNIT_CASE(enabled_by_attach),
	KUNIT_CASE(attach_without_page_requests),
	KUNIT_CASE(drain_own_requests),
	KUNIT_CASE(drain_by_domain_of_entry),
	KUNIT_CASE(drain_ends),
	KUNIT_CASE(drain_does_not_flush_work),
	KUNIT_CASE(race_requests_and_attach),
	{}
};

static struct kunit_suite prq_test_suite = {
	.name = "intel-iommu-prq",
	.init = prq_test_init,
	.test_cases = prq_test_cases,
};

kunit_test_suite(prq_test_suite);
