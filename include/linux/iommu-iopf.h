/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests (I/O page faults): who is told of them, and at which level.
 *
 * Two questions, with two answers. Can page requests of a device come in at all,
 * and do they now? That is the path: iopf_path_ready(). Can those that come in be
 * told to somebody, while the device is attached to a certain domain, with the
 * address that this somebody knows? That is reporting: iopf_reportable().
 */
#ifndef __LINUX_IOMMU_IOPF_H
#define __LINUX_IOMMU_IOPF_H

#include <linux/bits.h>
#include <linux/errno.h>
#include <linux/types.h>

struct device;
struct iommu_domain;
struct iopf_fault;
struct iopf_group;
struct iopf_queue;
struct seq_file;

/*
 * What a client wants to be told of, or what can be told: requests on a domain that
 * translates alone (address: IOVA), those that the first level of a nested domain
 * stopped (IOVA too), those that the second level stopped of everything that is
 * nested on a domain (guest-physical address).
 */
#define IOPF_REPORT_FLAT	BIT(0)
#define IOPF_REPORT_NESTED_L1	BIT(1)
#define IOPF_REPORT_NESTED_L2	BIT(2)
#define IOPF_REPORT_ALL		GENMASK(2, 0)

/* &iopf_client.flags */
#define IOPF_CLIENT_PINNED	BIT(0)	/* the second level never stops a request */
#define IOPF_CLIENT_NO_GPASID	BIT(1)	/* guest PASIDs cannot be bound below it */

/**
 * struct iopf_client - who is told of page requests on a domain
 * @reports: what it wants: IOPF_REPORT_*
 * @flags: IOPF_CLIENT_*; %IOPF_CLIENT_PINNED with %IOPF_REPORT_NESTED_L1 only
 * @handler: is given a group of requests, or that part of a group which is for this
 *	     client, and returns 0; sooner or later iopf_group_response() and
 *	     iopf_free_group() are called for it, even when the device has left its
 *	     queue. If it returns an error the group is answered at once. @handler
 *	     may sleep, but must not wait for an answer, nor for domains to be
 *	     attached or detached: others are served after it.
 * @data: the client's own; found at group->domain->fault_data
 */
struct iopf_client {
	u32 reports;
	u32 flags;
	int (*handler)(struct iopf_group *group);
	void *data;
};

/**
 * enum iopf_level - the level of translation that stopped a page request
 * @IOPF_LEVEL_FLAT: the only one
 * @IOPF_LEVEL_1: nested translation, first level
 * @IOPF_LEVEL_2: nested translation, second level, on the way to the page or to a
 *		  table of the first level
 * @IOPF_LEVEL_NONE: none does any more: repeating the request will do
 * @IOPF_LEVEL_REFUSED: none, but the request cannot succeed whatever is mapped
 */
enum iopf_level {
	IOPF_LEVEL_FLAT,
	IOPF_LEVEL_1,
	IOPF_LEVEL_2,
	IOPF_LEVEL_NONE,
	IOPF_LEVEL_REFUSED,
};

/**
 * struct iopf_stop - where the translation of a page request stops
 * @level: the level that does not translate it
 * @addr: the address that this level does not translate, in bytes
 * @perm: the access that it would have to allow: IOMMU_FAULT_PERM_*
 * @domain: the domain that is this level
 */
struct iopf_stop {
	enum iopf_level level;
	u64 addr;
	u32 perm;
	struct iommu_domain *domain;
};

/**
 * enum iopf_event - what becomes of page requests
 * @IOPF_EVENT_PARTIAL: kept until the last of its group comes
 * @IOPF_EVENT_FLAT: handed over, only level
 * @IOPF_EVENT_LEVEL1: handed over, first level
 * @IOPF_EVENT_LEVEL2: handed over, second level
 * @IOPF_EVENT_MAPPED: nothing stops it any more
 * @IOPF_EVENT_REFUSED: cannot succeed whatever is mapped
 * @IOPF_EVENT_UNSERVED: nobody wants it; first or only level
 * @IOPF_EVENT_UNSERVED_LEVEL2: nobody wants it; second level
 * @IOPF_EVENT_TOO_MANY: more than a device may have open
 * @IOPF_EVENT_NO_MEMORY: dropped for want of memory, to be repeated
 * @IOPF_EVENT_DISCARDED: was kept, but the last of its group is not going to come
 * @IOPF_EVENT_MALFORMED: not a request that there can be
 * @IOPF_EVENT_UNKNOWN_DEVICE: nobody knows who sent it
 * @IOPF_EVENT_STOP_MARKER: the device has stopped using a PASID
 * @IOPF_EVENT_OVERFLOW: the hardware's queue was full
 * @IOPF_EVENT_SUCCESS: a group was answered so
 * @IOPF_EVENT_INVALID: a group was answered so
 * @IOPF_EVENT_FAILURE: a group was answered so
 * @IOPF_EVENTS: their number
 */
enum iopf_event {
	IOPF_EVENT_PARTIAL,
	IOPF_EVENT_FLAT,
	IOPF_EVENT_LEVEL1,
	IOPF_EVENT_LEVEL2,
	IOPF_EVENT_MAPPED,
	IOPF_EVENT_REFUSED,
	IOPF_EVENT_UNSERVED,
	IOPF_EVENT_UNSERVED_LEVEL2,
	IOPF_EVENT_TOO_MANY,
	IOPF_EVENT_NO_MEMORY,
	IOPF_EVENT_DISCARDED,
	IOPF_EVENT_MALFORMED,
	IOPF_EVENT_UNKNOWN_DEVICE,
	IOPF_EVENT_STOP_MARKER,
	IOPF_EVENT_OVERFLOW,
	IOPF_EVENT_SUCCESS,
	IOPF_EVENT_INVALID,
	IOPF_EVENT_FAILURE,
	IOPF_EVENTS
};

/* Requests of one device that are kept or handed over, and not answered */
#define IOPF_MAX_REQUESTS	512

#ifdef CONFIG_IOMMU_IOPF
u32 iopf_reportable(struct iommu_domain *domain, struct device *dev);
int iopf_register(struct iommu_domain *domain, struct device *dev,
		  const struct iopf_client *client);
bool iopf_path_ready(struct device *dev);
void iopf_count(struct iopf_queue *queue, struct device *dev,
		const struct iopf_fault *evt, enum iopf_event event);
u64 iopf_counted(struct iopf_queue *queue, enum iopf_event event);
void iopf_show_counts(struct iopf_queue *queue, struct seq_file *m);
#else
static inline u32 iopf_reportable(struct iommu_domain *domain, struct device *dev)
{
	return 0;
}

static inline int iopf_register(struct iommu_domain *domain, struct device *dev,
				const struct iopf_client *client)
{
	return -EOPNOTSUPP;
}

static inline bool iopf_path_ready(struct device *dev)
{
	return false;
}

static inline void iopf_count(struct iopf_queue *queue, struct device *dev,
			      const struct iopf_fault *evt, enum iopf_event event)
{
}

static inline u64 iopf_counted(struct iopf_queue *queue, enum iopf_event event)
{
	return 0;
}

static inline void iopf_show_counts(struct iopf_queue *queue, struct seq_file *m)
{
}
#endif

#ifdef CONFIG_IOMMU_API
void iommu_dev_set_fault_tolerant(struct device *dev, bool tolerant);
bool iommu_dev_fault_tolerant(struct device *dev);
#else
static inline void iommu_dev_set_fault_tolerant(struct device *dev, bool tolerant)
{
}

static inline bool iommu_dev_fault_tolerant(struct device *dev)
{
	return false;
}
#endif

#endif /* __LINUX_IOMMU_IOPF_H */
