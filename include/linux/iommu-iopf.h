/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Page requests (I/O page faults): clients, and levels.
 *
 * iopf_path_ready() checks the path: whether page requests of a device arrive
 * at all. iopf_reportable() checks reporting: whether the requests of a device
 * that is attached to a certain domain can be passed to a client, with an
 * address that the client knows.
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
 * Reports that a client wants, or that are possible: requests on a domain
 * without nesting (address: IOVA); requests that the first level of a nested
 * domain stopped (also IOVA); requests that the second level stopped, of all
 * domains nested on a domain (guest-physical address).
 */
#define IOPF_REPORT_FLAT	BIT(0)
#define IOPF_REPORT_NESTED_L1	BIT(1)
#define IOPF_REPORT_NESTED_L2	BIT(2)
#define IOPF_REPORT_ALL		GENMASK(2, 0)

/* &iopf_client.flags */
#define IOPF_CLIENT_PINNED	BIT(0)	/* the second level never stops a request */
#define IOPF_CLIENT_NO_GPASID	BIT(1)	/* guest PASIDs cannot be bound below it */

/**
 * struct iopf_client - receiver of page requests on a domain
 * @reports: requests that it wants: IOPF_REPORT_*
 * @flags: IOPF_CLIENT_*; %IOPF_CLIENT_PINNED with %IOPF_REPORT_NESTED_L1 only
 * @handler: takes a group of requests, or the part of a group for this client,
 *	     and returns 0. The client has to call iopf_group_response() and
 *	     iopf_free_group() for it later, even if the device has left its
 *	     queue. If @handler returns an error the group is answered at once.
 *	     It may sleep, but must not wait for an answer, nor for domains to
 *	     be attached or detached: other requests are handled after it.
 * @data: private data of the client; found at group->domain->fault_data
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
 * @IOPF_LEVEL_2: nested translation, second level, for the page or for a table
 *		  of the first level
 * @IOPF_LEVEL_NONE: none any more: the device can repeat the request
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
 * @perm: the access that it does not allow: IOMMU_FAULT_PERM_*
 * @domain: the domain of this level
 */
struct iopf_stop {
	enum iopf_level level;
	u64 addr;
	u32 perm;
	struct iommu_domain *domain;
};

/**
 * enum iopf_event - what becomes of page requests
 * @IOPF_EVENT_PARTIAL: kept until the last request of its group arrives
 * @IOPF_EVENT_FLAT: passed to the client of the only level
 * @IOPF_EVENT_LEVEL1: passed to the client of the first level
 * @IOPF_EVENT_LEVEL2: passed to the client of the second level
 * @IOPF_EVENT_MAPPED: nothing stops it any more
 * @IOPF_EVENT_REFUSED: cannot succeed whatever is mapped
 * @IOPF_EVENT_UNSERVED: no client; first or only level
 * @IOPF_EVENT_UNSERVED_LEVEL2: no client; second level
 * @IOPF_EVENT_TOO_MANY: the device has too many open requests
 * @IOPF_EVENT_NO_MEMORY: dropped as memory was short, to be repeated
 * @IOPF_EVENT_DISCARDED: was kept, but the last of its group will not arrive
 * @IOPF_EVENT_MALFORMED: not a valid request
 * @IOPF_EVENT_UNKNOWN_DEVICE: the sender is unknown
 * @IOPF_EVENT_STOP_MARKER: the device has stopped using a PASID
 * @IOPF_EVENT_OVERFLOW: the hardware's queue was full
 * @IOPF_EVENT_SUCCESS: a group was answered with success
 * @IOPF_EVENT_INVALID: a group was answered as invalid
 * @IOPF_EVENT_FAILURE: a group was answered with failure
 * @IOPF_EVENTS: number of events
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

/* Limit for the requests of one device that are not answered yet */
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

#endif /* __LINUX_IOMMU_IOPF_H */
