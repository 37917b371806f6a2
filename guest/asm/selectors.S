# LAR, LSL, VERR, VERW, ARPL, limits and types of data segments, SMSW and table stores at level 0 in 32-bit mode.
.include "guest.inc"
.set SMALL, FREE              # data, limit 0xfff bytes
.set READ_ONLY, FREE + 8
.set EXPAND_DOWN, FREE + 16   # offsets above 0xfff
.set ABSENT, FREE + 24
.code16
start:
  enter_protected_mode
  lidt idt_pointer
  set_gate32 11, on_fault_11
  set_gate32 12, on_fault_12
  set_gate32 13, on_fault_13
  movl $0x00000fff, gdt + SMALL
  movl $0x00409215, gdt + SMALL + 4          # base 0x150000, accessed bit clear
  movl $0x0000ffff, gdt + READ_ONLY
  movl $0x00cf9000, gdt + READ_ONLY + 4
  movl $0x00000fff, gdt + EXPAND_DOWN
  movl $0x00409600, gdt + EXPAND_DOWN + 4
  movl $0x0000ffff, gdt + ABSENT
  movl $0x00cf1200, gdt + ABSENT + 4

  mov $SMALL, %eax
  lar %eax, %ebx
  jz 1f
  fail 1
1:
  expect 2, $0x00409200, %ebx
  lsl %eax, %ebx
  expect 3, $0xfff, %ebx
  mov $DATA, %eax
  lsl %eax, %ebx
  expect 4, $0xffffffff, %ebx
  mov $0xff00, %eax
  lar %eax, %ebx
  jnz 1f
  fail 5
1:
  mov $READ_ONLY, %eax
  verr %ax
  jz 1f
  fail 6
1:
  verw %ax
  jnz 1f
  fail 7
1:
  mov $CODE32, %eax
  verw %ax
  jnz 1f
  fail 8
1:
  mov $0x10, %ax
  mov $0x03, %bx
  arpl %bx, %ax
  jz 1f
  fail 9
1:
  expect 10, $0x13, %ax

  mov $SMALL, %ax
  mov %ax, %fs
  movb gdt + SMALL + 5, %al
  expect 11, $0x93, %al                      # accessed
  mov %fs:0xffc, %eax
  mov $1f, %edi
  mov %fs:0xffd, %eax
  fail 12
1:
  expect 13, $13, %ebp
  expect 14, $0, %esi
  mov $READ_ONLY, %ax
  mov %ax, %gs
  mov %gs:SCRATCH, %eax
  mov $1f, %edi
  mov %eax, %gs:SCRATCH
  fail 15
1:
  expect 16, $13, %ebp
  mov $EXPAND_DOWN, %ax
  mov %ax, %gs
  mov %gs:0x1000, %eax
  mov $1f, %edi
  mov %gs:0xfff, %eax
  fail 17
1:
  mov $1f, %edi
  mov $ABSENT, %eax
  mov %ax, %gs
  fail 18
1:
  expect 19, $11, %ebp
  expect 20, $ABSENT, %esi
  mov $1f, %edi
  mov $READ_ONLY, %eax
  mov %ax, %ss
  fail 21
1:
  expect 22, $13, %ebp
  expect 23, $READ_ONLY, %esi
  mov $1f, %edi
  xor %eax, %eax
  mov %ax, %gs
  mov %gs:0, %eax
  fail 24
1:
  expect 25, $13, %ebp
  mov $1f, %edi
  mov $SMALL, %ax
  mov %ax, %ss
  mov $0xffe, %esp
  pop %eax
  fail 26
1:
  expect 27, $12, %ebp
  sgdt SCRATCH
  mov SCRATCH + 2, %eax
  expect 28, $gdt, %eax
  smsw %eax
  and $1, %eax
  expect 29, $1, %eax
  pass

on_fault_11:
  mov $11, %ebp
  jmp 1f
on_fault_12:
  mov $12, %ebp
  jmp 1f
on_fault_13:
  mov $13, %ebp
1:
  pop %esi
  mov $DATA, %ax
  mov %ax, %ss
  mov $STACK, %esp
  jmp *%edi
guest_data
