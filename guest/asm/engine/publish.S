# One processor writes functions and publishes them, the other calls them, 50,000 times; then the other way round. After 256
# functions the first one is overwritten. In the second half of each way the reader serializes before it
# calls, as the SDM asks for (vol. 3, 9.1.3).
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 50000
.set AHEAD, 128             # functions at most are written and not called yet
.set ARENA, 0x180000          # 256 functions of 64 bytes
.set written, SCRATCH         # how many
.set called, SCRATCH + 0x80   # how many
.set phase, SCRATCH + 0x100
.set answers, SCRATCH + 0x1000

.code16
start:
  engine_start second
  start_second
  call write_and_check
  movl $1, phase
  call read_and_call
  await $2, phase
  pass

second:
  call read_and_call
  await $1, phase
  call write_and_check
  movl $2, phase
  jmp stop_here

write_and_check:
  mov $1, %ebp
1:
  mov %ebp, %eax
  sub called, %eax
  cmp $AHEAD, %eax
  pause
  ja 1b
  mov %ebp, %esi
  and $255, %esi
  mov %esi, %edi
  shl $6, %edi
  add $ARENA, %edi
  cmp $256, %ebp                             # what the function before it gave
  jbe 2f
  lea -256(%rbp), %eax
  mov %eax, %ecx
  and $7, %ecx
  add %ecx, %eax
  mov answers(,%rsi,4), %ecx
  expect 1, %eax, %ecx
2:
  movb $0xb8, (%rdi)                         # MOV $round, %eax; up to seven ADD $1, %eax; RET
  movl %ebp, 1(%rdi)
  add $5, %edi
  mov %ebp, %ecx
  and $7, %ecx
  jz 4f
3:
  movw $0xc083, (%rdi)
  movb $1, 2(%rdi)
  add $3, %edi
  loop 3b
4:
  movb $0xc3, (%rdi)
  mov %ebp, written
  inc %ebp
  cmp $(ROUNDS + 1), %ebp
  jne 1b
5:
  pause
  cmpl $ROUNDS, called
  jne 5b
  movl $0, written
6:
  pause
  cmpl $0, called
  jne 6b
  ret

read_and_call:
  xor %ebp, %ebp
1:
  pause
  cmp written, %ebp
  je 1b
  inc %ebp
  mov %ebp, %r12d
  and $255, %r12d
  mov %r12d, %r13d
  shl $6, %r13d
  add $ARENA, %r13d
  cmp $(ROUNDS / 2), %ebp
  jb 2f
  cpuid
2:
  call *%r13
  mov %eax, answers(,%r12,4)
  mov %ebp, called
  cmp $ROUNDS, %ebp
  jne 1b
3:
  pause
  cmpl $0, written
  jne 3b
  movl $0, called
  ret
engine_data
