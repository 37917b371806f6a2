#pragma once

#include "cli/image_tool.h"

namespace vireo::cli {

/// Called as "qemu-img", "qemu-io" or "qemu-nbd" the program takes those tools' command lines; else nothing.
using Program = int (*)(Arguments);
Program program_named(std::string_view called_as);

int qemu_img(Arguments arguments);
int qemu_io(Arguments arguments);
int qemu_nbd(Arguments arguments);

}  // namespace vireo::cli
