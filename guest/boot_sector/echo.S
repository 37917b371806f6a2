# A boot sector that types back what is typed (INT 16h, INT 10h) until Enter, shows a picture for F1 (mode 13h: a line of
# each colour), and goes back to text for F2.
        .code16
        .globl _start
_start: xor %ax, %ax
        mov %ax, %ds
        mov %ax, %ss
        mov $0x7c00, %sp
        mov $hello, %si
1:      lodsb
        test %al, %al
        jz next
        call show
        jmp 1b

next:   xor %ax, %ax
        int $0x16
        cmp $0x3b, %ah
        je picture
        cmp $0x3c, %ah
        je words
        cmp $13, %al
        je ready
        call show
        jmp next

ready:  mov $0x604, %dx
        mov $0x3400, %ax
        out %ax, %dx
2:      hlt
        jmp 2b

words:  mov $3, %ax
        int $0x10
        jmp next

picture:
        mov $0x13, %ax
        int $0x10
        mov $0xa000, %ax
        mov %ax, %es
        xor %di, %di
        xor %al, %al
        cld
3:      mov $320, %cx
        rep stosb
        inc %al
        cmp $200, %al
        jne 3b
        jmp next

show:   mov $0x0e, %ah
        mov $7, %bx
        int $0x10
        ret

hello:  .asciz "TYPE: "
        .org 510
        .word 0xaa55
