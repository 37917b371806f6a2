#include "engine/soft/interp/vector/family.h"

namespace vireo::engine::soft::vector {

Lowered lower_masked(x86::Instruction const&) { return {}; }

}  // namespace vireo::engine::soft::vector
