# A 32-bit program without any library: says ready, keeps a mark in ebx's neighbour esi, and pauses.
    .section .rodata
ready:
    .ascii "ready\n"
    .data
    .globl marked
marked:
    .fill 1024, 4, 0x0BADCAFE
    .text
    .globl _start
_start:
    movl $4, %eax
    movl $1, %ebx
    movl $ready, %ecx
    movl $6, %edx
    int $0x80
    movl $0x00C0FFEE, marked
    movl $0x5EED3232, %esi
again:
    movl $29, %eax
    int $0x80
    jmp again
