# A boot sector that uses the BIOS's services and says what they gave: INT 10h (text), 13h (disk), 15h (memory map),
# 16h (keyboard status), 1Ah (clock). It ends by switching the machine off.
        .code16
        .globl _start
_start: xor %ax, %ax
        mov %ax, %ds
        mov %ax, %es
        mov %ax, %ss
        mov $0x7c00, %sp
        mov %dl, drive
        mov $hello, %si
        call print

        mov $packet, %si                # sector 1 of the disk to 0x8000
        mov $0x42, %ah
        mov drive, %dl
        int $0x13
        jc failed
        mov $0x8000, %si
        call print

        xor %ebx, %ebx                  # the memory map: RAM in MiB from 1 MiB on
        xor %bp, %bp
1:      mov $0xe820, %eax
        mov $0x534d4150, %edx
        mov $20, %ecx
        mov $0x9000, %di
        int $0x15
        jc failed
        cmp $0x534d4150, %eax
        jne failed
        cmpl $1, 0x9010
        jne 2f
        mov 0x9008, %eax
        shr $20, %eax
        add %ax, %bp
2:      test %ebx, %ebx
        jnz 1b
        mov $memory, %si
        call print
        mov %bp, %ax
        call print_number

        mov $1, %ah                     # no key was pressed
        int $0x16
        jnz failed
        mov $0, %ah                     # ticks since midnight
        int $0x1a
        mov $done, %si
        call print
        mov $3, %cx                     # SeaBIOS's serial console shows the last character at a clock tick
        sti
6:      hlt
        loop 6b
        mov $0x604, %dx                 # ACPI: sleep type 5, enable
        mov $0x3400, %ax
        out %ax, %dx
3:      hlt
        jmp 3b

failed: mov $bad, %si
        call print
        jmp 3b

print:  lodsb
        test %al, %al
        jz 4f
        mov $0x0e, %ah
        mov $7, %bx
        int $0x10
        jmp print
4:      ret

print_number:                           # ax, decimal
        mov $10, %cx
        xor %dx, %dx
        div %cx
        push %dx
        test %ax, %ax
        jz 5f
        call print_number
5:      pop %ax
        add $'0', %al
        mov $0x0e, %ah
        mov $7, %bx
        int $0x10
        ret

drive:  .byte 0
packet: .byte 16, 0
        .word 1, 0x8000, 0
        .quad 1
hello:  .asciz "BOOTED\r\n"
memory: .asciz "MEMORY "
done:   .asciz " MIB\r\nSERVICES-OK\r\n"
bad:    .asciz "FAILED\r\n"
        .org 510
        .word 0xaa55
        .asciz "SECTOR ONE\r\n"
        .org 1024
