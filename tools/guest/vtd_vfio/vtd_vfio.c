// SPDX-License-Identifier: GPL-2.0
/*
 * vtd-testdev's own driver for VFIO: vfio-pci's core, and a property that vfio-pci cannot
 * know. If a transfer of the device accesses an unmapped page, with or without PASID, it
 * waits until a page request has been answered, if its command requests that
 * (VTDT_PAGE_IN). Other commands, and the fetch of a list, end with a status that reports
 * the fault: no data is lost silently. So the device tolerates faults on all its
 * DMA.
 */
#include <linux/module.h>
#include <linux/vfio_pci_core.h>

#include "../vtd_testdev.h"

static int vtd_vfio_open_device(struct vfio_device *core_vdev)
{
	struct vfio_pci_core_device *vdev =
		container_of(core_vdev, struct vfio_pci_core_device, vdev);
	int ret = vfio_pci_core_enable(vdev);

	if (!ret)
		vfio_pci_core_finish_enable(vdev);
	return ret;
}

static const struct vfio_device_ops vtd_vfio_ops = {
	.name = "vtd-vfio",
	.init = vfio_pci_core_init_dev,
	.release = vfio_pci_core_release_dev,
	.open_device = vtd_vfio_open_device,
	.close_device = vfio_pci_core_close_device,
	.ioctl = vfio_pci_core_ioctl,
	.device_feature = vfio_pci_core_ioctl_feature,
	.read = vfio_pci_core_read,
	.write = vfio_pci_core_write,
	.mmap = vfio_pci_core_mmap,
	.request = vfio_pci_core_request,
	.match = vfio_pci_core_match,
	.bind_iommufd = vfio_iommufd_physical_bind,
	.unbind_iommufd = vfio_iommufd_physical_unbind,
	.attach_ioas = vfio_iommufd_physical_attach_ioas,
	.detach_ioas = vfio_iommufd_physical_detach_ioas,
	.pasid_attach_ioas = vfio_iommufd_physical_pasid_attach_ioas,
	.pasid_detach_ioas = vfio_iommufd_physical_pasid_detach_ioas,
};

static int vtd_vfio_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vfio_pci_core_device *vdev;
	int ret;

	vdev = vfio_alloc_device(vfio_pci_core_device, vdev, &pdev->dev, &vtd_vfio_ops);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);

	/* Devices without page requests are refused by iommufd. */
	vdev->vdev.fault_tolerant = true;
	dev_set_drvdata(&pdev->dev, vdev);
	ret = vfio_pci_core_register_device(vdev);
	if (ret)
		vfio_put_device(&vdev->vdev);
	return ret;
}

static void vtd_vfio_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *vdev = dev_get_drvdata(&pdev->dev);

	vfio_pci_core_unregister_device(vdev);
	vfio_put_device(&vdev->vdev);
}

static const struct pci_device_id vtd_vfio_ids[] = {
	{ PCI_DRIVER_OVERRIDE_DEVICE_VFIO(VTDT_VENDOR, VTDT_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vtd_vfio_ids);

static struct pci_driver vtd_vfio_driver = {
	.name = KBUILD_MODNAME,
	.id_table = vtd_vfio_ids,
	.probe = vtd_vfio_probe,
	.remove = vtd_vfio_remove,
	.err_handler = &vfio_pci_core_err_handlers,
	.driver_managed_dma = true,
};
module_pci_driver(vtd_vfio_driver);

MODULE_DESCRIPTION("vtd-testdev for VFIO, which tolerates page faults");
MODULE_LICENSE("GPL");
