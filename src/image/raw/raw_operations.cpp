#include "image/raw/raw_operations.h"

#include <fmt/format.h>

#include "vocab/numbers.h"

namespace vireo::image::raw {

Result<> create(CreateRequest const& request) {
  TRY(OptionReader{request}.finish());
  if (!request.backing.path.empty()) {
    return fail(Errc::unsupported,
                fmt::format("{}: raw has no place for the name of a backing file; use qcow2 over a raw one",
                            request.path));
  }
  auto const file = TRY(Storage::create(request.path));
  TRY(file.truncate(align_up(request.bytes, 512)));
  return file.sync();
}

Result<Description> describe(Storage const& storage) {
  return Description{.bytes = align_up(TRY(storage.size()), 512), .flat = true};
}

Result<> resize(Storage const& storage, u64 bytes) {
  if (!storage.can_grow()) {
    return fail(Errc::unsupported, fmt::format("{}: a device keeps its size", storage.path()));
  }
  TRY(storage.truncate(bytes));
  return storage.sync();
}

}  // namespace vireo::image::raw
