// SPDX-License-Identifier: GPL-2.0-only
/*
 * Page requests: which can be reported, to which client, and what becomes of them.
 *
 * io-pgfault.c collects the requests of a group. What is here asks the domain which
 * level stopped each of them, and hands them over to that level's client: the whole
 * group, or, when several levels are concerned, the part that is the client's. The
 * device gets its one answer when all parts have theirs.
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
 * iopf_count() - note what becomes of a page request, or of a group of them
 * @queue: the IOMMU's queue, which has the counters
 * @dev: who sent it, or NULL if that is not known
 * @evt: the request; of a group, the last
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
 * iopf_counted() - how often something happened to page requests
 * @queue: the IOMMU's queue
 * @event: what
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
 * iopf_show_counts() - print all counters, one "name number" a line
 * @queue: the IOMMU's queue
 * @m: where to
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
 * iopf_path_ready() - do page requests of a device come in?
 * @dev: the device
 *
 * Whether they can be reported is another question: iopf_reportable().
 *
 * Context: any.
 * Return: whether the IOMMU driver receives them, or the device's own driver has
 * added it to a queue with iopf_queue_add_device(), to report them.
 */
bool iopf_path_ready(struct device *dev)
{
	return dev->iommu && rcu_access_pointer(dev->iommu->fault_param);
}
EXPORT_SYMBOL_GPL(iopf_path_ready);

/**
 * iopf_reportable() - which page requests can be reported
 * @domain: what the device is going to be attached to
 * @dev: the device, or NULL for any that @domain can be attached to and that makes
 *       page requests
 *
 * Of a domain that others can be nested on, %IOPF_REPORT_NESTED_L2 stands for the
 * requests of all of these.
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
 * @domain: the domain, not attached to anything yet, nor anything nested on it
 * @dev: a device that is going to be attached, or NULL: attaching one that makes no
 *       page requests then fails
 * @client: its handler, and what it wants; not needed after the call
 *
 * Attaching the domain, to @dev or to others, then switches page requests on, and
 * fails where they cannot come in. The client gets them until the domain is freed.
 *
 * Context: may sleep; the domain belongs to the caller.
 *
 * Return: 0; -EOPNOTSUPP when @domain cannot report what @client wants;
 * -EBUSY when it has a client or has been attached already; -EINVAL.
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

/* What each level needs its client to want, and what is counted */
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

static void answer(struct iopf_group *group, enum iommu_page_response_code code)
{
	iopf_group_response(group, code);
	iopf_free_group(group);
}

static void hand_over(struct iopf_group *group, struct iommu_domain *domain,
		      enum iopf_level level)
{
	group->domain = domain;
	if (!domain->iopf_handler || !(domain->iopf_reports & levels[level].report)) {
		iopf_count_group(group, levels[level].unserved);
		answer(group, IOMMU_PAGE_RESP_INVALID);
		return;
	}

	/*
	 * Afterwards it may be answered and gone. A handler that does not want it is
	 * no reason to answer with failure, which ends the page requests of all
	 * functions that share the interface.
	 */
	iopf_count_group(group, levels[level].served);
	if (domain->iopf_handler(group))
		answer(group, IOMMU_PAGE_RESP_INVALID);
}

/* Requests of a group by the level that stopped them */
struct sorted {
	struct list_head faults;
	struct iommu_domain *domain;
};

static void find_stop(struct iommu_domain *domain, struct device *dev,
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
 * iopf_stop_again() - look again which level stops a page request
 * @group: a group that a client has been given
 * @iopf: a request of it
 * @stop: what stops it now
 *
 * What its client has mapped may not be all that was missing: below a nested domain,
 * the second level may stop each table of the first, and the page.
 *
 * Context: may sleep; what the group was made for is still attached.
 */
void iopf_stop_again(const struct iopf_group *group, const struct iopf_fault *iopf,
		     struct iopf_stop *stop)
{
	struct iommu_fault_page_request prm = iopf->fault.prm;

	prm.addr = iopf->asked_addr;
	prm.perm = iopf->asked_perm;
	find_stop(group->attach_handle->domain, group->fault_param->dev, &prm, stop);
}
EXPORT_SYMBOL_GPL(iopf_stop_again);

/**
 * iopf_group_note() - note what a client's answer may not be better than
 * @group: a group that a client has been given
 * @code: the worst of what became of those of its requests that it has dropped
 *
 * A client that leaves the rest of a group to somebody else calls it.
 *
 * Context: may sleep.
 */
void iopf_group_note(struct iopf_group *group, enum iommu_page_response_code code)
{
	struct iopf_group *whole = group->whole ?: group;

	guard(mutex)(&group->fault_param->lock);
	/* When it has been answered, the whole may be gone. */
	if (!list_empty(&group->pending_node))
		whole->code = max(whole->code, code);
}
EXPORT_SYMBOL_GPL(iopf_group_note);

/* What needs nobody's help leaves the group here. */
static void sort_group(struct iopf_group *group, struct sorted *sorted)
{
	struct iommu_fault_param *param = group->fault_param;
	struct iopf_fault *iopf, *next;
	struct iopf_stop stop;

	list_for_each_entry_safe(iopf, next, &group->faults, list) {
		find_stop(group->attach_handle->domain, param->dev,
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
static void hand_over_parts(struct iopf_group *whole, struct sorted *sorted)
{
	struct iopf_group *first = kzalloc(sizeof(*first), GFP_KERNEL);
	struct iopf_group *second = kzalloc(sizeof(*second), GFP_KERNEL);

	if (!first || !second) {
		kfree(first);
		kfree(second);
		list_splice(&sorted[IOPF_LEVEL_1].faults, &whole->faults);
		list_splice(&sorted[IOPF_LEVEL_2].faults, &whole->faults);
		iopf_count_group(whole, IOPF_EVENT_NO_MEMORY);
		/* The device repeats what it needs. */
		answer(whole, IOMMU_PAGE_RESP_SUCCESS);
		return;
	}

	/* Both before either is handed over: its answer is not the answer to all. */
	iopf_group_add_part(whole, first, &sorted[IOPF_LEVEL_1].faults);
	iopf_group_add_part(whole, second, &sorted[IOPF_LEVEL_2].faults);
	hand_over(first, sorted[IOPF_LEVEL_1].domain, IOPF_LEVEL_1);
	hand_over(second, sorted[IOPF_LEVEL_2].domain, IOPF_LEVEL_2);
}

/*
 * Hand a group of page requests over to whoever can serve them. It belongs to the
 * clients afterwards, or is answered and gone.
 */
void iopf_deliver(struct iopf_group *group)
{
	struct sorted sorted[] = {
		[IOPF_LEVEL_FLAT] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_FLAT].faults) },
		[IOPF_LEVEL_1] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_1].faults) },
		[IOPF_LEVEL_2] = { LIST_HEAD_INIT(sorted[IOPF_LEVEL_2].faults) },
	};
	enum iopf_level level;

	sort_group(group, sorted);

	if (!list_empty(&sorted[IOPF_LEVEL_1].faults) &&
	    !list_empty(&sorted[IOPF_LEVEL_2].faults)) {
		hand_over_parts(group, sorted);
		return;
	}

	for (level = IOPF_LEVEL_FLAT; level <= IOPF_LEVEL_2; level++) {
		if (list_empty(&sorted[level].faults))
			continue;
		list_splice(&sorted[level].faults, &group->faults);
		iopf_group_mark_last(group);
		hand_over(group, sorted[level].domain, level);
		return;
	}

	answer(group, IOMMU_PAGE_RESP_SUCCESS);
}
