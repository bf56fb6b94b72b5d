/* Entry of 32-bit test kernels: protected mode without paging, then guest_main; trap stubs; run. */

        .section .note, "a", @note
        .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long start

        .text
        .globl start
start:
        lgdt gdt_table
        ljmp $0x08, $1f
1:      mov $0x10, %eax
        mov %eax, %ds
        mov %eax, %es
        mov %eax, %ss
        xor %eax, %eax
        mov %eax, %fs
        mov %eax, %gs
        mov $main_stack, %esp
        mov %cr0, %eax
        or $0x22, %eax                  /* NE MP */
        mov %eax, %cr0
        call guest_main
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

/* Without a change of privilege there is no SS:ESP: it is added, so that a frame is always the same. */
trap_common:
        cld
        testb $3, %ss:12(%esp)
        jnz 1f
        /* vector error eip cs eflags become vector error eip cs eflags esp ss, eight bytes below. */
        sub $8, %esp
        push %eax
        mov %ss:12(%esp), %eax          /* vector */
        mov %eax, %ss:4(%esp)
        mov %ss:16(%esp), %eax          /* error */
        mov %eax, %ss:8(%esp)
        mov %ss:20(%esp), %eax          /* eip */
        mov %eax, %ss:12(%esp)
        mov %ss:24(%esp), %eax          /* cs */
        mov %eax, %ss:16(%esp)
        mov %ss:28(%esp), %eax          /* eflags */
        mov %eax, %ss:20(%esp)
        lea 32(%esp), %eax
        mov %eax, %ss:24(%esp)
        mov %ss, %eax
        mov %eax, %ss:28(%esp)
        pop %eax
1:      push %edi
        push %esi
        push %ebp
        push $0
        push %ebx
        push %edx
        push %ecx
        push %eax
        mov %ds, %eax
        mov %es, %ebx
        mov %fs, %ecx
        mov %gs, %edx
        mov %ss, %edi
        mov %cs:kernel_ds, %esi
        mov %esi, %ds
        mov %esi, %es
        mov %ax, out_ds
        mov %bx, out_es
        mov %cx, out_fs
        mov %dx, out_gs
        mov %di, out_handler_ss
        /* C needs a flat stack; the frame is where it is. */
        mov %esp, %eax
        push %eax
        call trap
        add $4, %esp
        mov out_ds, %ax
        mov %eax, %ds
        mov %ss:out_es, %ax
        mov %eax, %es
        pop %eax
        pop %ecx
        pop %edx
        pop %ebx
        add $4, %esp
        pop %ebp
        pop %esi
        pop %edi
        add $8, %esp
        testb $3, %ss:4(%esp)
        jnz 2f
        /* Back to the same privilege: to the stack that it had. */
        push %eax
        push %ebx
        mov %ss:20(%esp), %ebx          /* its esp */
        mov %ss:16(%esp), %eax
        mov %eax, %ss:-4(%ebx)
        mov %ss:12(%esp), %eax
        mov %eax, %ss:-8(%ebx)
        mov %ss:8(%esp), %eax
        mov %eax, %ss:-12(%ebx)
        sub $12, %ebx
        mov %ebx, %ss:8(%esp)
        pop %ebx
        pop %eax
        mov %ss:(%esp), %esp
2:      iret

/* void run(struct frame *) */
        .globl run
run:
        push %ebx
        push %ebp
        push %esi
        push %edi
        mov %esp, run_stack
        mov 20(%esp), %edi
        testb $3, 44(%edi)              /* cs */
        jnz 1f
        mov 56(%edi), %ss
        mov 52(%edi), %esp
        jmp 2f
1:      push 56(%edi)                   /* ss */
        push 52(%edi)                   /* esp */
2:      push 48(%edi)                   /* eflags */
        push 44(%edi)                   /* cs */
        push 40(%edi)                   /* eip */
        mov 4(%edi), %ecx
        mov 8(%edi), %edx
        mov 12(%edi), %ebx
        mov 20(%edi), %ebp
        mov 24(%edi), %esi
        push in_data
        pop %es
        mov (%edi), %eax
        mov 28(%edi), %edi
        push in_data
        pop %ds
        iret

/* Ends the run: called by trap, on any stack. */
        .globl run_end
run_end:
        mov $0x10, %eax
        mov %eax, %ss
        mov %eax, %ds
        mov %eax, %es
        mov run_stack, %esp
        pushl $2
        popfl
        pop %edi
        pop %esi
        pop %ebp
        pop %ebx
        ret

        .data
        .globl gdt, gdt_end, gdt_table, idt_table
        .p2align 4
gdt:    .quad 0
        .quad 0x00cf9b000000ffff        /* 08 code */
        .quad 0x00cf93000000ffff        /* 10 data */
        .quad 0x00009b000000ffff        /* 18 code, 16 bits */
        .quad 0x00cffb000000ffff        /* 20 ring 3 code */
        .quad 0x00cff3000000ffff        /* 28 ring 3 data */
        .quad 0x000093000000ffff        /* 30 data, 16 bits */
        .quad 0                         /* 38 TSS */
        .quad 0
        .fill 16, 8, 0
gdt_end:
gdt_table:
        .word gdt_end - gdt - 1
        .long gdt
idt_table:
        .word 2047
        .long idt
no_idt: .word 0
        .long 0
kernel_ds:
        .long 0x10

        .bss
        .globl idt, tss, kernel_stack, user_stack, trap_stack, trap_stack2
        .p2align 12
idt:    .skip 2048
        .p2align 12
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
        .skip 4
