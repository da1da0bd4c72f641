// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without a kernel, for a machine with two CPUs. CPU 0 changes the memory map
 * all the time: it switches the BARs of PCI devices off and on. CPU 1 uses its local
 * APIC, which stays where it is. What goes wrong there is a fault of QEMU:
 *
 *   wrong_reads   the APIC's version register read as something else
 *   lost_writes   the task priority was not what had been written
 *   lost_eois     an interrupt was in service when no handler ran: the EOI went
 *                 elsewhere, and the timer would stand still from then on
 *   stalls        between two reports, the timer did not tick at all
 *
 * CPU 0 switches the translation of the IOMMU as well, if there is one: that replaces
 * the maps of all devices, and the CPUs' maps by others that look the same.
 *
 * It reports every 1024 changes, and ends when it receives a byte.
 * tools/qemu/mapchange.sh builds and runs it.
 */
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;

#define APIC			0xfee00000u
#define APIC_VERSION		0x30
#define APIC_TPR		0x80
#define APIC_EOI		0xb0
#define APIC_SPURIOUS		0xf0
#define APIC_ISR		0x100
#define APIC_ICR		0x300
#define APIC_LVT_TIMER		0x320
#define APIC_TIMER_INITIAL	0x380
#define APIC_TIMER_DIVIDE	0x3e0

#define VECTOR			0x41
#define SPURIOUS		0xff

#define IOMMU			0xfed90000u
#define IOMMU_GCMD		0x18
#define IOMMU_GSTS		0x1c
#define IOMMU_RTADDR		0x20
#define GCMD_TE			(1u << 31)
#define GCMD_SRTP		(1u << 30)

#define COM1			0x3f8

#define DEFINE_PORT_IO(suffix, type)					\
static inline void out##suffix(u16 port, type value)			\
{									\
	asm volatile("out" #suffix " %0, %1" : : "a"(value), "Nd"(port)); \
}									\
									\
static inline type in##suffix(u16 port)					\
{									\
	type value;							\
									\
	asm volatile("in" #suffix " %1, %0" : "=a"(value) : "Nd"(port)); \
	return value;							\
}

DEFINE_PORT_IO(b, u8)
DEFINE_PORT_IO(l, u32)

static inline u32 mmio_read(u32 address)
{
	u32 value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(address) : "memory");
	return value;
}

static inline void mmio_write(u32 address, u32 value)
{
	asm volatile("movl %0, (%1)" : : "r"(value), "r"(address) : "memory");
}

static u32 apic_read(u32 reg)
{
	return mmio_read(APIC + reg);
}

static void apic_write(u32 reg, u32 value)
{
	mmio_write(APIC + reg, value);
}

/* ---- the console ---- */

static void put(const char *s)
{
	for (; *s; s++) {
		while (!(inb(COM1 + 5) & 0x20))
			;
		outb(COM1, *s);
	}
}

static void put_number(const char *name, u32 value)
{
	char text[11];
	int i = 10;

	text[i] = 0;
	do {
		text[--i] = '0' + value % 10;
		value /= 10;
	} while (value);
	put(" ");
	put(name);
	put(" ");
	put(text + i);
}

/* The reset control register; with -no-reboot, QEMU ends. */
static void __attribute__((noreturn)) end(void)
{
	put("end\n");
	outb(0xcf9, 0x06);
	for (;;)
		asm volatile("hlt");
}

/* ---- CPU 1 ---- */

static volatile u32 ready, rounds, ticks, wrong_reads, lost_writes, lost_eois;

void tick(void)
{
	ticks++;
	apic_write(APIC_EOI, 0);
}

asm(".globl on_tick\n"
    "on_tick:	pusha\n"
    "		cld\n"
    "		call tick\n"
    "		popa\n"
    "		iret\n"
    ".globl on_spurious\n"
    "on_spurious: iret\n");
extern char on_tick[], on_spurious[];

static struct gate {
	u16 low, selector, type, high;
} idt[256];

static void set_gate(int vector, char *handler)
{
	idt[vector] = (struct gate){ (u32)handler, 8, 0x8e00, (u32)handler >> 16 };
}

void __attribute__((noreturn)) second(void)
{
	struct { u16 limit; u32 base; } __attribute__((packed))
		idtr = { sizeof(idt) - 1, (u32)idt };
	u32 version, i;

	set_gate(VECTOR, on_tick);
	set_gate(SPURIOUS, on_spurious);
	asm volatile("lidt %0" : : "m"(idtr));
	version = apic_read(APIC_VERSION);
	apic_write(APIC_SPURIOUS, 0x100 | SPURIOUS);
	apic_write(APIC_TIMER_DIVIDE, 0xb);
	apic_write(APIC_LVT_TIMER, 0x20000 | VECTOR);
	apic_write(APIC_TIMER_INITIAL, 100000);	/* of 1 ns in QEMU */
	asm volatile("sti");
	ready = 1;
	for (i = 0; ; i++) {
		rounds = i;
		if (apic_read(APIC_VERSION) != version)
			wrong_reads++;
		apic_write(APIC_TPR, i & 0x30);		/* holds no VECTOR back */
		if (apic_read(APIC_TPR) != (i & 0x30))
			lost_writes++;
		if (apic_read(APIC_ISR + (VECTOR / 32 << 4))) {
			lost_eois++;
			apic_write(APIC_EOI, 0);
		}
	}
}

/* Where a CPU that is started begins: at 8000h, in real mode. */
asm(".pushsection .text\n"
    ".code16\n"
    ".globl trampoline, trampoline_end\n"
    "trampoline: cli\n"
    "		xorw %ax, %ax\n"
    "		movw %ax, %ds\n"
    "		lgdtl 0x8000 + (gdtr - trampoline)\n"
    "		movl %cr0, %eax\n"
    "		orb $1, %al\n"
    "		movl %eax, %cr0\n"
    "		ljmpl $8, $second_entry\n"
    "		.balign 4\n"
    "gdtr:	.word 23\n"
    "		.long gdt\n"
    "trampoline_end:\n"
    ".code32\n"
    "second_entry: movw $16, %ax\n"
    "		movw %ax, %ds\n"
    "		movw %ax, %es\n"
    "		movw %ax, %ss\n"
    "		movl $second_stack + 16384, %esp\n"
    "		call second\n"
    ".popsection\n"
    ".pushsection .data\n"
    "		.balign 8\n"
    ".globl gdt\n"
    "gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
    ".popsection\n");
extern char trampoline[], trampoline_end[];
char second_stack[16384], first_stack[16384];

static void start_second(void)
{
	char *to = (char *)0x8000;
	int i;

	for (i = 0; i < trampoline_end - trampoline; i++)
		to[i] = trampoline[i];
	apic_write(APIC_SPURIOUS, 0x100 | SPURIOUS);
	apic_write(APIC_ICR, 0xc4500);		/* INIT to all others */
	for (i = 0; i < 10000; i++)
		inb(0x80);
	apic_write(APIC_ICR, 0xc4608);		/* SIPI, 8000h */
	while (!ready)
		asm volatile("pause");
}

/* ---- CPU 0 ---- */

static u32 config(u32 device, u32 reg)
{
	outl(0xcf8, 0x80000000u | device << 11 | reg);
	return inl(0xcfc);
}

static void set_config(u32 device, u32 reg, u32 value)
{
	outl(0xcf8, 0x80000000u | device << 11 | reg);
	outl(0xcfc, value);
}

/* The next device of bus 0 that has memory, round and round */
static u32 next_device(u32 device)
{
	u32 bar, tries;

	for (tries = 0; tries < 32; tries++) {
		device = (device + 1) % 32;
		if (config(device, 0) == 0xffffffff)
			continue;
		bar = config(device, 0x10);
		if (bar && !(bar & 1))
			return device;
	}
	put("no PCI device with memory\n");
	end();
}

static char root_table[4096] __attribute__((aligned(4096)));

static void gcmd(u32 command, u32 bit)
{
	mmio_write(IOMMU + IOMMU_GCMD, command);
	while ((mmio_read(IOMMU + IOMMU_GSTS) ^ command) & bit)
		;
}

static void report(u32 changes, u32 stalls)
{
	u32 faults = wrong_reads + lost_writes + lost_eois + stalls;

	put(faults ? "FAULT" : "ok");
	put_number("wrong_reads", wrong_reads);
	put_number("lost_writes", lost_writes);
	put_number("lost_eois", lost_eois);
	put_number("stalls", stalls);
	put_number("changes", changes);
	put_number("rounds", rounds);
	put_number("ticks", ticks);
	put("\n");
}

void first(void)
{
	u32 device = 0, command, changes = 0, stalls = 0, last_ticks = 0;
	int iommu;

	outb(COM1 + 3, 3);
	iommu = (mmio_read(IOMMU) & 0xff) == 0x10;
	put("begin:");
	put_number("iommu", iommu);
	put("\n");
	if (iommu) {
		mmio_write(IOMMU + IOMMU_RTADDR, (u32)root_table);
		mmio_write(IOMMU + IOMMU_RTADDR + 4, 0);
		gcmd(GCMD_SRTP, GCMD_SRTP);
	}
	start_second();
	do {
		device = next_device(device);
		command = config(device, 4) & 0xffff;
		set_config(device, 4, command & ~2u);
		if (iommu)
			gcmd(GCMD_TE, GCMD_TE);
		set_config(device, 4, command | 2u);
		if (iommu)
			gcmd(0, GCMD_TE);
		if (++changes % 1024 == 0) {
			stalls += ticks == last_ticks;
			last_ticks = ticks;
			report(changes, stalls);
		}
	} while (!(inb(COM1 + 5) & 1));
	report(changes, stalls);
	end();
}

asm(".pushsection .multiboot, \"a\"\n"
    "		.balign 4\n"
    "		.long 0x1badb002, 0, -0x1badb002\n"
    ".popsection\n"
    ".globl start\n"
    "start:	movl $first_stack + 16384, %esp\n"
    "		lgdt 1f\n"
    "		ljmp $8, $2f\n"
    "2:		movw $16, %ax\n"
    "		movw %ax, %ds\n"
    "		movw %ax, %es\n"
    "		movw %ax, %ss\n"
    "		call first\n"
    "1:		.word 23\n"
    "		.long gdt\n");
