// SPDX-License-Identifier: GPL-2.0
/*
 * How much memory dirty tracking reports, compared with what a device writes.  As in a
 * live migration, there are rounds: the device writes the same 4 KiB pages, one in each
 * sixteenth of memory that is mapped by large pages, and the dirty bitmap is read and
 * cleared.  Uses only mainline's ABI, so that any kernel can be measured.  The host
 * evaluates the lines with "bench:".
 */
#include "vtd_vmm.h"

#define PLACES	16
#define ROUNDS	4
#define GPA	(4ULL << 30)

static uint64_t bitmap[(1 << 30) / PAGE / 64];

/* Attach a domain with dirty tracking, and enable it. */
static bool track(struct vmm *vmm)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc), .flags = IOMMU_HWPT_ALLOC_DIRTY_TRACKING,
		.dev_id = vmm->dev.dev_id, .pt_id = vmm->ioas,
	};
	struct iommu_hwpt_set_dirty_tracking set = {
		.size = sizeof(set), .flags = IOMMU_HWPT_DIRTY_TRACKING_ENABLE,
	};

	if (ioctl(vmm->iommufd, IOMMU_HWPT_ALLOC, &alloc))
		return false;
	vmm->parent = alloc.out_hwpt_id;
	set.hwpt_id = vmm->parent;
	return attach(vmm, RID, vmm->parent) &&
	       !ioctl(vmm->iommufd, IOMMU_HWPT_SET_DIRTY_TRACKING, &set);
}

/* The number of bytes that are reported dirty, or -1 */
static long long reported(struct vmm *vmm, uint64_t size)
{
	struct iommu_hwpt_get_dirty_bitmap get = {
		.size = sizeof(get), .hwpt_id = vmm->parent, .iova = GPA, .length = size,
		.page_size = PAGE, .data = (uintptr_t)bitmap,
	};
	long long pages = 0;
	unsigned int i;

	memset(bitmap, 0, sizeof(bitmap));
	if (ioctl(vmm->iommufd, IOMMU_HWPT_GET_DIRTY_BITMAP, &get))
		return -1;
	for (i = 0; i < size / PAGE / 64; i++)
		pages += __builtin_popcountll(bitmap[i]);
	return pages * PAGE;
}

static bool write_places(struct vmm *vmm, uint64_t size, volatile uint64_t *memory)
{
	unsigned int i;

	for (i = 0; i < PLACES; i++) {
		uint64_t offset = i * (size / PLACES) + i * PAGE, data = memory[offset / 8] + 1;
		struct vtdt_command c = execute(&vmm->dev, VTDT_WRITE | PLAIN, RID,
						GPA + offset, data);

		if (c.status != VTDT_OK || memory[offset / 8] != data)
			return false;
	}
	return true;
}

/* Measure with @size bytes of memory in pages of 1 << @shift. */
static bool measure(struct vmm *vmm, unsigned int shift, uint64_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
			    MAP_POPULATE | MAP_HUGETLB | shift << MAP_HUGE_SHIFT, -1, 0);
	unsigned int round;
	long long bytes;

	if (memory == MAP_FAILED || !map_area(vmm, GPA, memory, size) ||
	    reported(vmm, size))
		return false;
	for (round = 1; round <= ROUNDS; round++) {
		if (!write_places(vmm, size, memory))
			return false;
		bytes = reported(vmm, size);
		/* a report without all written pages would be wrong, not precise */
		if (bytes < PLACES * PAGE)
			return false;
		printf("bench: %s %u %lld %lld\n", shift == 30 ? "1G" : "2M", round,
		       PLACES * PAGE / 1024LL, bytes / 1024);
	}
	return unmap_area(vmm, GPA, size) && !munmap(memory, size);
}

int main(void)
{
	struct vmm vmm;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!open_guest(&vmm, getenv("TESTDEV")) || !track(&vmm) ||
	    !measure(&vmm, 21, PLACES << 21) || !measure(&vmm, 30, 1 << 30)) {
		perror("vtd_dirty");
		return 1;
	}
	return 0;
}
