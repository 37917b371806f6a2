#include "vocab/guarded.h"

#ifdef VIREO_LOCK_CHECKS
#  include <cstdio>
#  include <cstdlib>
#  include <vector>

namespace vireo::detail {
namespace {
thread_local std::vector<LockRank> held;
}

void enter_lock(LockRank rank) {
  if (!held.empty() && held.back() >= rank) {
    std::fprintf(stderr, "lock order: rank %d taken while holding rank %d\n", static_cast<int>(rank),
                 static_cast<int>(held.back()));
    std::abort();
  }
  held.push_back(rank);
}

void leave_lock(LockRank rank) { std::erase(held, rank); }

}  // namespace vireo::detail
#endif
