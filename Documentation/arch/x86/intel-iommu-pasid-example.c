// SPDX-License-Identifier: GPL-2.0
/*
 * The calls of a VMM whose guest uses its own first-level table on a PASID of an
 * assigned device. The "guest" is 2 MiB of this program's memory; its table maps one
 * page of it.
 *
 *	cc -o pasid intel-iommu-pasid-example.c && ./pasid /dev/vfio/devices/vfio0
 *
 * Exit code 0 if all steps work, 4 if the machine lacks what they need, else 1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#define ECAP_NEST	0x4000000ULL	/* bit 26, VT-d section 11.4.3 */
#define GUEST_SIZE	(2UL << 20)
#define PASID		1
#define LACKING		4

/* The guest's memory, by guest-physical page */
enum { ROOT, LEVEL3, LEVEL2, LEVEL1, DATA, NEW_DATA, SECOND_ROOT };

static int iommufd, device;
static uint64_t (*guest)[512];

static void call(int fd, unsigned long request, void *arg, const char *what)
{
	if (ioctl(fd, request, arg))
		err(1, "%s", what);
	printf("ok: %s\n", what);
}

/* Present, writable, user, accessed, dirty (VT-d section 9.7) */
static uint64_t entry(unsigned int page)
{
	return (uint64_t)page << 12 | 0x67;
}

static void write_guest_tables(void)
{
	guest[ROOT][0] = entry(LEVEL3);
	guest[LEVEL3][0] = entry(LEVEL2);
	guest[LEVEL2][0] = entry(LEVEL1);
	guest[LEVEL1][0] = entry(DATA);
	guest[SECOND_ROOT][0] = entry(LEVEL3);
}

static unsigned int bind_device(const char *path)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };

	iommufd = open("/dev/iommu", O_RDWR);
	if (iommufd < 0)
		err(1, "/dev/iommu");
	device = open(path, O_RDWR);
	if (device < 0)
		err(1, "%s", path);
	bind.iommufd = iommufd;
	call(device, VFIO_DEVICE_BIND_IOMMUFD, &bind, "bind the device to iommufd");

	return bind.out_devid;
}

static void check_hardware(unsigned int dev_id)
{
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info info = {
		.size = sizeof(info),
		.dev_id = dev_id,
		.data_len = sizeof(vtd),
		.data_uptr = (uintptr_t)&vtd,
	};

	call(iommufd, IOMMU_GET_HW_INFO, &info, "query the hardware");
	if (info.out_data_type != IOMMU_HW_INFO_TYPE_INTEL_VTD ||
	    !(vtd.ecap_reg & ECAP_NEST) || !info.out_max_pasid_log2) {
		printf("lacking: VT-d %s, nested translation %s, PASID bits %u\n",
		       info.out_data_type == IOMMU_HW_INFO_TYPE_INTEL_VTD ? "yes" : "no",
		       vtd.ecap_reg & ECAP_NEST ? "yes" : "no",
		       info.out_max_pasid_log2);
		exit(LACKING);
	}
}

static unsigned int map_guest_memory(void)
{
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.length = GUEST_SIZE,
	};

	guest = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (guest == MAP_FAILED)
		err(1, "mmap");
	call(iommufd, IOMMU_IOAS_ALLOC, &ioas, "allocate an address space");
	map.ioas_id = ioas.out_ioas_id;
	map.user_va = (uintptr_t)guest;
	call(iommufd, IOMMU_IOAS_MAP, &map, "map the guest's memory at 0");

	return ioas.out_ioas_id;
}

/* Everything that shares a device with a PASID needs ALLOC_PASID. */
static unsigned int alloc_parent(unsigned int dev_id, unsigned int ioas_id)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_NEST_PARENT | IOMMU_HWPT_ALLOC_PASID,
		.dev_id = dev_id,
		.pt_id = ioas_id,
	};

	call(iommufd, IOMMU_HWPT_ALLOC, &alloc, "allocate the second level");

	return alloc.out_hwpt_id;
}

static unsigned int alloc_nested(unsigned int dev_id, unsigned int parent,
				 unsigned int root)
{
	struct iommu_hwpt_vtd_s1 data = {
		.pgtbl_addr = (uint64_t)root << 12,
		.addr_width = 48,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_PASID,
		.dev_id = dev_id,
		.pt_id = parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data),
		.data_uptr = (uintptr_t)&data,
	};

	call(iommufd, IOMMU_HWPT_ALLOC, &alloc, "nest the guest's table on it");

	return alloc.out_hwpt_id;
}

static void attach(unsigned int hwpt, unsigned int flags, const char *what)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.flags = flags,
		.pt_id = hwpt,
		.pasid = PASID,
	};

	call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach, what);
}

static void detach(unsigned int flags, const char *what)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
		.flags = flags,
		.pasid = PASID,
	};

	call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach, what);
}

/* The guest has changed an entry: invalidate pages from 0 on, or all (U64_MAX). */
static void invalidate(unsigned int hwpt, uint64_t npages, const char *what)
{
	struct iommu_hwpt_vtd_s1_invalidate inv = {
		.npages = npages,
		.flags = IOMMU_VTD_INV_FLAGS_LEAF,
	};
	struct iommu_hwpt_invalidate request = {
		.size = sizeof(request),
		.hwpt_id = hwpt,
		.data_uptr = (uintptr_t)&inv,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
		.entry_len = sizeof(inv),
		.entry_num = 1,
	};

	call(iommufd, IOMMU_HWPT_INVALIDATE, &request, what);
}

static void destroy(unsigned int id, const char *what)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	call(iommufd, IOMMU_DESTROY, &destroy, what);
}

int main(int argc, char **argv)
{
	unsigned int dev_id, parent, first, second;

	if (argc != 2)
		errx(1, "usage: %s /dev/vfio/devices/vfioN", argv[0]);

	dev_id = bind_device(argv[1]);
	check_hardware(dev_id);
	parent = alloc_parent(dev_id, map_guest_memory());
	attach(parent, 0, "attach the second level to the device");

	write_guest_tables();
	first = alloc_nested(dev_id, parent, ROOT);
	attach(first, VFIO_DEVICE_ATTACH_PASID, "attach the guest's table to the PASID");

	guest[LEVEL1][0] = entry(NEW_DATA);
	invalidate(first, 1, "invalidate a page that the guest changed");
	invalidate(first, UINT64_MAX, "invalidate all of the PASID");

	second = alloc_nested(dev_id, parent, SECOND_ROOT);
	attach(second, VFIO_DEVICE_ATTACH_PASID, "replace the PASID's table");
	destroy(first, "destroy the old one");
	attach(parent, VFIO_DEVICE_ATTACH_PASID, "let the PASID bypass the guest's tables");
	detach(VFIO_DEVICE_DETACH_PASID, "detach the PASID");
	destroy(second, "destroy the other table");
	detach(0, "detach the device");

	return 0;
}
