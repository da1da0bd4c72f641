// SPDX-License-Identifier: GPL-2.0-only
/*
 * The addresses of a pass, which are computed before the measurement.
 */

#include <linux/bitmap.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "bench.h"

#define PAGES_PER_REGION	(SZ_2M / SZ_4K)

static int sequence_alloc(struct bench_sequence *seq, unsigned int nr)
{
	seq->nr = nr;
	seq->map = kvcalloc(nr, sizeof(*seq->map), GFP_KERNEL);
	seq->unmap = kvcalloc(nr, sizeof(*seq->unmap), GFP_KERNEL);
	if (seq->map && seq->unmap)
		return 0;

	bench_sequence_free(seq);

	return -ENOMEM;
}

void bench_sequence_free(struct bench_sequence *seq)
{
	kvfree(seq->map);
	kvfree(seq->unmap);
}

/* Ascending addresses */
int bench_linear(struct bench_sequence *seq, unsigned long start,
		 unsigned long stride, unsigned int nr)
{
	unsigned int i;

	if (sequence_alloc(seq, nr))
		return -ENOMEM;

	for (i = 0; i < nr; i++) {
		seq->map[i] = start + i * stride;
		seq->unmap[i] = start + i * stride;
	}

	return 0;
}

static void shuffle(unsigned long *array, unsigned int nr,
		    struct rnd_state *state)
{
	unsigned int i;

	for (i = nr - 1; i; i--) {
		unsigned int with = prandom_u32_state(state) % (i + 1);

		swap(array[i], array[with]);
	}
}

/*
 * @nr different pages anywhere in @regions regions of 2 MiB, which lie one
 * behind the other. The same ones every time.
 */
int bench_scattered(struct bench_sequence *seq, unsigned int regions,
		    unsigned int nr)
{
	unsigned int pages = regions * PAGES_PER_REGION;
	unsigned long *used = kvcalloc(BITS_TO_LONGS(pages), sizeof(*used), GFP_KERNEL);
	struct rnd_state state;
	unsigned int i;

	if (!used || sequence_alloc(seq, nr)) {
		kvfree(used);
		return -ENOMEM;
	}

	prandom_seed_state(&state, 612);
	for (i = 0; i < nr; i++) {
		unsigned int page;

		do {
			page = prandom_u32_state(&state) % pages;
		} while (__test_and_set_bit(page, used));

		seq->map[i] = SZ_1G + page * (unsigned long)SZ_4K;
		seq->unmap[i] = seq->map[i];
	}
	shuffle(seq->unmap, nr, &state);
	kvfree(used);

	return 0;
}
