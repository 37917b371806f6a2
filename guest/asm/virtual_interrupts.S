# Virtual-8086 mode with CR4.VME at IOPL 0: INT goes to the program's own handler or to the monitor, as the redirection
# bitmap says; CLI, STI, PUSHF, POPF and IRET work on VIF.
.include "guest.inc"
.code16
start:
  enter_protected_mode
  mov %cr4, %eax
  or $1, %eax
  mov %eax, %cr4
  lidt idt_pointer
  set_gate32 13, on_protection
  movl $RING0_STACK, TSS_BASE + 4
  movl $DATA, TSS_BASE + 8
  movw $(104 + 32), TSS_BASE + 102           # the redirection bitmap stands at 104
  movb $0x80, TSS_BASE + 104 + 0x67 / 8      # 0x67 goes to the monitor
  movb $0xff, TSS_BASE + 104 + 32
  movw $0xa7, gdt + TSS
  mov $TSS, %ax
  ltr %ax
  movw $(handler - BASE), 0x66 * 4
  movw $0x1000, 0x66 * 4 + 2
  xor %ebp, %ebp

  push $0x1000
  push $0x1000
  push $0x1000
  push $0x1000
  push $0x1000
  push $0xe000
  push $0x20202                # VM, IF, IOPL 0
  push $0x1000
  push $(task - BASE)
  iretl

  .code16
task:
  pushfw                       # IF shows VIF, IOPL shows 3
  pop %ax
  and $0x3200, %ax
  inc %bp
  cmp $0x3000, %ax
  jne task_failed
  sti
  pushfw
  pop %ax
  and $0x3200, %ax
  inc %bp
  cmp $0x3200, %ax
  jne task_failed
  int $0x66
after:
  inc %bp
  cmp $0x6666, %cx
  jne task_failed
  pushfw                       # IRET brought VIF back
  pop %ax
  and $0x200, %ax
  inc %bp
  cmp $0x200, %ax
  jne task_failed
  cli
  pushfw
  pop %ax
  and $0x200, %ax
  inc %bp
  cmp $0, %ax
  jne task_failed
  pushw $0x0202
  popfw
  pushfw
  pop %ax
  and $0x200, %ax
  inc %bp
  cmp $0x200, %ax
  jne task_failed
  inc %bp
  cmp $0xe000, %sp
  jne task_failed
  int $0x67                    # to the monitor: the end
task_failed:
  hlt

handler:
  pushfw
  pop %ax
  and $0x200, %ax
  inc %bp
  cmp $0, %ax                  # VIF is off in the handler
  jne task_failed
  mov %sp, %di
  mov (%di), %ax
  inc %bp
  cmp $(after - BASE), %ax
  jne task_failed
  mov 4(%di), %ax
  and $0x3200, %ax
  inc %bp
  cmp $0x3200, %ax             # and was on before
  jne task_failed
  mov $0x6666, %cx
  iretw

  .code32
on_protection:
  mov $DATA, %ax
  mov %ax, %ds
  mov 8(%esp), %eax
  shl $4, %eax
  add 4(%esp), %eax
  cmpw $0x67cd, (%eax)
  je ended
  mov %ebp, %eax
  add $100, %al
  out %al, $0xf4
  hlt
ended:
  mov 12(%esp), %eax
  and $0xa3200, %eax
  expect 1, $0xa0200, %eax     # VIF, VM, IF, IOPL 0
  pass
guest_data
