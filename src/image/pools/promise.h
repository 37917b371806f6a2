#pragma once

#include "host/file.h"
#include "image/pools/pool.h"

// What kinds of pools share.
namespace vireo::image {

struct PoolSpace {
  u64 all{};
  u64 free{};
};
PoolFigures figures_of(PoolSpec const& spec, std::vector<Volume> const& volumes, PoolSpace const& space);
/// Errc::no_space: `more` bytes are more than may be promised, or written at once when they are to be reserved.
Result<> check_promise(PoolSpec const& spec, PoolFigures const& now, u64 more, Preallocation preallocation);
/// Its name, and its format when one is stated.
Result<> check_new_volume(PoolSpec const& spec, std::string const& name, std::string const& format);
/// Waits up to half a minute for others who change the pool. Held as long as the file is open.
Result<host::File> lock_pool(std::string const& name, std::string const& path);

}  // namespace vireo::image
