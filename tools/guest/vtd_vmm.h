/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine monitor's calls, with a "guest" that is 2 MiB of the program's
 * own memory at guest-physical address 0 and holds first-level tables that the
 * program writes itself; and a vtd-testdev to do DMA by them.
 *
 * TESTDEV names one that is bound to vfio-pci, by address, TESTDEV2 another one for
 * programs that need two, TESTDEV3 one that has no PRI; STRICT is set if the vIOMMU
 * caches everything that it may cache.
 */
#ifndef VTD_VMM_H
#define VTD_VMM_H

#include <fcntl.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "clock.h"
#include "vfio_cdev.h"
#include "vtd_testdev.h"

#define PAGE		4096UL
#define GUEST_PAGES	512
#define RID		(~0u)		/* requests without PASID */
#define ALL		UINT64_MAX
#define RW		(IOMMU_IOAS_MAP_READABLE | IOMMU_IOAS_MAP_WRITEABLE)

/* Entries of first-level tables, VT-d section 9.7 */
#define P		0x1UL
#define W		0x2UL
#define U		0x4UL
#define A		0x20UL
#define D		0x40UL
#define LARGE		0x80UL
#define TABLE		(P | W | U | A)
#define LEAF		(P | W | U | A | D)

struct testdev {
	const char *name;
	int fd;
	unsigned int dev_id;		/* iommufd's */
	volatile unsigned char *regs;
};

/* What all tests begin with: the guest's memory behind the RID */
struct vmm {
	int iommufd;
	struct testdev dev;
	unsigned int ioas, parent;
	uint64_t (*guest)[512];		/* by guest-physical page */
	unsigned int used;		/* pages of it */
};

static bool strict(void)
{
	return getenv("STRICT");
}

#define note(...) fprintf(stderr, "# " __VA_ARGS__)

/* ---- the device ---- */

/* A register, or a part of a command, whatever type that has */
typedef volatile uint32_t __attribute__((__may_alias__)) word;

static word *reg(struct testdev *dev, unsigned int offset)
{
	return (word *)(dev->regs + offset);
}

static void copy_words(word *to, const word *from, unsigned int n)
{
	while (n--)
		*to++ = *from++;
}

static void start(struct testdev *dev, const struct vtdt_command *c)
{
	copy_words(reg(dev, VTDT_COMMAND), (const word *)c, sizeof(*c) / 4);
	*reg(dev, VTDT_GO) = VTDT_GO_COMMAND;
}

/* The command that was started, when it is complete */
static struct vtdt_command await(struct testdev *dev)
{
	struct vtdt_command c;
	int looks;

	/* most are complete before a sleep would be over */
	for (looks = 0; *reg(dev, VTDT_BUSY) && looks < 300; looks++)
		;
	wait_until(!*reg(dev, VTDT_BUSY));
	copy_words((word *)&c, reg(dev, VTDT_COMMAND), sizeof(c) / 4);
	return c;
}

/* A command, with PASID unless @pasid is RID */
static struct vtdt_command command(unsigned int op, unsigned int pasid, uint64_t addr)
{
	struct vtdt_command c = { .op = op, .addr = addr };

	if (pasid != RID) {
		c.op |= VTDT_HAS_PASID;
		c.pasid = pasid;
	}
	return c;
}

/* Execute a command on eight bytes. */
static struct vtdt_command execute(struct testdev *dev, unsigned int op,
				   unsigned int pasid, uint64_t addr, uint64_t data)
{
	struct vtdt_command c = command(op, pasid, addr);

	c.length = sizeof(data);
	c.data = data;
	start(dev, &c);
	return await(dev);
}

/* Flags for read and write: untranslated, or by the device's TLB */
#define PLAIN	VTDT_IMMEDIATE
#define BY_TLB	(VTDT_IMMEDIATE | VTDT_ATS)

/* What VTDT_PATTERN has at an address that is a multiple of eight */
static uint64_t pattern_at(uint64_t seed, uint64_t addr)
{
	uint64_t x = seed + addr / 8;
	int i;

	for (i = 0; i < 2; i++) {
		x *= 0x9e3779b97f4a7c15;
		x ^= x >> 32;
	}
	return x;
}

/* The device finds the list at @addr of @pasid. */
static void start_list(struct testdev *dev, unsigned int pasid, uint64_t addr,
		       unsigned int n)
{
	*reg(dev, VTDT_LIST_PASID) = pasid == RID ? 0 : VTDT_LIST_HAS_PASID | pasid;
	*reg(dev, VTDT_LIST_ADDR) = addr;
	*reg(dev, VTDT_LIST_ADDR + 4) = addr >> 32;
	*reg(dev, VTDT_LIST_COUNT) = n;
	*reg(dev, VTDT_GO) = VTDT_GO_LIST;
}

/* ---- opening the device ---- */

static bool start_device(struct testdev *dev)
{
	dev->regs = start_cdev(dev->fd);
	return dev->regs && *reg(dev, VTDT_ID) == VTDT_ID_VALUE;
}

static bool open_device(struct testdev *dev, const char *name, int iommufd)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind), .iommufd = iommufd,
	};

	if (!name)
		return false;
	dev->name = name;
	dev->fd = open_cdev(name);
	if (dev->fd < 0 || ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		return false;
	dev->dev_id = bind.out_devid;
	return start_device(dev);
}

/* @event is signalled by this vector of the device. */
static bool set_trigger(struct testdev *dev, unsigned int vector, int event)
{
	struct {
		struct vfio_irq_set set;
		int fd;
	} irq = {
		.set = {
			.argsz = sizeof(irq), .index = VFIO_PCI_MSIX_IRQ_INDEX,
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.start = vector, .count = 1,
		},
		.fd = event,
	};

	return !ioctl(dev->fd, VFIO_DEVICE_SET_IRQS, &irq);
}

/* ---- iommufd ---- */

static bool attach(struct vmm *vmm, unsigned int pasid, unsigned int hwpt)
{
	struct vfio_device_attach_iommufd_pt attach = {
		.argsz = sizeof(attach), .pt_id = hwpt,
		.flags = pasid == RID ? 0 : VFIO_DEVICE_ATTACH_PASID,
		.pasid = pasid == RID ? 0 : pasid,
	};

	return !ioctl(vmm->dev.fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach);
}

static bool detach(struct vmm *vmm, unsigned int pasid)
{
	struct vfio_device_detach_iommufd_pt detach = {
		.argsz = sizeof(detach),
		.flags = pasid == RID ? 0 : VFIO_DEVICE_DETACH_PASID,
		.pasid = pasid == RID ? 0 : pasid,
	};

	return !ioctl(vmm->dev.fd, VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
}

static bool destroy(struct vmm *vmm, unsigned int id)
{
	struct iommu_destroy destroy = { .size = sizeof(destroy), .id = id };

	return !ioctl(vmm->iommufd, IOMMU_DESTROY, &destroy);
}

static bool map_area(struct vmm *vmm, uint64_t gpa, void *memory, uint64_t length)
{
	struct iommu_ioas_map map = {
		.size = sizeof(map), .flags = RW | IOMMU_IOAS_MAP_FIXED_IOVA,
		.ioas_id = vmm->ioas, .iova = gpa, .length = length,
		.user_va = (uintptr_t)memory,
	};

	return !ioctl(vmm->iommufd, IOMMU_IOAS_MAP, &map);
}

static bool unmap_area(struct vmm *vmm, uint64_t gpa, uint64_t length)
{
	struct iommu_ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = vmm->ioas,
		.iova = gpa, .length = length,
	};

	return !ioctl(vmm->iommufd, IOMMU_IOAS_UNMAP, &unmap);
}

/* Areas of a page each, so that they can be unmapped each by itself */
static bool map_guest(struct vmm *vmm)
{
	unsigned int page;

	for (page = 0; page < GUEST_PAGES; page++) {
		if (!map_area(vmm, page * PAGE, vmm->guest[page], PAGE))
			return false;
	}
	return true;
}

/* A domain of the guest's memory. @fault: whom page requests go to, or 0 */
static unsigned int new_paging(struct vmm *vmm, unsigned int flags, unsigned int fault)
{
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_PASID | flags |
			 (fault ? IOMMU_HWPT_FAULT_ID_VALID : 0),
		.fault_id = fault, .dev_id = vmm->dev.dev_id, .pt_id = vmm->ioas,
	};

	return ioctl(vmm->iommufd, IOMMU_HWPT_ALLOC, &alloc) ? 0 : alloc.out_hwpt_id;
}

static unsigned int new_parent(struct vmm *vmm, unsigned int flags)
{
	return new_paging(vmm, IOMMU_HWPT_ALLOC_NEST_PARENT | flags, 0);
}

/* @hwpt_flags: of the allocation; @fault: as above */
static unsigned int nest_with(struct vmm *vmm, unsigned int root, unsigned int flags,
			      unsigned int hwpt_flags, unsigned int fault)
{
	struct iommu_hwpt_vtd_s1 data = {
		.pgtbl_addr = root * PAGE, .addr_width = 48, .flags = flags,
	};
	struct iommu_hwpt_alloc alloc = {
		.size = sizeof(alloc),
		.flags = IOMMU_HWPT_ALLOC_PASID | hwpt_flags |
			 (fault ? IOMMU_HWPT_FAULT_ID_VALID : 0),
		.fault_id = fault, .dev_id = vmm->dev.dev_id, .pt_id = vmm->parent,
		.data_type = IOMMU_HWPT_DATA_VTD_S1,
		.data_len = sizeof(data), .data_uptr = (uintptr_t)&data,
	};

	return ioctl(vmm->iommufd, IOMMU_HWPT_ALLOC, &alloc) ? 0 : alloc.out_hwpt_id;
}

static unsigned int nest_faulting(struct vmm *vmm, unsigned int root,
				  unsigned int flags, unsigned int fault)
{
	return nest_with(vmm, root, flags, 0, fault);
}

static unsigned int nest(struct vmm *vmm, unsigned int root, unsigned int flags)
{
	return nest_with(vmm, root, flags, 0, 0);
}

static bool invalidate(struct vmm *vmm, unsigned int hwpt, uint64_t addr,
		       uint64_t npages, unsigned int flags)
{
	struct iommu_hwpt_vtd_s1_invalidate inv = {
		.addr = addr, .npages = npages, .flags = flags,
	};
	struct iommu_hwpt_invalidate request = {
		.size = sizeof(request), .hwpt_id = hwpt,
		.data_uptr = (uintptr_t)&inv, .entry_len = sizeof(inv), .entry_num = 1,
		.data_type = IOMMU_HWPT_INVALIDATE_DATA_VTD_S1,
	};

	return !ioctl(vmm->iommufd, IOMMU_HWPT_INVALIDATE, &request);
}

/* Page requests of domains allocated with @id come to @queue. */
static bool new_queue(struct vmm *vmm, struct pollfd *queue, unsigned int *id)
{
	struct iommu_fault_alloc fault = { .size = sizeof(fault) };

	if (ioctl(vmm->iommufd, IOMMU_FAULT_QUEUE_ALLOC, &fault))
		return false;
	*queue = (struct pollfd) { .fd = fault.out_fault_fd, .events = POLLIN };
	*id = fault.out_fault_id;
	return true;
}

static bool respond(struct pollfd *queue, unsigned int cookie, unsigned int code)
{
	struct iommu_hwpt_page_response response = { .cookie = cookie, .code = code };

	return write(queue->fd, &response, sizeof(response)) == sizeof(response);
}

/* A guest's memory, of which nothing is mapped yet, and its device */
static bool open_guest(struct vmm *vmm, const char *device)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };

	*vmm = (struct vmm) { .iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC) };
	vmm->guest = mmap(NULL, GUEST_PAGES * PAGE, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (vmm->guest == MAP_FAILED ||
	    !open_device(&vmm->dev, device, vmm->iommufd) ||
	    ioctl(vmm->iommufd, IOMMU_IOAS_ALLOC, &alloc))
		return false;
	vmm->ioas = alloc.out_ioas_id;
	return true;
}

static bool open_vmm(struct vmm *vmm)
{
	if (!open_guest(vmm, getenv("TESTDEV")) || !map_guest(vmm))
		return false;
	vmm->parent = new_parent(vmm, 0);
	return vmm->parent && attach(vmm, RID, vmm->parent);
}

/* ---- the guest's tables ---- */

/* Pages begin with their own number, so that one knows which one was read. */
static uint64_t mark(unsigned int page)
{
	return 0xda7a000000000000 | page;
}

static unsigned int new_page(struct vmm *vmm)
{
	unsigned int page = ++vmm->used;

	memset(vmm->guest[page], 0, PAGE);
	return page;
}

static unsigned int new_data(struct vmm *vmm)
{
	unsigned int page = new_page(vmm);

	vmm->guest[page][0] = mark(page);
	return page;
}

static unsigned int index_at(uint64_t iova, unsigned int level)
{
	return iova >> (12 + 9 * (level - 1)) & 511;
}

/* The entry for @iova in the table of @level, made on the way */
static uint64_t *entry(struct vmm *vmm, unsigned int root, uint64_t iova,
		       unsigned int level, uint64_t table_bits)
{
	uint64_t *e = &vmm->guest[root][index_at(iova, 4)];
	unsigned int l;

	for (l = 3; l >= level; l--) {
		if (!*e)
			*e = new_page(vmm) * PAGE | table_bits;
		e = &vmm->guest[*e / PAGE % GUEST_PAGES][index_at(iova, l)];
	}
	return e;
}

static void map(struct vmm *vmm, unsigned int root, uint64_t iova, unsigned int page)
{
	*entry(vmm, root, iova, 1, TABLE) = page * PAGE | LEAF;
}

#endif
