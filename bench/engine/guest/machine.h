// What the program does when it is a guest's first process.
#pragma once

namespace bench {

void prepare_as_init();  // mounts /proc, /dev and /tmp and silences the kernel's messages
char const* kernel_option(
    char const* name);  // the value of `name=` on the kernel command line; null: not there
[[noreturn]] void power_off();

}  // namespace bench
