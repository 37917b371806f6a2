# A timer interrupt ends loops that would run for ever, of every shape that a translator might not leave; and it comes in the
# middle of repeated string instructions of 1 GiB, which go on from there.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 30
.set COUNT, 20000             # of the APIC's timer
.set GIB, 0x40000000          # 1 GiB at this address, all the same 2 MiB of RAM
.set DIRECTORY, 0x300000
.set RAM, 0xc00000
.set FAR, 0x180000
.set SHORT, 100

.macro repeats number, instruction, begin
  xor %r14d, %r14d
  xor %r15d, %r15d
  start_timer 0x40, COUNT
  \begin
  mov $GIB, %ecx
  sti
1:
  \instruction
  cli
  cmp $0, %r15
  jne 2f
  fail \number
2:
  lea 1b(%rip), %rax                         # it was interrupted there, with some of it done and some left
  expect (\number + 1), %rax, %r12
  expect_not (\number + 2), $0, %r11
  mov $GIB, %eax
  expect_not (\number + 3), %rax, %r11
  lea (SHORT + GIB)(%rax), %rax              # where it stopped, and the short rest
  sub %r11, %rax
  expect (\number + 4), %rax, %rdi
.endm

.code16
start:
  engine_start
  set_gate64 0x40, on_tick
  movl $(DIRECTORY | 3), PAGE_TABLES + 0x1008
  mov $DIRECTORY, %edi
  mov $512, %ecx
  mov $(RAM | 0x83), %eax
1:
  mov %rax, (%rdi)
  add $8, %edi
  loop 1b
  mov %cr3, %rax
  mov %rax, %cr3
  movb $0xe9, FAR                            # JMP far_from
  mov $far_from, %eax
  sub $(FAR + 5), %eax
  mov %eax, FAR + 1

  mov $ROUNDS, %ebp
round:
  lea 1f(%rip), %r14
  call arm
  jmp .
1:
  lea 1f(%rip), %r14
  call arm
far_from:
  jmp FAR
1:
  lea 1f(%rip), %r14
  call arm
  lea 2f(%rip), %rax
2:
  jmp *%rax
1:
  lea 1f(%rip), %r14                         # two targets by turns
  call arm
  lea 2f(%rip), %rax
  lea 3f(%rip), %rbx
2:
  jmp *%rbx
3:
  jmp *%rax
1:
  lea 1f(%rip), %r14
  call arm
2:
  call 3f
  jmp 2b
3:
  ret
1:
  lea 1f(%rip), %r14                         # a chain of returns
  call arm
  lea 2f(%rip), %rax
2:
  push %rax
  ret
1:
  lea 1f(%rip), %r14
  call arm
  xor %eax, %eax
2:
  inc %rax
  jns 2b
1:
  lea 1f(%rip), %r14
  call arm
2:
  mov $3, %ecx
3:
  loop 3b
  jrcxz 2b
1:
  lea 1f(%rip), %r14
  call arm
2:
  movl %eax, SCRATCH
  incl SCRATCH + 4
  add SCRATCH, %ebx
  jmp 2b
1:
  lea 1f(%rip), %r14                         # code that is changed in each pass
  call arm
2:
  incl 3f + 1
3:
  mov $0, %eax
  jmp 2b
1:
  lea 1f(%rip), %r14                         # system instructions between
  call arm
2:
  mov %cr2, %rax
  cpuid
  jmp 2b
1:
  lea 1f(%rip), %r14                         # IRETQ to itself
  call arm
2:
  mov %rsp, %rax
  push $DATA
  push %rax
  pushf
  push $CODE64
  lea 2b(%rip), %rax
  push %rax
  iretq
1:
  dec %ebp
  jnz round

  # ---- one long block of work without a branch back for some time: ticks come in time all the same ----
  mov $3, %ebp
strings:
  repeats 10, "rep movsb", "call set_strings"
  repeats 20, "rep stosb", "call set_strings"
  repeats 30, "repne scasb", "call set_scan"
  repeats 40, "repe cmpsb", "call set_same"
  dec %ebp
  jnz strings
  pass

set_strings:
  mov $GIB, %edi
  mov $GIB, %esi
  xor %eax, %eax
  ret
set_same:
  mov $GIB, %edi
  mov $GIB, %esi
  ret
set_scan:
  mov $GIB, %edi
  mov $0x5a, %al                             # not there: STOS has left zeroes
  ret

# Lets the timer tick once and goes to %r14 then.
arm:
  pop %rbx
  mov %rsp, %r13
  start_timer 0x40, COUNT
  sti
  jmp *%rbx

on_tick:
  push %rax
  push %rcx
  push %rdx
  mov %rcx, %r11
  mov 24(%rsp), %r12
  inc %r15
  end_of_interrupt
  test %r14, %r14
  jnz 1f
  movq $SHORT, 8(%rsp)                       # RCX: little is left to do
1:
  pop %rdx
  pop %rcx
  pop %rax
  test %r14, %r14
  jz 1f
  mov %r13, %rsp                             # out of the loop
  jmp *%r14                                  # interrupts stay off
1:
  iretq
engine_data
