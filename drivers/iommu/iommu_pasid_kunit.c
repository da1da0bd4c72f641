// SPDX-License-Identifier: GPL-2.0-only
/*
 * KUnit suite of the IOMMU core, for changes of the domain of a PASID or of a
 * group: the order in which devices, domains and attach handles change, and
 * that a failure at any device leaves everything as it was. Then guest PASIDs,
 * the lifetime of a binding, and page requests that arrive meanwhile.
 *
 * The IOMMU driver and the devices belong to the test. The driver records its
 * calls, fails at the call that the test selects, and checks at each call which
 * handle a page request would find at that moment.
 */

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/fwnode.h>
#include <linux/iommu-gpasid.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/mmap_lock.h>
#include <linux/platform_device.h>
#include <linux/property.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "iommu-priv.h"
#include "kunit_memory.h"

#define DEVICES		3
#define PASIDS		128
#define PASID		100		/* not the first node of an xarray */

struct fake_device {
	struct platform_device *pdev;
	struct iommu_domain *domain;		/* without PASID; NULL: default */
	struct iommu_domain *pasid[PASIDS];
	u32 max_pasids;
};

struct fake {
	struct kunit *test;
	struct iommu_group *group;
	struct iommu_device iommu;
	struct iommu_ops ops;
	bool in_sysfs, registered;
	struct fake_device devices[DEVICES];	/* the last one has no PASIDs */
	/* the handle that a page request must find during a call, or NULL */
	struct iommu_attach_handle *visible;
	bool any_visible;			/* do not check that */
	unsigned int calls;
	unsigned int fail_at;			/* 0: never */
	int error;
	int nested;				/* domains of guest PASIDs */
	struct iopf_queue *queue;		/* device 0 sends page requests */
	atomic_t responses;
	struct completion handling, taken;
	bool too_early;
	unsigned long patience;			/* of slow_handler(), in jiffies */
	struct iommu_sva *sva;
	unsigned int sva_freed;			/* domains */
};

static struct fake_device *to_fake_device(struct device *dev)
{
	return dev_iommu_priv_get(dev);
}

static struct fake *to_fake(struct device *dev)
{
	return container_of(dev->iommu->iommu_dev, struct fake, iommu);
}

static struct iommu_attach_handle *core_found(struct fake *fake, ioasid_t pasid)
{
	struct iommu_attach_handle *handle;

	handle = iommu_attach_handle_get(fake->group, pasid, 0);
	if (!IS_ERR(handle))
		return handle;

	KUNIT_EXPECT_EQ(fake->test, -ENOENT, PTR_ERR(handle));
	return NULL;
}

/* Called by each operation of the driver: does this one fail? */
static int core_called(struct fake *fake, ioasid_t pasid)
{
	if (!fake->any_visible)
		KUNIT_EXPECT_PTR_EQ(fake->test, fake->visible, core_found(fake, pasid));

	return ++fake->calls == fake->fail_at ? fake->error : 0;
}

static int fake_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	struct fake *fake = to_fake(dev);
	int ret = core_called(fake, IOMMU_NO_PASID);

	if (!ret)
		to_fake_device(dev)->domain = domain;
	return ret;
}

static int fake_set_dev_pasid(struct iommu_domain *domain, struct device *dev,
			      ioasid_t pasid, struct iommu_domain *old)
{
	struct fake *fake = to_fake(dev);
	struct iommu_domain **current_domain = &to_fake_device(dev)->pasid[pasid];
	int ret;

	KUNIT_EXPECT_GT(fake->test, dev->iommu->max_pasids, pasid);
	KUNIT_EXPECT_PTR_EQ(fake->test, *current_domain, old);

	ret = core_called(fake, pasid);
	if (!ret)
		*current_domain = domain;
	return ret;
}

static void fake_remove_dev_pasid(struct device *dev, ioasid_t pasid,
				  struct iommu_domain *domain)
{
	struct fake *fake = to_fake(dev);

	KUNIT_EXPECT_GT(fake->test, dev->iommu->max_pasids, pasid);
	KUNIT_EXPECT_PTR_EQ(fake->test, to_fake_device(dev)->pasid[pasid], domain);
	core_called(fake, pasid);
	to_fake_device(dev)->pasid[pasid] = NULL;
}

static const struct iommu_domain_ops fake_domain_ops = {
	.attach_dev	= fake_attach_dev,
	.set_dev_pasid	= fake_set_dev_pasid,
};

static int fake_blocked_attach_dev(struct iommu_domain *domain, struct device *dev)
{
	to_fake_device(dev)->domain = NULL;
	return 0;
}

static struct iommu_domain fake_blocked_domain = {
	.type	= IOMMU_DOMAIN_BLOCKED,
	.ops	= &(const struct iommu_domain_ops) {
		.attach_dev = fake_blocked_attach_dev,
	},
};

/* All devices of the test are in one group. */
static struct fake *current_fake;

static struct iommu_device *fake_probe_device(struct device *dev)
{
	int i;

	for (i = 0; i < DEVICES; i++) {
		if (dev != &current_fake->devices[i].pdev->dev)
			continue;
		dev_iommu_priv_set(dev, &current_fake->devices[i]);
		return &current_fake->iommu;
	}
	return ERR_PTR(-ENODEV);
}

/* The last call of a probe, when the core has looked for PASIDs */
static bool fake_is_attach_deferred(struct device *dev)
{
	dev->iommu->max_pasids = to_fake_device(dev)->max_pasids;
	return false;
}

static struct iommu_group *fake_device_group(struct device *dev)
{
	return iommu_group_ref_get(current_fake->group);
}

static struct iommu_domain *fake_domain(struct fake *fake)
{
	struct iommu_domain *domain;

	domain = kunit_kzalloc(fake->test, sizeof(*domain), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(fake->test, domain);
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->ops = &fake_domain_ops;
	domain->owner = &fake->ops;
	return domain;
}

static struct device *a_device(struct fake *fake)
{
	return &fake->devices[0].pdev->dev;
}

/* From here on the driver's call number @fail_at fails with @error. */
static void core_fail(struct fake *fake, unsigned int fail_at, int error)
{
	fake->calls = 0;
	fake->fail_at = fail_at;
	fake->error = error;
}

/* The devices that have PASIDs are on @domain, and @handle is found. */
static void expect_pasid(struct fake *fake, ioasid_t pasid,
			 struct iommu_domain *domain,
			 struct iommu_attach_handle *handle)
{
	int i;

	for (i = 0; i < DEVICES - 1; i++)
		KUNIT_EXPECT_PTR_EQ(fake->test, domain,
				    fake->devices[i].pasid[pasid]);
	KUNIT_EXPECT_NULL(fake->test, fake->devices[i].pasid[pasid]);

	KUNIT_EXPECT_PTR_EQ(fake->test, handle, core_found(fake, pasid));
	if (handle)
		KUNIT_EXPECT_PTR_EQ(fake->test, domain, handle->domain);
}

static void core_detach(struct fake *fake, ioasid_t pasid, struct iommu_domain *domain,
			struct iommu_attach_handle *handle)
{
	core_fail(fake, 0, 0);
	fake->visible = handle;
	iommu_detach_device_pasid(domain, a_device(fake), pasid);
	KUNIT_EXPECT_EQ(fake->test, DEVICES - 1, fake->calls);
	expect_pasid(fake, pasid, NULL, NULL);
	fake->visible = NULL;
}

static int core_attach_pasid(struct fake *fake, struct iommu_domain *domain,
			     struct iommu_attach_handle *handle)
{
	return iommu_attach_device_pasid(domain, a_device(fake), PASID, handle);
}

static int core_replace_pasid(struct fake *fake, struct iommu_domain *domain,
			      struct iommu_attach_handle *handle)
{
	return iommu_replace_device_pasid(domain, a_device(fake), PASID, handle);
}

static void attach_publishes_last(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);

	/* core_called() expects no handle during the calls */
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	KUNIT_EXPECT_EQ(test, DEVICES - 1, fake->calls);
	expect_pasid(fake, PASID, domain, &handle);
	core_detach(fake, PASID, domain, &handle);
}

static void attach_failure_leaves_nothing(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	unsigned int i;

	for (i = 1; i < DEVICES; i++) {
		core_fail(fake, i, -ENOSPC);
		KUNIT_EXPECT_EQ(test, -ENOSPC, core_attach_pasid(fake, domain, &handle));
		/* the calls up to the failure, and those that undo them */
		KUNIT_EXPECT_EQ(test, 2 * i - 1, fake->calls);
		expect_pasid(fake, PASID, NULL, NULL);
	}

	/* the PASID is free */
	core_fail(fake, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	expect_pasid(fake, PASID, domain, &handle);
	core_detach(fake, PASID, domain, &handle);
}

static void attach_busy(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, other = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);
	struct iommu_attach_handle *first;

	for (first = &handle; ; first = NULL) {
		core_fail(fake, 0, 0);
		KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, first));
		expect_pasid(fake, PASID, domain, first);

		core_fail(fake, 0, 0);
		KUNIT_EXPECT_EQ(test, -EBUSY, core_attach_pasid(fake, another, &other));
		KUNIT_EXPECT_EQ(test, -EBUSY, core_attach_pasid(fake, another, NULL));
		KUNIT_EXPECT_EQ(test, 0, fake->calls);
		expect_pasid(fake, PASID, domain, first);
		core_detach(fake, PASID, domain, first);
		if (!first)
			break;
	}
}

static void replace_publishes_last(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);

	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	fake->visible = &handle;
	KUNIT_ASSERT_EQ(test, 0, core_replace_pasid(fake, another, &new));
	expect_pasid(fake, PASID, another, &new);
	KUNIT_EXPECT_PTR_EQ(test, domain, handle.domain);
	core_detach(fake, PASID, another, &new);
}

static void replace_failure_leaves_old(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);
	struct iommu_attach_handle *first;
	unsigned int i;

	for (first = &handle; ; first = NULL) {
		core_fail(fake, 0, 0);
		fake->visible = NULL;
		KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, first));
		fake->visible = first;
		for (i = 1; i < DEVICES; i++) {
			core_fail(fake, i, -EOPNOTSUPP);
			KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, core_replace_pasid(fake, another, &new));
			KUNIT_EXPECT_EQ(test, 2 * i - 1, fake->calls);
			expect_pasid(fake, PASID, domain, first);
			KUNIT_EXPECT_NULL(test, new.domain);
		}

		/* now it can be replaced */
		core_fail(fake, 0, 0);
		KUNIT_ASSERT_EQ(test, 0, core_replace_pasid(fake, another, &new));
		KUNIT_EXPECT_EQ(test, DEVICES - 1, fake->calls);
		expect_pasid(fake, PASID, another, &new);
		core_detach(fake, PASID, another, &new);
		new.domain = NULL;
		if (!first)
			break;
	}
}

static void replace_needs_attached(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);

	KUNIT_EXPECT_EQ(test, -EINVAL, core_replace_pasid(fake, domain, &new));
	KUNIT_EXPECT_EQ(test, 0, fake->calls);
	expect_pasid(fake, PASID, NULL, NULL);

	/* nor if it was attached, or another one is */
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_replace_device_pasid(another, a_device(fake),
						   PASID + 1, &new));
	core_detach(fake, PASID, domain, &handle);
	KUNIT_EXPECT_EQ(test, -EINVAL, core_replace_pasid(fake, another, &new));

	/* the failed try has not reserved the PASID */
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	core_detach(fake, PASID, domain, &handle);
}

static void replace_by_same_changes_handle(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);

	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	core_fail(fake, 1, -EIO);
	KUNIT_ASSERT_EQ(test, 0, core_replace_pasid(fake, domain, &new));
	KUNIT_EXPECT_EQ(test, 0, fake->calls);
	expect_pasid(fake, PASID, domain, &new);
	core_detach(fake, PASID, domain, &new);
}

static void wrong_arguments(struct kunit *test)
{
	static const struct iommu_domain_ops no_pasid_ops = {
		.attach_dev = fake_attach_dev,
	};
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *no_pasid = fake_domain(fake);
	struct iommu_domain *foreign = fake_domain(fake);
	struct device *dev = a_device(fake);

	no_pasid->ops = &no_pasid_ops;
	foreign->owner = NULL;

	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			iommu_attach_device_pasid(no_pasid, dev, PASID, &handle));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(foreign, dev, PASID, &handle));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(domain, dev, IOMMU_NO_PASID,
						  &handle));
	/* the second device has half as many PASIDs as the first */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_attach_device_pasid(domain, dev, PASIDS, &handle));
	KUNIT_EXPECT_EQ(test, 0, fake->calls);

	KUNIT_ASSERT_EQ(test, 0,
			iommu_attach_device_pasid(domain, dev, PASID, &handle));
	core_fail(fake, 0, 0);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			iommu_replace_device_pasid(no_pasid, dev, PASID, &new));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_replace_device_pasid(foreign, dev, PASID, &new));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_replace_device_pasid(domain, dev, IOMMU_NO_PASID,
						   &new));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			iommu_replace_device_pasid(domain, dev, PASID, NULL));
	KUNIT_EXPECT_EQ(test, 0, fake->calls);
	expect_pasid(fake, PASID, domain, &handle);
	core_detach(fake, PASID, domain, &handle);
}

static void handle_lookup_by_type(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);

	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	KUNIT_EXPECT_PTR_EQ(test, &handle,
			    iommu_attach_handle_get(fake->group, PASID,
						    IOMMU_DOMAIN_UNMANAGED));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-EBUSY),
			    iommu_attach_handle_get(fake->group, PASID,
						    IOMMU_DOMAIN_NESTED));
	core_detach(fake, PASID, domain, &handle);

	/* a domain without handle does not count as a handle */
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, NULL));
	KUNIT_EXPECT_PTR_EQ(test, ERR_PTR(-ENOENT),
			    iommu_attach_handle_get(fake->group, PASID,
						    IOMMU_DOMAIN_UNMANAGED));
	core_detach(fake, PASID, domain, NULL);
}

/* All devices are on @domain without PASID, and @handle is found. */
static void expect_group(struct fake *fake, struct iommu_domain *domain,
			 struct iommu_attach_handle *handle)
{
	int i;

	for (i = 0; i < DEVICES; i++)
		KUNIT_EXPECT_PTR_EQ(fake->test, domain, fake->devices[i].domain);
	KUNIT_EXPECT_PTR_EQ(fake->test, handle, core_found(fake, IOMMU_NO_PASID));
	if (handle)
		KUNIT_EXPECT_PTR_EQ(fake->test, domain, handle->domain);
}

static void group_attach_publishes_last(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	unsigned int i;

	for (i = 1; i <= DEVICES; i++) {
		core_fail(fake, i, -ENOSPC);
		KUNIT_EXPECT_EQ(test, -ENOSPC,
				iommu_attach_group_handle(domain, fake->group,
							  &handle));
		expect_group(fake, NULL, NULL);
	}

	core_fail(fake, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(domain, fake->group,
							   &handle));
	expect_group(fake, domain, &handle);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_group_handle(domain, fake->group, NULL));
	expect_group(fake, domain, &handle);
	iommu_detach_group_handle(domain, fake->group);
	expect_group(fake, NULL, NULL);
}

static void group_replace_publishes_last(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);
	unsigned int i;

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(domain, fake->group,
							   &handle));
	fake->visible = &handle;
	for (i = 1; i <= DEVICES; i++) {
		core_fail(fake, i, -ENOSPC);
		KUNIT_EXPECT_EQ(test, -ENOSPC,
				iommu_replace_group_handle(fake->group, another,
							   &new));
		expect_group(fake, domain, &handle);
	}

	core_fail(fake, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, iommu_replace_group_handle(fake->group, another,
							    &new));
	expect_group(fake, another, &new);
	iommu_detach_group_handle(another, fake->group);
	expect_group(fake, NULL, NULL);
}

/* A group can be attached without a handle. */
static void group_without_handle_busy(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	struct iommu_domain *another = fake_domain(fake);

	KUNIT_ASSERT_EQ(test, 0, iommu_attach_group_handle(domain, fake->group,
							   NULL));
	expect_group(fake, domain, NULL);
	core_fail(fake, 1, -ENOSPC);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			iommu_replace_group_handle(fake->group, another, NULL));
	expect_group(fake, domain, NULL);
	core_fail(fake, 0, 0);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_group_handle(domain, fake->group, &handle));

	KUNIT_ASSERT_EQ(test, 0, iommu_replace_group_handle(fake->group, another,
							    NULL));
	expect_group(fake, another, NULL);
	KUNIT_EXPECT_EQ(test, -EBUSY,
			iommu_attach_group_handle(another, fake->group, &handle));
	KUNIT_EXPECT_EQ(test, DEVICES, fake->calls);
	iommu_detach_group_handle(another, fake->group);
	expect_group(fake, NULL, NULL);
}

/* Guest PASIDs */

struct fake_nested {
	struct iommu_domain domain;
	struct iommu_domain *parent;
	struct fake *fake;
};

static void fake_nested_free(struct iommu_domain *domain)
{
	struct fake_nested *nested = container_of(domain, struct fake_nested, domain);

	nested->fake->nested--;
	kfree(nested);
}

static const struct iommu_domain_ops fake_nested_ops = {
	.attach_dev	= fake_attach_dev,
	.set_dev_pasid	= fake_set_dev_pasid,
	.free		= fake_nested_free,
};

static struct iommu_domain *new_nested(struct fake *fake, struct iommu_domain *parent)
{
	struct fake_nested *nested = kzalloc(sizeof(*nested), GFP_KERNEL);

	if (!nested)
		return ERR_PTR(-ENOMEM);
	nested->domain.type = IOMMU_DOMAIN_NESTED;
	nested->domain.ops = &fake_nested_ops;
	nested->domain.owner = &fake->ops;
	nested->parent = parent;
	nested->fake = fake;
	fake->nested++;

	return &nested->domain;
}

static struct iommu_domain *fake_gpasid_parent(struct iommu_domain *domain)
{
	if (!domain || domain->type == IOMMU_DOMAIN_BLOCKED)
		return NULL;
	if (domain->type == IOMMU_DOMAIN_NESTED)
		return container_of(domain, struct fake_nested, domain)->parent;

	return domain;
}

static struct iommu_domain *
fake_gpasid_domain_alloc(struct device *dev, struct iommu_domain *parent,
			 const struct iommu_gpasid_bind_data *data)
{
	struct fake *fake = to_fake(dev);
	int ret = core_called(fake, data->pasid);

	return ret ? ERR_PTR(ret) : new_nested(fake, parent);
}

static int fake_gpasid_invalidate(struct iommu_domain *domain, u64 addr, u64 npages,
				  bool leaf)
{
	return addr == 1 && npages == 2 && leaf ? 0 : -EINVAL;
}

static const struct iommu_gpasid_ops fake_gpasid_ops = {
	.parent		= fake_gpasid_parent,
	.domain_alloc	= fake_gpasid_domain_alloc,
	.invalidate	= fake_gpasid_invalidate,
};

static const struct iommu_gpasid_bind_data good_data = {
	.pasid		= PASID,
	.addr_width	= 48,
};

static int core_bind(struct fake *fake, int device, u32 pasid)
{
	struct iommu_gpasid_bind_data data = good_data;

	data.pasid = pasid;

	return iommu_bind_gpasid(&fake->devices[device].pdev->dev, &data, NULL);
}

/* A domain on the RID of all devices; @old if there is one already */
static void core_attach_rid(struct fake *fake, struct iommu_domain *domain, bool replace)
{
	int ret;

	core_fail(fake, 0, 0);
	if (replace)
		ret = iommu_replace_group_handle(fake->group, domain, NULL);
	else
		ret = iommu_attach_group_handle(domain, fake->group, NULL);
	KUNIT_ASSERT_EQ(fake->test, 0, ret);
}

static void detach_rid(struct fake *fake, struct iommu_domain *domain)
{
	iommu_detach_group_handle(domain, fake->group);
}

/* Whether the devices with PASIDs have a guest's table on @parent, or none */
static void expect_bound(struct fake *fake, ioasid_t pasid, struct iommu_domain *parent)
{
	int i;

	for (i = 0; i < DEVICES - 1; i++) {
		struct iommu_domain *domain = fake->devices[i].pasid[pasid];

		if (!parent)
			KUNIT_EXPECT_NULL(fake->test, domain);
		else if (fake->devices[i].pdev)
			KUNIT_EXPECT_PTR_EQ(fake->test, parent,
					    fake_gpasid_parent(domain));
	}
	KUNIT_EXPECT_EQ(fake->test, !!parent, fake->nested);
}

static void gpasid_bind_unbind(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);
	struct device *dev = a_device(fake);

	KUNIT_EXPECT_EQ(test, -ENOENT, core_bind(fake, 0, PASID));	/* blocked */
	core_attach_rid(fake, parent, false);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	expect_bound(fake, PASID, parent);

	KUNIT_EXPECT_EQ(test, -EBUSY, core_bind(fake, 0, PASID));
	KUNIT_EXPECT_EQ(test, -EBUSY, core_bind(fake, 1, PASID));
	expect_bound(fake, PASID, parent);
	KUNIT_EXPECT_EQ(test, 0, iommu_invalidate_gpasid(dev, PASID, 1, 2, true));
	KUNIT_EXPECT_EQ(test, -EINVAL, iommu_invalidate_gpasid(dev, PASID, 1, 2, false));
	KUNIT_EXPECT_EQ(test, -ENOENT, iommu_invalidate_gpasid(dev, PASID + 1, 1, 2, true));

	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(dev, PASID));
	expect_bound(fake, PASID, NULL);
	KUNIT_EXPECT_EQ(test, -ENOENT, iommu_unbind_gpasid(dev, PASID));
	detach_rid(fake, parent);
}

/* A PASID with another domain is not a guest PASID. */
static void gpasid_in_use(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake), *other = fake_domain(fake);

	core_attach_rid(fake, parent, false);
	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, other, NULL));
	KUNIT_EXPECT_EQ(test, -EBUSY, core_bind(fake, 0, PASID));
	KUNIT_EXPECT_EQ(test, -ENOENT, iommu_unbind_gpasid(a_device(fake), PASID));
	KUNIT_EXPECT_EQ(test, 0, fake->nested);
	core_detach(fake, PASID, other, NULL);
	detach_rid(fake, parent);
}

/* The driver fails: when allocating, or at either device. */
static void gpasid_bind_fails(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);
	unsigned int i;

	core_attach_rid(fake, parent, false);
	for (i = 1; i < DEVICES + 1; i++) {
		core_fail(fake, i, -ENOSPC);
		KUNIT_EXPECT_EQ(test, -ENOSPC, core_bind(fake, 0, PASID));
		expect_bound(fake, PASID, NULL);
	}
	core_fail(fake, 0, 0);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(a_device(fake), PASID));
	detach_rid(fake, parent);
}

/* The parent's client only serves its own attachments. */
static void gpasid_client_refuses(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);

	core_attach_rid(fake, parent, false);
	parent->iopf_flags = IOPF_CLIENT_NO_GPASID;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, core_bind(fake, 0, PASID));
	expect_bound(fake, PASID, NULL);
	parent->iopf_flags = 0;
	KUNIT_EXPECT_EQ(test, 0, core_bind(fake, 0, PASID));
	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(a_device(fake), PASID));
	detach_rid(fake, parent);
}

static void gpasid_refuses(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);
	struct iommu_gpasid_bind_data data;

	core_attach_rid(fake, parent, false);
#define REFUSED(field, value) ({					\
	data = good_data;						\
	data.field = value;						\
	iommu_bind_gpasid(a_device(fake), &data, NULL);		\
})
	KUNIT_EXPECT_EQ(test, -EINVAL, REFUSED(flags, BIT(3)));
	KUNIT_EXPECT_EQ(test, -EINVAL, REFUSED(pasid, 0));
	/* one device supports it, but not the other one of the group */
	KUNIT_EXPECT_EQ(test, -EINVAL, REFUSED(pasid, PASIDS));
	KUNIT_EXPECT_EQ(test, -EINVAL, REFUSED(pasid, 2 * PASIDS));
	KUNIT_EXPECT_EQ(test, -EINVAL, REFUSED(pasid, U32_MAX));
#undef REFUSED
	/* a device without PASIDs, an IOMMU that cannot nest */
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, core_bind(fake, DEVICES - 1, PASID));
	fake->ops.gpasid_ops = NULL;
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP, core_bind(fake, 0, PASID));
	fake->ops.gpasid_ops = &fake_gpasid_ops;
	expect_bound(fake, PASID, NULL);
	detach_rid(fake, parent);
}

/* A binding lasts exactly while its parent is attached to the RID. */
static void gpasid_follows_rid(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake), *other = fake_domain(fake);
	struct iommu_domain *nested = new_nested(fake, parent);

	KUNIT_ASSERT_FALSE(test, IS_ERR(nested));
	fake->nested = 0;
	core_attach_rid(fake, parent, false);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	core_attach_rid(fake, nested, true);
	expect_bound(fake, PASID, parent);
	core_attach_rid(fake, parent, true);
	expect_bound(fake, PASID, parent);

	/* A replacement that fails at the second device changes nothing. */
	core_fail(fake, 2, -ENOSPC);
	KUNIT_EXPECT_EQ(test, -ENOSPC,
			iommu_replace_group_handle(fake->group, other, NULL));
	core_fail(fake, 0, 0);
	expect_bound(fake, PASID, parent);

	core_attach_rid(fake, other, true);
	expect_bound(fake, PASID, NULL);
	KUNIT_EXPECT_EQ(test, -ENOENT, iommu_unbind_gpasid(a_device(fake), PASID));

	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	expect_bound(fake, PASID, other);
	detach_rid(fake, other);
	expect_bound(fake, PASID, NULL);

	core_attach_rid(fake, nested, false);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	detach_rid(fake, nested);
	expect_bound(fake, PASID, NULL);
	iommu_domain_free(nested);
}

/* Probe device @id, which joins the group of the test. */
static void core_add_device(struct fake *fake, int id, u32 max_pasids)
{
	struct fake_device *device = &fake->devices[id];
	struct platform_device *pdev;
	struct iommu_fwspec *fwspec;
	struct dev_iommu *iommu;

	pdev = platform_device_alloc("iommu-pasid-kunit", id);
	KUNIT_ASSERT_NOT_NULL(fake->test, pdev);

	/* The IOMMU core frees them with the device. */
	iommu = kzalloc(sizeof(*iommu), GFP_KERNEL);
	fwspec = kzalloc(sizeof(*fwspec), GFP_KERNEL);
	if (!iommu || !fwspec) {
		kfree(iommu);
		kfree(fwspec);
		platform_device_put(pdev);
		KUNIT_FAIL_AND_ABORT(fake->test, "no memory");
	}
	mutex_init(&iommu->lock);
	fwspec->iommu_fwnode = fwnode_handle_get(fake->iommu.fwnode);
	iommu->fwspec = fwspec;
	pdev->dev.iommu = iommu;

	device->pdev = pdev;
	device->max_pasids = max_pasids;
	if (platform_device_add(pdev)) {
		device->pdev = NULL;
		platform_device_put(pdev);
		KUNIT_FAIL_AND_ABORT(fake->test, "no device");
	}
	KUNIT_ASSERT_PTR_EQ(fake->test, fake->group, pdev->dev.iommu_group);
}

static void core_remove_device(struct fake *fake, int id)
{
	platform_device_unregister(fake->devices[id].pdev);
	fake->devices[id].pdev = NULL;
}

/*
 * The device that a binding was made through is released, and the binding ends.
 */
static void gpasid_released_with_device(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);

	core_attach_rid(fake, parent, false);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, PASID));
	core_remove_device(fake, 0);
	expect_bound(fake, PASID, NULL);
	KUNIT_EXPECT_EQ(test, -ENOENT,
			iommu_unbind_gpasid(&fake->devices[1].pdev->dev, PASID));
	detach_rid(fake, parent);
}

/*
 * Another device of the group is released, and only it loses the guest's table.
 */
static void gpasid_stays_without_other_device(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);

	core_attach_rid(fake, parent, false);
	KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 1, PASID));
	core_remove_device(fake, 0);
	KUNIT_EXPECT_NULL(test, fake->devices[0].pasid[PASID]);
	expect_bound(fake, PASID, parent);
	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(&fake->devices[1].pdev->dev, PASID));
	expect_bound(fake, PASID, NULL);
	detach_rid(fake, parent);
}

/*
 * A device that leaves the group loses the PASIDs, even those that another
 * device has attached.
 */
static void leaving_device_loses_pasids(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);

	KUNIT_ASSERT_EQ(test, 0, core_attach_pasid(fake, domain, &handle));
	KUNIT_ASSERT_EQ(test, 0, iommu_attach_device_pasid(domain, a_device(fake), 1, NULL));
	core_fail(fake, 0, 0);
	fake->any_visible = true;
	core_remove_device(fake, 1);
	KUNIT_EXPECT_EQ(test, 2, fake->calls);
	KUNIT_EXPECT_NULL(test, fake->devices[1].pasid[PASID]);
	KUNIT_EXPECT_NULL(test, fake->devices[1].pasid[1]);
	KUNIT_EXPECT_PTR_EQ(test, domain, fake->devices[0].pasid[PASID]);
	KUNIT_EXPECT_PTR_EQ(test, &handle, core_found(fake, PASID));

	iommu_detach_device_pasid(domain, a_device(fake), 1);
	iommu_detach_device_pasid(domain, a_device(fake), PASID);
	KUNIT_EXPECT_EQ(test, 4, fake->calls);
}

/*
 * A device that joins the group gets the domains of its PASIDs; if that fails,
 * it has no PASIDs.
 */
static void joining_device_gets_pasids(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *domain = fake_domain(fake);
	unsigned int i;
	ioasid_t pasid;

	core_remove_device(fake, 1);
	for (pasid = 1; pasid < 4; pasid++)
		KUNIT_ASSERT_EQ(test, 0, iommu_attach_device_pasid(domain, a_device(fake),
								   pasid, NULL));
	for (i = 1; i < 4; i++) {
		core_fail(fake, i, -ENOSPC);
		core_add_device(fake, 1, PASIDS);
		/* the calls up to the failure, and those that undo them */
		KUNIT_EXPECT_EQ(test, 2 * i - 1, fake->calls);
		for (pasid = 1; pasid < 4; pasid++)
			KUNIT_EXPECT_NULL(test, fake->devices[1].pasid[pasid]);
		KUNIT_EXPECT_EQ(test, 0, fake->devices[1].pdev->dev.iommu->max_pasids);
		core_remove_device(fake, 1);
		KUNIT_EXPECT_EQ(test, 2 * i - 1, fake->calls);
	}
	core_fail(fake, 0, 0);
	core_add_device(fake, 1, 3);		/* and not PASID 3 */
	KUNIT_EXPECT_EQ(test, 2 + 2, fake->calls);
	core_remove_device(fake, 1);

	core_fail(fake, 0, 0);
	core_add_device(fake, 1, PASIDS);
	KUNIT_EXPECT_EQ(test, 3, fake->calls);
	for (pasid = 1; pasid < 4; pasid++) {
		expect_pasid(fake, pasid, domain, NULL);
		core_detach(fake, pasid, domain, NULL);
	}
}

#define STRESS_BATCH	0x4000

/*
 * 2^16 bindings, on all PASIDs one after the other, leak nothing. As others
 * allocate and free at the same time, only memory that every batch leaves is a
 * leak.
 */
static void gpasid_stress(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);
	long before, least = LONG_MAX;
	unsigned int i, batch;

	core_attach_rid(fake, parent, false);
	/* The first batch also fills the allocators' caches. */
	for (batch = 0; batch < 0x10000 / STRESS_BATCH; batch++) {
		before = kunit_iommu_memory();
		for (i = 0; i < STRESS_BATCH; i++) {
			u32 pasid = 1 + i % (PASIDS - 1);

			KUNIT_ASSERT_EQ(test, 0, core_bind(fake, 0, pasid));
			KUNIT_ASSERT_EQ(test, 0,
					iommu_unbind_gpasid(a_device(fake), pasid));
			cond_resched();
		}
		least = min(least, kunit_iommu_memory() - before);
	}

	/* less than a word per binding */
	KUNIT_EXPECT_LT(test, least, STRESS_BATCH * (long)sizeof(long));
	KUNIT_EXPECT_EQ(test, 0, fake->nested);
	detach_rid(fake, parent);
}

/* Page requests */

static void fake_page_response(struct device *dev, struct iopf_fault *evt,
			       struct iommu_page_response *resp)
{
	atomic_inc(&to_fake(dev)->responses);
}

static void send_requests(struct fake *fake)
{
	if (!IS_ENABLED(CONFIG_IOMMU_IOPF))
		kunit_skip(fake->test, "no page requests in this kernel");

	fake->ops.page_response = fake_page_response;
	init_completion(&fake->handling);
	init_completion(&fake->taken);
	fake->queue = iopf_queue_alloc("iommu-pasid-kunit");
	KUNIT_ASSERT_NOT_NULL(fake->test, fake->queue);
	KUNIT_ASSERT_EQ(fake->test, 0,
			iopf_queue_add_device(fake->queue, a_device(fake)));
}

static void request_page(struct fake *fake, ioasid_t pasid, bool last)
{
	struct iopf_fault evt = {
		.fault = {
			.type = IOMMU_FAULT_PAGE_REQ,
			.prm = {
				.flags = last ? IOMMU_FAULT_PAGE_REQUEST_LAST_PAGE : 0,
				.pasid = pasid,
				.perm = IOMMU_FAULT_PERM_READ,
			},
		},
	};

	if (pasid != IOMMU_NO_PASID)
		evt.fault.prm.flags |= IOMMU_FAULT_PAGE_REQUEST_PASID_VALID;
	iommu_report_device_fault(a_device(fake), &evt);
}

static int core_answer(struct iopf_group *group)
{
	iopf_group_response(group, IOMMU_PAGE_RESP_SUCCESS);
	iopf_free_group(group);
	return 0;
}

/* Check that the handle is not removed while this uses it. */
static int slow_handler(struct iopf_group *group)
{
	struct fake *fake = to_fake(group->fault_param->dev);

	complete(&fake->handling);
	if (wait_for_completion_timeout(&fake->taken, fake->patience))
		fake->too_early = true;

	return core_answer(group);
}

/* A domain with handle @handle on @pasid, or for requests without PASID */
static void put_domain(struct fake *fake, ioasid_t pasid, bool attached,
		       struct iommu_attach_handle *handle,
		       int (*handler)(struct iopf_group *group))
{
	struct iommu_domain *domain = fake_domain(fake);
	int ret;

	domain->iopf_handler = handler;
	domain->iopf_reports = IOPF_REPORT_FLAT;
	if (pasid == IOMMU_NO_PASID)
		ret = attached ? iommu_replace_group_handle(fake->group, domain, handle) :
				 iommu_attach_group_handle(domain, fake->group, handle);
	else
		ret = attached ? iommu_replace_device_pasid(domain, a_device(fake),
							    pasid, handle) :
				 iommu_attach_device_pasid(domain, a_device(fake),
							   pasid, handle);
	KUNIT_EXPECT_EQ(fake->test, 0, ret);
	fake->visible = handle;
}

static void take_domain(struct fake *fake, ioasid_t pasid,
			struct iommu_attach_handle *handle)
{
	if (pasid == IOMMU_NO_PASID)
		iommu_detach_group_handle(handle->domain, fake->group);
	else
		iommu_detach_device_pasid(handle->domain, a_device(fake), pasid);
	fake->visible = NULL;
}

struct taken_case {
	const char *name;
	ioasid_t pasid;
	bool replace;
};

static const struct taken_case taken_cases[] = {
	{ "replace, PASID", PASID, true },
	{ "detach, PASID", PASID, false },
	{ "replace", IOMMU_NO_PASID, true },
	{ "detach", IOMMU_NO_PASID, false },
};

KUNIT_ARRAY_PARAM_DESC(taken, taken_cases, name);

static int request_slowly(void *data)
{
	struct fake *fake = data;
	const struct taken_case *c = fake->test->param_value;

	request_page(fake, c->pasid, true);
	return 0;
}

/* A thread that does not run yet. With no locks held, as this asserts. */
static struct task_struct *core_thread(struct fake *fake, int (*run)(void *data))
{
	struct task_struct *task = kthread_create(run, fake, "iommu-pasid-kunit");

	KUNIT_ASSERT_FALSE(fake->test, IS_ERR(task));
	return get_task_struct(task);
}

static struct task_struct *core_start(struct fake *fake, int (*run)(void *data))
{
	struct task_struct *task = core_thread(fake, run);

	wake_up_process(task);
	return task;
}

/* A handle is not freed while a page request is being reported. */
static void detach_waits_for_requests(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	const struct taken_case *c = test->param_value;
	struct fake *fake = test->priv;
	struct task_struct *task;

	send_requests(fake);
	fake->patience = HZ / 10;
	put_domain(fake, c->pasid, false, &handle, slow_handler);
	task = core_start(fake, request_slowly);
	wait_for_completion(&fake->handling);
	if (c->replace)
		put_domain(fake, c->pasid, true, &new, core_answer);
	else
		take_domain(fake, c->pasid, &handle);
	complete(&fake->taken);

	kthread_stop_put(task);
	KUNIT_EXPECT_FALSE(test, fake->too_early);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->responses));
	if (c->replace)
		take_domain(fake, c->pasid, &new);
}

/* Requests kept for an incomplete group do not go to the next handle. */
static void partial_groups_discarded(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	const struct taken_case *c = test->param_value;
	struct fake *fake = test->priv;

	send_requests(fake);
	put_domain(fake, c->pasid, false, &handle, core_answer);
	request_page(fake, c->pasid, false);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_PARTIAL));
	if (c->replace)
		put_domain(fake, c->pasid, true, &new, core_answer);
	else
		take_domain(fake, c->pasid, &handle);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_DISCARDED));
	if (c->replace)
		take_domain(fake, c->pasid, &new);

	/* Without a handle nothing is kept. */
	request_page(fake, c->pasid, false);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_UNSERVED));
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_PARTIAL));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->responses));
}

/* If user space owns the PASID table, all requests go to the RID's domain. */
static void partial_groups_of_user_table_discarded(struct kunit *test)
{
	struct iommu_attach_handle handle = {}, new = {};
	struct fake *fake = test->priv;

	send_requests(fake);
	fake->ops.user_pasid_table = true;
	put_domain(fake, IOMMU_NO_PASID, false, &handle, core_answer);
	handle.domain->type = IOMMU_DOMAIN_NESTED;
	request_page(fake, PASID, false);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_PARTIAL));
	put_domain(fake, IOMMU_NO_PASID, true, &new, core_answer);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_DISCARDED));
	take_domain(fake, IOMMU_NO_PASID, &new);
}

static int request_of_pasid(void *data)
{
	request_page(data, PASID, true);
	return 0;
}

/* A handler that sleeps delays only the devices of its group. */
static void other_devices_not_delayed(struct kunit *test)
{
	struct iommu_attach_handle handle = {};
	struct fake *fake = test->priv;
	struct device *other = &fake->devices[1].pdev->dev;
	struct task_struct *task;

	send_requests(fake);
	KUNIT_ASSERT_EQ(test, 0, iopf_queue_add_device(fake->queue, other));
	fake->patience = 10 * HZ;
	put_domain(fake, PASID, false, &handle, slow_handler);
	task = core_start(fake, request_of_pasid);
	wait_for_completion(&fake->handling);
	/* what a detach from another group would do */
	iopf_forget_handles(other);
	iopf_queue_remove_device(fake->queue, other);
	complete(&fake->taken);

	kthread_stop_put(task);
	KUNIT_EXPECT_TRUE(test, fake->too_early);
	take_domain(fake, PASID, &handle);
}

/* A guest PASID's client gets requests while the binding lasts. */
static void gpasid_page_requests(struct kunit *test)
{
	struct iopf_client client = {
		.reports = IOPF_REPORT_FLAT,
		.handler = core_answer,
	};
	struct fake *fake = test->priv;
	struct iommu_domain *parent = fake_domain(fake);

	send_requests(fake);
	fake->ops.gpasid_ops = &fake_gpasid_ops;
	core_attach_rid(fake, parent, false);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			iommu_bind_gpasid(a_device(fake), &good_data, &client));
	KUNIT_EXPECT_EQ(test, 0, fake->nested);

	client.reports = IOPF_REPORT_NESTED_L1;
	KUNIT_ASSERT_EQ(test, 0, iommu_bind_gpasid(a_device(fake), &good_data, &client));
	fake->visible = core_found(fake, PASID);
	KUNIT_EXPECT_NOT_NULL(test, fake->visible);
	request_page(fake, PASID, true);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_LEVEL1));
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_SUCCESS));

	/* Kept requests are dropped with the binding. */
	request_page(fake, PASID, false);
	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(a_device(fake), PASID));
	fake->visible = NULL;
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_DISCARDED));
	request_page(fake, PASID, true);
	KUNIT_EXPECT_EQ(test, 1, iopf_counted(fake->queue, IOPF_EVENT_UNSERVED));

	/* Without a client there is no handle. */
	KUNIT_ASSERT_EQ(test, 0, iommu_bind_gpasid(a_device(fake), &good_data, NULL));
	KUNIT_EXPECT_NULL(test, core_found(fake, PASID));
	KUNIT_EXPECT_EQ(test, 0, iommu_unbind_gpasid(a_device(fake), PASID));
	detach_rid(fake, parent);
	KUNIT_EXPECT_EQ(test, 0, fake->nested);
}

static int request_always(void *data)
{
	struct fake *fake = data;
	int requests = 0;

	do {
		request_page(fake, PASID, true);
		requests++;
		complete(&fake->handling);
		cond_resched();
	} while (!kthread_should_stop());

	return requests;
}

static void fake_sva_free(struct iommu_domain *domain)
{
	current_fake->sva_freed++;
	kfree(domain);
}

static struct iommu_domain *fake_alloc_sva(struct device *dev, struct mm_struct *mm)
{
	static const struct iommu_domain_ops ops = {
		.set_dev_pasid	= fake_set_dev_pasid,
		.free		= fake_sva_free,
	};
	struct iommu_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL);

	if (!domain)
		return ERR_PTR(-ENOMEM);
	domain->ops = &ops;
	return domain;
}

static int unbind_sva(void *data)
{
	struct fake *fake = data;

	iommu_sva_unbind_device(fake->sva);
	complete(&fake->taken);
	return 0;
}

#define DIRECT_PAGES	4		/* of a region: each device has one more */

static unsigned long direct_mapped;	/* bitmap of pages */

/* Like a driver that does not replace mappings */
static int fake_map_pages(struct iommu_domain *domain, unsigned long iova, phys_addr_t paddr,
			  size_t pgsize, size_t pgcount, int prot, gfp_t gfp, size_t *mapped)
{
	unsigned long pages = GENMASK(pgcount - 1, 0) << (iova / pgsize);

	if (direct_mapped & pages)
		return -EADDRINUSE;
	direct_mapped |= pages;
	*mapped = pgcount * pgsize;
	return 0;
}

static phys_addr_t fake_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
	return direct_mapped & BIT(iova / SZ_4K) ? iova : 0;
}

static struct iommu_domain fake_dma_domain = {
	.type		= IOMMU_DOMAIN_DMA,
	.pgsize_bitmap	= SZ_4K,
	.ops		= &(const struct iommu_domain_ops) {
		.attach_dev	= fake_blocked_attach_dev,
		.map_pages	= fake_map_pages,
		.iova_to_phys	= fake_iova_to_phys,
	},
};

/* From page 0 on, for each device */
static void fake_get_resv_regions(struct device *dev, struct list_head *list)
{
	size_t pages = DIRECT_PAGES + (to_fake_device(dev) - current_fake->devices);
	struct iommu_resv_region *region;

	region = iommu_alloc_resv_region(0, pages * SZ_4K, IOMMU_READ | IOMMU_WRITE,
					 IOMMU_RESV_DIRECT, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(current_fake->test, region);
	list_add_tail(&region->list, list);
}

/*
 * Each device of a group has a direct region that begins with page 0, and is
 * longer than the one before: each of the pages is mapped once, and all of them
 * are.
 */
static void direct_regions_overlap(struct kunit *test)
{
	struct fake *fake = test->priv;
	int i;

	for (i = 0; i < DEVICES; i++)
		core_remove_device(fake, i);
	direct_mapped = 0;
	fake->ops.default_domain = &fake_dma_domain;
	fake->ops.get_resv_regions = fake_get_resv_regions;
	for (i = 0; i < DEVICES; i++) {
		core_add_device(fake, i, 0);
		KUNIT_EXPECT_EQ(test, GENMASK(DIRECT_PAGES + i - 1, 0), direct_mapped);
	}
}

/* Bind the first device to the test's mm. */
static struct mm_struct *bind_sva(struct fake *fake)
{
	struct kunit *test = fake->test;
	unsigned long addr;

	if (!IS_ENABLED(CONFIG_IOMMU_SVA))
		kunit_skip(test, "no SVA in this kernel");

	send_requests(fake);
	/* this gives the test an mm */
	addr = kunit_vm_mmap(test, NULL, 0, PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_ANONYMOUS | MAP_PRIVATE, 0);
	KUNIT_ASSERT_NE(test, 0, addr);
	fake->ops.domain_alloc_sva = fake_alloc_sva;
	fake->sva = iommu_sva_bind(a_device(fake), current->mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake->sva));
	fake->visible = &fake->sva->handle;
	return current->mm;
}

/*
 * The work of a process's page request is blocked in the middle: it uses the
 * domain and the handle, so unbind has to wait for it, and for nothing else.
 */
static void sva_unbind_waits_for_work(struct kunit *test)
{
	struct fake *fake = test->priv;
	struct mm_struct *mm = bind_sva(fake);
	struct task_struct *task = core_thread(fake, unbind_sva);

	mmap_write_lock(mm);
	request_page(fake, iommu_sva_get_pasid(fake->sva), true);
	wake_up_process(task);
	KUNIT_EXPECT_EQ(test, 0, wait_for_completion_timeout(&fake->taken, HZ / 10));
	KUNIT_EXPECT_EQ(test, 0, atomic_read(&fake->responses));
	mmap_write_unlock(mm);

	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&fake->taken, 10 * HZ));
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->responses));
	kthread_stop_put(task);
}

/*
 * Two devices share a process's domain. While one of them is unbound and its
 * work is blocked, the other one is unbound as well: the domain stays until the
 * work has ended.
 */
static void sva_shared_domain_stays(struct kunit *test)
{
	struct iommu_group *other = iommu_group_alloc();
	struct fake *fake = test->priv;
	struct mm_struct *mm = bind_sva(fake);
	struct iommu_group *first = fake->group;
	struct task_struct *task;
	struct iommu_sva *sva;
	u32 pasid = iommu_sva_get_pasid(fake->sva);
	int i;

	KUNIT_ASSERT_FALSE(test, IS_ERR(other));
	core_remove_device(fake, 1);
	fake->any_visible = true;
	fake->group = other;
	core_add_device(fake, 1, 2 * PASIDS);
	fake->group = first;
	sva = iommu_sva_bind(&fake->devices[1].pdev->dev, mm);
	KUNIT_ASSERT_FALSE(test, IS_ERR(sva));
	KUNIT_EXPECT_PTR_EQ(test, fake->sva->handle.domain, sva->handle.domain);

	task = core_thread(fake, unbind_sva);
	mmap_write_lock(mm);
	request_page(fake, pasid, true);
	wake_up_process(task);
	for (i = 0; i < 10 * HZ && core_found(fake, pasid); i++)
		schedule_timeout_uninterruptible(1);
	iommu_sva_unbind_device(sva);
	KUNIT_EXPECT_EQ(test, 0, fake->sva_freed);
	mmap_write_unlock(mm);

	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&fake->taken, 10 * HZ));
	kthread_stop_put(task);
	KUNIT_EXPECT_EQ(test, 1, fake->sva_freed);
	KUNIT_EXPECT_EQ(test, 1, atomic_read(&fake->responses));
	core_remove_device(fake, 1);
	iommu_group_put(other);
}

/* Every request is answered once, whatever is attached. */
static void race_with_requests(struct kunit *test)
{
	struct iommu_attach_handle *handle, *new;
	struct fake *fake = test->priv;
	struct task_struct *task;
	int i;

	send_requests(fake);
	task = core_start(fake, request_always);
	wait_for_completion(&fake->handling);
	for (i = 0; i < 200; i++) {
		handle = kzalloc(sizeof(*handle), GFP_KERNEL);
		new = kzalloc(sizeof(*new), GFP_KERNEL);
		if (handle && new) {
			put_domain(fake, PASID, false, handle, core_answer);
			put_domain(fake, PASID, true, new, core_answer);
			kfree_sensitive(handle);
			handle = NULL;
			cond_resched();
			take_domain(fake, PASID, new);
		}
		kfree_sensitive(new);
		kfree_sensitive(handle);
	}
	KUNIT_EXPECT_EQ(test, kthread_stop_put(task), atomic_read(&fake->responses));
}

static int core_fake_init(struct kunit *test)
{
	struct fake *fake;

	fake = kunit_kzalloc(test, sizeof(*fake), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, fake);
	fake->test = test;
	fake->ops.probe_device = fake_probe_device;
	fake->ops.device_group = fake_device_group;
	fake->ops.is_attach_deferred = fake_is_attach_deferred;
	fake->ops.default_domain = &fake_blocked_domain;
	fake->ops.blocked_domain = &fake_blocked_domain;
	fake->ops.remove_dev_pasid = fake_remove_dev_pasid;
	fake->ops.gpasid_ops = &fake_gpasid_ops;
	fake->iommu.max_pasids = 2 * PASIDS;

	fake->group = iommu_group_alloc();
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake->group));
	test->priv = fake;
	current_fake = fake;

	/* A firmware node keeps other devices away from this IOMMU. */
	fake->iommu.fwnode = fwnode_create_software_node(NULL, NULL);
	KUNIT_ASSERT_FALSE(test, IS_ERR(fake->iommu.fwnode));
	KUNIT_ASSERT_EQ(test, 0, iommu_device_sysfs_add(&fake->iommu, NULL, NULL,
							"iommu-pasid-kunit"));
	fake->in_sysfs = true;
	KUNIT_ASSERT_EQ(test, 0, iommu_device_register(&fake->iommu, &fake->ops,
						       NULL));
	fake->registered = true;

	core_add_device(fake, 0, 2 * PASIDS);
	core_add_device(fake, 1, PASIDS);
	core_add_device(fake, 2, 0);
	return 0;
}

static void fake_exit(struct kunit *test)
{
	struct fake *fake = test->priv;
	int i;

	if (!fake)
		return;

	if (fake->queue) {
		iopf_queue_remove_device(fake->queue, a_device(fake));
		iopf_queue_free(fake->queue);
	}
	for (i = 0; i < DEVICES; i++)
		if (fake->devices[i].pdev)
			platform_device_unregister(fake->devices[i].pdev);
	if (fake->registered)
		iommu_device_unregister(&fake->iommu);
	if (fake->in_sysfs)
		iommu_device_sysfs_remove(&fake->iommu);
	if (!IS_ERR_OR_NULL(fake->iommu.fwnode))
		fwnode_remove_software_node(fake->iommu.fwnode);
	iommu_group_put(fake->group);
	current_fake = NULL;
}

static struct kunit_case iommu_pasid_cases[] = {
	KUNIT_CASE(attach_publishes_last),
	KUNIT_CASE(attach_failure_leaves_nothing),
	KUNIT_CASE(attach_busy),
	KUNIT_CASE(replace_publishes_last),
	KUNIT_CASE(replace_failure_leaves_old),
	KUNIT_CASE(replace_needs_attached),
	KUNIT_CASE(replace_by_same_changes_handle),
	KUNIT_CASE(wrong_arguments),
	KUNIT_CASE(handle_lookup_by_type),
	KUNIT_CASE(group_attach_publishes_last),
	KUNIT_CASE(group_replace_publishes_last),
	KUNIT_CASE(group_without_handle_busy),
	KUNIT_CASE(gpasid_bind_unbind),
	KUNIT_CASE(gpasid_in_use),
	KUNIT_CASE(gpasid_bind_fails),
	KUNIT_CASE(gpasid_client_refuses),
	KUNIT_CASE(gpasid_refuses),
	KUNIT_CASE(gpasid_follows_rid),
	KUNIT_CASE(gpasid_released_with_device),
	KUNIT_CASE(gpasid_stays_without_other_device),
	KUNIT_CASE(leaving_device_loses_pasids),
	KUNIT_CASE(joining_device_gets_pasids),
	KUNIT_CASE(direct_regions_overlap),
	KUNIT_CASE_PARAM(detach_waits_for_requests, taken_gen_params),
	KUNIT_CASE_PARAM(partial_groups_discarded, taken_gen_params),
	KUNIT_CASE(partial_groups_of_user_table_discarded),
	KUNIT_CASE(other_devices_not_delayed),
	KUNIT_CASE(gpasid_page_requests),
	KUNIT_CASE(sva_unbind_waits_for_work),
	KUNIT_CASE(sva_shared_domain_stays),
	KUNIT_CASE(race_with_requests),
	KUNIT_CASE_SLOW(gpasid_stress),
	{}
};

static struct kunit_suite iommu_pasid_suite = {
	.name		= "iommu-pasid",
	.init		= core_fake_init,
	.exit		= fake_exit,
	.test_cases	= iommu_pasid_cases,
};

kunit_test_suite(iommu_pasid_suite);
