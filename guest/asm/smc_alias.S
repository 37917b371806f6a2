# One physical page at two linear addresses: written through one and run through the other, run through both by turns.
.include "guest.inc"
.set ROUNDS, 300
.set CODE, 0x180000
.set TABLE, 0x300000          # maps 0x400000 on: CODE, CODE + 0x1000, CODE, and once more as a large page
.set ALIAS, 0x400000
.set AGAIN, 0x402000
.set LARGE, 0x600000
.code16
start:
  enter_protected_mode
  enter_long_mode
  mov $TABLE, %edi
  xor %eax, %eax
  mov $1024, %ecx
  rep stosl
  movl $(CODE | 7), TABLE
  movl $(CODE + 0x1007), TABLE + 8
  movl $(CODE | 7), TABLE + 16
  movl $(TABLE | 7), PAGE_TABLES + 0x2010
  movl $0x000087, PAGE_TABLES + 0x2018
  mov %cr3, %rax
  mov %rax, %cr3
  mov $CODE, %edi
  lea routine(%rip), %rsi
  mov $(routine_end - routine), %ecx
  rep movsb

  mov $1, %ebp
1:
  movl %ebp, ALIAS + 1                       # written here, run there
  cpuid
  call CODE
  expect 1, %ebp, %eax
  mov %ebp, %ecx
  not %ecx
  movl %ecx, CODE + 1
  call serialize
  call ALIAS
  expect 2, %ecx, %eax
  call AGAIN
  expect 3, %ecx, %eax
  call LARGE + CODE
  expect 4, %ecx, %eax
  movw %bp, LARGE + CODE + 1
  call serialize
  call AGAIN
  expect 5, %bp, %ax

  lea CODE, %rdx                             # where it runs shows in RIP-relative addresses and pushed ones
  call CODE
  lea (routine_next - routine)(%rdx), %rcx
  expect 6, %rcx, %rbx
  expect 7, %rcx, %rsi
  mov $ALIAS, %edx
  call ALIAS
  lea (routine_next - routine)(%rdx), %rcx
  expect 8, %rcx, %rbx
  expect 9, %rcx, %rsi
  mov $AGAIN, %edx
  call AGAIN
  lea (routine_next - routine)(%rdx), %rcx
  expect 10, %rcx, %rbx
  expect 11, %rcx, %rsi
  mov $(LARGE + CODE), %edx
  call LARGE + CODE
  lea (routine_next - routine)(%rdx), %rcx
  expect 12, %rcx, %rbx
  expect 13, %rcx, %rsi

  incl CODE + (own_counter - routine)        # data of the page, RIP-relative through each
  call AGAIN
  expect 14, CODE + (own_counter - routine), %edi
  inc %ebp
  cmp $ROUNDS, %ebp
  jne 1b
  pass

serialize:                                   # other linear addresses ask for that: SDM vol. 3, 9.1.3
  push %rcx
  cpuid
  pop %rcx
  ret
routine:
  mov $0, %eax
  lea routine_next(%rip), %rbx
  call routine_next
routine_next:
  pop %rsi
  mov own_counter(%rip), %edi
  ret
own_counter:
  .long 0
routine_end:
guest_data
