#include "image/luks/luks_format.h"

#include <fmt/format.h>
#include <unistd.h>

#include "image/check_range.h"
#include "image/luks/encrypted_storage.h"
#include "image/luks/volume.h"
#include "image/luks2/volume.h"
#include "vocab/numbers.h"

namespace vireo::image::luks {
namespace {

ReadHeader header_of(Storage const& storage) {
  return [&storage](u64 at, Bytes into) { return storage.read(at, into); };
}

class LuksImage final : public BlockImage {
 public:
  LuksImage(Storage storage, Cipher cipher, u64 payload, u64 bytes)
      : storage_{std::move(storage)}, encrypted_{std::move(cipher), payload}, bytes_{bytes} {}

  Geometry geometry() const override {
    return {.bytes = bytes_, .sector = 512, .cluster = 4096, .read_only = !storage_.writable()};
  }
  Result<> read(u64 at, Bytes into) override {
    TRY(check_range(storage_.path(), at, into.size(), bytes_));
    return encrypted_.read(storage_, at, into);
  }
  Result<> write(u64 at, ConstBytes from) override {
    TRY(storage_.check_write(at, from.size(), bytes_));
    TRY(encrypted_.write(storage_, at, from));
    return storage_.finish_write();
  }
  Result<> write_zeroes(u64 at, u64 length, bool) override {
    TRY(storage_.check_write(at, length, bytes_));
    static auto const zeroes = std::vector<std::byte>(1 * MiB);
    for (auto done = u64{0}; done < length; done += zeroes.size()) {
      auto const part = ConstBytes{zeroes}.first(std::min<u64>(zeroes.size(), length - done));
      TRY(encrypted_.write(storage_, at + done, part));
    }
    return storage_.finish_write();
  }
  /// A hole would read as noise, and would tell what is in use.
  Result<> discard(u64 at, u64 length) override { return storage_.check_write(at, length, bytes_); }
  Result<> flush() override { return storage_.sync(); }
  Result<Extent> extent_at(u64 at) override {
    TRY(check_range(storage_.path(), at, 1, bytes_));
    return Extent{at, bytes_ - at, Presence::data};
  }

 private:
  Storage storage_;
  EncryptedStorage encrypted_;
  u64 bytes_;
};

Result<Volume> volume_of(Storage const& storage) {
  auto const bytes = TRY(storage.size());
  return TRY_IN(storage.path(), read_volume(header_of(storage), bytes));
}
Result<u64> disk_bytes(Storage const& storage, Volume const& volume) {
  return align_down(TRY(storage.size()) - volume.payload, sector);
}

Result<bool> is_version_2(Storage const& storage) {
  return luks2::is_header(header_of(storage), TRY(storage.size()));
}
Result<luks2::Header> header2_of(Storage const& storage) {
  auto const bytes = TRY(storage.size());
  return TRY_IN(storage.path(), luks2::read_header(header_of(storage), bytes));
}
Result<u64> disk_bytes(Storage const& storage, luks2::Header const& header) {
  auto const& segment = header.metadata.segment;
  auto const room = align_down(TRY(storage.size()) - segment.start, segment.sector);
  if (segment.bytes <= room) return segment.bytes == 0 ? room : segment.bytes;
  return fail(Errc::corrupt,
              fmt::format("{}: ends at {} of its disk's {} bytes", storage.path(), room, segment.bytes));
}

Result<std::unique_ptr<BlockImage>> open_version_2(Storage storage) {
  auto const header = TRY(header2_of(storage));
  auto cipher = TRY(luks2::unlock(header, header_of(storage), storage.path()));
  auto const bytes = TRY(disk_bytes(storage, header));
  return std::make_unique<LuksImage>(std::move(storage), std::move(cipher), header.metadata.segment.start,
                                     bytes);
}

Result<std::unique_ptr<BlockImage>> open(Storage storage, OpenContext) {
  if (TRY(is_version_2(storage))) return open_version_2(std::move(storage));
  auto const volume = TRY(volume_of(storage));
  auto cipher = TRY(unlock(volume, header_of(storage), storage.path()));
  auto const bytes = TRY(disk_bytes(storage, volume));
  return std::make_unique<LuksImage>(std::move(storage), std::move(cipher), volume.payload, bytes);
}

Result<> create(CreateRequest const& request) {
  auto options = OptionReader{request};
  auto const version = options.text("version", "1");
  if (version != "1" && version != "2")
    return fail(Errc::invalid, fmt::format("version '{}': 1 or 2", version));
  auto const volume = TRY(read_options(options, ""));
  auto const volume2 = version == "2" ? TRY(luks2::read_options(options, volume)) : luks2::NewHeader{};
  TRY(options.finish());
  if (!request.backing.path.empty())
    return fail(Errc::unsupported, request.path + ": luks has no place for the name of a backing file");
  auto const header = version == "2" ? TRY(luks2::create_header(volume2)) : TRY(create_volume(volume));
  auto const file = TRY(Storage::create(request.path));
  auto const written = [&]() -> Result<> {
    TRY(file.write(0, header));
    TRY(file.truncate(header.size() + align_up(request.bytes, version == "2" ? volume2.sector : sector)));
    return file.sync();
  }();
  if (!written) Storage::remove(request.path);
  return written;
}

Result<Description> describe(Storage const& storage) {
  if (TRY(is_version_2(storage))) {
    auto const header = TRY(header2_of(storage));
    return Description{.bytes = TRY(disk_bytes(storage, header)),
                       .encrypted = true,
                       .flat = true,
                       .facts = luks2::describe_header(header)};
  }
  auto const volume = TRY(volume_of(storage));
  return Description{.bytes = TRY(disk_bytes(storage, volume)),
                     .encrypted = true,
                     .flat = true,
                     .facts = describe_volume(volume, false)};
}

Result<> resize(Storage const& storage, u64 bytes) {
  if (!storage.can_grow())
    return fail(Errc::unsupported, fmt::format("{}: a device keeps its size", storage.path()));
  if (!TRY(is_version_2(storage))) {
    auto const payload = TRY(volume_of(storage)).payload;
    TRY(storage.truncate(payload + bytes));
    return storage.sync();
  }
  auto const segment = TRY(header2_of(storage)).metadata.segment;
  if (segment.bytes != 0)
    return fail(Errc::unsupported, fmt::format("{}: its header says how long the disk is", storage.path()));
  TRY(storage.truncate(segment.start + align_up(bytes, segment.sector)));
  return storage.sync();
}

/// Version 2 has two copies of its header. A copy that a crash left behind is no damage.
Result<CheckReport> check(Storage const& storage, Repair repair) {
  if (!TRY(is_version_2(storage)))
    return fail(Errc::unsupported, fmt::format("{}: LUKS1 has no second header to check", storage.path()));
  auto header = TRY(header2_of(storage));
  auto report = CheckReport{.total = 2, .end = TRY(storage.size())};
  for (auto const* const fault : {&header.first_fault, &header.second_fault}) {
    if (!fault->empty()) report.stale(fmt::format("a copy of the header: {}", *fault));
  }
  if (report.leaks == 0 || repair == Repair::none) return report;
  TRY(luks2::write_header(storage, header));
  report.leaks_fixed = report.leaks;
  return report;
}

}  // namespace

ImageFormat const format{.name = "luks",
                         .probe = [](ConstBytes) { return false; },
                         .open = open,
                         .create = create,
                         .describe = describe,
                         .find_parent = nullptr,
                         .check = check,
                         .resize = resize,
                         .set_parent = nullptr};

}  // namespace vireo::image::luks
