# A compiler at run time: functions are written, called and written again, 10,000 times; callers of functions that change;
# counters in the same cache line and page as the code that counts.
.include "guest.inc"
.set ROUNDS, 10000
.set ARENA, 0x180000          # functions of 32 bytes, one beside the other
.set CALLER, ARENA + 0x800    # CALL and JMP to them
.set BESIDE, ARENA + 0x1000
.code16
start:
  enter_protected_mode
  enter_long_mode

  # ---- written, called, written ----
  mov $1, %ebp
1:
  mov %ebp, %edi
  and $15, %edi
  shl $5, %edi
  add $ARENA, %edi
  mov %rdi, %rbx
  mov $0xb8, %al                             # MOV $imm32, %eax
  stosb
  mov %ebp, %eax
  stosl
  mov %ebp, %ecx
  and $7, %ecx
  mov %ecx, %edx
  mov $0xc0ff, %eax                          # up to seven INC %eax
  rep stosw
  movb $0xc3, (%rdi)
  add %ebp, %edx
  call *%rbx
  expect 1, %edx, %eax
  inc %ebp
  cmp $ROUNDS, %ebp
  jne 1b

  # ---- what calls them stays ----
  mov $CALLER, %edi
  movb $0xe8, (%rdi)                         # CALL ARENA; ADD $imm8, %eax; RET
  movl $(ARENA - CALLER - 5), 1(%rdi)
  movl $0xc305c083, 5(%rdi)
  movb $0xe9, 16(%rdi)                       # JMP ARENA + 32
  movl $(ARENA + 32 - CALLER - 21), 17(%rdi)
  movw $0x840f, 32(%rdi)                     # JZ ARENA + 64; RET
  movl $(ARENA + 64 - CALLER - 38), 34(%rdi)
  movb $0xc3, 38(%rdi)
  mov $1, %ebp
1:
  mov $ARENA, %edi
  mov $3, %ecx
2:
  movb $0xb8, (%rdi)
  movl %ebp, 1(%rdi)
  movb $0xc3, 5(%rdi)
  add $32, %edi
  loop 2b
  lea 5(%rbp), %edx
  call CALLER
  expect 2, %edx, %eax
  call CALLER + 16
  expect 3, %ebp, %eax
  xor %eax, %eax
  mov %ebp, %edx
  and $1, %edx
  cmp $1, %edx                               # ZF in odd rounds
  call CALLER + 32
  neg %edx
  and %ebp, %edx
  expect 4, %edx, %eax
  inc %ebp
  cmp $(ROUNDS / 4), %ebp
  jne 1b

  # ---- another callee each time ----
  mov $ARENA, %edi
  movb $0xb8, (%rdi)
  movl $100, 1(%rdi)
  movb $0xc3, 5(%rdi)
  movb $0xb8, 32(%rdi)
  movl $200, 33(%rdi)
  movb $0xc3, 37(%rdi)
  mov $1, %ebp
1:
  mov $(ARENA - CALLER - 5), %eax
  mov $105, %edx
  test $1, %ebp
  jz 2f
  add $32, %eax
  add $100, %edx
2:
  mov %eax, CALLER + 1
  call CALLER
  expect 5, %edx, %eax
  call CALLER
  expect 6, %edx, %eax
  inc %ebp
  cmp $(ROUNDS / 4), %ebp
  jne 1b

  # ---- data beside code ----
  mov $BESIDE, %edi
  lea counting(%rip), %rsi
  mov $(counting_end - counting), %ecx
  rep movsb
  mov $20, %ebp
1:
  mov $1000, %ecx
  call BESIDE
  dec %ebp
  jnz 1b
  mov BESIDE + (counter - counting), %rax
  expect 7, $20000, %rax
  mov BESIDE + (far_counter - counting), %rax
  expect 8, $20000, %rax
  pass

counting:                                    # copied to BESIDE
  incq counter(%rip)
  push %rcx
  mov far_counter(%rip), %rax
  inc %rax
  mov %rax, far_counter(%rip)
  pop %rcx
  dec %ecx
  jnz counting
  ret
counter:
  .quad 0
  .skip 200
far_counter:
  .quad 0
counting_end:
guest_data
