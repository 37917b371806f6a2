# Real mode -> protected -> 64-bit -> compatibility -> protected -> 16-bit protected -> real, and what survives.
.include "guest.inc"
.code16
start:
  mov $0x1000, %ax
  mov %ax, %ss
  mov $0xf000, %sp
  smsww %ax
  and $1, %al
  expect 1, $0, %al

  enter_protected_mode
  mov %cs, %ax
  expect 2, $CODE32, %ax
  movl $0x12345678, SCRATCH
  cmpl $0x12345678, SCRATCH
  je 1f
  fail 3
1:
  enter_long_mode
  mov %cs, %ax
  expect 10, $CODE64, %ax
  mov $0x1122334455667788, %rax
  push %rax
  expect 11, $(STACK - 8), %rsp
  pop %rbx
  expect 12, %rbx, %rax
  mov $0xc0000080, %ecx
  rdmsr
  and $0x500, %eax
  expect 13, $0x500, %eax
  xor %eax, %eax               # a null data segment is no hindrance in 64-bit mode
  mov %eax, %ds
  mov %eax, %es
  cmpl $0x12345678, SCRATCH
  je 1f
  fail 14
1:
  mov $DATA, %eax
  mov %eax, %ds
  mov %eax, %es

  push $CODE32                 # to compatibility mode
  push $compatibility
  lretq
compatibility:
  .code32
  mov %cs, %ax
  expect 20, $CODE32, %ax
  mov $DATA, %ax
  mov %ax, %ss
  push $0x1234
  expect 21, $(STACK - 4), %esp
  pop %eax
  .byte 0x40                   # INC EAX here, REX in 64-bit mode
  .byte 0x90
  expect 22, $0x1235, %eax

  mov %cr0, %eax               # paging off: LMA goes
  and $0x7fffffff, %eax
  mov %eax, %cr0
  mov $0xc0000080, %ecx
  rdmsr
  and $0x500, %eax
  expect 23, $0x100, %eax

  ljmpl $CODE16, $(protected16 - BASE)
protected16:
  .code16
  mov $DATA16, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0xf000, %sp
  mov $DATA, %ax               # FS keeps its 4 GiB limit in real mode
  mov %ax, %fs
  mov %cr0, %eax
  and $0xfe, %al
  mov %eax, %cr0
  ljmpw $0x1000, $(real - BASE)
real:
  mov $0x1000, %ax
  mov %ax, %ds
  mov %ax, %ss
  mov %cs, %ax
  expect 30, $0x1000, %ax
  mov $SCRATCH, %ebx
  cmpl $0x12345678, %fs:(%ebx)
  je 1f
  fail 31
1:
  xor %ax, %ax                 # INT through the interrupt vector table
  mov %ax, %es
  movw $(handler - BASE), %es:(0x60 * 4)
  movw $0x1000, %es:(0x60 * 4 + 2)
  lidtl real_idt_pointer - BASE
  sti
  int $0x60
after:
  expect 32, $0x77, %dl
  pushfw
  pop %ax
  and $0x200, %ax
  expect 33, $0x200, %ax
  expect 34, $0xf000, %sp
  pass

handler:
  mov $0x77, %dl
  mov %sp, %bp
  cmpw $(after - BASE), (%bp)
  je 1f
  fail 35
1:
  pushfw
  pop %ax
  and $0x200, %ax
  expect 36, $0, %ax
  iretw
guest_data
