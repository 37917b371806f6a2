# One processor changes an instruction that the other runs all the time, as Linux changes its text: a breakpoint over the first
# byte, the rest, the first byte; between these each processor serializes in an interrupt. The other one never sees a mixture.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 200            # times SCALE
.set passes, SCRATCH          # of the loop on the second processor
.set result, SCRATCH + 0x40   # what its last pass gave
.set synced, SCRATCH + 0x80
.set traps, SCRATCH + 0xc0
.set wanted, SCRATCH + 0x100

.code16
start:
  engine_start second
  set_gate64 3, on_breakpoint
  set_gate64 0x50, on_sync
  start_second
  xor %ebx, %ebx
1:
  cmp %rbx, passes
  je 1b
  imul $ROUNDS, SCALE, %ebp
round:
  mov $0x0000441f0f, %rax                    # five bytes of NOP
  mov $0, %r13d
  mov %ebp, %ecx
  and $3, %ecx
  jz 1f
  mov $(plus_two - site - 5), %eax           # CALL plus_two, or JMP over the next instruction
  shl $8, %rax
  mov $0xe8, %al
  mov $2, %r13d
  cmp $1, %ecx
  je 1f
  mov $(plus_one - site - 5), %eax
  shl $8, %rax
  mov $0xe8, %al
  mov $1, %r13d
  cmp $2, %ecx
  je 1f
  mov $(site_end - site - 5), %eax
  shl $8, %rax
  mov $0xe9, %al
  mov $-10, %r13d
1:
  mov %rax, %r12
  movb $0xcc, site
  call sync
  mov %r12, %rax
  shr $8, %rax
  mov %eax, site + 1
  call sync
  mov %r12d, %eax
  movb %al, site
  call sync
  mov passes, %rbx                           # after two whole passes only the new code counts
  add $2, %rbx
2:
  pause
  cmp %rbx, passes
  jb 2b
  mov result, %eax
  sub $110, %eax
  cmp %r13d, %eax
  je 3f
  fail 1
3:
  dec %ebp
  jnz round
  pass

sync:
  movl $0, synced
  write_msr X2_COMMAND, 0x50, 1
  await $1, synced
  cpuid
  ret

second:
  sti
1:
  mov $100, %eax
site:
  .byte 0x0f, 0x1f, 0x44, 0x00, 0x00
  add $10, %eax
site_end:
  mov %eax, result
  # 100, 110, 111, 112: one of the four, whatever happened meanwhile.
  cmp $100, %eax
  je 2f
  sub $110, %eax
  cmp $2, %eax
  ja 3f
2:
  incq passes
  jmp 1b
3:
  fail 2
plus_one:
  add $1, %eax
  ret
plus_two:
  add $2, %eax
  ret

on_breakpoint:                               # as if the five bytes were a NOP
  incq traps
  addq $4, (%rsp)
  iretq
on_sync:
  push %rax
  push %rbx
  push %rcx
  push %rdx
  cpuid
  end_of_interrupt
  movl $1, synced
  pop %rdx
  pop %rcx
  pop %rbx
  pop %rax
  iretq
engine_data
