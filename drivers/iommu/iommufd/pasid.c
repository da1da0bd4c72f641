// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaching hardware page tables to devices and to their PASIDs.
 *
 * device.c handles the requester ID of a device. The exported functions here
 * call it if no PASID is given.
 *
 * A PASID differs in three ways. Its hwpt has to be allocated by user space for
 * PASIDs, so it is never an automatic one of an IOAS. Reserved regions and the
 * MSI window only affect requests without PASID. And a group has one hwpt for
 * each PASID, with a list of the attached devices.
 */
#include <linux/iommu.h>
#include <linux/iommufd.h>
#include <linux/slab.h>

#include "../iommu-priv.h"
#include "iommufd_private.h"

/*
 * While a PASID of a device is attached, all of the device's hwpts have to be
 * allocated for PASIDs, also the one on its requester ID, whichever of the two
 * is attached first.
 */
int iommufd_hwpt_pasid_compat(struct iommufd_group *igroup, ioasid_t pasid,
			      struct iommufd_hw_pagetable *hwpt)
{
	lockdep_assert_held(&igroup->lock);

	if (pasid == IOMMU_NO_PASID) {
		unsigned long index = 0;

		if (!hwpt->pasid_compat &&
		    xa_find(&igroup->pasid_attach, &index, ULONG_MAX,
			    XA_PRESENT))
			return -EINVAL;
		return 0;
	}

	if (!hwpt->pasid_compat ||
	    (igroup->hwpt && !igroup->hwpt->pasid_compat))
		return -EINVAL;
	return 0;
}

static struct iommufd_attach_handle *
iommufd_pasid_handle(struct iommufd_group *igroup, ioasid_t pasid)
{
	return to_iommufd_handle(iommu_attach_handle_get(igroup->group, pasid,
							 0));
}

/* Attach a PASID of the group that has no hwpt yet, for @devices. */
static int iommufd_pasid_attach_group(struct iommufd_device *idev, ioasid_t pasid,
				      struct iommufd_hw_pagetable *hwpt,
				      struct xarray *devices)
{
	struct iommufd_attach_handle *handle;
	int rc;

	rc = iommufd_hwpt_pasid_compat(idev->igroup, pasid, hwpt);
	if (rc)
		return rc;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle)
		return -ENOMEM;

	handle->devices = devices;
	rc = iommu_attach_device_pasid(hwpt->domain, idev->dev, pasid,
				       &handle->handle);
	if (rc)
		kfree(handle);
	return rc;
}

static void iommufd_pasid_detach_group(struct iommufd_device *idev, ioasid_t pasid,
				       struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_attach_handle *handle;

	handle = iommufd_pasid_handle(idev->igroup, pasid);
	iommu_detach_device_pasid(hwpt->domain, idev->dev, pasid);
	/* No page request gets the handle any more */
	iommufd_auto_response_faults(hwpt, handle, NULL);
	kfree(handle);
}

static int iommufd_pasid_attach_device(struct iommufd_device *idev, ioasid_t pasid,
				       struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_pasid_attach *attach;
	bool first;
	int rc;

	mutex_lock(&igroup->lock);
	attach = xa_load(&igroup->pasid_attach, pasid);
	first = !attach;
	if (first) {
		attach = kzalloc(sizeof(*attach), GFP_KERNEL_ACCOUNT);
		if (!attach) {
			rc = -ENOMEM;
			goto out_unlock;
		}
		xa_init_flags(&attach->devices, XA_FLAGS_ACCOUNT);
		attach->hwpt = hwpt;
		rc = xa_reserve(&igroup->pasid_attach, pasid, GFP_KERNEL_ACCOUNT);
		if (rc)
			goto out_free;
	}

	if (xa_load(&attach->devices, idev->obj.id)) {
		rc = -EBUSY;
		goto out_unlock;
	}

	if (attach->hwpt != hwpt) {
		rc = -EINVAL;
		goto out_unlock;
	}

	/* Before the device can make a page request */
	rc = xa_insert(&attach->devices, idev->obj.id, idev, GFP_KERNEL_ACCOUNT);
	if (rc)
		goto out_release;

	rc = iommufd_fault_prepare_attach(idev, hwpt);
	if (rc)
		goto out_erase;

	if (first) {
		rc = iommufd_pasid_attach_group(idev, pasid, hwpt, &attach->devices);
		if (rc)
			goto out_iopf;
		/* Reserved above, so it cannot fail */
		WARN_ON(xa_is_err(xa_store(&igroup->pasid_attach, pasid, attach,
					   GFP_KERNEL)));
	}

	refcount_inc(&hwpt->obj.users);
	mutex_unlock(&igroup->lock);
	return 0;

out_iopf:
	if (hwpt_wants_faults(hwpt))
		iommufd_fault_iopf_disable(idev);
out_erase:
	xa_erase(&attach->devices, idev->obj.id);
out_release:
	if (first)
		xa_release(&igroup->pasid_attach, pasid);
out_free:
	if (first) {
		xa_destroy(&attach->devices);
		kfree(attach);
	}
out_unlock:
	mutex_unlock(&igroup->lock);
	return rc;
}

static int iommufd_pasid_replace_device(struct iommufd_device *idev, ioasid_t pasid,
					struct iommufd_hw_pagetable *hwpt)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_attach_handle *handle, *old_handle;
	struct iommufd_pasid_attach *attach;
	struct iommufd_hw_pagetable *old;
	struct iommufd_device *cur;
	unsigned long index;
	int rc;

	mutex_lock(&igroup->lock);
	attach = xa_load(&igroup->pasid_attach, pasid);
	if (!attach || !xa_load(&attach->devices, idev->obj.id)) {
		rc = -EINVAL;
		goto out_unlock;
	}

	old = attach->hwpt;
	if (hwpt == old) {
		rc = 0;
		goto out_unlock;
	}

	rc = iommufd_hwpt_pasid_compat(igroup, pasid, hwpt);
	if (rc)
		goto out_unlock;

	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle) {
		rc = -ENOMEM;
		goto out_unlock;
	}

	rc = iommufd_fault_prepare_replace(&attach->devices, hwpt, old);
	if (rc)
		goto out_free;

	old_handle = iommufd_pasid_handle(igroup, pasid);
	handle->devices = &attach->devices;
	rc = iommu_replace_device_pasid(hwpt->domain, idev->dev, pasid,
					&handle->handle);
	if (rc)
		goto out_iopf;

	iommufd_auto_response_faults(old, old_handle, NULL);
	if (hwpt_wants_faults(old) && !hwpt_wants_faults(hwpt))
		iommufd_fault_iopf_disable_all(&attach->devices, NULL);
	kfree(old_handle);

	attach->hwpt = hwpt;
	xa_for_each(&attach->devices, index, cur) {
		refcount_inc(&hwpt->obj.users);
		refcount_dec(&old->obj.users);
	}
	mutex_unlock(&igroup->lock);
	return 0;

out_iopf:
	if (hwpt_wants_faults(hwpt) && !hwpt_wants_faults(old))
		iommufd_fault_iopf_disable_all(&attach->devices, NULL);
out_free:
	kfree(handle);
out_unlock:
	mutex_unlock(&igroup->lock);
	return rc;
}

static void iommufd_pasid_detach_device(struct iommufd_device *idev, ioasid_t pasid)
{
	struct iommufd_group *igroup = idev->igroup;
	struct iommufd_pasid_attach *attach;
	struct iommufd_hw_pagetable *hwpt;

	mutex_lock(&igroup->lock);
	attach = xa_load(&igroup->pasid_attach, pasid);
	if (WARN_ON(!attach || !xa_erase(&attach->devices, idev->obj.id))) {
		mutex_unlock(&igroup->lock);
		return;
	}

	hwpt = attach->hwpt;
	if (xa_empty(&attach->devices)) {
		iommufd_pasid_detach_group(idev, pasid, hwpt);
		xa_erase(&igroup->pasid_attach, pasid);
		xa_destroy(&attach->devices);
		kfree(attach);
	} else {
		iommufd_auto_response_faults(hwpt,
					     iommufd_pasid_handle(igroup, pasid),
					     idev);
	}
	if (hwpt_wants_faults(hwpt))
		iommufd_fault_iopf_disable(idev);
	mutex_unlock(&igroup->lock);

	iommufd_hw_pagetable_put(idev->ictx, hwpt);
	refcount_dec(&idev->obj.users);
}

typedef int (*pasid_change_fn)(struct iommufd_device *idev, ioasid_t pasid,
			       struct iommufd_hw_pagetable *hwpt);

static int iommufd_pasid_change_pt(struct iommufd_device *idev, ioasid_t pasid,
				   u32 pt_id, pasid_change_fn change)
{
	struct iommufd_object *obj;
	int rc = -EINVAL;

	if (!iommufd_device_max_pasids(idev))
		return -EOPNOTSUPP;

	obj = iommufd_get_object(idev->ictx, pt_id, IOMMUFD_OBJ_ANY);
	if (IS_ERR(obj))
		return PTR_ERR(obj);

	if (obj->type == IOMMUFD_OBJ_HWPT_PAGING ||
	    obj->type == IOMMUFD_OBJ_HWPT_NESTED)
		rc = change(idev, pasid,
			    container_of(obj, struct iommufd_hw_pagetable, obj));

	iommufd_put_object(idev->ictx, obj);
	return rc;
}

/**
 * iommufd_device_attach - Connect a device, or a PASID of it, to an
 * iommu_domain
 * @idev: device to attach
 * @pasid: PASID to attach, IOMMU_NO_PASID for the device without PASID
 * @pt_id: Input an IOMMUFD_OBJ_IOAS (not with a PASID), or an
 *         IOMMUFD_OBJ_HWPT_PAGING or IOMMUFD_OBJ_HWPT_NESTED.
 *         Output the ID of the hwpt that is attached
 *
 * A hwpt on a PASID must have been allocated with IOMMU_HWPT_ALLOC_PASID, and
 * so must the hwpt without PASID while any PASID is attached. The hwpt of an
 * IOAS is not.
 *
 * The caller should return the resulting pt_id back to userspace.
 * This function is undone by calling iommufd_device_detach() with @pasid.
 *
 * Return: 0 on success, -EOPNOTSUPP for a device without PASIDs, -EBUSY if
 * @pasid is already attached, -EINVAL if the hwpt cannot be used, or another
 * error.
 */
int iommufd_device_attach(struct iommufd_device *idev, ioasid_t pasid,
			  u32 *pt_id)
{
	int rc;

	if (pasid == IOMMU_NO_PASID)
		return iommufd_rid_attach(idev, pt_id);

	rc = iommufd_pasid_change_pt(idev, pasid, *pt_id, iommufd_pasid_attach_device);
	if (!rc)
		/* Pairs with iommufd_device_detach() */
		refcount_inc(&idev->obj.users);
	return rc;
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_attach, IOMMUFD);

/**
 * iommufd_device_replace - Change the iommu_domain of a device or a PASID of it
 * @idev: device to change
 * @pasid: PASID to change, IOMMU_NO_PASID for the device without PASID
 * @pt_id: as for iommufd_device_attach()
 *
 * The effect is that of detaching and attaching, but on failure the old
 * attachment remains, and the IOMMU driver may replace it without blocking DMA
 * in between. @pasid must be attached.
 *
 * Return: as iommufd_device_attach(); also -EINVAL if @pasid is not attached.
 */
int iommufd_device_replace(struct iommufd_device *idev, ioasid_t pasid,
			   u32 *pt_id)
{
	if (pasid == IOMMU_NO_PASID)
		return iommufd_rid_replace(idev, pt_id);

	return iommufd_pasid_change_pt(idev, pasid, *pt_id, iommufd_pasid_replace_device);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_replace, IOMMUFD);

/**
 * iommufd_device_detach - Disconnect a device, or a PASID of it
 * @idev: device to detach
 * @pasid: PASID to detach, IOMMU_NO_PASID for the device without PASID
 *
 * Undo iommufd_device_attach(). DMA of the device, or of its PASID, is blocked.
 */
void iommufd_device_detach(struct iommufd_device *idev, ioasid_t pasid)
{
	if (pasid == IOMMU_NO_PASID)
		iommufd_rid_detach(idev);
	else
		iommufd_pasid_detach_device(idev, pasid);
}
EXPORT_SYMBOL_NS_GPL(iommufd_device_detach, IOMMUFD);
