# 32-bit hardware tasks: jump, call with nesting, return by IRET, a task gate in the IDT, a bad segment in the new task.
.include "guest.inc"
.set OTHER_TSS, FREE
.set TASK_GATE, FREE + 8
.set OTHER_BASE, TSS_BASE + 0x100
.code16
start:
  enter_protected_mode
  lidt idt_pointer
  movl $0x21000067, gdt + OTHER_TSS          # base 0x112100
  movl $0x00008911, gdt + OTHER_TSS + 4
  movl $(OTHER_TSS << 16), gdt + TASK_GATE
  movl $0x00008500, gdt + TASK_GATE + 4
  mov $TSS, %ax
  ltr %ax
  movl $other, OTHER_BASE + 32
  movl $2, OTHER_BASE + 36
  movl $0xb10c, OTHER_BASE + 52              # EBX
  movl $RING0_STACK, OTHER_BASE + 56
  movl $DATA, OTHER_BASE + 72
  movl $CODE32, OTHER_BASE + 76
  movl $DATA, OTHER_BASE + 80
  movl $DATA, OTHER_BASE + 84
  movl $DATA, OTHER_BASE + 88
  movl $0, OTHER_BASE + 92

  mov $0x1111, %ebx
  lcall $OTHER_TSS, $0
  expect 1, $0x1111, %ebx
  mov SCRATCH, %eax
  expect 2, $1, %eax
  pushfl
  pop %eax
  and $0x4000, %eax                          # NT is of the other task
  expect 3, $0, %eax
  movb gdt + OTHER_TSS + 5, %al
  expect 4, $0x89, %al
  str %ax
  expect 5, $TSS, %ax

  lcall $TASK_GATE, $0                       # goes on behind its IRET
  mov SCRATCH, %eax
  expect 6, $2, %eax

  movl $(OTHER_TSS << 16), IDT + 0x30 * 8
  movl $0x8500, IDT + 0x30 * 8 + 4
  int $0x30
  mov SCRATCH, %eax
  expect 7, $3, %eax

  ljmp $OTHER_TSS, $0                        # jump: no link, the old task becomes available
  fail 8

other:
  expect 20, $0xb10c, %ebx
  pushfl
  pop %eax
  and $0x4000, %eax
  expect 21, $0x4000, %eax
  mov OTHER_BASE, %ax
  expect 22, $TSS, %ax
  movb gdt + OTHER_TSS + 5, %al
  expect 23, $0x8b, %al
  mov %cr0, %eax
  and $8, %eax                               # TS
  expect 24, $8, %eax
  clts
  incl SCRATCH
  iretl
  incl SCRATCH                               # the second call resumes here
  iretl
  incl SCRATCH
  iretl
  # jumped to
  pushfl
  pop %eax
  and $0x4000, %eax
  expect 25, $0, %eax                        # IRET cleared NT in the image that it saved
  movb gdt + TSS + 5, %al
  expect 26, $0x89, %al
  str %ax
  expect 27, $OTHER_TSS, %ax
  pass
guest_data
