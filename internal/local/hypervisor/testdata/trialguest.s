# Copyright The Ingot Authors.
# SPDX-License-Identifier: Apache-2.0

# The trial guest of DetectAcceleration, one boot sector. It enters 64-bit mode, counts down from 300 million, and
# writes 0x10 to the debug exit port. A test assembles this file and compares it with the bytes in acceleration.go.
	.code16
start:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	cld
	movw $0x1000, %di		# page tables at 0x1000: 2 MiB mapped onto themselves
	movw $0x1800, %cx
	rep stosw
	movw $0x2003, 0x1000
	movw $0x3003, 0x2000
	movw $0x0083, 0x3000
	movl $0xa0, %eax		# PAE, PGE
	movl %eax, %cr4
	movl $0x1000, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		# EFER.LME
	rdmsr
	orl $0x100, %eax
	wrmsr
	movl %cr0, %eax
	orl $0x80000001, %eax		# PG, PE
	movl %eax, %cr0
	lgdtl gdtr
	ljmpw $8, $long
	.code64
long:
	movl $300000000, %ecx
again:
	decl %ecx
	jnz again
	movb $0x10, %al
	outb %al, $0xf4
stop:
	hlt
	jmp stop
	.balign 8
gdt:
	.quad 0
	.quad 0x00209a0000000000
gdtr:
	.word 15
	.long gdt
