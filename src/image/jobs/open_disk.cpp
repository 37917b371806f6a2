#include "image/jobs/open_disk.h"

#include <algorithm>

#include "image/backend.h"
#include "image/storage.h"

namespace vireo::image {
namespace {

Result<> lock_layers(std::vector<Layer> const& layers, bool read_only, FileLocks& locks) {
  for (auto depth = std::size_t{0}; depth < layers.size(); ++depth) {
    auto const kind = depth == 0 && !read_only ? FileLocks::Kind::exclusive : FileLocks::Kind::shared;
    for (auto const& file : files_of(layers[depth])) TRY(locks.hold(file, kind));
  }
  return {};
}

}  // namespace

std::vector<std::string> files_of(Layer const& layer) {
  auto files = layer.description.files;
  files.push_back(layer.path);
  if (!layer.description.data_file.empty()) files.push_back(layer.description.data_file);
  std::erase_if(files, [](std::string const& each) { return is_url(each); });
  std::ranges::sort(files);
  auto const twice = std::ranges::unique(files);
  files.erase(twice.begin(), twice.end());
  return files;
}

Result<OpenDisk> OpenDisk::open(DiskSource source) {
  auto disk = OpenDisk{};
  disk.source_ = std::move(source);
  TRY(disk.settle_locks());
  TRY(disk.open_image());
  return disk;
}

Result<std::vector<Layer>> OpenDisk::layers() const {
  return read_chain(source_.path, source_.format, source_.follow_references);
}

Result<> OpenDisk::settle_locks() {
  auto const all = TRY(layers());
  TRY(lock_layers(all, source_.read_only, locks_));
  locks_.keep_only([&] {
    auto files = std::vector<std::string>{};
    for (auto const& layer : all) std::ranges::copy(files_of(layer), std::back_inserter(files));
    return files;
  }());
  return {};
}

Result<> OpenDisk::open_image(std::shared_ptr<BlockImage> below, std::string const& below_path) {
  auto access = OpenAccess{.locks = &locks_, .layer = std::move(below)};
  if (access.layer) {
    auto const file = TRY(Storage::open(below_path, false, CacheMode::writeback));
    access.layer_file = file.identity();
  }
  image_ = TRY(image::open_image(source_.path, {.format = source_.format,
                                                .read_only = source_.read_only,
                                                .cache = source_.cache,
                                                .follow_references = source_.follow_references,
                                                .track_changes = source_.track_changes,
                                                .access = &access}));
  return {};
}

Result<std::unique_ptr<BlockImage>> OpenDisk::open_layer(Layer const& layer, bool writable) const {
  auto const access = OpenAccess{.locks = &locks_};
  return image::open_image(layer.path, {.format = layer.description.format,
                                        .read_only = !writable,
                                        .cache = source_.cache,
                                        .follow_references = true,
                                        .layer_only = !writable,
                                        .keep_identity = writable,
                                        .access = &access});
}

Result<> OpenDisk::become(DiskSource source) {
  source_ = std::move(source);
  TRY(settle_locks());
  return open_image();
}

}  // namespace vireo::image
