# Two processors add to the same words with every locked instruction, aligned, across a cache line and across a page; a spin lock
# protects a counter; stores are seen in program order.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 8000
.set SPLITS, ROUNDS / 16       # accesses that are split lock the bus
.set aligned, SCRATCH
.set split_line, SCRATCH + 0x13d
.set split_page, SCRATCH + 0xffd
.set pair, SCRATCH + 0x200    # 16 bytes
.set spin, SCRATCH + 0x240
.set guarded, SCRATCH + 0x280
.set ended, SCRATCH + 0x2c0
.set first_word, SCRATCH + 0x300
.set second_word, SCRATCH + 0x380
.set bytes, SCRATCH + 0x400

.code16
start:
  engine_start second
  mov $SCRATCH, %edi
  xor %eax, %eax
  mov $0x800, %ecx
  rep stosl
  start_second
  call work
  lock incl ended
  await $2, ended
  # ---- program order: the second word is never ahead of the first ----
  mov $1, %ecx
1:
  mov %rcx, first_word
  mov %rcx, second_word
  inc %rcx
  cmp $(20 * ROUNDS), %ecx
  jne 1b
  await $3, ended
  mov $(2 * ROUNDS * 5), %ebx                # INC 1, XADD 2, ADD 4, SUB -3, CMPXCHG 1
  expect 1, %ebx, aligned
  mov $(2 * SPLITS * 5), %ebx
  expect 2, %ebx, split_line
  expect 3, %ebx, split_page
  mov pair, %rax
  expect 4, $(2 * ROUNDS), %rax
  mov pair + 8, %rax
  expect 5, $(6 * ROUNDS), %rax
  mov $(2 * ROUNDS), %ebx
  expect 6, %ebx, guarded
  mov bytes, %al
  expect 7, $((2 * ROUNDS) & 0xff), %al
  pass

second:
  call work
  lock incl ended
  await $2, ended
1:
  mov second_word, %rax
  mov first_word, %rbx
  cmp %rax, %rbx
  jae 2f
  fail 8
2:
  cmp $(20 * ROUNDS - 1), %eax
  jne 1b
  lock incl ended
  jmp stop_here

.macro add_to where
  lock incl \where
  mov $2, %eax
  lock xadd %eax, \where
  lock addl $4, \where
  lock subl $3, \where
  mov \where, %eax
.Lagain\@:
  lea 1(%rax), %ecx
  lock cmpxchg %ecx, \where
  jne .Lagain\@
.endm
work:
  mov $ROUNDS, %ebp
1:
  add_to aligned
  test $15, %ebp
  jnz 2f
  add_to split_line
  add_to split_page
2:
  mov pair, %rax
  mov pair + 8, %rdx
2:
  lea 1(%rax), %rbx
  lea 3(%rdx), %rcx
  lock cmpxchg16b pair
  jne 2b
3:
  mov $1, %eax
  xchg %eax, spin
  test %eax, %eax
  jz 4f
  pause
  jmp 3b
4:
  mov guarded, %eax
  add $1, %eax
  mov %eax, guarded
  movl $0, spin
  lock incb bytes
  dec %ebp
  jnz 1b
  ret
engine_data
