#pragma once

#include <functional>

#include "engine/soft/interp/differential_program.h"

namespace vireo::engine::soft::differential {

/// Instructions become NOPs as long as `fails` says that the program still shows what is looked for.
Program reduced(Program program, std::function<bool(Program const&)> const& fails);

}  // namespace vireo::engine::soft::differential
