/* SPDX-License-Identifier: GPL-2.0-only */
/* See weak.c. */
#ifndef _FLPT_WEAK_H
#define _FLPT_WEAK_H

#include "shim.h"

#ifdef WEAK
#define WEAK_ORDER	true
void weak_reset(u64 seed);
void weak_switch(int nr);
void weak_begin(int nr, u64 bound);
u64 weak_end(int nr);
u64 weak_now(void);
void weak_step(void);
void weak_write_back(void *addr, size_t size);
void weak_full_wmb(void);
void weak_mb(void);
#else
#define WEAK_ORDER	false
static inline void weak_reset(u64 seed) {}
static inline void weak_switch(int nr) {}
static inline void weak_begin(int nr, u64 bound) {}
static inline u64 weak_end(int nr) { return 0; }
static inline u64 weak_now(void) { return 0; }
static inline void weak_step(void) {}
static inline void weak_write_back(void *addr, size_t size) {}
static inline void weak_full_wmb(void) {}
static inline void weak_mb(void) {}
#endif

#endif /* _FLPT_WEAK_H */
