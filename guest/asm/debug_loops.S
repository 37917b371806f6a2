# Single steps and breakpoints in code that has run often without them: the number of traps is exact, they begin and end where
# they are switched, and what runs between is not disturbed.
.include "guest.inc"
.set ROUNDS, 20
.set HOT, 200
.set TRAPS, %r15
.code16
start:
  enter_protected_mode
  enter_long_mode
  lidt idt_pointer
  set_gate64 1, on_debug
  mov $ROUNDS, %ebp
round:
  xor %r15d, %r15d
  mov $HOT, %ecx
  call work
  expect 1, $0, %r15
  expect 2, $(3 * HOT), %eax

  # ---- TF: a trap behind each instruction but the POPF that sets it, and behind the one that clears it ----
  mov $10, %ecx
  pushf
  orl $0x100, (%rsp)
  popf
  call work
  pushf
  andl $~0x100, (%rsp)
  popf
  # CALL, XOR, 10 * (ADD, PUSH, POP, ADD, CALL, NOP, RET, LOOP), RET, PUSHF, AND, POPF
  expect 3, $(2 + 10 * 8 + 4), %r15
  expect 4, $30, %eax
  expect 5, $0x4000, %r13                    # DR6.BS

  # ---- an instruction breakpoint ----
  xor %r15d, %r15d
  lea inner(%rip), %rax
  mov %rax, %dr0
  mov $0x402, %eax                           # G0, execution
  mov %rax, %dr7
  mov $HOT, %ecx
  call work
  expect 6, $HOT, %r15
  expect 7, $(3 * HOT), %eax
  expect 8, $1, %r13                         # B0
  lea inner(%rip), %rax
  expect 9, %rax, %r12                       # before the instruction
  mov $0x400, %eax
  mov %rax, %dr7
  mov $HOT, %ecx
  call work
  expect 10, $HOT, %r15

  # ---- a data breakpoint: writes of the loop's PUSH and CALL, one word ----
  xor %r15d, %r15d
  lea -16(%rsp), %rax
  mov %rax, %dr1
  mov $0x00900408, %eax                      # G1, writes, 8 bytes
  mov %rax, %dr7
  mov $HOT, %ecx
  call work
  expect 11, $(2 * HOT), %r15
  expect 12, $2, %r13                        # B1
  mov $0x400, %eax
  mov %rax, %dr7

  # ---- set and cleared from inside the loop ----
  xor %r15d, %r15d
  lea SCRATCH, %rax
  mov %rax, %dr2
  mov $100, %ecx
1:
  movl %ecx, SCRATCH
  mov $0x0d000420, %edx                      # G2, writes, 4 bytes
  cmp $50, %ecx
  je 2f
  mov $0x400, %edx
  cmp $40, %ecx
  jne 3f
2:
  mov %rdx, %dr7
3:
  dec %ecx
  jnz 1b
  expect 13, $10, %r15

  # ---- one step in the middle of a repeated string instruction ----
  xor %r15d, %r15d
  mov $SCRATCH, %edi
  mov $5, %ecx
  pushf
  orl $0x100, (%rsp)
  popf
  rep stosb
  pushf
  andl $~0x100, (%rsp)
  popf
  expect 14, $(5 + 3), %r15                  # one for each element
  dec %ebp
  jnz round
  pass

work:
  xor %eax, %eax
1:
  add $2, %eax
  push %rax
  pop %rax
  add $1, %eax
  call inner
  loop 1b
  ret
inner:
  nop
  ret

on_debug:
  inc %r15
  mov %dr6, %r13
  and $0x400f, %r13d
  push %rax
  xor %eax, %eax
  mov %rax, %dr6
  mov 8(%rsp), %r12
  test $1, %r13b                             # a fault: RF, so that it goes on
  jz 1f
  orl $0x10000, 24(%rsp)
1:
  pop %rax
  iretq
guest_data
