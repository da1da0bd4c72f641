// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's caches. They have no size limit and no replacement: an entry
 * that hardware has seen stays until an invalidation covers it, even if newer
 * ones serve the same request.
 */

#include <linux/string.h>

#include "vtd_model_hw.h"

/**
 * vtd_cache_insert() - cache something that hardware has seen
 * @model: the IOMMU
 * @item: the item, with unused members zero
 */
void vtd_cache_insert(struct vtd_model *model, const struct vtd_item *item)
{
	struct vtd_items *items = &model->caches[item->cache];
	unsigned int i;

	for (i = 0; i < items->nr; i++) {
		if (!memcmp(&items->item[i], item, sizeof(*item)))
			return;
	}

	if (items->nr == VTD_MAX_ITEMS) {
		vtd_report_error(model->machine, "the model's caches are full");
		return;
	}

	items->item[items->nr++] = *item;
}

/**
 * vtd_cache_next() - iterate over one kind of cached items
 * @model: the IOMMU
 * @cache: the kind
 * @at: where to continue, 0 at first; items may be inserted meanwhile
 *
 * Return: the item or NULL.
 */
struct vtd_item *vtd_cache_next(struct vtd_model *model, enum vtd_cache cache,
				unsigned int *at)
{
	struct vtd_items *items = &model->caches[cache];

	return *at < items->nr ? &items->item[(*at)++] : NULL;
}

static void vtd_cache_drop(struct vtd_items *items,
			   bool (*covers)(const struct vtd_item *item, const void *data),
			   const void *data)
{
	unsigned int i, kept = 0;

	for (i = 0; i < items->nr; i++) {
		if (!covers(&items->item[i], data))
			items->item[kept++] = items->item[i];
	}
	items->nr = kept;
}

/**
 * vtd_cache_forget() - remove the items that an invalidation covers
 * @model: the IOMMU
 * @covers: returns whether it covers an item
 * @data: for @covers
 */
void vtd_cache_forget(struct vtd_model *model,
		      bool (*covers)(const struct vtd_item *item, const void *data),
		      const void *data)
{
	unsigned int i;

	for (i = 0; i < VTD_CACHES; i++)
		vtd_cache_drop(&model->caches[i], covers, data);
}
