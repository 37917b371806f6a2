# Exceptions and interrupts of 64-bit mode from both levels: error codes, CR2, stacks, SYSCALL, IRET.
.include "guest.inc"
.code16
start:
  enter_protected_mode
  enter_long_mode
  movabs $(TSS_BASE + 4), %rdi
  movq $RING0_STACK, (%rdi)
  movq $(RING0_STACK + 0x8000), 32(%rdi)    # IST1
  movw $104, TSS_BASE + 102
  movb $0x89, gdt + TSS + 5
  mov $TSS, %eax
  ltr %ax
  lidt idt_pointer
  set_gate64 3, on_breakpoint, 0xee
  set_gate64 6, on_undefined, 0x8e, 1
  set_gate64 13, on_protection
  set_gate64 14, on_page_fault
  set_gate64 0x80, on_call, 0xee

  # ---- at level 0 ----
  lea 1f(%rip), %r15
  mov $0x40000000, %rbx        # not mapped
  mov %rbx, (%rbx)
1:
  expect 1, $2, %r14           # error code: write
  expect 2, %rbx, %r13
  lea 1f(%rip), %r15
  movabs $0x800000000000, %rbx # not canonical
  mov (%rbx), %rax
1:
  expect 3, $0, %r14
  expect 4, $13, %r12
  lea 1f(%rip), %r15
  ud2
1:
  expect 5, $6, %r12
  cmp $(RING0_STACK + 0x8000 - 40), %r11     # on the IST
  je 1f
  fail 6
1:
  lea 1f(%rip), %r15
  mov $0x1000, %eax            # beyond the GDT
  mov %eax, %ds
1:
  expect 7, $0x1000, %r14
  int3
  expect 8, $3, %r12
  push $0x1234                 # an unaligned stack is aligned by the interrupt
  mov %rsp, %r10
  int $0x80
  expect 9, %r10, %rsp
  expect 10, $0x80, %r12
  and $15, %r11
  expect 11, $8, %r11          # five pushed below an aligned address

  # ---- at level 3 ----
  mov $0xc0000081, %ecx        # STAR: kernel CODE64 = 0x18, and SS 0x20 is not used below
  xor %eax, %eax
  mov $((USER_DATA - 8) << 16 | CODE64), %edx
  wrmsr
  mov $0xc0000082, %ecx
  mov $on_syscall, %eax
  xor %edx, %edx
  wrmsr
  mov $0xc0000084, %ecx
  mov $0x200, %eax
  wrmsr
  push $USER_DATA
  push $USER_STACK
  push $0x202
  push $USER_CODE64
  push $user
  iretq
user:
  mov %cs, %ax
  cmp $USER_CODE64, %ax
  jne user_failed
  cmp $USER_STACK, %rsp
  jne user_failed
  inc %r9
  lea 1f(%rip), %r15
  mov $0x40000000, %rbx
  mov (%rbx), %rax
1:
  cmp $4, %r14                 # error code: user, read
  jne user_failed
  cmp $(RING0_STACK - 48), %r11
  jne user_failed
  cmp $USER_STACK, %rsp
  jne user_failed
  inc %r9
  lea 1f(%rip), %r15
  hlt
1:
  cmp $13, %r12
  jne user_failed
  inc %r9
  lea 1f(%rip), %r15
  lea 1f(%rip), %r15
  int $14                      # gate of level 0
1:
  cmp $(14 * 8 + 2), %r14
  jne user_failed
  inc %r9
  int $0x80
  cmp $0x80, %r12
  jne user_failed
  inc %r9
  syscall
after_syscall:
  cmp $0x5157, %rax
  jne user_failed
  inc %r9
  cmp $USER_STACK, %rsp
  jne user_failed
  mov $0x600d, %eax
  syscall
user_failed:
  mov $0xbad, %eax
  syscall

on_syscall:
  cmp $0x600d, %eax
  je passed
  cmp $0xbad, %eax
  je failed_in_user
  pushfq
  pop %rax
  and $0x200, %eax
  cmp $0, %eax                 # SFMASK cleared IF
  jne failed_in_user
  mov $after_syscall, %ebx
  cmp %rbx, %rcx
  jne failed_in_user
  mov $0x5157, %eax
  sysretq
failed_in_user:
  mov %r9b, %al
  add $100, %al
  out %al, $0xf4
  cli
  hlt
passed:
  pass

# Handlers: r12 the vector, r14 the error code, r13 CR2, r11 the stack pointer; continue at r15.
on_page_fault:
  mov %rsp, %r11
  mov $14, %r12
  mov %cr2, %r13
  pop %r14
  mov %r15, (%rsp)
  iretq
on_protection:
  mov %rsp, %r11
  mov $13, %r12
  pop %r14
  mov %r15, (%rsp)
  iretq
on_undefined:
  mov %rsp, %r11
  mov $6, %r12
  mov %r15, (%rsp)
  iretq
on_breakpoint:
  mov $3, %r12
  iretq
on_call:
  mov %rsp, %r11
  mov $0x80, %r12
  iretq
guest_data
