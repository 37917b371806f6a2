#include "image/operations/describe.h"

#include <sys/stat.h>

#include "image/formats.h"
#include "image/open_image.h"

namespace vireo::image {

Result<Description> describe_image(std::string const& path, std::string const& format) {
  auto const name = format.empty() ? TRY(probe_format(path)) : format;
  auto const* const record = find_format(name);
  if (record == nullptr) return fail(Errc::invalid, "image format '" + name + "' is not known");
  auto const storage = TRY(Storage::open(path, false, CacheMode::writeback));
  auto description = TRY(record->describe(storage));
  description.format = name;
  if (description.files.empty()) description.files.push_back(path);
  return description;
}

u64 host_bytes(Description const& description) {
  auto bytes = u64{0};
  for (auto const& path : description.files) {
    struct stat status{};
    if (::stat(path.c_str(), &status) == 0) bytes += static_cast<u64>(status.st_blocks) * 512;
  }
  return bytes;
}

}  // namespace vireo::image
