# One processor changes a page-table entry and has the other forget it, in an interrupt, while that one runs code and reads data
# through the page: after the answer only the new page is seen.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 200            # times SCALE
.set FIRST, 0x180000          # MOV $number, %eax; RET; and the number as data at + 0x100
.set SECOND, 0x181000
.set TABLE, 0x300000
.set WINDOW, 0x400000
.set passes, SCRATCH
.set code_seen, SCRATCH + 0x40
.set data_seen, SCRATCH + 0x48
.set synced, SCRATCH + 0x80

.code16
start:
  engine_start second
  set_gate64 0x50, on_flush
  mov $TABLE, %edi
  xor %eax, %eax
  mov $1024, %ecx
  rep stosl
  movl $(FIRST | 3), TABLE
  movl $(TABLE | 3), PAGE_TABLES + 0x2010
  mov %cr3, %rax
  mov %rax, %cr3
  movl $1, FIRST + 0x100
  movl $2, SECOND + 0x100
  movb $0xb8, FIRST
  movl $1, FIRST + 1
  movb $0xc3, FIRST + 5
  movb $0xb8, SECOND
  movl $2, SECOND + 1
  movb $0xc3, SECOND + 5
  start_second
1:
  pause                                      # until its APIC is on
  cmpq $0, passes
  je 1b
  imul $ROUNDS, SCALE, %ebp
round:
  mov $(FIRST | 3), %eax
  mov $1, %r12d
  test $1, %ebp
  jz 1f
  mov $(SECOND | 3), %eax
  mov $2, %r12d
1:
  mov %eax, TABLE                            # accessed and dirty are lost: each round they are set again
  invlpg WINDOW
  movl $0, synced
  write_msr X2_COMMAND, 0x50, 1
  await $1, synced
  mov passes, %rbx
  add $2, %rbx
2:
  pause
  cmp %rbx, passes
  jb 2b
  expect 1, code_seen, %r12d
  expect 2, data_seen, %r12d
  call WINDOW                                # and here
  expect 3, %r12d, %eax
  mov TABLE, %eax
  and $0x60, %eax
  expect 4, $0x60, %eax                      # the other one has written there
  dec %ebp
  jnz round
  pass

second:
  sti
1:
  call WINDOW
  mov %eax, code_seen
  mov WINDOW + 0x100, %eax
  mov %eax, data_seen
  mov %eax, WINDOW + 0x200
  incq passes
  jmp 1b

on_flush:
  push %rax
  push %rcx
  push %rdx
  invlpg WINDOW
  end_of_interrupt
  movl $1, synced
  pop %rdx
  pop %rcx
  pop %rax
  iretq
engine_data
