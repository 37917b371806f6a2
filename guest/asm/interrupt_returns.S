# Interrupts and IRET in hot code, between all levels: stacks, flags, selectors; what IRET refuses when it is known well.
.include "guest.inc"
.set ROUNDS, 100

.code16
start:
  enter_protected_mode
  enter_long_mode
  movabs $(TSS_BASE + 4), %rdi
  movq $RING0_STACK, (%rdi)
  movw $104, TSS_BASE + 102
  movb $0x89, gdt + TSS + 5
  mov $TSS, %eax
  ltr %ax
  lidt idt_pointer
  set_gate64 13, on_protection
  set_gate64 0x80, on_call, 0xee
  set_gate64 0x81, on_change, 0xee
  set_gate64 0x82, on_pass, 0xee
  set_gate64 0x83, on_fail, 0xee
  mov $ROUNDS, %r15d
kernel:
  mov %rsp, %rbx              # ---- level 0 to level 0 ----
  stc
  int $0x80
  jc 1f
  fail 1
1:
  expect 2, %rbx, %rsp
  mov %ss, %eax
  expect 3, $DATA, %eax
  xor %ecx, %ecx              # ZF
  int $0x81                   # sets CF, DF and AC in the frame, and clears ZF
  jnc kernel_failed
  jz kernel_failed
  pushfq
  pop %rax
  cld
  and $0x40400, %eax
  expect 4, $0x40400, %eax
  push $0
  popfq
  mov %ss, %eax               # a null SS is allowed here
  push $0
  push %rbx
  push $0x2
  push $CODE64
  lea 1f(%rip), %rax
  push %rax
  iretq
1:
  mov %ss, %eax
  expect 5, $0, %eax
  expect 6, %rbx, %rsp
  mov $DATA, %eax
  mov %eax, %ss
  lea 1f(%rip), %r14          # NT: #GP
  pushfq
  push $0x4002
  popfq
  iretq
1:
  expect 7, $13, %r13
  expect 8, $0, %r12
  popfq
  lea 1f(%rip), %r14          # a code segment of another privilege: #GP(selector)
  push $DATA
  push %rbx
  push $2
  push $(USER_CODE64 & ~3)
  push $kernel
  iretq
1:
  expect 9, $(USER_CODE64 & ~3), %r12
  add $40, %rsp
  lea 1f(%rip), %r14          # not canonical: #GP(0)
  push $DATA
  push %rbx
  push $2
  push $CODE64
  movabs $0x800000000000, %rax
  push %rax
  iretq
1:
  expect 10, $0, %r12
  add $40, %rsp
  expect 11, %rbx, %rsp
  mov $DATA, %eax
  mov %eax, %ds
  mov $USER_DATA, %eax
  mov %eax, %es
  push $USER_DATA             # ---- to level 3, with ID and OF ----
  push $USER_STACK
  push $0x200a02
  push $USER_CODE64
  push $user
  iretq
kernel_failed:
  fail 12

user:
  mov $20, %eax
  jno user_failed
  mov $21, %eax
  mov %ds, %ecx               # level 0's went away
  jrcxz 1f
  jmp user_failed
1:
  mov $22, %eax
  mov %es, %ecx
  cmp $USER_DATA, %ecx
  jne user_failed
  mov $23, %eax
  mov %ss, %ecx
  cmp $USER_DATA, %ecx
  jne user_failed
  mov $24, %eax
  mov %cs, %ecx
  cmp $USER_CODE64, %ecx
  jne user_failed
  mov $25, %eax
  cmp $USER_STACK, %rsp
  jne user_failed
  pushfq
  pop %rcx
  mov $26, %eax
  and $0x200200, %ecx
  cmp $0x200200, %ecx
  jne user_failed
  mov $50, %r11d
2:
  mov $27, %eax
  stc
  int $0x80
  jnc user_failed
  cmp $0x80, %r13
  jne user_failed
  mov $28, %eax
  xor %ecx, %ecx
  int $0x81
  jnc user_failed
  jz user_failed
  cld
  cmp $USER_STACK, %rsp
  jne user_failed
  pushfq
  pop %rcx
  mov $29, %eax
  and $0x40200, %ecx
  cmp $0x40200, %ecx
  jne user_failed
  pushfq
  andq $~0x40000, (%rsp)
  popfq
  dec %r11d
  jnz 2b
  int $0x82
user_failed:
  int $0x83

on_call:
  mov $0x80, %r13
  clc
  iretq
on_change:
  orq $0x40401, 16(%rsp)      # AC, DF, CF
  andq $~0x40, 16(%rsp)       # ZF
  iretq
on_protection:
  mov $13, %r13
  pop %r12
  mov %r14, (%rsp)
  andq $~0x4000, 16(%rsp)
  iretq
on_pass:
  mov $DATA, %eax             # back at level 0
  mov %eax, %ss
  mov $STACK, %rsp
  dec %r15d
  jnz again
  pass
again:
  jmp kernel
on_fail:
  out %al, $0xf4
  cli
  hlt
guest_data
