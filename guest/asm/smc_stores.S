# Every kind of store overwrites code that has run: moves of all widths, strings, pushes and calls, locked and vector
# stores, stores that come in from the page before or go on into the next.
.include "guest.inc"
.set ROUNDS, 200
.set VICTIM, 0x180000         # a page of code: MOV $imm32, %eax; RET, and the same at its end
.set LAST, VICTIM + 0x1000 - 6
.set WIDE, VICTIM + 0x200     # MOVABS $imm64, %rax; RET
.set LONG, VICTIM + 0x400     # 64 bytes to be filled, RET
.set TEMPLATE, 0x190000

# Calls `at`, which must return %ecx.
.macro expect_ecx number, at
  call \at
  expect \number, %ecx, %eax
  not %ecx
.endm
.macro put_return at, shape=0xb8
  movb $\shape, \at
  movb $0xc3, \at + 5
.endm

.code16
start:
  enter_protected_mode
  enter_long_mode
  mov %cr0, %rax
  and $~4, %rax                # EM
  or $2, %rax
  mov %rax, %cr0
  mov %cr4, %rax
  or $0x40600, %rax            # OSXSAVE, OSFXSR, OSXMMEXCPT
  mov %rax, %cr4
  xor %ecx, %ecx
  xor %edx, %edx
  mov $7, %eax
  xsetbv
  put_return VICTIM
  put_return LAST
  movw $0xb848, WIDE
  movb $0xc3, WIDE + 10
  movb $0xc3, LONG + 64
  mov $1, %ecx
round:
  mov %ecx, %ebp               # %ecx is inverted each time, so that no two stores write the same
  movl %ecx, VICTIM + 1
  expect_ecx 1, VICTIM
  mov %ecx, %eax
  movb %al, VICTIM + 1
  shr $8, %eax
  movw %ax, VICTIM + 2
  shr $16, %eax
  movb %al, VICTIM + 4
  expect_ecx 2, VICTIM
  mov $0x9090c300000000b8, %rax
  mov %ecx, %edx
  shl $8, %rdx
  or %rdx, %rax
  movq %rax, VICTIM
  expect_ecx 3, VICTIM
  movl $0, VICTIM + 1
  lock xadd %ecx, VICTIM + 1
  mov VICTIM + 1, %ecx
  expect_ecx 4, VICTIM
  mov VICTIM + 1, %eax
  lock cmpxchg %ecx, VICTIM + 1
  expect_ecx 5, VICTIM
  mov %ecx, %eax
  xchg %eax, VICTIM + 1
  expect_ecx 6, VICTIM
  lock notl VICTIM + 1
  expect_ecx 7, VICTIM
  movl %ecx, VICTIM + 1
  lock btcl $17, VICTIM + 1
  btc $17, %ecx
  call VICTIM
  expect 8, %ecx, %eax
  incl VICTIM + 1
  inc %ecx
  call VICTIM
  expect 9, %ecx, %eax
  not %ecx

  # ---- CMPXCHG8B and 16B ----
  mov %ecx, %edi
  mov VICTIM, %eax
  mov VICTIM + 4, %edx
  mov %ecx, %ebx
  shl $8, %ebx
  mov $0xb8, %bl
  shr $24, %ecx
  or $0x9090c300, %ecx
  lock cmpxchg8b VICTIM
  mov %edi, %ecx
  expect_ecx 10, VICTIM
  mov %ecx, %edi
  mov VICTIM, %rax
  mov VICTIM + 8, %rdx
  mov %ecx, %ebx
  shl $8, %rbx
  mov $0x9090c300000000b8, %rcx
  or %rcx, %rbx
  xor %ecx, %ecx
  lock cmpxchg16b VICTIM
  mov %edi, %ecx
  expect_ecx 11, VICTIM

  # ---- strings ----
  mov %ecx, %edx
  movb $0xb8, TEMPLATE
  movl %ecx, TEMPLATE + 1
  movb $0xc3, TEMPLATE + 5
  mov $TEMPLATE, %esi
  mov $VICTIM, %edi
  mov $6, %ecx
  rep movsb
  mov %edx, %ecx
  expect_ecx 12, VICTIM
  mov %ecx, %eax
  mov %ecx, %edx
  mov $(VICTIM + 1), %edi
  stosl
  expect_ecx 13, VICTIM
  movl %ecx, TEMPLATE + 1
  mov %ecx, %edx
  std                                        # downwards
  mov $(TEMPLATE + 5), %esi
  mov $(VICTIM + 5), %edi
  mov $6, %ecx
  rep movsb
  cld
  mov %edx, %ecx
  expect_ecx 14, VICTIM
  movl %ecx, TEMPLATE + 1                    # 0x80 bytes, from the page before
  mov %ecx, %edx
  mov $(TEMPLATE - 0x40), %esi
  mov $(VICTIM - 0x40), %edi
  mov $0x80, %ecx
  rep movsb
  mov %edx, %ecx
  expect_ecx 15, VICTIM
  mov %ecx, %edx
  mov $0xc0ff, %eax                          # INC %eax, or two NOPs
  test $1, %ebp
  jz 1f
  mov $0x9090, %eax
1:
  mov $LONG, %edi
  mov $32, %ecx
  rep stosw
  mov $100, %eax
  call LONG
  mov $132, %ecx
  test $1, %ebp
  jz 1f
  mov $100, %ecx
1:
  expect 16, %ecx, %eax
  mov %edx, %ecx

  # ---- the stack ----
  mov %rsp, %rbx
  mov $0x9090c300000000b8, %rax
  mov %ecx, %edx
  shl $8, %rdx
  or %rdx, %rax
  mov $(VICTIM + 8), %esp
  push %rax
  mov %rbx, %rsp
  expect_ecx 17, VICTIM
  mov %ecx, %edx                             # B8 and the lowest 24 bits; the rest lies in the page before
  shl $40, %rdx
  mov $0xb8, %eax
  shl $32, %rax
  or %rax, %rdx
  mov $(VICTIM + 4), %esp
  push %rdx
  mov %rbx, %rsp
  mov %ecx, %eax
  shr $24, %eax
  movb %al, VICTIM + 4
  expect_ecx 18, VICTIM
  mov $(WIDE + 10), %esp
  call 1f                                    # its return address becomes a number
1:
  mov %rbx, %rsp
  call WIDE
  lea 1b(%rip), %rdx
  expect 19, %rdx, %rax
  mov %rcx, %rdx
  push %rcx
  pop WIDE + 2
  call WIDE
  expect 20, %rcx, %rax
  notq WIDE + 2
  not %rdx
  call WIDE
  expect 21, %rdx, %rax

  # ---- vectors and x87 ----
  movl %ecx, TEMPLATE + 1
  movups TEMPLATE, %xmm1
  movups %xmm1, VICTIM
  expect_ecx 22, VICTIM
  movl %ecx, TEMPLATE + 1
  vmovdqu TEMPLATE, %ymm2
  vmovdqu %ymm2, VICTIM
  expect_ecx 23, VICTIM
  movl %ecx, TEMPLATE + 1
  vmovdqu TEMPLATE - 16, %ymm2
  vmovdqu %ymm2, VICTIM - 16                 # half of it into the page before
  expect_ecx 24, VICTIM
  movl %ecx, TEMPLATE + 1
  movups TEMPLATE - 11, %xmm1
  movups %xmm1, VICTIM - 11
  expect_ecx 25, VICTIM
  movd %ecx, %xmm3
  movss %xmm3, VICTIM + 1
  expect_ecx 26, VICTIM
  movnti %ecx, VICTIM + 1
  sfence
  expect_ecx 27, VICTIM
  movl %ecx, SCRATCH
  andl $0x3fffffff, SCRATCH                  # no NaN: FLD would quiet it
  mov SCRATCH, %ecx
  flds SCRATCH
  fstps VICTIM + 1
  call VICTIM
  expect 28, %ecx, %eax
  fildl SCRATCH
  fistpl VICTIM + 1
  call VICTIM
  expect 29, %ecx, %eax

  # ---- the end of the page ----
  movl %ecx, LAST + 1
  expect_ecx 30, LAST
  mov %ecx, %eax                             # the last two bytes of the number, RET, and on into the next page
  shr $16, %eax
  or $0x11c30000, %eax
  movw %cx, LAST + 1
  movq %rax, LAST + 3
  expect_ecx 31, LAST
  movw $0x0190, LAST                         # NOP; ADD %esi, %eax: shorter, so that RET comes sooner
  movb $0xf0, LAST + 2
  movb $0xc3, LAST + 3
  mov $5, %eax
  mov %ebp, %esi
  call LAST
  lea 5(%rbp), %edx
  expect 32, %edx, %eax
  put_return LAST
  mov %ebp, %ecx
  inc %ecx
  cmp $ROUNDS, %ecx
  jne round
  pass
guest_data
