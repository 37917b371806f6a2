# A pending interrupt is delivered behind the instruction after STI, behind POPF and IRET, and when HLT wakes; never between
# STI and CLI; thousands of times, so that all of it is hot.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 2000

# Sends vector 0x41 to itself with interrupts off; %r15 counts, %r12 says where it came.
.macro pending
  cli
  xor %r15d, %r15d
  send_self 0x41
.endm
.macro came number, where
  expect \number, $1, %r15
  lea \where(%rip), %rax
  expect (\number + 1), %rax, %r12
.endm

.code16
start:
  engine_start
  set_gate64 0x41, on_interrupt
  mov $ROUNDS, %ebp
round:
  pending
  sti
  nop
1:
  nop
  came 1, 1b
  pending
  sti
  jmp 1f                                     # the instruction after may be a branch
  nop
1:
  nop
  came 3, 1b
  pending
  sti
  cli
  nop
  expect 5, $0, %r15
  sti
  sti                                        # no second shadow
1:
  nop
  came 6, 1b
  pending
  pushf
  orl $0x200, (%rsp)
  popf
1:
  nop
  came 8, 1b
  pending
  sti
  hlt                                        # taken at once, behind HLT
1:
  nop
  came 10, 1b
  pending
  mov %rsp, %rax
  push $DATA
  push %rax
  pushf
  orl $0x200, (%rsp)
  push $CODE64
  lea 1f(%rip), %rax
  push %rax
  iretq
1:
  nop
  came 12, 1b
  pending
  mov %ss, %eax
  sti
  mov %eax, %ss                              # two shadows follow each other
  nop
1:
  nop
  expect 14, $1, %r15
  cli
  xor %r15d, %r15d                           # with interrupts on it comes behind the WRMSR
  sti
  nop
  send_self 0x41
1:
  nop
  came 15, 1b
  dec %ebp
  jnz round
  pass

on_interrupt:
  push %rax
  push %rcx
  push %rdx
  mov 24(%rsp), %r12
  inc %r15
  end_of_interrupt
  pop %rdx
  pop %rcx
  pop %rax
  iretq
engine_data
