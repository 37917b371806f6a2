# Work is the same with interrupts and without: registers, flags, vector and x87 state, memory, at whatever instruction a timer
# interrupt comes.
.include "guest.inc"
.include "engine.inc"
.set PASSES, 200000
.set ROUNDS, 20
.set numbers, SCRATCH         # 64 bytes that the work changes
.set FIRST_RESULT, SCRATCH + 0x100
.set RESULT, SCRATCH + 0x200

.macro result at
  mov %rax, \at
  mov %rbx, \at + 8
  mov %rdx, \at + 16
  mov %rsi, \at + 24
  mov %rdi, \at + 32
  mov %r8, \at + 40
  mov %r9, \at + 48
  mov %r10, \at + 56
  movups %xmm0, \at + 64
  movups %xmm1, \at + 80
  fstpt \at + 96
  mov numbers, %rax
  mov %rax, \at + 112
  mov numbers + 8, %rax
  mov %rax, \at + 120
.endm

.code16
start:
  engine_start
  set_gate64 0x40, on_tick
  call work
  result FIRST_RESULT
  mov $ROUNDS, %ebp
round:
  xor %r15d, %r15d
  write_msr X2_TIMER, 0x20040                # periodic
  write_msr X2_DIVIDE, 0xb
  mov $X2_INITIAL, %ecx
  mov %ebp, %eax                             # faster and faster
  imul $1000, %eax
  add $3000, %eax
  xor %edx, %edx
  wrmsr
  sti
  call work
  cli
  result RESULT
  write_msr X2_TIMER, 0x10040                # masked
  mov $FIRST_RESULT, %esi
  mov $RESULT, %edi
  mov $16, %ecx
  repe cmpsq
  je 1f
  mov %ecx, %eax
  add $100, %eax
  out %al, $0xf4
  cli
  hlt
1:
  expect_not 1, $0, %r15
  dec %ebp
  jnz round
  pass

work:
  fninit
  fldpi
  mov $0x0123456789abcdef, %rax
  mov %rax, numbers
  not %rax
  mov %rax, numbers + 8
  movq %rax, %xmm0
  pxor %xmm1, %xmm1
  xor %ebx, %ebx
  xor %edx, %edx
  xor %esi, %esi
  xor %edi, %edi
  mov $7, %r8d
  mov $11, %r9d
  mov $13, %r10d
  mov $PASSES, %ecx
1:
  add %r8, %rax
  adc numbers, %rbx                          # the carry lives across the load
  mov %rbx, numbers + 8
  sbb %rdx, %rdx
  rol $7, %rax
  xor %rax, numbers
  movq %rax, %xmm2
  paddq %xmm2, %xmm0
  pshufd $0x39, %xmm0, %xmm0
  pxor %xmm0, %xmm1
  push %rax
  pushf
  pop %r11
  and $0x8c5, %r11d
  add %r11, %rsi
  pop %r9
  cmp %r9, %rdi
  cmovb %r8, %r10
  setl %dl
  lea (%rdi,%r9,2), %rdi
  call 2f
  test $0x3ff, %ecx
  jnz 3f
  fld %st(0)
  fmulp %st, %st(1)
  fsqrt
3:
  imul $0x5851f42d, %r8, %r8
  inc %r8
  dec %ecx
  jnz 1b
  ret
2:
  movzbl numbers + 3, %r11d
  add %r11, %r10
  ret

on_tick:                                     # uses what the work uses, and brings it back
  push %rax
  push %rcx
  push %rdx
  sub $32, %rsp
  movups %xmm0, (%rsp)
  movups %xmm1, 16(%rsp)
  pcmpeqd %xmm0, %xmm0
  pxor %xmm1, %xmm1
  inc %r15
  end_of_interrupt
  movups (%rsp), %xmm0
  movups 16(%rsp), %xmm1
  add $32, %rsp
  pop %rdx
  pop %rcx
  pop %rax
  iretq
engine_data
