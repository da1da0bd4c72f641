// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of user space that are held and locked for as long as a test wants, as slow I/O
 * does. Each parameter does to the page of the number written to it what its name says.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>

/* The folio of a page that exists and is in use, with a reference */
static struct folio *get_folio(const char *number)
{
	unsigned long pfn;

	if (kstrtoul(number, 0, &pfn) || !pfn_valid(pfn))
		return NULL;

	return folio_try_get(pfn_folio(pfn)) ? pfn_folio(pfn) : NULL;
}

static int set_hold(const char *number, const struct kernel_param *unused)
{
	return get_folio(number) ? 0 : -EINVAL;
}

static int set_drop(const char *number, const struct kernel_param *unused)
{
	struct folio *folio = get_folio(number);

	if (!folio)
		return -EINVAL;
	folio_put_refs(folio, 2);
	return 0;
}

static int set_lock(const char *number, const struct kernel_param *unused)
{
	struct folio *folio = get_folio(number);

	if (!folio)
		return -EINVAL;
	folio_lock(folio);
	folio_put(folio);
	return 0;
}

static int set_unlock(const char *number, const struct kernel_param *unused)
{
	struct folio *folio = get_folio(number);

	if (!folio)
		return -EINVAL;
	folio_unlock(folio);
	folio_put(folio);
	return 0;
}

static const struct kernel_param_ops hold = { .set = set_hold };
static const struct kernel_param_ops drop = { .set = set_drop };
static const struct kernel_param_ops lock = { .set = set_lock };
static const struct kernel_param_ops unlock = { .set = set_unlock };

module_param_cb(hold, &hold, NULL, 0200);
module_param_cb(drop, &drop, NULL, 0200);
module_param_cb(lock, &lock, NULL, 0200);
module_param_cb(unlock, &unlock, NULL, 0200);

MODULE_DESCRIPTION("Pages that stay locked, for tests");
MODULE_LICENSE("GPL");
