/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Internal interfaces of the VT-d model: memory, decoded entries, caches.
 * Tests include vtd_model.h only.
 */
#ifndef _INTEL_IOMMU_VTD_MODEL_HW_H
#define _INTEL_IOMMU_VTD_MODEL_HW_H

#include <linux/bits.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "vtd_caps.h"
#include "vtd_model.h"

/* Memory (vtd_model_memory.c) */

#define VTD_LINE	64		/* bytes of a cache line */
#define VTD_VERSIONS	2		/* of a line: in memory, in a CPU's cache */

/* What hardware may find when it reads up to a line once */
struct vtd_read {
	unsigned int nr;		/* 0: there is no memory */
	u64 qw[VTD_VERSIONS][VTD_LINE / sizeof(u64)];
};

bool vtd_memory_is_free(u64 addr);
void vtd_memory_read(struct vtd_machine *machine, u64 addr, unsigned int qwords,
		     bool snoop, struct vtd_read *read);
void vtd_memory_set(struct vtd_machine *machine, u64 addr, u64 bits);
void vtd_memory_write_back(struct vtd_machine *machine, const void *addr,
			   size_t size);
void vtd_memory_free(struct vtd_machine *machine);

/* Decoded entries (vtd_model_decode.c) */

/* Fields of the capability register, section 11.4.2; bits are in vtd_caps.h */
#define VTD_CAP_ND(cap)		(4 + 2 * ((cap) & 7))	/* bits of a domain ID */
#define VTD_CAP_SAGAW		8
#define VTD_CAP_MGAW(cap)	(((cap) >> 16 & 0x3f) + 1)
#define VTD_CAP_SSLPS		34
#define VTD_CAP_MAMV(cap)	((cap) >> 48 & 0x3f)

/* PASID-granular translation types, section 9.6 */
enum vtd_pgtt {
	VTD_PGTT_FIRST = 1,
	VTD_PGTT_SECOND = 2,
	VTD_PGTT_NESTED = 3,
	VTD_PGTT_PASS = 4,
};

/*
 * Legacy mode has context entries of 128 bits, and no PASIDs: bits 11:10, TTM
 */
static inline bool vtd_is_legacy(const struct vtd_hw *hw)
{
	return !(hw->rtaddr & GENMASK_ULL(11, 10));
}

struct vtd_context {
	u64 dir;			/* PASID directory */
	u32 pasids;			/* that it has room for */
	u32 rid_pasid;
	bool rid_priv, dte, paside, silent;
};

struct vtd_pasid {
	enum vtd_pgtt pgtt;
	u16 did;
	u64 first, second;		/* the topmost tables */
	u8 first_levels, second_levels;
	bool sre, ere, wpe, eafe, snoop, ssade, silent;
};

/* Rights that a path of entries grants; the stages are checked separately. */
#define VTD_RIGHT_WRITE		BIT(0)	/* first stage */
#define VTD_RIGHT_USER		BIT(1)
#define VTD_RIGHT_EXEC		BIT(2)
#define VTD_RIGHT_READ2		BIT(3)	/* second stage */
#define VTD_RIGHT_WRITE2	BIT(4)
#define VTD_RIGHT_MARK		BIT(5)	/* nested: A/D can be set in the table */
#define VTD_RIGHTS_FIRST	(VTD_RIGHT_WRITE | VTD_RIGHT_USER | VTD_RIGHT_EXEC)
#define VTD_RIGHTS_SECOND	(VTD_RIGHT_READ2 | VTD_RIGHT_WRITE2)
#define VTD_RIGHTS_ALL		(VTD_RIGHTS_FIRST | VTD_RIGHTS_SECOND)

struct vtd_entry {
	u64 addr;			/* of the page or of the next table */
	unsigned int rights;
	bool leaf;
	u64 accessed, dirty;		/* the bits, if they are clear */
};

enum vtd_fault vtd_decode_legacy_root(const struct vtd_hw *hw, const u64 *qw, u64 *table);
enum vtd_fault vtd_decode_legacy_context(const struct vtd_hw *hw, const u64 *qw,
					 struct vtd_pasid *entry, bool *dte);
enum vtd_fault vtd_decode_root(const struct vtd_hw *hw, const u64 *qw, u64 *table);
enum vtd_fault vtd_decode_context(const struct vtd_hw *hw, const u64 *qw,
				  struct vtd_context *context);
enum vtd_fault vtd_decode_dir(const struct vtd_hw *hw, u64 qw, u64 *table);
enum vtd_fault vtd_decode_pasid(const struct vtd_hw *hw, const u64 *qw,
				struct vtd_pasid *pasid);
enum vtd_fault vtd_decode_first(const struct vtd_hw *hw,
				const struct vtd_pasid *pasid, u64 qw,
				unsigned int level, struct vtd_entry *entry);
enum vtd_fault vtd_decode_second(const struct vtd_hw *hw,
				 const struct vtd_pasid *pasid, u64 qw,
				 unsigned int level, struct vtd_entry *entry);

static inline u64 vtd_reach(unsigned int level)
{
	return 1ULL << (12 + 9 * (level - 1));
}

static inline bool vtd_beyond(u64 addr, unsigned int width)
{
	return width < 64 && addr >> width;
}

/* Caches (vtd_model_cache.c) */

enum vtd_cache {
	VTD_CONTEXT_CACHE,	/* by requester ID; legacy mode: has a domain ID */
	VTD_DIR_CACHE,		/* by address of the directory entry */
	VTD_PASID_CACHE,	/* by requester ID and PASID; has a domain ID */
	VTD_FIRST_TABLES,	/* first-stage paging structures: domain ID, PASID */
	VTD_SECOND_TABLES,	/* second-stage paging structures: domain ID */
	VTD_IOTLB,
	VTD_DEVICE_TLB,		/* by requester ID and PASID */
	VTD_CACHES
};

/* Something that hardware has seen, and that was not invalidated since */
struct vtd_item {
	enum vtd_cache cache;
	enum vtd_pgtt pgtt;	/* of entries found through a PASID entry */
	enum vtd_fault fault;	/* with caching mode only */
	u16 sid, did;
	u32 pasid;
	unsigned int level;	/* of the table at @addr */
	u64 first, last;	/* input addresses that it serves */
	u64 addr;		/* table, or page that @first translates to */
	u64 gpa;		/* nested: its guest-physical address, if needed */
	u64 root;		/* legacy mode: the root that the domain ID was used for */
	unsigned long rights;
	u64 qw[VTD_LINE / sizeof(u64)];	/* context and PASID entries */
};

void vtd_cache_insert(struct vtd_model *model, const struct vtd_item *item);
struct vtd_item *vtd_cache_next(struct vtd_model *model, enum vtd_cache cache,
				unsigned int *at);
void vtd_cache_forget(struct vtd_model *model,
		      bool (*covers)(const struct vtd_item *item, const void *data),
		      const void *data);

/* Invalidation descriptors (vtd_model_inval.c) */

void vtd_execute(struct vtd_model *model, const u64 *desc);

/* The model (vtd_model.c) */

#define VTD_MAX_ITEMS	2048		/* of one kind */
#define VTD_MAX_MODELS	8
#define VTD_MAX_DEVICES	8
#define VTD_MAX_WATCHED	128

struct vtd_items {
	struct vtd_item item[VTD_MAX_ITEMS];
	unsigned int nr;
};

struct vtd_model {
	struct vtd_machine *machine;
	const void *iommu;
	struct vtd_hw hw;

	struct {
		u16 sid;
		bool ats, global;
	} devices[VTD_MAX_DEVICES];
	unsigned int nr_devices;

	struct vtd_request watched[VTD_MAX_WATCHED];
	unsigned int nr_watched;

	struct vtd_items caches[VTD_CACHES];
};

struct vtd_machine {
	struct kunit *test;
	struct xarray written_back;	/* pages as they are in memory, by frame */
	struct vtd_model *models[VTD_MAX_MODELS];
	unsigned int nr_models;
	unsigned int errors;

	void (*between)(struct vtd_machine *machine, void *data);
	void *between_data;
	bool busy;			/* between() may call vtd_ask() */
};

void vtd_walk(struct vtd_model *model, const struct vtd_request *req, bool speculative,
	      struct vtd_answers *answers);

#endif /* _INTEL_IOMMU_VTD_MODEL_HW_H */
