#include "image/operations/copy_range.h"

#include <fmt/format.h>

#include <algorithm>

#include "image/check_range.h"
#include "image/open_image.h"
#include "image/operations/stretches.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

class JoinedDisks final : public BlockImage {
 public:
  explicit JoinedDisks(std::vector<std::unique_ptr<BlockImage>> disks) {
    for (auto& each : disks) {
      auto const bytes = each->geometry().bytes;
      parts_.push_back({bytes_, bytes, std::move(each)});
      bytes_ += bytes;
    }
  }
  Geometry geometry() const override { return {.bytes = bytes_, .read_only = true}; }
  Result<> read(u64 at, Bytes into) override {
    TRY(check_range("joined disks", at, into.size(), bytes_));
    while (!into.empty()) {
      auto& part = part_at(at);
      auto const count = std::min<u64>(into.size(), part.start + part.bytes - at);
      TRY(part.disk->read(at - part.start, into.first(count)));
      into = into.subspan(count);
      at += count;
    }
    return {};
  }
  Result<> write(u64, ConstBytes) override { return refuse(); }
  Result<> write_zeroes(u64, u64, bool) override { return refuse(); }
  Result<> discard(u64, u64) override { return refuse(); }
  Result<> flush() override { return {}; }
  Result<Extent> extent_at(u64 at) override {
    TRY(check_range("joined disks", at, 1, bytes_));
    auto& part = part_at(at);
    auto extent = TRY(part.disk->extent_at(at - part.start));
    extent.start = at;
    return extent;
  }

 private:
  struct Part {
    u64 start{};
    u64 bytes{};
    std::unique_ptr<BlockImage> disk;
  };
  static Result<> refuse() { return fail(Errc::denied, "joined disks are read only"); }
  Part& part_at(u64 at) {
    return *std::ranges::find_if(parts_, [&](Part const& each) { return at - each.start < each.bytes; });
  }
  std::vector<Part> parts_;
  u64 bytes_{};
};

}  // namespace

std::unique_ptr<BlockImage> join_disks(std::vector<std::unique_ptr<BlockImage>> disks) {
  if (disks.size() == 1) return std::move(disks.front());
  return std::make_unique<JoinedDisks>(std::move(disks));
}

Result<> copy_range(BlockImage& source, u64 start, u64 length, CreateRequest target) {
  TRY(check_range(target.path, start, length, source.geometry().bytes));
  target.bytes = length;
  TRY(create_image(target));
  auto const image = TRY(open_image(target.path, {.format = target.format, .follow_references = true}));
  auto buffer = std::vector<std::byte>(std::min<u64>(length, 2 * MiB));
  for (auto done = u64{0}; done < length;) {
    auto const part = Bytes{buffer}.first(std::min<u64>(buffer.size(), length - done));
    TRY(source.read(start + done, part));
    TRY(for_each_kind(part, 4096, [&](u64 at, u64 count, bool zero) -> Result<> {
      return zero ? Result<>{} : image->write(done + at, ConstBytes{part}.subspan(at, count));
    }));
    done += part.size();
  }
  return image->flush();
}

}  // namespace vireo::image
