# Level 3 reaches level 0 by a 32-bit call gate with two parameters and returns; levels and segments are checked.
.include "guest.inc"
.set GATE, FREE
.set CONFORMING, FREE + 8
.code16
start:
  enter_protected_mode
  lidt idt_pointer
  set_gate32 13, on_protection
  set_gate32 0x40, on_end, 0xee
  movl $RING0_STACK, TSS_BASE + 4
  movl $DATA, TSS_BASE + 8
  mov $TSS, %ax
  ltr %ax
  mov $service, %eax
  mov %ax, gdt + GATE
  movw $CODE32, gdt + GATE + 2
  movw $0xec02, gdt + GATE + 4
  shr $16, %eax
  mov %ax, gdt + GATE + 6
  movl $0x0000ffff, gdt + CONFORMING
  movl $0x00cf9e00, gdt + CONFORMING + 4

  mov $USER_DATA, %ax
  mov %ax, %ds
  mov %ax, %es
  mov $DATA, %ax
  mov %ax, %fs
  push $USER_DATA
  push $USER_STACK
  push $USER_CODE32
  push $user
  lret
user:
  mov %fs, %ax                 # level 0 data does not come along
  mov $1, %ebp
  cmp $0, %ax
  jne failed
  mov %cs, %ax
  mov $2, %ebp
  cmp $USER_CODE32, %ax
  jne failed

  push $0xaaaa
  push $0xbbbb
  lcall $(GATE | 3), $0xdeadbeef
  mov $3, %ebp
  cmp $0x16665, %eax           # their sum
  jne failed
  mov $4, %ebp
  cmp $USER_STACK, %esp
  jne failed

  lcall $(CONFORMING | 3), $conforming
  mov $5, %ebp
  cmp $(CONFORMING | 3), %ax
  jne failed

  mov $6, %ebp
  mov $1f, %edi
  ljmp $CODE32, $failed        # not without a gate
1:
  cmp $CODE32, %esi
  jne failed
  mov $7, %ebp
  mov $1f, %edi
  mov $DATA, %ax
  mov %ax, %gs
1:
  cmp $DATA, %esi
  jne failed
  mov $8, %ebp
  mov $1f, %edi
  cli
1:
  cmp $0, %esi
  jne failed
  mov $9, %ebp
  mov $1f, %edi
  int $13
1:
  cmp $(13 * 8 + 2), %esi
  jne failed
  xor %ebp, %ebp
failed:
  int $0x40

conforming:
  mov %cs, %ax
  lret

service:
  mov 8(%esp), %eax
  add 12(%esp), %eax
  mov %cs, %bx
  expect 20, $CODE32, %bx
  cmp $(RING0_STACK - 24), %esp
  je 1f
  fail 21
1:
  lret $8

on_protection:
  pop %esi
  mov %edi, (%esp)
  iretl
on_end:
  mov %ebp, %eax
  out %al, $0xf4
  hlt
guest_data
