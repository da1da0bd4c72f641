// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of PASIDs of one domain, on a machine whose clock counts instructions, one
 * for each nanosecond: attach and detach the n-th PASID, unmap a page and switch dirty
 * tracking with n of them. Prints tables; each line begins with "bench: ".
 *
 * TESTDEV is the device, TLB a suffix for the tables: whether it has a TLB.
 */
#include <errno.h>

#include "vtd_vmm.h"

#define WINDOW	250		/* PASIDs that are timed together */
#define UNMAPS	16

static void need(bool done, const char *what)
{
	if (done)
		return;
	printf("# cannot %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Instructions so far */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

/* The host finds this byte in its trace, between the descriptors. */
static void mark_trace(struct vmm *vmm, unsigned char byte)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};

	need(!ioctl(vmm->dev.fd, VFIO_DEVICE_GET_REGION_INFO, &info), "find the configuration");
	/* PCI_CACHE_LINE_SIZE, which is unused */
	need(pwrite(vmm->dev.fd, &byte, 1, info.offset + 0xc) == 1, "mark the trace");
}

static void open_bench(struct vmm *vmm)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	*vmm = (struct vmm) { .iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC) };
	need(open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd), "open the device");
	need(!ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc), "allocate an IOAS");
	vmm->ioas = alloc.out_ioas_id;
	vmm->guest = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	need(vmm->guest != MAP_FAILED, "have memory");
}

/* Instructions to unmap one page */
static uint64_t unmap(struct vmm *vmm)
{
	uint64_t took = 0, start;
	unsigned int i;

	for (i = 0; i < UNMAPS; i++) {
		need(map_area(vmm, 0, vmm->guest, PAGE), "map");
		mark_trace(vmm, 0xf1);
		start = now();
		need(unmap_area(vmm, 0, PAGE), "unmap");
		took += now() - start;
		mark_trace(vmm, 0xf2);
	}
	return took / UNMAPS;
}

/* Each PASID of a window; returns the instructions for one. */
static uint64_t each(struct vmm *vmm, unsigned int last, unsigned int hwpt)
{
	uint64_t start = now();
	unsigned int pasid;

	for (pasid = last - WINDOW + 1; pasid <= last; pasid++)
		need(hwpt ? attach(vmm, pasid, hwpt) : detach(vmm, pasid), "go on");
	return (now() - start) / WINDOW;
}

/* Attach those behind @from, up to @to. */
static void attach_all(struct vmm *vmm, unsigned int from, unsigned int to, unsigned int hwpt)
{
	unsigned int pasid;

	for (pasid = from + 1; pasid <= to; pasid++)
		need(attach(vmm, pasid, hwpt), "attach");
}

/* A nest parent is a second level, else it is what the driver prefers. */
static void pasids(const char *name, unsigned int flags)
{
	static const unsigned int numbers[] = { 1, 16, 1000, 10000, 65535 };
	unsigned int i, hwpt, at = 0, n = sizeof(numbers) / sizeof(*numbers);
	uint64_t attached, detached[8] = { };
	struct vmm vmm;

	open_bench(&vmm);
	hwpt = new_paging(&vmm, flags, 0);
	need(hwpt, "allocate a HWPT");
	for (i = 0; i < n; i++) {
		attached = 0;
		if (numbers[i] < WINDOW) {
			attach_all(&vmm, at, numbers[i], hwpt);
		} else {
			attach_all(&vmm, at, numbers[i] - WINDOW, hwpt);
			attached = each(&vmm, numbers[i], hwpt);
		}
		at = numbers[i];
		printf("bench: %-28s %6u %9lu %9lu\n", name, at, unmap(&vmm), attached);
		fflush(stdout);
	}
	for (i = n; i-- && numbers[i] >= WINDOW; at = numbers[i] - WINDOW) {
		for (; at > numbers[i]; at--)
			need(detach(&vmm, at), "detach");
		detached[i] = each(&vmm, numbers[i], 0);
	}
	for (; at; at--)
		need(detach(&vmm, at), "detach");
	for (i = 0; i < n; i++)
		if (detached[i])
			printf("detach: %-28s %6u %9lu\n", name, numbers[i], detached[i]);
	munmap((void *)vmm.dev.regs, 0x10000);
	close(vmm.dev.fd);
	close(vmm.iommufd);
}

int main(void)
{
	const char *tlb = getenv("TLB");
	char name[40];

	snprintf(name, sizeof(name), "first level%s", tlb);
	pasids(name, 0);
	snprintf(name, sizeof(name), "second level%s", tlb);
	pasids(name, IOMMU_HWPT_ALLOC_NEST_PARENT);
	return 0;
}
