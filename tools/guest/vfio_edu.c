// SPDX-License-Identifier: GPL-2.0
/*
 * A user-space driver of QEMU's edu device: everything that a virtual machine
 * monitor does with VFIO and iommufd, checked by real DMA.  Prints TAP.
 *
 * EDU and EDU2 name PCI functions that are bound to vfio-pci, by address; GROUPED
 * and GROUPED2 two that share an IOMMU group.  STAGE is the MACHINE: "first", or
 * another, whose vIOMMU has the second level; "legacy" is one without scalable mode.
 */
#include <linux/pci_regs.h>
#include <pthread.h>
#include <sys/stat.h>

#include "vfio_edu.h"
#include "kselftest_harness.h"

#define CGROUP		"/sys/fs/cgroup/vfio_edu"

#define VTD_ECAP_SLTS	(1UL << 46)	/* second-stage translation, spec 11.4.3 */
#define VTD_ECAP_FLTS	(1UL << 47)	/* first-stage translation */

static bool stage_is(const char *stage)
{
	return !strcmp(getenv("STAGE") ?: "", stage);
}

static bool first_stage(void)
{
	return stage_is("first");
}

/* ---- tests: one device, bound, and an IOAS that it is attached to ---- */

FIXTURE(iommufd)
{
	int fd;
	struct edu edu;
	unsigned int ioas;
};

FIXTURE_SETUP(iommufd)
{
	self->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_TRUE(edu_open(&self->edu, "EDU", self->fd));
	self->ioas = new_ioas(self->fd, &self->edu);
	ASSERT_NE(0, self->ioas);
	ASSERT_TRUE(attach(&self->edu, self->ioas))
		TH_LOG("no attach: %s", strerror(errno));
}

FIXTURE_TEARDOWN(iommufd)
{
	close(self->edu.fd);
	close(self->fd);
}

/*
 * All steps in one test, for "make run".  SNAPSHOT is a command that shows the
 * tables while they are in use.
 */
TEST_F(iommufd, map_dma_unmap_refused)
{
	const char *snapshot = getenv("SNAPSHOT");
	void *memory = new_memory(16 * PAGE, 0);
	void *page = memory + 5 * PAGE;
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, 16 * PAGE, IOVA, RW));
	seed = fill_new(page);
	EXPECT_TRUE(reads(&self->edu, IOVA + 5 * PAGE, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA + 5 * PAGE, page));
	EXPECT_EQ(0, snapshot ? system(snapshot) : 0);
	EXPECT_EQ(16 * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, 16 * PAGE));
	seed = fill_new(page);
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + 5 * PAGE, seed));
	EXPECT_TRUE(cannot_write(&self->edu, IOVA + 5 * PAGE, page, seed));
}

TEST_F(iommufd, hardware_info)
{
	struct iommu_hw_info_vtd vtd = {};
	struct iommu_hw_info cmd = {
		.size = sizeof(cmd), .dev_id = self->edu.dev_id,
		.data_len = sizeof(vtd), .data_uptr = (uintptr_t)&vtd,
	};
	unsigned long stages;

	ASSERT_EQ(0, ioctl(self->fd, IOMMU_GET_HW_INFO, &cmd));
	EXPECT_EQ(IOMMU_HW_INFO_TYPE_INTEL_VTD, cmd.out_data_type);
	stages = first_stage() ? VTD_ECAP_FLTS : VTD_ECAP_SLTS;
	if (stage_is("legacy"))
		stages = 0;		/* those are scalable mode's */
	EXPECT_EQ(stages, vtd.ecap_reg & (VTD_ECAP_FLTS | VTD_ECAP_SLTS));
}

static void one_page_size(struct __test_metadata *_metadata, int iommufd,
			  unsigned int ioas, struct edu *edu, size_t size)
{
	void *memory = new_memory(size, size == PAGE ? 0 : size);
	unsigned int seed;

	ASSERT_NE(NULL, memory) TH_LOG("no huge page of 0x%lx", size);
	ASSERT_EQ(0, ioas_map(iommufd, ioas, memory, size, IOVA, RW));
	seed = fill_new(memory + size - PAGE);
	EXPECT_TRUE(reads(edu, IOVA + size - PAGE, seed));
	EXPECT_TRUE(writes(edu, IOVA, memory));
	EXPECT_EQ(size, ioas_unmap(iommufd, ioas, IOVA, size));
	seed = fill_new(memory + size - PAGE);
	EXPECT_TRUE(cannot_read(edu, IOVA + size - PAGE, seed));
	munmap(memory, size);
}

TEST_F(iommufd, page_4k)
{
	one_page_size(_metadata, self->fd, self->ioas, &self->edu, PAGE);
}

TEST_F(iommufd, page_2m)
{
	one_page_size(_metadata, self->fd, self->ioas, &self->edu, SZ_2M);
}

TEST_F(iommufd, page_1g)
{
	one_page_size(_metadata, self->fd, self->ioas, &self->edu, SZ_1G);
}

/* Neither start nor length fit the superpage that the memory is. */
TEST_F(iommufd, odd_ranges)
{
	const size_t length = SZ_2M - 5 * PAGE;
	void *memory = new_memory(2 * SZ_2M, SZ_2M);
	uint64_t iova = IOVA + SZ_2M - 3 * PAGE;
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	EXPECT_EQ(-EINVAL, ioas_map(self->fd, self->ioas, memory, PAGE, iova + 100, RW));
	EXPECT_EQ(-EINVAL, ioas_map(self->fd, self->ioas, memory, PAGE + 100, iova, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory + 2 * PAGE, length, iova, RW));
	EXPECT_EQ(-EEXIST, ioas_map(self->fd, self->ioas, memory, PAGE, iova + PAGE, RW));
	seed = fill_new(memory + 2 * PAGE);
	EXPECT_TRUE(reads(&self->edu, iova, seed));
	seed = fill_new(memory + 2 * PAGE + length - PAGE);
	EXPECT_TRUE(reads(&self->edu, iova + length - PAGE, seed));
	EXPECT_TRUE(cannot_read(&self->edu, iova + length, seed));
	EXPECT_EQ((int64_t)length, ioas_unmap(self->fd, self->ioas, iova, length));
	EXPECT_TRUE(cannot_read(&self->edu, iova + length - PAGE, seed));
}

/* iommufd unmaps whole areas only; after a refusal the mapping stays. */
TEST_F(iommufd, unmap_whole_areas)
{
	void *memory = new_memory(2 * SZ_2M, SZ_2M);
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, SZ_2M, IOVA, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory + SZ_2M, SZ_2M, IOVA + SZ_2M, RW));
	EXPECT_EQ(-ENOENT, ioas_unmap(self->fd, self->ioas, IOVA + PAGE, PAGE));
	EXPECT_EQ(-ENOENT, ioas_unmap(self->fd, self->ioas, IOVA, PAGE));
	seed = fill_new(memory + PAGE);
	EXPECT_TRUE(reads(&self->edu, IOVA + PAGE, seed));
	EXPECT_EQ(2 * SZ_2M, ioas_unmap(self->fd, self->ioas, IOVA, 2 * SZ_2M));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + PAGE, seed));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
}

TEST_F(iommufd, read_only)
{
	void *memory = new_memory(PAGE, 0);
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA,
			      IOMMU_IOAS_MAP_READABLE));
	seed = fill_new(memory);
	/* In this order: QEMU reports no fault where its IOTLB has the entry. */
	EXPECT_TRUE(cannot_write(&self->edu, IOVA, memory, seed));
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
}

/* The last page that the IOAS offers, and none after it. */
TEST_F(iommufd, top_of_the_address_space)
{
	struct iommu_iova_range ranges[8] = {};
	struct iommu_ioas_iova_ranges cmd = {
		.size = sizeof(cmd), .ioas_id = self->ioas, .num_iovas = 8,
		.allowed_iovas = (uintptr_t)ranges,
	};
	void *memory = new_memory(PAGE, 0);
	unsigned int seed;
	uint64_t top;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_IOAS_IOVA_RANGES, &cmd));
	ASSERT_LT(0, cmd.num_iovas);
	top = ranges[cmd.num_iovas - 1].last + 1 - PAGE;
	EXPECT_LE(1UL << 46, top);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, top, RW));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, top, seed));
	EXPECT_TRUE(writes(&self->edu, top, memory));
	EXPECT_NE(0, ioas_map(self->fd, self->ioas, memory, PAGE, top + PAGE, RW));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, top, PAGE));
	seed = fill_new(memory);
	EXPECT_TRUE(cannot_read(&self->edu, top, seed));
}

/* The device moves back and forth without a detach: the same address, other memory. */
TEST_F(iommufd, two_ioas_in_turn)
{
	void *one = new_memory(PAGE, 0), *two = new_memory(PAGE, 0);
	unsigned int other = new_ioas(self->fd, &self->edu);
	unsigned int seed_one, seed_two;
	int turn;

	ASSERT_TRUE(one && two && other);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, one, PAGE, IOVA, RW));
	ASSERT_EQ(0, ioas_map(self->fd, other, two, PAGE, IOVA, RW));
	seed_one = fill_new(one);
	seed_two = fill_new(two);
	for (turn = 0; turn < 3; turn++) {
		EXPECT_TRUE(reads(&self->edu, IOVA, seed_one));
		ASSERT_TRUE(attach(&self->edu, other));
		EXPECT_TRUE(reads(&self->edu, IOVA, seed_two));
		ASSERT_TRUE(attach(&self->edu, self->ioas));
	}
	ASSERT_TRUE(detach(&self->edu));
	EXPECT_TRUE(destroy(self->fd, other));
	ASSERT_TRUE(attach(&self->edu, self->ioas));
	EXPECT_TRUE(reads(&self->edu, IOVA, seed_one));
}

/* A page table made by the user, filled before and after it is attached. */
TEST_F(iommufd, hwpt)
{
	void *memory = new_memory(2 * PAGE, 0);
	unsigned int hwpt, seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA, RW));
	hwpt = hwpt_alloc(self->fd, &self->edu, self->ioas, 0);
	ASSERT_NE(0, hwpt) TH_LOG("no hwpt: %s", strerror(errno));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory + PAGE, PAGE, IOVA + SZ_2M, RW));
	ASSERT_TRUE(attach(&self->edu, hwpt));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory + PAGE, PAGE, IOVA + SZ_1G, RW));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	seed = fill_new(memory + PAGE);
	EXPECT_TRUE(reads(&self->edu, IOVA + SZ_2M, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA + SZ_1G, memory + PAGE));
	EXPECT_FALSE(destroy(self->fd, hwpt));
	EXPECT_EQ(EBUSY, errno);
	ASSERT_TRUE(attach(&self->edu, self->ioas));
	EXPECT_TRUE(destroy(self->fd, hwpt));
	EXPECT_TRUE(writes(&self->edu, IOVA, memory));
}

/* QEMU's vIOMMU has neither nesting nor dirty tracking: a clean refusal. */
TEST_F(iommufd, hwpt_features_absent)
{
	EXPECT_EQ(0, hwpt_alloc(self->fd, &self->edu, self->ioas, IOMMU_HWPT_ALLOC_NEST_PARENT));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, hwpt_alloc(self->fd, &self->edu, self->ioas,
				IOMMU_HWPT_ALLOC_DIRTY_TRACKING));
	EXPECT_EQ(EOPNOTSUPP, errno);
	EXPECT_EQ(0, hwpt_alloc(self->fd, &self->edu, self->ioas, 1U << 31));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

static int pasid_attach(struct edu *edu, unsigned int pt_id, unsigned int pasid)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .flags = VFIO_DEVICE_ATTACH_PASID,
		.pt_id = pt_id, .pasid = pasid,
	};

	return ioctl(edu->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? -errno : 0;
}

static int pasid_detach(struct edu *edu, unsigned int pasid)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach), .flags = VFIO_DEVICE_DETACH_PASID,
		.pasid = pasid,
	};

	return ioctl(edu->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach) ? -errno : 0;
}

/*
 * edu has no PASIDs: all requests for them are refused, and DMA without PASID
 * still works.
 */
TEST_F(iommufd, pasids_absent)
{
	struct iommu_hw_info info = {
		.size = sizeof(info), .dev_id = self->edu.dev_id,
	};
	void *memory = new_memory(PAGE, 0);
	unsigned int hwpt, seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA, RW));

	info.out_max_pasid_log2 = 0xff;
	ASSERT_EQ(0, ioctl(self->fd, IOMMU_GET_HW_INFO, &info));
	EXPECT_EQ(0, info.out_max_pasid_log2);
	EXPECT_EQ(0, info.out_capabilities & (IOMMU_HW_CAP_PCI_PASID_EXEC |
					      IOMMU_HW_CAP_PCI_PASID_PRIV));

	EXPECT_EQ(0, hwpt_alloc(self->fd, &self->edu, self->ioas,
				IOMMU_HWPT_ALLOC_PASID));
	EXPECT_EQ(EOPNOTSUPP, errno);
	hwpt = hwpt_alloc(self->fd, &self->edu, self->ioas, 0);
	ASSERT_NE(0, hwpt);
	EXPECT_EQ(-EOPNOTSUPP, pasid_attach(&self->edu, hwpt, 1));
	EXPECT_EQ(-EOPNOTSUPP, pasid_attach(&self->edu, self->ioas, 1));
	EXPECT_EQ(-EINVAL, pasid_attach(&self->edu, hwpt, 0));
	EXPECT_EQ(0, pasid_detach(&self->edu, 1));
	EXPECT_EQ(0, pasid_detach(&self->edu, 0));

	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA, memory));
	EXPECT_TRUE(destroy(self->fd, hwpt));
}

/* Structures of binaries without PASIDs, with nothing readable after them. */
TEST_F(iommufd, old_structures)
{
	struct vfio_device_attach_iommufd_pt *attach;
	struct vfio_device_detach_iommufd_pt *detach;
	const unsigned int attach_size = 12, detach_size = 8;
	void *memory = new_memory(PAGE, 0);
	unsigned int seed;
	void *pages;

	pages = new_memory(2 * PAGE, 0);
	ASSERT_TRUE(memory && pages);
	ASSERT_EQ(0, mprotect(pages + PAGE, PAGE, PROT_NONE));
	attach = pages + PAGE - attach_size;
	detach = pages + PAGE - detach_size;
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA, RW));

	detach->argsz = detach_size;
	detach->flags = 0;
	ASSERT_EQ(0, ioctl(self->edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach));
	/* PASID requested, but argsz has no room for it, or claims room that is unreadable */
	detach->flags = VFIO_DEVICE_DETACH_PASID;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach));
	EXPECT_EQ(EINVAL, errno);
	detach->argsz = sizeof(*detach);
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach));
	EXPECT_EQ(EFAULT, errno);
	detach->flags = VFIO_DEVICE_DETACH_PASID << 1;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach));
	EXPECT_EQ(EINVAL, errno);
	detach->argsz = detach_size - 1;
	detach->flags = 0;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, detach));
	EXPECT_EQ(EINVAL, errno);

	attach->argsz = attach_size;
	attach->flags = VFIO_DEVICE_ATTACH_PASID;
	attach->pt_id = self->ioas;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_EQ(EINVAL, errno);
	attach->argsz = sizeof(*attach);
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_EQ(EFAULT, errno);
	attach->flags = VFIO_DEVICE_ATTACH_PASID << 1;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_EQ(EINVAL, errno);
	attach->argsz = attach_size - 1;
	attach->flags = 0;
	EXPECT_NE(0, ioctl(self->edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_EQ(EINVAL, errno);
	attach->argsz = attach_size;
	ASSERT_EQ(0, ioctl(self->edu.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, attach));
	EXPECT_NE(self->ioas, attach->pt_id);

	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA, memory));
}

TEST_F(iommufd, two_devices)
{
	void *memory = new_memory(2 * PAGE, 0);
	struct edu second = {};
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_TRUE(edu_open(&second, "EDU2", self->fd));
	second.iova = 2 * BOUNCE_IOVA;
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, second.page, PAGE, second.iova, RW));
	ASSERT_TRUE(attach(&second, self->ioas));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA, RW));
	EXPECT_TRUE(writes(&self->edu, IOVA, memory));
	EXPECT_TRUE(writes(&second, IOVA, memory));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	EXPECT_TRUE(reads(&second, IOVA, seed));
	ASSERT_TRUE(detach(&self->edu));
	EXPECT_TRUE(reads(&second, IOVA, seed));
	EXPECT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, IOVA, PAGE));
	EXPECT_TRUE(cannot_write(&second, IOVA, memory, seed));
	close(second.fd);
}

/* Close everything with mappings in place: the next user cannot access them. */
TEST_F(iommufd, closed_with_live_mappings)
{
	void *memory = new_memory(SZ_2M, SZ_2M);
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, SZ_2M, IOVA, RW));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	munmap((void *)self->edu.regs, 1 << 20);
	close(self->edu.fd);
	close(self->fd);

	self->fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_TRUE(edu_open(&self->edu, "EDU", self->fd));
	self->ioas = new_ioas(self->fd, &self->edu);
	ASSERT_TRUE(attach(&self->edu, self->ioas));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA, seed));
	EXPECT_TRUE(cannot_write(&self->edu, IOVA, memory, seed));
}

/* Allocates HWPTs for a device that may go at any time, until @stop. */
struct allocator {
	int iommufd;
	unsigned int ioas;
	volatile unsigned int dev_id;
	volatile bool stop;
};

static void *allocate(void *data)
{
	struct allocator *a = data;

	while (!a->stop) {
		struct edu edu = { .dev_id = a->dev_id };
		unsigned int hwpt = hwpt_alloc(a->iommufd, &edu, a->ioas, 0);

		if (hwpt)
			destroy(a->iommufd, hwpt);
	}
	return NULL;
}

/*
 * Closing the device waits for calls in progress, and no longer. A waiter that is
 * not woken waits for the kernel's time-out of 60 s.
 */
TEST_F(iommufd, closed_while_hwpts_are_allocated)
{
	struct allocator a = {
		.iommufd = self->fd, .ioas = self->ioas, .dev_id = self->edu.dev_id,
	};
	pthread_t thread[2];
	long worst = 0, start;
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&thread[i], NULL, allocate, &a));
	for (i = 0; i < 100 && worst < 30000; i++) {
		usleep(1000 + i % 7 * 300);
		munmap((void *)self->edu.regs, 1 << 20);
		start = now_ms();
		close(self->edu.fd);
		if (now_ms() - start > worst)
			worst = now_ms() - start;
		ASSERT_TRUE(edu_open(&self->edu, "EDU", self->fd));
		a.dev_id = self->edu.dev_id;
	}
	a.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	TH_LOG("a close took up to %ld ms", worst);
	EXPECT_GT(30000, worst);
}

/* Replaces the HWPT of a group, by one of its devices, until @stop. */
struct replacer {
	struct edu edu;
	unsigned int hwpt[2];
	volatile unsigned int times;
	volatile bool stop, failed;
};

static void *replace(void *data)
{
	struct replacer *r = data;

	while (!r->stop && !r->failed)
		r->failed = !attach(&r->edu, r->hwpt[r->times++ % 2]);
	return NULL;
}

/*
 * One device of a group is detached and attached while the other one replaces the
 * group's HWPT. No HWPT loses a reference, or keeps one.
 */
TEST_F(iommufd, detach_while_group_replaces)
{
	unsigned int i, tries = 0;
	struct replacer r = {};
	struct edu edu = {};
	pthread_t thread;

	if (!getenv("GROUPED"))
		SKIP(return, "no two devices of a group");
	ASSERT_TRUE(edu_open(&edu, "GROUPED", self->fd));
	ASSERT_TRUE(edu_open(&r.edu, "GROUPED2", self->fd));
	for (i = 0; i < 2; i++) {
		r.hwpt[i] = hwpt_alloc(self->fd, &edu, self->ioas, 0);
		ASSERT_NE(0, r.hwpt[i]);
	}
	ASSERT_TRUE(attach(&r.edu, r.hwpt[0]));
	ASSERT_TRUE(attach(&edu, r.hwpt[0]));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace, &r));
	for (i = 0; (i < 300 || r.times < 300) && !r.failed; i++) {
		ASSERT_TRUE(detach(&edu));
		/* Another HWPT than the group's is refused. */
		while (!attach(&edu, r.hwpt[++tries % 2]))
			ASSERT_EQ(EINVAL, errno);
	}
	r.stop = true;
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_FALSE(r.failed);
	TH_LOG("%u replaced, %u attached, %u refused", r.times, i, tries - i);
	EXPECT_TRUE(detach(&edu));
	EXPECT_TRUE(detach(&r.edu));
	for (i = 0; i < 2; i++)
		EXPECT_TRUE(destroy(self->fd, r.hwpt[i]));
	close(edu.fd);
	close(r.edu.fd);
}

/* Bytes of page tables for devices that our memory cgroup is charged for. */
static long charged_tables(void)
{
	FILE *stat = fopen(CGROUP "/memory.stat", "r");
	char line[128];
	long bytes = -1;

	while (stat && fgets(line, sizeof(line), stat) &&
	       sscanf(line, "sec_pagetables %ld", &bytes) != 1)
		;
	if (stat)
		fclose(stat);
	return bytes;
}

static bool enter_cgroup(void)
{
	FILE *procs;

	if (mkdir(CGROUP, 0755) && errno != EEXIST)
		return false;
	procs = fopen(CGROUP "/cgroup.procs", "w");
	return procs && fputs("0", procs) != EOF && !fclose(procs);
}

/*
 * A user pays for the tables of its mappings: one page in every 2 MiB takes a
 * table each. Counters are exact to the batch in which CPUs hand them in.
 */
TEST_F(iommufd, tables_are_charged)
{
	const unsigned int regions = 1024, batch = 256;
	void *memory = new_memory(PAGE, 0);
	unsigned int i;
	long before;

	ASSERT_NE(NULL, memory);
	ASSERT_TRUE(enter_cgroup());
	before = charged_tables();
	ASSERT_LE(0, before);
	for (i = 0; i < regions; i++)
		ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE,
				      IOVA + i * SZ_2M, RW));
	EXPECT_LE((long)((regions - batch) * PAGE), charged_tables() - before);
	EXPECT_EQ(regions * PAGE, ioas_unmap(self->fd, self->ioas, IOVA, regions * SZ_2M));
}

/* A figure of /proc/meminfo, in pages. */
static long meminfo_pages(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "r");
	size_t length = strlen(name);
	char line[128];
	long kb = -1;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, length) && line[length] == ':')
			sscanf(line + length + 1, "%ld", &kb);
	if (file)
		fclose(file);
	return kb < 0 ? -1 : kb / (long)(PAGE >> 10);
}

/* The most pages that a user's tables may take. */
static long table_bound(void)
{
	const long least = (64UL << 20) / PAGE;
	long share = meminfo_pages("MemTotal") / 64;

	return share > least ? share : least;
}

/* Number of regions of 2 MiB in which a page can be mapped and unmapped, until one fails. */
static long touch_regions(int iommufd, unsigned int ioas, const void *memory, long most)
{
	long i;

	for (i = 0; i < most; i++) {
		uint64_t iova = IOVA + i * SZ_2M;

		errno = 0;
		if (ioas_map(iommufd, ioas, memory, PAGE, iova, RW) ||
		    ioas_unmap(iommufd, ioas, iova, PAGE) != PAGE)
			break;
	}
	return i;
}

/*
 * A user that scatters pages, to use up memory for tables that stay after an unmap, is
 * limited to 1/64 of memory, or 64 MiB. Others are not affected.
 */
TEST_F(iommufd, tables_are_bounded)
{
	const long bound = table_bound();
	/* each CPU counts for itself at first, and there are tables of tables */
	const long slack = bound / 64 + 512;
	void *memory = new_memory(PAGE, 0);
	unsigned int other_ioas, seed;
	long before, charged, regions;
	struct edu other = {};
	int other_fd;

	if (!first_stage())
		SKIP(return, "only the first level keeps empty tables");
	ASSERT_NE(NULL, memory);
	ASSERT_TRUE(enter_cgroup());
	other_fd = open("/dev/iommu", O_RDWR | O_CLOEXEC);
	ASSERT_TRUE(edu_open(&other, "EDU2", other_fd));
	other_ioas = new_ioas(other_fd, &other);
	ASSERT_TRUE(attach(&other, other_ioas));
	before = meminfo_pages("SecPageTables");
	charged = charged_tables();
	ASSERT_LE(0, before);
	ASSERT_LE(0, charged);

	regions = touch_regions(self->fd, self->ioas, memory, 2 * bound);
	ASSERT_GT(2 * bound, regions)
		TH_LOG("no bound: %ld pages of tables", meminfo_pages("SecPageTables") - before);
	EXPECT_EQ(ENOMEM, errno);
	EXPECT_GE(bound, regions);
	EXPECT_LE(bound - slack, regions);
	EXPECT_LE(bound - slack, meminfo_pages("SecPageTables") - before);
	EXPECT_GE(bound + slack, meminfo_pages("SecPageTables") - before);
	EXPECT_LE(bound - slack, (charged_tables() - charged) / (long)PAGE);
	EXPECT_GE(bound + slack, (charged_tables() - charged) / (long)PAGE);

	/* it fails again, and existing tables can be used */
	EXPECT_EQ(-ENOMEM, ioas_map(self->fd, self->ioas, memory, PAGE,
				    IOVA + regions * SZ_2M, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE, IOVA, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE,
			      IOVA + regions * SZ_2M - PAGE, RW));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&self->edu, IOVA, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA + regions * SZ_2M - PAGE, memory));

	ASSERT_EQ(0, ioas_map(other_fd, other_ioas, memory, PAGE,
			      IOVA + regions * SZ_2M, RW));
	seed = fill_new(memory);
	EXPECT_TRUE(reads(&other, IOVA + regions * SZ_2M, seed));

	/* after everything is unmapped, it works again */
	EXPECT_EQ(3 * PAGE, ioas_unmap(self->fd, self->ioas, 0, UINT64_MAX));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, memory, PAGE,
			      IOVA + regions * SZ_2M, RW));
	ASSERT_EQ(0, ioas_map(self->fd, self->ioas, self->edu.page, PAGE, BOUNCE_IOVA, RW));
	EXPECT_TRUE(reads(&self->edu, IOVA + regions * SZ_2M, seed));

	munmap((void *)self->edu.regs, 1 << 20);
	close(self->edu.fd);
	close(self->fd);
	EXPECT_TRUE(wait_until(meminfo_pages("SecPageTables") <= before + slack));
	EXPECT_TRUE(reads(&other, IOVA + regions * SZ_2M, seed));
	close(other.fd);
	close(other_fd);
}

/* Mapping one page at a time at ever new addresses never fails. */
TEST_F(iommufd, page_at_many_addresses)
{
	const long most = table_bound() * 5 / 4;
	void *memory = new_memory(PAGE, 0);

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(PAGE, ioas_unmap(self->fd, self->ioas, BOUNCE_IOVA, PAGE));
	EXPECT_EQ(most, touch_regions(self->fd, self->ioas, memory, most));
}

/* ---- tests: the older interface, a group in a type 1 container ---- */

FIXTURE(container)
{
	int fd;
	struct edu edu;
};

FIXTURE_SETUP(container)
{
	self->fd = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	ASSERT_GE(self->fd, 0);
	ASSERT_TRUE(edu_join(&self->edu, "EDU", self->fd, VFIO_TYPE1v2_IOMMU, BOUNCE_IOVA));
}

FIXTURE_TEARDOWN(container)
{
	close(self->edu.fd);
	close(self->edu.group);
	close(self->fd);
}

FIXTURE_VARIANT(container)
{
	size_t huge;
};

FIXTURE_VARIANT_ADD(container, small_pages) { .huge = 0 };
FIXTURE_VARIANT_ADD(container, pages_of_2m) { .huge = SZ_2M };

TEST_F(container, map_dma_unmap_refused)
{
	void *memory = new_memory(2 * SZ_2M, variant->huge);
	unsigned int seed;

	ASSERT_NE(NULL, memory);
	ASSERT_EQ(0, type1_map(self->fd, memory, 2 * SZ_2M, IOVA));
	seed = fill_new(memory + SZ_2M + PAGE);
	EXPECT_TRUE(reads(&self->edu, IOVA + SZ_2M + PAGE, seed));
	EXPECT_TRUE(writes(&self->edu, IOVA + SZ_2M - PAGE, memory + SZ_2M - PAGE));
	ASSERT_EQ(2 * SZ_2M, type1_unmap(self->fd, IOVA, 2 * SZ_2M));
	EXPECT_TRUE(cannot_read(&self->edu, IOVA + SZ_2M + PAGE, seed));
	seed = fill_new(memory);
	EXPECT_TRUE(cannot_write(&self->edu, IOVA, memory, seed));
}

/* The same as iommufd.page_at_many_addresses */
TEST_F(container, page_at_many_addresses)
{
	const long most = table_bound() * 5 / 4;
	void *memory = new_memory(PAGE, 0);
	long i;

	if (variant->huge)
		SKIP(return, "only for small pages");
	ASSERT_NE(NULL, memory);
	ASSERT_EQ(PAGE, type1_unmap(self->fd, BOUNCE_IOVA, PAGE));
	for (i = 0; i < most; i++) {
		ASSERT_EQ(0, type1_map(self->fd, memory, PAGE, IOVA + i * SZ_2M));
		ASSERT_EQ(PAGE, type1_unmap(self->fd, IOVA + i * SZ_2M, PAGE));
	}
}

TEST_HARNESS_MAIN
