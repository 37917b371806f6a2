# Both processors write functions into one page at once and call them: each store takes the page's code from both of them. Each
# sees its own stores in its own code at the next jump, and in the end both see all of the other's.
.include "guest.inc"
.include "engine.inc"
.set ROUNDS, 300
.set PAGE_OF_BOTH, 0x180000
.set FUNCTION, 64             # bytes for each; the first processor's lie at even numbers, the second's at odd ones
.set ended, SCRATCH
.set checked, SCRATCH + 0x40

.code16
start:
  engine_start second
  mov $PAGE_OF_BOTH, %edi
  mov $0xc3c3c3c3, %eax
  mov $1024, %ecx
  rep stosl
  start_second
  xor %ebx, %ebx
  call work
  lock incl ended
  await $2, ended
  mov $1, %ebx
  call check
  lock incl checked
  await $2, checked
  pass

second:
  mov $1, %ebx
  call work
  lock incl ended
  await $2, ended
  xor %ebx, %ebx
  call check
  lock incl checked
  await $2, checked
  jmp stop_here

# %ebx: whose functions; %ebp: the round, which is what the function gives.
work:
  mov $1, %ebp
1:
  call place
  movb $0xb8, (%rdi)
  mov %ebp, 1(%rdi)
  movb $0xc3, 5(%rdi)
  jmp 2f                                     # the SDM asks for a jump between
2:
  call *%rdi
  expect 1, %ebp, %eax
  movb $0x05, 5(%rdi)                        # ADD $1, %eax; RET
  movl $1, 6(%rdi)
  movb $0xc3, 10(%rdi)
  jmp 3f
3:
  call *%rdi
  lea 1(%rbp), %ecx
  expect 2, %ecx, %eax
  inc %ebp
  cmp $ROUNDS, %ebp
  jne 1b
  ret

# The last 31 rounds' functions.
check:
  mov $(ROUNDS - 31), %ebp
1:
  call place
  call *%rdi
  lea 1(%rbp), %ecx
  expect 3, %ecx, %eax
  inc %ebp
  cmp $ROUNDS, %ebp
  jne 1b
  ret

place:
  mov %ebp, %edi
  and $31, %edi
  shl $1, %edi
  add %ebx, %edi
  imul $FUNCTION, %edi, %edi
  add $PAGE_OF_BOTH, %edi
  ret
engine_data
