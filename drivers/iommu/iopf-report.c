// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests: which can be reported, to which client, and what becomes of
 * them.
 *
 * io-pgfault.c collects the requests of a group. The domain's iopf_stop() finds
 * the level that stopped each of them. This file passes them to that level's
 * client: the whole group, or, if several levels are involved, the client's
 * part of it. The device gets a single answer when all parts are answered.
 */

#include <linux/iommu.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

#include <trace/events/iommu.h>

#include "iommu-priv.h"

static const char * const event_names[IOPF_EVENTS] = {
	[IOPF_EVENT_PARTIAL]		= "partial",
	[IOPF_EVENT_FLAT]		= "flat",
	[IOPF_EVENT_LEVEL1]		= "level1",
	[IOPF_EVENT_LEVEL2]		= "level2",
	[IOPF_EVENT_MAPPED]		= "mapped",
	[IOPF_EVENT_REFUSED]		= "refused",
	[IOPF_EVENT_UNSERVED]		= "unserved",
	[IOPF_EVENT_UNSERVED_LEVEL2]	= "unserved_level2",
	[IOPF_EVENT_TOO_MANY]		= "too_many",
	[IOPF_EVENT_NO_MEMORY]		= "no_memory",
	[IOPF_EVENT_DISCARDED]		= "discarded",
	[IOPF_EVENT_MALFORMED]		= "malformed",
	[IOPF_EVENT_UNKNOWN_DEVICE]	= "unknown_device",
	[IOPF_EVENT_STOP_MARKER]	= "stop_marker",
	[IOPF_EVENT_OVERFLOW]		= "overflow",
	[IOPF_EVENT_SUCCESS]		= "success",
	[IOPF_EVENT_INVALID]		= "invalid",
	[IOPF_EVENT_FAILURE]		= "failure",
};

/**
 * iopf_count() - count what becomes of a page request, or of a group
 * @queue: the IOMMU's queue, which has the counters
 * @dev: device that sent it, or NULL if unknown
 * @evt: the request; for a group, its last
 * @event: what happened
 *
 * Each call counts one @event, and fires the tracepoint iommu:iopf.
 *
 * Context: any.
 */
void iopf_count(struct iopf_queue *queue, struct device *dev,
		const struct iopf_fault *evt, enum iopf_event event)
{
	atomic64_inc(&queue->events[event]);
	trace_iopf(dev, &evt->fault.prm, event_names[event]);
}
EXPORT_SYMBOL_GPL(iopf_count);

/**
 * iopf_counted() - read a counter
 * @queue: the IOMMU's queue
 * @event: which counter
 *
 * Context: any.
 * Return: the number since the queue was allocated.
 */
u64 iopf_counted(struct iopf_queue *queue, enum iopf_event event)
{
	return atomic64_read(&queue->events[event]);
}
EXPORT_SYMBOL_GPL(iopf_counted);

/**
 * iopf_show_counts() - print all counters, one "name number" per line
 * @queue: the IOMMU's queue
 * @m: file to print to
 */
void iopf_show_counts(struct iopf_queue *queue, struct seq_file *m)
{
	enum iopf_event event;

	for (event = 0; event < IOPF_EVENTS; event++)
		seq_printf(m, "%s %llu\n", event_names[event],
			   iopf_counted(queue, event));
}
EXPORT_SYMBOL_GPL(iopf_show_counts);

/**
 * iopf_path_ready() - can page requests of a device arrive?
 * @dev: the device
 *
 * iopf_reportable() returns whether they can be reported.
 *
 * Context: any.
 * Return: true if the IOMMU driver receives them, or if the device's own driver
 * has added the device to a queue with iopf_queue_add_device(), to report them.
 */
bool iopf_path_ready(struct device *dev)
{
	return dev->iommu && rcu_access_pointer(dev->iommu->fault_param);
}
EXPORT_SYMBOL_GPL(iopf_path_ready);

/**
 * iopf_reportable() - which page requests can be reported
 * @domain: domain that the device is going to be attached to
 * @dev: the device, or NULL for any device that makes page requests and can be
 *       attached to @domain
 *
 * For a nest parent, %IOPF_REPORT_NESTED_L2 covers the requests of all domains
 * nested on it.
 *
 * Context: any.
 * Return: a set of IOPF_REPORT_*, 0 for none.
 */
u32 iopf_reportable(struct iommu_domain *domain, struct device *dev)
{
	if (dev && (!dev->iommu || !dev->iommu->iommu_dev ||
		    dev_iommu_ops(dev) != domain->owner))
		return 0;
	if (domain->ops->iopf_reports)
		return domain->ops->iopf_reports(domain, dev);

	return domain->type == IOMMU_DOMAIN_NESTED ? IOPF_REPORT_NESTED_L1 : 0;
}
EXPORT_SYMBOL_GPL(iopf_reportable);

/**
 * iopf_register() - report page requests on a domain to a client
 * @domain: the domain, which is not attached yet and has nothing nested on it
 * @dev: a device that is going to be attached, or NULL: then attaching a device
 *       that makes no page requests fails
 * @client: handler and wanted reports; not used after the call
 *
 * From then on, attaching the domain to a device enables page requests, and
 * fails if they cannot be enabled. The client gets them until the domain is
 * freed.
 *
 * Context: may sleep; the caller owns the domain.
 *
 * Return: 0; -EOPNOTSUPP if @domain cannot report what @client wants;
 * -EBUSY if it has a client or has been attached already; -EINVAL.
 */
int iopf_register(struct iommu_domain *domain, struct device *dev,
		  const struct iopf_client *client)
{
	bool pinned = client->flags & IOPF_CLIENT_PINNED;

	if (!client->handler || !client->reports ||
	    (client->reports & ~IOPF_REPORT_ALL) ||
	    (client->flags & ~(IOPF_CLIENT_PINNED | IOPF_CLIENT_NO_GPASID)) ||
	    (pinned && client->reports != IOPF_REPORT_NESTED_L1))
		return -EINVAL;

	if (client->reports & ~iopf_reportable(domain, dev))
		return -EOPNOTSUPP;

	if (domain->iopf_handler || READ_ONCE(domain->was_attached))
		return -EBUSY;

	domain->iopf_reports = client->reports;
	domain->iopf_flags = client->flags;
	domain->fault_data = client->data;
	domain->iopf_handler = client->handler;

	return 0;
}
EXPORT_SYMBOL_GPL(iopf_register);

/*
 * For each level, the report that its client has to request, and the counters
 */
static const struct {
	u32 report;
	enum iopf_event served, unserved;
} levels[] = {
	[IOPF_LEVEL_FLAT] = { IOPF_REPORT_FLAT, IOPF_EVENT_FLAT,
			      IOPF_EVENT_UNSERVED },
	[IOPF_LEVEL_1] = { IOPF_REPORT_NESTED_L1, IOPF_EVENT_LEVEL1,
			   IOPF_EVENT_UNSERVED },
	[IOPF_LEVEL_2] = { IOPF_REPORT_NESTED_L2, IOPF_EVENT_LEVEL2,
			   IOPF_EVENT_UNSERVED_LEVEL2 },
};

/* Count @event for each request of a group. */
void iopf_count_group(const struct iopf_group *group, enum iopf_event event)
{
	struct iommu_fault_param *param = group->fault_param;
	const struct iopf_fault *iopf;

	list_for_each_entry(iopf, &group->faults, list)
		iopf_count(param->queue, param->dev, iopf, event);
}

static void iopf_report_answer(struct iopf_group *group, enum iommu_page_response_code code)
{
	iopf_group_response(group, code);
	iopf_free_group(group);
}

static void iopf_report_hand_over(struct iopf_group *group, struct iommu_domain *domain,
				  enum iopf_level level)
{
	group->domain = domain;
	if (!domain->iopf_handler || !(domain->iopf_reports & levels[level].report)) {
		iopf_count_group(group, levels[level].unserved);
		iopf_report_answer(group, IOMMU_PAGE_RESP_INVALID);
		return;
	}

	/*
	 * After the handler was called, the group may be answered and freed. If
	 * the handler refuses it, answer with invalid rather than failure,
	 * which ends the page requests of all functions that share the
	 * interface.
	 */
	iopf_count_group(group, levels[level].served);
	if (domain->iopf_handler(group))
		iopf_report_answer(group, IOMMU_PAGE_RESP_INVALID);
}

/* Requests of a group by the level that stopped them */
struct iopf_report_level {
	struct list_head faults;
	struct iommu_domain *domain;
};

static void iopf_report_find_stop(struct iommu_domain *domain, struct device *dev,
				  const struct iommu_fault_page_request *prm,
				  struct iopf_stop *stop)
{
	*stop = (struct iopf_stop) {
		.addr	= prm->addr,
		.perm	= prm->perm,
		.domain	= domain,
	};

	if (domain->type == IOMMU_DOMAIN_NESTED)
		stop->level = IOPF_LEVEL_1;
	if (domain->ops->iopf_stop && !(domain->iopf_flags & IOPF_CLIENT_PINNED))
		domain->ops->iopf_stop(domain, dev, prm, stop);
}

/**
 * iopf_stop_again() - check again which level stops a page request
 * @group: a group that was passed to a client
 * @iopf: a request of it
 * @stop: set to what stops it now
 *
 * After the client has mapped a page, more may be missing: with a nested
 * domain, the second level may stop each table of the first level, and the
 * page.
 *
 * Context: may sleep; the domain of the group is still attached.
 */
void iopf_stop_again(const struct iopf_group *group, const struct iopf_fault *iopf,
		     struct iopf_stop *stop)
{
	struct iommu_fault_page_request prm = iopf->fault.prm;

	prm.addr = iopf->asked_addr;
	prm.perm = iopf->asked_perm;
	iopf_report_find_stop(group->attach_handle->domain, group->fault_param->dev, &prm, stop);
}
EXPORT_SYMBOL_GPL(iopf_stop_again);

/**
 * iopf_group_note() - set an upper limit for a client's answer
 * @group: a group that was passed to a client
 * @code: the worst result of the requests that the client has dropped from the
 *        group
 *
 * For a client that passes the rest of a group on.
 *
 * Context: may sleep.
 */
void iopf_group_note(struct iopf_group *group, enum iommu_page_response_code code)
{
	struct iopf_group *whole = group->whole ?: group;

	guard(mutex)(&group->fault_param->lock);
	/* After the answer, the whole group may be freed. */
	if (!list_empty(&group->pending_node))
		whole->code = max(whole->code, code);
}
EXPORT_SYMBOL_GPL(iopf_group_note);

/*
 * Sort requests by the level that stopped them. Drop those that need no client
 * (mapped, refused).
 */
static void iopf_report_sort(struct iopf_group *group, struct iopf_report_level *sorted)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_fault *iopf, *next;
	struct iopf_stop stop;

	list_for_each_entry_safe(iopf, next, &group->faults, list) {
		iopf_report_find_stop(group->attach_handle->domain, param->dev,
				      &iopf->fault.prm, &stop);
		switch (stop.level) {
		case IOPF_LEVEL_REFUSED:
			iopf_count(param->queue, param->dev, iopf,
				   IOPF_EVENT_REFUSED);
			group->code = IOMMU_PAGE_RESP_INVALID;
			iopf_group_drop(group, iopf);
			break;
		case IOPF_LEVEL_NONE:
			iopf_count(param->queue, param->dev, iopf,
				   IOPF_EVENT_MAPPED);
			iopf_group_drop(group, iopf);
			break;
		default:
			iopf->asked_addr = iopf->fault.prm.addr;
			iopf->asked_perm = iopf->fault.prm.perm;
			iopf->fault.prm.addr = stop.addr;
			iopf->fault.prm.perm = stop.perm;
			sorted[stop.level].domain = stop.domain;
			list_move_tail(&iopf->list, &sorted[stop.level].faults);
		}
	}
}

/* A group whose requests were stopped by two levels */
static void iopf_report_hand_over_parts(struct iopf_group *whole,
					struct iopf_report_level *sorted)
{
	struct iopf_group *first = kzalloc(sizeof(*first), GFP_KERNEL);
	struct iopf_group *second = kzalloc(sizeof(*second), GFP_KERNEL);

	if (!first || !second) {
		kfree(first);
		kfree(second);
		list_splice(&sorted[IOPF_LEVEL_1].faults, &whole->faults);
		list_splice(&sorted[IOPF_LEVEL_2].faults, &whole->faults);
		iopf_count_group(whole, IOPF_EVENT_NO_MEMORY);
		/* The device repeats its requests. */
		iopf_report_answer(whole, IOMMU_PAGE_RESP_SUCCESS);
		return;
	}

	/*
	 * Set both before passing either on: one answer must not answer the
	 * whole group.
	 */
	iopf_group_add_part(whole, first, &sorted[IOPF_LEVEL_1].faults);
	iopf_group_add_part(whole, second, &sorted[IOPF_LEVEL_2].faults);
	iopf_report_hand_over(first, sorted[IOPF_LEVEL_1].domain, IOPF_LEVEL_1);
	iopf_report_hand_over(second, sorted[IOPF_LEVEL_2].domain, IOPF_LEVEL_2);
}

/*
 * Pass a group of page requests to the clients that can serve them. Afterwards
 * it belongs to the clients, or is answered and freed.
 */
void iopf_deliver(struct iopf_group *group)
{
	struct iopf_report_level sorted[] = {
		[IOPF_LEVEL_FLAT] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_FLAT].faults) },
		[IOPF_LEVEL_1] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_1].faults) },
		[IOPF_LEVEL_2] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_2].faults) },
	};
	enum iopf_level level;

	iopf_report_sort(group, sorted);

	if (!list_empty(&sorted[IOPF_LEVEL_1].faults) &&
	    !list_empty(&sorted[IOPF_LEVEL_2].faults)) {
		iopf_report_hand_over_parts(group, sorted);
		return;
	}

	for (level = IOPF_LEVEL_FLAT; level <= IOPF_LEVEL_2; level++) {
		if (list_empty(&sorted[level].faults))
			continue;
		list_splice(&sorted[level].faults, &group->faults);
		iopf_group_mark_last(group);
		iopf_report_hand_over(group, sorted[level].domain, level);
		return;
	}

	iopf_report_answer(group, IOMMU_PAGE_RESP_SUCCESS);
}
