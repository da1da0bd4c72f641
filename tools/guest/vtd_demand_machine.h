/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Helpers of programs that change demand-paged memory of a device, with and without a
 * guest's tables.
 */
#ifndef VTD_DEMAND_MACHINE_H
#define VTD_DEMAND_MACHINE_H

#include "vtd_demand.h"

#define SIZE		(8 * SZ_2M)
#define IOVA		(4 * SZ_1G - 4 * SZ_2M)		/* the area crosses a GiB */
#define ELSEWHERE	(64 * SZ_1G)

/* The guest's tables are at 0; they map what tests access to the same addresses. */
static bool nest_demand(struct demand *d)
{
	struct vmm *vmm = &d->vmm;
	uint64_t offset;

	if (!d->tables) {
		d->tables = new_memory(SZ_2M, MADV_NOHUGEPAGE);
		if (!d->tables || !map_area(vmm, 0, d->tables, SZ_2M))
			return false;
		vmm->guest = (void *)d->tables;
	}
	if (!vmm->parent)
		vmm->parent = new_parent(vmm, IOMMU_HWPT_ALLOC_DEMAND);
	d->root = new_page(vmm);
	for (offset = 0; offset < SIZE; offset += SZ_2M) {
		*entry(vmm, d->root, IOVA + offset, 2, TABLE) = (IOVA + offset) | LEAF | LARGE;
		*entry(vmm, d->root, ELSEWHERE + offset, 2, TABLE) =
			(ELSEWHERE + offset) | LEAF | LARGE;
	}
	d->hwpt = vmm->parent ? nest(vmm, d->root, 0) : 0;
	return d->hwpt;
}

static bool new_hwpt(struct demand *d)
{
	if (d->nested)
		return nest_demand(d);
	d->hwpt = new_paging(&d->vmm, IOMMU_HWPT_ALLOC_DEMAND, 0);
	return d->hwpt;
}

/* Memory, an IOAS without it, and the device, not attached yet */
static bool open_detached(struct demand *d, unsigned int pasid)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vmm *vmm = &d->vmm;

	*d = (struct demand) { .pasid = pasid };
	vmm->iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	if (!open_device(&vmm->dev, getenv("TESTDEV"), vmm->iommufd) ||
	    ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return false;
	vmm->ioas = alloc.out_ioas_id;
	d->memory = new_memory(SIZE, MADV_NOHUGEPAGE);
	return d->memory;
}

static bool open_demand(struct demand *d, unsigned int pasid, bool nested)
{
	if (!open_detached(d, pasid))
		return false;
	d->nested = nested;
	return new_hwpt(d) && map_area(&d->vmm, IOVA, d->memory, SIZE) &&
	       attach(&d->vmm, pasid, d->hwpt);
}

static void close_demand(struct demand *d)
{
	munmap((void *)d->vmm.dev.regs, 0x10000);
	close(d->vmm.dev.fd);
	close(d->vmm.iommufd);
	munmap(d->memory, SIZE);
	if (d->tables)
		munmap(d->tables, SZ_2M);
}

/* A killed process holds the device until the last of its memory is freed. */
static bool open_demand_when_free(struct demand *d, unsigned int pasid, bool nested)
{
	int rounds;

	for (rounds = 0; rounds < PATIENCE; rounds++) {
		if (open_demand(d, pasid, nested))
			return true;
		if (d->vmm.dev.fd > 0)
			close(d->vmm.dev.fd);
		close(d->vmm.iommufd);
		sleep_ms(1);
	}
	return false;
}

#endif
