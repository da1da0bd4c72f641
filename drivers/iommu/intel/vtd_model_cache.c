// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VT-d model's caches. They have no size and no replacement: what hardware
 * has seen stays until an invalidation covers it, beside what it has seen
 * there since.
 */

#include <linux/string.h>

#include "vtd_model_hw.h"

/**
 * vtd_cache_insert() - hardware has seen something
 * @model: the IOMMU
 * @item: what, with unused members zero
 */
void vtd_cache_insert(struct vtd_model *model, const struct vtd_item *item)
{
	unsigned int i;

	for (i = 0; i < model->nr_items; i++) {
		if (!memcmp(&model->items[i], item, sizeof(*item)))
			return;
	}

	if (model->nr_items == VTD_MAX_ITEMS) {
		vtd_complain(model->machine, "the model's caches are full");
		return;
	}

	model->items[model->nr_items++] = *item;
}

/**
 * vtd_cache_next() - go through one kind of cached items
 * @model: the IOMMU
 * @cache: the kind
 * @at: where to go on, 0 at first; items may be inserted meanwhile
 *
 * Return: the item or NULL.
 */
struct vtd_item *vtd_cache_next(struct vtd_model *model, enum vtd_cache cache,
				unsigned int *at)
{
	while (*at < model->nr_items) {
		struct vtd_item *item = &model->items[(*at)++];

		if (item->cache == cache)
			return item;
	}

	return NULL;
}

/**
 * vtd_cache_forget() - forget what an invalidation covers
 * @model: the IOMMU
 * @covers: whether it covers an item
 * @data: for @covers
 */
void vtd_cache_forget(struct vtd_model *model,
		      bool (*covers)(const struct vtd_item *item, const void *data),
		      const void *data)
{
	unsigned int i, kept = 0;

	for (i = 0; i < model->nr_items; i++) {
		if (!covers(&model->items[i], data))
			model->items[kept++] = model->items[i];
	}
	model->nr_items = kept;
}
