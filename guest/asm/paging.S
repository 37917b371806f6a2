# 32-bit paging with 4 KiB and 4 MiB pages, then PAE with no-execute: faults, accessed and dirty bits, WP, INVLPG.
.include "guest.inc"
.set DIRECTORY, 0x200000
.set TABLE, 0x201000
.set PDPT, 0x202000
.set PAE_DIRECTORY, 0x203000
.set WINDOW, 0x00800000       # what TABLE maps, 4 KiB pages
.code16
start:
  enter_protected_mode
  lidt idt_pointer
  set_gate32 14, on_page_fault
  movl $0x00000083, DIRECTORY                # 4 MiB to itself, supervisor
  movl $(TABLE | 7), DIRECTORY + (WINDOW >> 20)
  movl $(SCRATCH | 1), TABLE                 # read-only, supervisor
  movl $0, TABLE + 4
  mov %cr4, %eax
  or $0x10, %eax                             # PSE
  mov %eax, %cr4
  mov $DIRECTORY, %eax
  mov %eax, %cr3
  mov %cr0, %eax
  or $0x80000000, %eax                       # paging without WP
  mov %eax, %cr0
  jmp 1f
1:
  movl $0x1234, SCRATCH
  mov WINDOW, %eax
  expect 1, $0x1234, %eax
  mov TABLE, %eax
  and $0xfff, %eax
  expect 2, $0x21, %eax                      # accessed, not dirty
  movl $0x4321, WINDOW                       # level 0 writes read-only pages without WP
  mov SCRATCH, %eax
  expect 3, $0x4321, %eax
  mov TABLE, %eax
  and $0xfff, %eax
  expect 4, $0x61, %eax                      # and dirty
  mov %cr0, %eax
  or $0x10000, %eax                          # WP
  mov %eax, %cr0
  mov $1f, %edi
  movl $0, WINDOW
  fail 5
1:
  expect 6, $3, %esi                         # present, write
  mov %cr2, %eax
  expect 7, $WINDOW, %eax
  mov $1f, %edi
  mov WINDOW + 0xffe, %eax                   # its second half lies in an absent page
  fail 8
1:
  expect 9, $0, %esi
  mov %cr2, %eax
  expect 10, $(WINDOW + 0x1000), %eax
  movl $(SCRATCH + 0x1003), TABLE            # another page, writable: seen after INVLPG
  movl $0x77, SCRATCH + 0x1000
  invlpg WINDOW
  mov WINDOW, %eax
  expect 11, $0x77, %eax
  movl $0x78, WINDOW
  mov SCRATCH + 0x1000, %eax
  expect 12, $0x78, %eax
  mov DIRECTORY, %eax
  and $0x60, %eax
  expect 13, $0x60, %eax

  mov %cr0, %eax                             # to PAE: paging off and on
  and $0x7fffffff, %eax
  mov %eax, %cr0
  movl $(PAE_DIRECTORY | 1), PDPT
  movl $0, PDPT + 4
  movl $0, PDPT + 8
  movl $0, PDPT + 16
  movl $0, PDPT + 24
  movl $0x00000083, PAE_DIRECTORY
  movl $0, PAE_DIRECTORY + 4
  movl $0x00200083, PAE_DIRECTORY + 8
  movl $0, PAE_DIRECTORY + 12
  movl $0x00000083, PAE_DIRECTORY + 16       # 4 MiB: the first two again, not executable
  movl $0x80000000, PAE_DIRECTORY + 20
  mov $0xc0000080, %ecx
  rdmsr
  or $0x800, %eax                            # NXE
  wrmsr
  mov %cr4, %eax
  or $0x20, %eax
  mov %eax, %cr4
  mov $PDPT, %eax
  mov %eax, %cr3
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
  jmp 1f
1:
  movb $0xc3, SCRATCH                        # RET
  movb 0x400000 + SCRATCH, %al
  expect 20, $0xc3, %al
  call SCRATCH
  mov $1f, %edi
  mov $(0x400000 + SCRATCH), %eax
  call *%eax
  fail 21
1:
  expect 22, $0x11, %esi                     # present, fetch
  mov $1f, %edi
  mov 0x40000000, %eax                       # PDPTE not present
  fail 23
1:
  expect 24, $0, %esi
  movl $0x10, PAE_DIRECTORY + 12             # reserved bits above MAXPHYADDR
  movl $0x7fffffff, PAE_DIRECTORY + 12
  invlpg 0x200000
  mov $1f, %edi
  mov 0x3ff000, %eax
  fail 25
1:
  expect 26, $9, %esi                        # present, reserved
  pass

on_page_fault:
  pop %esi
  mov $STACK, %esp
  jmp *%edi
guest_data
