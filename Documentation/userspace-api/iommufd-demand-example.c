// SPDX-License-Identifier: GPL-2.0
/*
 * The calls of a VMM that does not pin the memory of an assigned device: probe, map,
 * allocate, attach, serve requests for what the IOAS does not map, take memory back.
 *
 *	cc -o demand iommufd-demand-example.c && ./demand /dev/vfio/devices/vfio0
 *
 * Exit code 0 if all steps work, 4 if the device may not be attached, else 1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>

#define GUEST_SIZE	(1024UL << 20)
#define BALLOON_SIZE	(2UL << 20)
#define LACKING		4

/* The largest group: read() returns whole groups only. */
#define MAX_REQUESTS	512

static int iommufd, device;

static void call(int fd, unsigned long request, void *arg, const char *what)
{
	if (ioctl(fd, request, arg))
		err(1, "%s", what);
	printf("ok: %s\n", what);
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

/* If the kernel or the IOMMU's driver does not support this, both bits are clear. */
static void check_device(unsigned int dev_id)
{
	struct iommu_hw_info info = { .size = sizeof(info), .dev_id = dev_id };

	call(iommufd, IOMMU_GET_HW_INFO, &info, "query the hardware");
	if (info.out_capabilities & IOMMU_HW_CAP_DEMAND)
		return;
	printf("lacking: %s\n", info.out_capabilities & IOMMU_HW_CAP_IOPF_FLAT ?
	       "a declaration that all devices of the group are fault-tolerant" :
	       "page requests that the kernel can report");
	exit(LACKING);
}

/* Nothing is allocated before the guest or the device uses it. */
static void *map_guest_memory(unsigned int *ioas_id)
{
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	struct iommu_ioas_map map = {
		.size = sizeof(map),
		.flags = IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE |
			 IOMMU_IOAS_MAP_FIXED_IOVA,
		.length = GUEST_SIZE,
	};
	void *guest = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (guest == MAP_FAILED)
		err(1, "mmap");
	call(iommufd, IOMMU_IOAS_ALLOC, &ioas, "allocate an address space");
	map.ioas_id = ioas.out_ioas_id;
	map.user_va = (uintptr_t)guest;
	call(iommufd, IOMMU_IOAS_MAP, &map, "map the guest's memory at 0");
	*ioas_id = ioas.out_ioas_id;

	return guest;
}

/*
 * Optional: the queue gets the requests for addresses that the IOAS does not map. Without
 * it, they are answered as invalid.
 */
static int alloc_queue(unsigned int *fault_id)
{
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };

	call(iommufd, IOMMU_FAULT_QUEUE_ALLOC, &fault, "allocate a fault queue");
	*fault_id = fault.out_fault_id;

	return fault.out_fault_fd;
}

/* If the guest has its own tables: add IOMMU_HWPT_ALLOC_NEST_PARENT, and nest on it. */
static unsigned int alloc_hwpt(unsigned int dev_id, unsigned int ioas_id,
			       unsigned int fault_id)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_DEMAND | IOMMU_HWPT_FAULT_ID_VALID,
		.dev_id = dev_id,
		.pt_id = ioas_id,
		.fault_id = fault_id,
	};

	call(iommufd, IOMMU_HWPT_ALLOC, &alloc, "allocate a HWPT that pins nothing");

	return alloc.out_hwpt_id;
}

/* By the ID of the HWPT. By that of the IOAS, the device would get one that pins. */
static void attach_device(unsigned int hwpt_id)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach),
		.pt_id = hwpt_id,
	};

	call(device, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach, "attach the device");
}

/*
 * The IOAS does not map the address. A VMM that knows what belongs there calls
 * IOMMU_IOAS_MAP and returns true: the device then repeats the request.
 */
static bool map_missing(const struct iommu_hwpt_pgfault *request)
{
	printf("device %u requests %#llx\n", request->dev_id,
	       (unsigned long long)request->addr);

	return false;
}

static void answer_group(int queue, uint32_t cookie, bool mapped)
{
	struct iommu_hwpt_page_response response = {
		.cookie = cookie,
		.code = mapped ? IOMMUFD_PAGE_RESP_SUCCESS : IOMMUFD_PAGE_RESP_INVALID,
	};

	/* EINVAL: the group is gone, as the device was reset or detached. */
	if (write(queue, &response, sizeof(response)) < 0 && errno != EINVAL)
		err(1, "answer page requests");
}

/* Serve the queue until nothing arrives for @ms. Each group gets one answer. */
static void serve_queue(int queue, int ms)
{
	static struct iommu_hwpt_pgfault requests[MAX_REQUESTS];
	struct pollfd poll_queue = { .fd = queue, .events = POLLIN };
	bool mapped = true;

	while (poll(&poll_queue, 1, ms) > 0) {
		ssize_t n = read(queue, requests, sizeof(requests));
		size_t i;

		if (n < 0)
			err(1, "read page requests");
		for (i = 0; i < n / sizeof(*requests); i++) {
			if (!map_missing(&requests[i]))
				mapped = false;
			if (!(requests[i].flags & IOMMU_PGFAULT_FLAGS_LAST_PAGE))
				continue;
			answer_group(queue, requests[i].cookie, mapped);
			mapped = true;
		}
	}
}

/* A balloon does this. The device loses the memory, too, and may request it again. */
static void take_back(void *memory, size_t size)
{
	if (madvise(memory, size, MADV_DONTNEED))
		err(1, "madvise");
	printf("ok: take memory back\n");
}

int main(int argc, char **argv)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };
	struct iommu_destroy destroy = { .size = sizeof(destroy) };
	unsigned int dev_id, ioas_id, fault_id;
	void *guest;
	int queue;

	if (argc != 2)
		errx(1, "usage: %s /dev/vfio/devices/vfioN", argv[0]);

	dev_id = bind_device(argv[1]);
	check_device(dev_id);
	guest = map_guest_memory(&ioas_id);
	queue = alloc_queue(&fault_id);
	destroy.id = alloc_hwpt(dev_id, ioas_id, fault_id);
	attach_device(destroy.id);

	/* From here on, the device may access all of the memory. */
	memset(guest, 1, BALLOON_SIZE);
	serve_queue(queue, 1000);
	take_back(guest, BALLOON_SIZE);

	call(device, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach, "detach the device");
	call(iommufd, IOMMU_DESTROY, &destroy, "destroy the HWPT");
	close(queue);

	return 0;
}
