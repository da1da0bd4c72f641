/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's edu device through VFIO, by iommufd or by a type 1 container: what the
 * programs that drive it share.  Every DMA is checked by the content of memory.
 */
#ifndef VFIO_EDU_H
#define VFIO_EDU_H

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "clock.h"
#include "edu.h"
#include "fault_log.h"
#include "vfio_cdev.h"

#define PAGE		4096UL
#define SZ_2M		(2UL << 20)
#define SZ_1G		(1UL << 30)
#define BOUNCE_IOVA	0x10000UL
#define IOVA		(4UL << 30)
#define RW		(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)
#define MAP_HUGE_BITS(size) (__builtin_ctzl(size) << 26)	/* MAP_HUGE_SHIFT */

struct edu {
	const char *name;
	int fd;
	int group;			/* of its container; unused with iommufd */
	unsigned int dev_id;		/* iommufd's */
	volatile unsigned char *regs;
	uint64_t *page;			/* where its buffer is seen by the CPU */
	uint64_t iova;			/* and where the device finds that */
};

/* ---- memory ---- */

static void *new_memory(size_t size, size_t huge)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
	void *memory;

	if (huge)
		flags |= MAP_HUGETLB | MAP_HUGE_BITS(huge);
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

/* Patterns that differ in every word, and from one seed to the next. */
static uint64_t pattern(unsigned int seed, unsigned int word)
{
	return (((uint64_t)seed << 32) + word + 1) * 0x61c8864680b583ebULL;
}

static void fill(void *page, unsigned int seed)
{
	uint64_t *words = page;
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*words); i++)
		words[i] = pattern(seed, i);
}

static bool holds(const void *page, unsigned int seed)
{
	const volatile uint64_t *words = page;
	unsigned int i;

	for (i = 0; i < PAGE / sizeof(*words); i++)
		if (words[i] != pattern(seed, i))
			return false;
	return true;
}

static unsigned int fill_new(void *page)
{
	static unsigned int seed;

	fill(page, ++seed);
	return seed;
}

/* ---- the device's DMA engine ---- */

static bool dma(struct edu *edu, uint64_t src, uint64_t dst, uint64_t count,
		uint32_t dir)
{
	volatile uint32_t *cmd = (void *)(edu->regs + EDU_DMA_CMD);

	*(volatile uint64_t *)(edu->regs + EDU_DMA_SRC) = src;
	*(volatile uint64_t *)(edu->regs + EDU_DMA_DST) = dst;
	*(volatile uint64_t *)(edu->regs + EDU_DMA_COUNT) = count;
	*cmd = EDU_DMA_RUN | dir;
	return wait_until(!(*cmd & EDU_DMA_RUN));
}

static bool copy_in(struct edu *edu, uint64_t iova)
{
	return dma(edu, iova, EDU_BUFFER, EDU_BUFFER_SIZE, 0);
}

static bool copy_out(struct edu *edu, uint64_t iova)
{
	return dma(edu, EDU_BUFFER, iova, EDU_BUFFER_SIZE, EDU_DMA_TO_RAM);
}

static unsigned int load_buffer(struct edu *edu)
{
	unsigned int seed = fill_new(edu->page);

	return copy_in(edu, edu->iova) ? seed : 0;
}

static bool store_buffer(struct edu *edu)
{
	fill_new(edu->page);
	return copy_out(edu, edu->iova);
}

/* The device reads a page at @iova and finds the pattern of @seed. */
static bool reads(struct edu *edu, uint64_t iova, unsigned int seed)
{
	return copy_in(edu, iova) && store_buffer(edu) && holds(edu->page, seed);
}

/* What the device writes at @iova arrives in @page. */
static bool writes(struct edu *edu, uint64_t iova, const void *page)
{
	unsigned int seed = load_buffer(edu);

	return seed && copy_out(edu, iova) && holds(page, seed);
}

/* ---- faults, as the kernel's log has them ---- */

/* The kernel reported a fault of this device at @iova since log_open(). */
static bool log_has_fault(int log, struct edu *edu, uint64_t iova, bool write)
{
	char place[128];

	count_fault();
	/* 00:03.0: newer kernels print the segment, 0000:, as well */
	snprintf(place, sizeof(place), "%s] fault addr 0x%lx ", edu->name + 5, iova);
	return log_has(log, write ? "[DMA Write" : "[DMA Read", place, "fault reason");
}

/* A read at @iova is refused: a fault, and the device never sees @secret. */
static bool cannot_read(struct edu *edu, uint64_t iova, unsigned int secret)
{
	int log;

	if (!load_buffer(edu))
		return false;
	log = log_open();
	return copy_in(edu, iova) && log_has_fault(log, edu, iova, false) &&
	       store_buffer(edu) && !holds(edu->page, secret);
}

/* A write at @iova is refused: a fault, and @page still holds @seed. */
static bool cannot_write(struct edu *edu, uint64_t iova, const void *page,
			 unsigned int seed)
{
	int log;

	if (!load_buffer(edu))
		return false;
	log = log_open();
	return copy_out(edu, iova) && log_has_fault(log, edu, iova, true) &&
	       holds(page, seed);
}

/* ---- opening the device ---- */

static bool edu_start(struct edu *edu)
{
	edu->regs = start_cdev(edu->fd);
	if (!edu->regs)
		return false;
	edu->page = new_memory(PAGE, 0);
	return edu->page && *(volatile uint32_t *)edu->regs == EDU_ID_VALUE;
}

static bool edu_open(struct edu *edu, const char *variable, int iommufd)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind), .iommufd = iommufd,
	};

	edu->name = getenv(variable);
	if (!edu->name)
		return false;
	edu->fd = open_cdev(edu->name);
	if (edu->fd < 0 || ioctl(edu->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		return false;
	edu->dev_id = bind.out_devid;
	return edu_start(edu);
}

static bool attach(struct edu *edu, unsigned int pt_id)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = pt_id,
	};

	return !ioctl(edu->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static bool detach(struct edu *edu)
{
	struct vfio_device_detach_iommufd_pt detach = { .argsz = sizeof(detach) };

	return !ioctl(edu->fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

/* ---- iommufd ---- */

static unsigned int ioas_alloc(int iommufd)
{
	struct iommu_ioas_alloc cmd = { .size = sizeof(cmd) };

	return ioctl(iommufd, IOMMU_IOAS_ALLOC, &cmd) ? 0 : cmd.out_ioas_id;
}

static int ioas_map(int iommufd, unsigned int ioas, const void *memory,
		    size_t length, uint64_t iova, unsigned int flags)
{
	struct iommu_ioas_map cmd = {
		.size = sizeof(cmd), .flags = flags | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = ioas, .user_va = (uintptr_t)memory, .length = length,
		.iova = iova,
	};

	return ioctl(iommufd, IOMMU_IOAS_MAP, &cmd) ? -errno : 0;
}

/* Bytes unmapped, or a negative error. */
static int64_t ioas_unmap(int iommufd, unsigned int ioas, uint64_t iova,
			  uint64_t length)
{
	struct iommu_ioas_unmap cmd = {
		.size = sizeof(cmd), .ioas_id = ioas, .iova = iova, .length = length,
	};

	return ioctl(iommufd, IOMMU_IOAS_UNMAP, &cmd) ? -errno : (int64_t)cmd.length;
}

static unsigned int hwpt_alloc(int iommufd, struct edu *edu, unsigned int ioas,
			       unsigned int flags)
{
	struct iommu_hwpt_alloc cmd = {
		.size = sizeof(cmd), .flags = flags, .dev_id = edu->dev_id,
		.pt_id = ioas,
	};

	return ioctl(iommufd, IOMMU_HWPT_ALLOC, &cmd) ? 0 : cmd.out_hwpt_id;
}

static bool destroy(int iommufd, unsigned int id)
{
	struct iommu_destroy cmd = { .size = sizeof(cmd), .id = id };

	return !ioctl(iommufd, IOMMU_DESTROY, &cmd);
}

/* An IOAS with the device's bounce page in it. */
static unsigned int new_ioas(int iommufd, struct edu *edu)
{
	unsigned int ioas = ioas_alloc(iommufd);

	edu->iova = BOUNCE_IOVA;
	if (!ioas || ioas_map(iommufd, ioas, edu->page, PAGE, BOUNCE_IOVA, RW))
		return 0;
	return ioas;
}

/* ---- the older interface: groups in a type 1 container ---- */

static int type1_map(int container, const void *memory, size_t size, uint64_t iova)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .iova = iova, .size = size,
		.vaddr = (uintptr_t)memory,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &map) ? -errno : 0;
}

/* Bytes unmapped, or a negative error. */
static int64_t type1_unmap(int container, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size,
	};

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap) ? -errno : (int64_t)unmap.size;
}

static int open_group(const char *name)
{
	char path[300], link[300];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", name);
	n = readlink(path, link, sizeof(link) - 1);
	if (n <= 0)
		return -1;
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio%s", strrchr(link, '/'));
	return open(path, O_RDWR | O_CLOEXEC);
}

/*
 * The device joins the container, with its bounce page at @iova.  The first one
 * chooses the @type of IOMMU; 0 for others.
 */
static bool edu_join(struct edu *edu, const char *variable, int container,
		     unsigned int type, uint64_t iova)
{
	edu->name = getenv(variable);
	if (!edu->name)
		return false;
	edu->group = open_group(edu->name);
	if (edu->group < 0 ||
	    ioctl(edu->group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    (type && ioctl(container, VFIO_SET_IOMMU, type)))
		return false;
	edu->fd = ioctl(edu->group, VFIO_GROUP_GET_DEVICE_FD, edu->name);
	edu->iova = iova;
	return edu->fd >= 0 && edu_start(edu) &&
	       !type1_map(container, edu->page, PAGE, iova);
}

#endif
