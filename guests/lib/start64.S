/* Entry of 64-bit test kernels: long mode, then guest_main; trap stubs; run. */

        .section .note, "a", @note
        .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start

        .text
        .code32
        .globl start
start:
        mov $0x620, %eax                /* PAE OSFXSR OSXMMEXCPT */
        mov %eax, %cr4
        mov $pml4, %eax
        mov %eax, %cr3
        mov $0xc0000080, %ecx
        mov $0x901, %eax                /* NXE LME SCE */
        xor %edx, %edx
        wrmsr
        mov $0x80010033, %eax           /* PG WP NE ET MP PE */
        mov %eax, %cr0
        lgdtl gdt_table
        ljmp $0x08, $long_mode

        .code64
long_mode:
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        mov $main_stack, %esp
        call guest_main
        /* The end: a triple fault. */
        .globl triple_fault
triple_fault:
        lidt no_idt
        int3

        .p2align 4
        .globl stubs
stubs:
        .set vector, 0
        .rept 256
        .p2align 4
        .if (vector >= 32) || !((0x60227d00 >> (vector & 31)) & 1)
        push $0
        .endif
        push $vector
        jmp trap_common
        .set vector, vector + 1
        .endr

trap_common:
        push %r15
        push %r14
        push %r13
        push %r12
        push %r11
        push %r10
        push %r9
        push %r8
        push %rdi
        push %rsi
        push %rbp
        push $0
        push %rbx
        push %rdx
        push %rcx
        push %rax
        mov %rsp, %rdi
        mov %rsp, %rbx
        and $-16, %rsp
        cld
        call trap
        mov %rbx, %rsp
        pop %rax
        pop %rcx
        pop %rdx
        pop %rbx
        add $8, %rsp
        pop %rbp
        pop %rsi
        pop %rdi
        pop %r8
        pop %r9
        pop %r10
        pop %r11
        pop %r12
        pop %r13
        pop %r14
        pop %r15
        add $16, %rsp
        iretq

/* void run(struct frame *) */
        .globl run
run:
        push %rbx
        push %rbp
        push %r12
        push %r13
        push %r14
        push %r15
        mov %rsp, run_stack
        push 176(%rdi)                  /* ss */
        push 168(%rdi)                  /* sp */
        push 160(%rdi)                  /* flags */
        push 152(%rdi)                  /* cs */
        push 144(%rdi)                  /* ip */
        mov (%rdi), %rax
        mov 8(%rdi), %rcx
        mov 16(%rdi), %rdx
        mov 24(%rdi), %rbx
        mov 40(%rdi), %rbp
        mov 48(%rdi), %rsi
        mov 64(%rdi), %r8
        mov 72(%rdi), %r9
        mov 80(%rdi), %r10
        mov 88(%rdi), %r11
        mov 96(%rdi), %r12
        mov 104(%rdi), %r13
        mov 112(%rdi), %r14
        mov 120(%rdi), %r15
        mov 56(%rdi), %rdi
        iretq

/* Ends the run: called by trap, on any stack. */
        .globl run_end
run_end:
        mov run_stack, %rsp
        mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        pushq $2
        popfq
        pop %r15
        pop %r14
        pop %r13
        pop %r12
        pop %rbp
        pop %rbx
        ret

        .data
        .globl gdt, gdt_end, gdt_table, idt_table
        .p2align 4
gdt:    .quad 0
        .quad 0x00af9b000000ffff        /* 08 code, 64-bit */
        .quad 0x00cf93000000ffff        /* 10 data */
        .quad 0x00cf9b000000ffff        /* 18 code, 32-bit */
        .quad 0x00cffb000000ffff        /* 20 ring 3 code, 32-bit */
        .quad 0x00cff3000000ffff        /* 28 ring 3 data */
        .quad 0x00affb000000ffff        /* 30 ring 3 code, 64-bit */
        .quad 0, 0                      /* 38 TSS */
        .fill 16, 8, 0
gdt_end:
gdt_table:
        .word gdt_end - gdt - 1
        .quad gdt
idt_table:
        .word 4095
        .quad idt
no_idt: .word 0
        .quad 0

        .globl pml4, pdpt, pd, low_tables, window
        .p2align 12
pml4:   .quad pdpt + 7
        .fill 511, 8, 0
pdpt:   .quad pd + 7
        .fill 2, 8, 0
        .quad apic_pd + 7
        .fill 508, 8, 0
pd:     .quad low_tables + 7, low_tables + 0x1007, low_tables + 0x2007, low_tables + 0x3007, window + 7
        .fill 507, 8, 0
apic_pd:
        .fill 503, 8, 0
        .quad 0xfee00000 + 0x9b         /* the local APIC, uncached */
        .fill 8, 8, 0
low_tables:
        .set frame, 0
        .rept 2048
        .quad frame + 3
        .set frame, frame + 4096
        .endr
window: .fill 512, 8, 0

        .bss
        .globl idt, tss, kernel_stack, user_stack, trap_stack, trap_stack2
        .p2align 12
idt:    .skip 4096
tss:    .skip 0x2100
        .p2align 12
        .skip 0x2000
main_stack:
        .skip 0x1000
trap_stack:
        .skip 0x1000
trap_stack2:
        .skip 0x1000
kernel_stack:
        .skip 0x1000
user_stack:
        .skip 0x1000
run_stack:
        .skip 8
