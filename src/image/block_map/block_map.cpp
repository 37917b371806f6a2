#include "image/block_map/block_map.h"

namespace vireo::image::block_map {

Result<SectorRun> BlockMap::sector_run(u64, u64) {
  return fail(Errc::invalid, "the format has no partial blocks");
}
Result<> BlockMap::unpack(u64, BlockState const&, Bytes) const {
  return fail(Errc::invalid, "the format has no compressed blocks");
}
Result<std::vector<std::byte>> BlockMap::pack(u64, ConstBytes) const {
  return fail(Errc::invalid, "the format has no compressed blocks");
}

Result<> write_stages(Storage const& storage, BlockMap::Stages const& stages) {
  for (auto const& stage : stages) {
    for (auto const& write : stage) TRY(storage.write(write.at, write.bytes));
    if (!stage.empty()) TRY(storage.sync());
  }
  return {};
}

}  // namespace vireo::image::block_map
