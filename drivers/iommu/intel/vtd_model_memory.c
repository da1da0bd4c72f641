// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's memory: what hardware finds at a physical address.
 *
 * A walk that snoops finds what the CPU stored last. One that does not finds
 * what was written back last, or what was stored last, because a CPU may write
 * a line back at any time. Lines that were never written back hold garbage.
 */

#include <linux/io.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "vtd_model_hw.h"

/* A page as it is in memory */
struct page_image {
	u64 known;			/* lines that were written back, of 64 */
	u8 *data;
};

static const void *memory_at(u64 addr)
{
	if (!pfn_valid(PHYS_PFN(addr)))
		return NULL;

	return phys_to_virt(addr);
}

static void add_version(struct vtd_read *read, const u64 *qw, unsigned int qwords)
{
	if (read->nr && !memcmp(read->qw[0], qw, qwords * sizeof(*qw)))
		return;

	memcpy(read->qw[read->nr++], qw, qwords * sizeof(*qw));
}

static void add_written_back(struct vtd_machine *machine, u64 addr,
			     unsigned int qwords, struct vtd_read *read)
{
	unsigned int line = offset_in_page(addr) / VTD_LINE;
	u64 qw[VTD_LINE / sizeof(u64)];
	struct page_image *image;

	image = xa_load(&machine->written_back, PHYS_PFN(addr));
	if (image && image->known & BIT_ULL(line))
		memcpy(qw, image->data + offset_in_page(addr), qwords * sizeof(*qw));
	else
		memset(qw, 0xff, sizeof(qw));

	add_version(read, qw, qwords);
}

/**
 * vtd_memory_is_free() - is a page of memory free?
 * @addr: physical address, in a page that was allocated alone
 *
 * Return: true if it was freed.
 */
bool vtd_memory_is_free(u64 addr)
{
	return pfn_valid(PHYS_PFN(addr)) && !page_count(pfn_to_page(PHYS_PFN(addr)));
}

/**
 * vtd_memory_read() - all values that hardware may find in memory
 * @machine: the machine
 * @addr: physical address
 * @qwords: how much is read at once; does not go beyond a line
 * @snoop: the access snoops the caches of CPUs
 * @read: all possibilities, none if there is no memory
 */
void vtd_memory_read(struct vtd_machine *machine, u64 addr, unsigned int qwords,
		     bool snoop, struct vtd_read *read)
{
	const u64 *now = memory_at(addr);
	u64 qw[VTD_LINE / sizeof(u64)];
	unsigned int i;

	read->nr = 0;
	if (!now)
		return;

	for (i = 0; i < qwords; i++)
		qw[i] = READ_ONCE(now[i]);
	add_version(read, qw, qwords);
	if (!snoop)
		add_written_back(machine, addr, qwords, read);
}

/**
 * vtd_memory_set() - hardware sets bits of an entry
 * @machine: the machine
 * @addr: physical address of the entry, which was read before
 * @bits: the bits
 */
void vtd_memory_set(struct vtd_machine *machine, u64 addr, u64 bits)
{
	atomic64_or(bits, phys_to_virt(addr));
}

static struct page_image *image_of(struct vtd_machine *machine, u64 addr)
{
	struct page_image *image;

	image = xa_load(&machine->written_back, PHYS_PFN(addr));
	if (image)
		return image;

	image = kzalloc(sizeof(*image), GFP_ATOMIC);
	if (!image)
		return NULL;

	image->data = kmalloc(PAGE_SIZE, GFP_ATOMIC);
	if (image->data && !xa_err(xa_store(&machine->written_back, PHYS_PFN(addr),
					    image, GFP_ATOMIC)))
		return image;

	kfree(image->data);
	kfree(image);
	return NULL;
}

/**
 * vtd_memory_write_back() - the CPU wrote its cache back
 * @machine: the machine
 * @addr: what was written back
 * @size: bytes; whole lines are written
 *
 * Context: any.
 */
void vtd_memory_write_back(struct vtd_machine *machine, const void *addr,
			   size_t size)
{
	u64 from = round_down(virt_to_phys((void *)addr), VTD_LINE);
	u64 to = round_up(virt_to_phys((void *)addr) + size, VTD_LINE);

	for (; from < to; from += VTD_LINE) {
		struct page_image *image = image_of(machine, from);

		if (!image) {
			vtd_report_error(machine, "no memory for a copy of memory");
			return;
		}

		memcpy(image->data + offset_in_page(from), phys_to_virt(from), VTD_LINE);
		image->known |= BIT_ULL(offset_in_page(from) / VTD_LINE);
	}
}

/**
 * vtd_memory_free() - free the model's copy of memory
 * @machine: the machine
 */
void vtd_memory_free(struct vtd_machine *machine)
{
	struct page_image *image;
	unsigned long frame;

	xa_for_each(&machine->written_back, frame, image) {
		kfree(image->data);
		kfree(image);
	}
	xa_destroy(&machine->written_back);
}
