// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest PASIDs: bindings of a guest's first-level tables to PASIDs of a device.
 *
 * A binding is a nested domain that is attached to the PASID. Its parent, the
 * domain that it is nested on, belongs to the user that attached the parent to
 * the device's RID, and is not reference counted. So the binding ends as soon
 * as the RID gets a domain with another parent or none (detach, the last file
 * descriptor is closed, a driver's domain is restored), and when the device is
 * released. The owner of the parent cannot free it earlier, as it is attached
 * until then.
 *
 * All of this happens under the group's mutex.
 *
 * If a client receives page requests, of the guest's table or of the parent,
 * the binding has an attach handle, which is freed after the last request that
 * uses it.
 */

#include <linux/iommu-gpasid.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "iommu-priv.h"

struct gpasid_binding {
	struct device *dev;
	ioasid_t pasid;
	struct iommu_domain *domain;	/* the nested one */
	struct iommu_domain *parent;
	struct iommu_attach_handle handle;
};

#define GPASID_FLAGS	(IOMMU_GPASID_SRE | IOMMU_GPASID_WPE | IOMMU_GPASID_EAFE)

static const struct iommu_gpasid_ops *gpasid_ops(struct device *dev)
{
	return dev_iommu_ops(dev)->gpasid_ops;
}

static int gpasid_check(struct device *dev, const struct iommu_gpasid_bind_data *data)
{
	if (!gpasid_ops(dev) || !dev->iommu->max_pasids)
		return -EOPNOTSUPP;

	if ((data->flags & ~GPASID_FLAGS) || data->pasid == IOMMU_NO_PASID ||
	    data->pasid >= dev->iommu->max_pasids)
		return -EINVAL;

	return 0;
}

static struct iommu_attach_handle *gpasid_handle(struct gpasid_binding *binding)
{
	if (!binding->domain->iopf_handler && !binding->parent->iopf_handler)
		return NULL;

	return &binding->handle;
}

static void gpasid_dissolve(struct iommu_group *group, struct xarray *bindings,
			    struct gpasid_binding *binding)
{
	xa_erase(bindings, binding->pasid);
	iommu_group_detach_pasid(group, binding->domain, binding->pasid);
	if (gpasid_handle(binding))
		iommu_group_forget_handle(group);
	iommu_domain_free(binding->domain);
	kfree(binding);
}

/* iommu_bind_gpasid() with the group locked; @rid_domain is the RID's. */
int gpasid_bind(struct iommu_group *group, struct xarray *bindings,
		struct iommu_domain *rid_domain, struct device *dev,
		const struct iommu_gpasid_bind_data *data,
		const struct iopf_client *client)
{
	struct gpasid_binding *binding;
	int ret;

	ret = gpasid_check(dev, data);
	if (ret)
		return ret;

	binding = kzalloc(sizeof(*binding), GFP_KERNEL_ACCOUNT);
	if (!binding)
		return -ENOMEM;
	binding->dev = dev;
	binding->pasid = data->pasid;
	binding->handle.gpasid = true;

	ret = -ENOENT;
	binding->parent = gpasid_ops(dev)->parent(rid_domain);
	if (!binding->parent)
		goto err_free;
	ret = -EOPNOTSUPP;
	if (binding->parent->iopf_flags & IOPF_CLIENT_NO_GPASID)
		goto err_free;

	binding->domain = gpasid_ops(dev)->domain_alloc(dev, binding->parent, data);
	if (IS_ERR(binding->domain)) {
		ret = PTR_ERR(binding->domain);
		goto err_free;
	}

	ret = client ? iopf_register(binding->domain, dev, client) : 0;
	if (ret)
		goto err_free_domain;

	ret = xa_insert(bindings, data->pasid, binding, GFP_KERNEL_ACCOUNT);
	if (ret)
		goto err_free_domain;

	ret = iommu_group_attach_pasid(group, binding->domain, data->pasid,
				       gpasid_handle(binding));
	if (ret)
		goto err_erase;

	return 0;

err_erase:
	xa_erase(bindings, data->pasid);
err_free_domain:
	iommu_domain_free(binding->domain);
err_free:
	kfree(binding);
	return ret;
}

/* iommu_unbind_gpasid() with the group locked */
int gpasid_unbind(struct iommu_group *group, struct xarray *bindings, ioasid_t pasid)
{
	struct gpasid_binding *binding = xa_load(bindings, pasid);

	if (!binding)
		return -ENOENT;

	gpasid_dissolve(group, bindings, binding);

	return 0;
}

/* iommu_invalidate_gpasid() with the group locked */
int gpasid_invalidate(struct xarray *bindings, ioasid_t pasid, u64 addr,
		      u64 npages, bool leaf)
{
	struct gpasid_binding *binding = xa_load(bindings, pasid);

	if (!binding)
		return -ENOENT;

	return gpasid_ops(binding->dev)->invalidate(binding->domain, addr, npages,
						    leaf);
}

/* The RID now has @rid_domain: end all bindings with another parent. */
void gpasid_rid_changed(struct iommu_group *group, struct xarray *bindings,
			struct iommu_domain *rid_domain)
{
	struct gpasid_binding *binding;
	unsigned long pasid;

	xa_for_each(bindings, pasid, binding) {
		if (gpasid_ops(binding->dev)->parent(rid_domain) != binding->parent)
			gpasid_dissolve(group, bindings, binding);
	}
}

/*
 * @dev, one of the group's devices, is released: end the bindings that were made through
 * it. The core detaches the others from it.
 */
void gpasid_release_device(struct iommu_group *group, struct xarray *bindings,
			   struct device *dev)
{
	struct gpasid_binding *binding;
	unsigned long pasid;

	xa_for_each(bindings, pasid, binding) {
		if (binding->dev == dev)
			gpasid_dissolve(group, bindings, binding);
	}
}
