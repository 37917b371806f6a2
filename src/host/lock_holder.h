#pragma once

#include <string>

#include "host/file.h"

namespace vireo::host {

/// Who has the file open: "vireo-vmm (process 1234)", "this process", or "" when /proc does not tell.
std::string lock_holder_hint(File::Identity file);

}  // namespace vireo::host
