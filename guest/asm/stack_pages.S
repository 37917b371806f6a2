# The stack pointer's page changes under it: INVLPG, CR3 loads, write protection; calls across the border of two pages; accesses that
# lie half in the next page.
.include "guest.inc"
.set ROUNDS, 50
.set TABLE, 0x300000
.set FIRST, 0x180000          # what WINDOW shows
.set SECOND, 0x181000
.set BEHIND, 0x182000         # what lies behind WINDOW
.set WINDOW, 0x400000
.set STACK, 0x120000
.code16
start:
  enter_protected_mode
  enter_long_mode
  lidt idt_pointer(%rip)
  movq $STACK, TSS_BASE + 36                 # IST 1: no fault is pushed onto the page that faults
  movw $104, TSS_BASE + 102
  movb $0x89, gdt + TSS + 5
  mov $TSS, %eax
  ltr %ax
  set_gate64 14, on_page_fault, ist=1
  movl $(TABLE | 3), PAGE_TABLES + 0x2010    # 2 MiB at WINDOW as small pages
  movl $0, PAGE_TABLES + 0x2014
  movl $(BEHIND | 3), TABLE + 8
  movl $0, TABLE + 12
  movl $0, TABLE + 4
  mov %cr0, %rax
  or $0x10000, %eax                          # WP
  mov %rax, %cr0

  mov $1, %ebp
round:
  mov %rbp, FIRST + 0x800
  lea 1(%rbp), %rax
  mov %rax, SECOND + 0x800
  mov %rax, FIRST + 0x7f8

  # ---- another page by INVLPG and by CR3 ----
  movl $(FIRST | 3), TABLE
  invlpg WINDOW
  mov $WINDOW + 0x800, %esp
  pop %rax
  expect 1, %rbp, %rax
  movl $(SECOND | 3), TABLE
  invlpg WINDOW
  mov $WINDOW + 0x800, %esp
  pop %rax
  sub $1, %rax
  expect 2, %rbp, %rax
  push %rbp
  expect 3, %rbp, SECOND + 0x800
  movl $(FIRST | 3), TABLE
  mov %cr3, %rax
  mov %rax, %cr3
  push %rbp
  expect 4, %rbp, FIRST + 0x7f8
  call callee
  expect 5, %rbp, %rbx

  # ---- read-only: loads pass, stores do not ----
  mov $WINDOW + 0x800, %esp
  movl $(FIRST | 1), TABLE
  invlpg WINDOW
  pop %rax
  expect 6, %rbp, %rax
  mov $1f, %edi
  push %rax
  fail 7
1:
  expect 8, $(WINDOW + 0x800), %eax          # CR2
  movl $(FIRST | 3), TABLE
  invlpg WINDOW

  # ---- two pages, turn by turn ----
  mov $WINDOW + 0x1008, %esp
  mov $100, %ecx
2:
  push %rcx                                  # the last bytes of the second page
  call callee                                # its address in the first
  call callee
  pop %rdx
  expect 9, %rcx, %rdx
  dec %ecx
  jnz 2b
  mov $WINDOW + 0x1004, %esp                 # half here, half there
  mov $0x1122334455667788, %rax
  push %rax
  mov FIRST + 0xffc, %ecx
  expect 10, $0x55667788, %ecx
  mov BEHIND, %ecx
  expect 11, $0x11223344, %ecx
  pop %rcx
  expect 12, %rcx, %rax
  sub $24, %rsp
  mov %rbp, 8(%rsp)                          # a group of which no access crosses, but all together
  mov %rax, 24(%rsp)
  add 8(%rsp), %rax
  expect_not 13, %rcx, %rax
  sub %rbp, %rax
  expect 14, %rcx, %rax

  inc %ebp
  cmp $ROUNDS, %ebp
  jne round
  pass

callee:
  mov %rbp, %rbx
  ret

on_page_fault:
  mov %cr2, %rax
  and $~7, %eax
  jmp *%rdi
guest_data
