/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A walker of first- and second-stage tables, written from the VT-d
 * specification for the tests of pgtable.c. It checks every table, so it shares
 * no code, no constant and no header with the library.
 */
#ifndef _INTEL_IOMMU_PGTABLE_SPEC_H
#define _INTEL_IOMMU_PGTABLE_SPEC_H

#include <linux/types.h>

#define SPEC_LEVELS	5
#define SPEC_ENTRIES	512

/**
 * enum spec_fault - how a walk ends, by the conditions of VT-d section 7.1.3 that
 *		     concern it
 * @SPEC_OK: the address translates
 * @SPEC_NOT_CANONICAL: the address is not canonical for the depth; second
 *			stage: it is beyond what the depth translates
 * @SPEC_NO_ACCESS: an entry cannot be read from memory
 * @SPEC_NOT_PRESENT: an entry has Present clear; second stage: neither Read nor
 *                    Write
 * @SPEC_RESERVED: a present entry has a reserved bit set
 */
enum spec_fault {
	SPEC_OK,
	SPEC_NOT_CANONICAL,
	SPEC_NO_ACCESS,
	SPEC_NOT_PRESENT,
	SPEC_RESERVED,
};

/**
 * struct spec_hw - the hardware that walks
 * @second: the tables are the second stage's
 * @levels: first stage: 4 or 5, as the PASID entry's FSPM field selects; second
 *	    stage: 3 to 5, as the AW field does
 * @haw: host address width in bits
 * @has_1g: 1 GiB pages are supported (CAP.FS1GP; second stage: CAP.SSLPS)
 * @snoop_control: leaves of the second stage may have the Snoop bit (ECAP.SC)
 * @read: load the entry at a physical address, as the hardware finds it;
 *	  false if there is no memory
 * @memory: handed to @read
 */
struct spec_hw {
	bool second;
	unsigned int levels;
	unsigned int haw;
	bool has_1g;
	bool snoop_control;
	bool (*read)(void *memory, u64 addr, u64 *entry);
	void *memory;
};

/**
 * struct spec_walk - what a walk found
 * @fault: whether it translated
 * @level: where it ended: 1 is the page table, 5 the PML5
 * @entry: the last entry that was loaded
 * @entry_addr: its physical address
 * @page: physical address of the page
 * @pa: physical address that the input address translates to
 * @size: size of the page in bytes
 * @read: reads are allowed, by every entry of the path
 * @write: writes are allowed, by every entry of the path
 * @user: user-mode requests are allowed, by every entry of the path
 * @no_exec: instruction fetches are refused, by any entry of the path
 * @accessed: Accessed is set in every entry of the path
 * @dirty: Dirty is set in the entry that maps the page
 * @memory_type: PAT index: the PAT, PCD and PWT bits of the entry that maps
 * @snoop: accesses to the page are snooped (second stage)
 * @ignored: of the last entry, the bits that hardware does not interpret
 */
struct spec_walk {
	enum spec_fault fault;
	unsigned int level;
	u64 entry;
	u64 entry_addr;
	u64 page;
	u64 pa;
	u64 size;
	bool read;
	bool write;
	bool user;
	bool no_exec;
	bool accessed;
	bool dirty;
	u8 memory_type;
	bool snoop;
	u64 ignored;
};

/**
 * struct spec_visitor - callbacks of a scan of all tables
 * @table: a table at physical address @addr that translates from @iova on
 * @leaf: a page that begins at @iova
 * @illegal: an entry that hardware would refuse; @walk says where and why
 */
struct spec_visitor {
	void (*table)(struct spec_visitor *v, u64 addr, unsigned int level,
		      u64 iova);
	void (*leaf)(struct spec_visitor *v, u64 iova,
		     const struct spec_walk *walk);
	void (*illegal)(struct spec_visitor *v, u64 iova,
			const struct spec_walk *walk);
};

u64 spec_reach(unsigned int level);
u64 spec_canonical(const struct spec_hw *hw, u64 iova);
void spec_translate(const struct spec_hw *hw, u64 root, u64 iova,
		    struct spec_walk *walk);
bool spec_slot(const struct spec_hw *hw, u64 root, u64 iova,
	       unsigned int level, u64 *addr);
void spec_scan(const struct spec_hw *hw, u64 root, struct spec_visitor *v);

#endif /* _INTEL_IOMMU_PGTABLE_SPEC_H */
