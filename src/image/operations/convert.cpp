#include "image/operations/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "image/backend.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"
#include "image/operations/copy_range.h"
#include "image/operations/describe.h"
#include "image/operations/stretches.h"
#include "image/vmdk/deflate.h"
#include "image/vmdk/spec.h"
#include "image/vmdk/stream_writer.h"
#include "vocab/numbers.h"

namespace vireo::image {
namespace {

constexpr u64 piece{4 * MiB};
constexpr u64 part_bytes{1 * MiB};

class Converter {
 public:
  Converter(ConvertRequest const& request, BlockImage& source) : request_{request}, source_{source} {
    jobs_ = request.jobs != 0 ? request.jobs : std::max(1u, std::thread::hardware_concurrency());
  }

  Result<> into(BlockImage& target, BlockImage* below, Report const& report) {
    auto const bytes = std::min(source_.geometry().bytes, target.geometry().bytes);
    if (source_.geometry().bytes > target.geometry().bytes &&
        TRY(first_data(source_, target.geometry().bytes)) != ~u64{0}) {
      return fail(Errc::no_space,
                  fmt::format("{}: its disk of {} bytes is too small for one of {}", request_.target.path,
                              target.geometry().bytes, source_.geometry().bytes));
    }
    TRY(in_pieces(bytes, std::max<u64>(piece, target.geometry().cluster), jobs_, report,
                  [&](u64 at, u64 length) { return copy(target, below, at, length); }));
    return target.flush();
  }

  /// The exchange form of VMDK: packed by all, written in order.
  Result<> into(vmdk::StreamWriter& writer, Report const& report) {
    auto mutex = std::mutex{};
    auto turn = std::condition_variable{};
    auto written = u64{0};
    auto failed = false;
    auto const packed_all =
        in_pieces(source_.geometry().bytes, piece, jobs_, report, [&](u64 at, u64 length) -> Result<> {
          auto grains = pack(at, length);
          auto lock = std::unique_lock{mutex};
          turn.wait(lock, [&] { return failed || written == at; });
          auto const outcome = [&]() -> Result<> {
            if (failed) return {};
            if (!grains) return std::unexpected{grains.error()};
            for (auto const& [number, packed] : *grains) TRY(writer.append_packed(number, packed));
            return {};
          }();
          failed = failed || !outcome;
          written = at + piece;
          turn.notify_all();
          return outcome;
        });
    return packed_all ? writer.finish() : packed_all;
  }

 private:
  using Grains = std::vector<std::pair<u64, std::vector<std::byte>>>;
  Result<Grains> pack(u64 at, u64 length) {
    constexpr auto grain = vmdk::StreamWriter::grain;
    auto grains = Grains{};
    auto bytes = std::vector<std::byte>(align_up(length, grain));
    TRY(source_.read(at, Bytes{bytes}.first(length)));
    for (auto start = u64{0}; start < length; start += grain) {
      auto const part = ConstBytes{bytes}.subspan(start, grain);
      if (all_zero(part)) continue;
      grains.emplace_back((at + start) / grain, TRY(vmdk::pack_grain((at + start) / vmdk::sector, part)));
    }
    return grains;
  }

  Result<> copy(BlockImage& target, BlockImage* below, u64 at, u64 length) {
    auto const end = at + length;
    while (at < end) {
      auto const extent = TRY(source_.extent_at(at));
      auto const part = std::min(extent.length, end - at);
      auto const zero = extent.presence == BlockImage::Presence::zero && below == nullptr;
      TRY(zero ? put_zeroes(target, at, part) : copy_bytes(target, below, at, part));
      at += part;
    }
    return {};
  }

  Result<> put_zeroes(BlockImage& target, u64 at, u64 length) const {
    // An encrypted file without tables begins as noise.
    auto const starts_as_zeroes = !request_.target_exists && request_.target.format != "luks";
    auto const reads_zero = starts_as_zeroes || request_.target_is_zero;
    if (request_.sparse != 0) return reads_zero ? Result<>{} : target.write_zeroes(at, length, true);
    auto const zeroes = std::vector<std::byte>(std::min(length, piece));
    for (auto done = u64{0}; done < length; done += zeroes.size()) {
      TRY(target.write(at + done, ConstBytes{zeroes}.first(std::min<u64>(zeroes.size(), length - done))));
    }
    return {};
  }

  /// In parts that stay in the processor's cache from reading to writing.
  Result<> copy_bytes(BlockImage& target, BlockImage* below, u64 at, u64 length) {
    thread_local auto buffer = std::vector<std::byte>{};
    auto const window = request_.compress ? std::max<u64>(part_bytes, target.geometry().cluster) : part_bytes;
    auto const may_view = below == nullptr && !request_.compress;
    for (auto const end = at + length; at < end;) {
      auto const wanted = std::min(window - at % window, end - at);
      if (auto const seen = may_view ? source_.view(at, wanted) : ConstBytes{}; !seen.empty()) {
        TRY(put_bytes(target, at, seen));
        at += seen.size();
        continue;
      }
      if (buffer.size() < wanted) buffer.resize(window);
      auto const part = Bytes{buffer}.first(wanted);
      TRY(source_.read(at, part));
      TRY(below != nullptr ? put_differences(target, *below, at, part) : put_bytes(target, at, part));
      at += part.size();
    }
    return {};
  }

  Result<> put_bytes(BlockImage& target, u64 at, ConstBytes bytes) {
    auto const length = bytes.size();
    auto const cluster = u64{target.geometry().cluster};
    auto const grain = request_.compress      ? cluster
                       : request_.sparse == 0 ? length
                                              : std::max<u64>(512, align_down(request_.sparse, 512));
    // Pieces are cut where the target's clusters are, so that each is written once.
    auto const head = request_.compress ? std::min((cluster - at % cluster) % cluster, length) : 0;
    auto const put = [&](u64 start, u64 part, bool zero) -> Result<> {
      if (zero && request_.sparse != 0) return put_zeroes(target, at + start, part);
      auto const content = bytes.subspan(start, part);
      return request_.compress ? target.write_compressed(at + start, content)
                               : target.write(at + start, content);
    };
    if (head != 0) TRY(put(0, head, all_zero(bytes.first(head))));
    return for_each_kind(bytes.subspan(head), grain,
                         [&](u64 start, u64 part, bool zero) { return put(head + start, part, zero); });
  }

  Result<> put_differences(BlockImage& target, BlockImage& below, u64 at, ConstBytes bytes) {
    auto old = std::vector<std::byte>(bytes.size());
    TRY(read_padded(below, at, old));
    auto const step = u64{4096};
    for (auto start = u64{0}; start < bytes.size();) {
      auto const differs = [&](u64 from) {
        auto const count = std::min<u64>(step, bytes.size() - from);
        return std::memcmp(bytes.data() + from, old.data() + from, count) != 0;
      };
      auto end = start + step;
      if (!differs(start)) {
        start = end;
        continue;
      }
      while (end < bytes.size() && differs(end)) end += step;
      end = std::min<u64>(end, bytes.size());
      TRY(target.write(at + start, bytes.subspan(start, end - start)));
      start = end;
    }
    return {};
  }

  ConvertRequest const& request_;
  BlockImage& source_;
  u32 jobs_{};
};

Result<> sync_files(CreateRequest const& target) {
  auto const description = TRY(describe_image(target.path, target.format));
  auto files = description.files;
  if (!description.data_file.empty()) files.push_back(description.data_file);
  for (auto const& name : files) {
    auto const file = TRY(host::File::open(name, {.write = true}));
    TRY(file.sync());
  }
  return {};
}

Result<> fill(ConvertRequest const& request, CreateRequest const& target, BlockImage& source,
              Report const& report) {
  auto converter = Converter{request, source};
  auto below = std::unique_ptr<BlockImage>{};
  if (!target.backing.path.empty()) {
    auto const name = name_beside(target.path, target.backing.path);
    below =
        TRY(open_image(name, {.format = target.backing.format, .read_only = true, .follow_references = true}));
  }
  // What lies elsewhere has no file to be synced at the end.
  auto const elsewhere = is_url(target.path);
  auto const cache = elsewhere && request.sync ? CacheMode::writeback : request.cache;
  {
    auto const image =
        TRY(open_image(target.path, {.format = target.format,
                                     .cache = cache,
                                     .follow_references = below != nullptr || !request.target_exists}));
    TRY(converter.into(*image, below.get(), report));
  }
  return request.sync && cache == CacheMode::unsafe ? sync_files(target) : Result<>{};
}

bool is_stream(CreateRequest const& target) {
  auto const found = target.options.find("subformat");
  return target.format == "vmdk" && found != target.options.end() && found->second == "streamOptimized";
}

void remove_files(CreateRequest const& target) {
  auto const description = describe_image(target.path, target.format);
  Storage::remove(target.path);
  if (!description) return;
  for (auto const& name : description->files) Storage::remove(name);
  // Made with it, by the name that the request gives.
  if (target.options.contains("data_file")) Storage::remove(description->data_file);
}

Result<> copy_bitmaps(ConvertRequest const& request) {
  auto bitmaps = TRY(read_bitmaps({request.source, request.source_format}));
  auto const broken = std::ranges::find(bitmaps, true, &DirtyBitmap::inconsistent);
  if (broken != bitmaps.end() && !request.skip_broken_bitmaps) {
    return fail(Errc::corrupt, fmt::format("{}: bitmap '{}' is out of date; it is left out with "
                                           "--skip-broken-bitmaps",
                                           request.source, broken->name()));
  }
  std::erase_if(bitmaps, [](DirtyBitmap const& each) { return each.inconsistent; });
  return add_bitmaps({request.target.path, request.target.format}, std::move(bitmaps));
}

}  // namespace

Result<> convert_image(ConvertRequest const& request, Report const& report) {
  auto const open_source = [&](std::string const& path) {
    return open_image(path, {.format = request.source_format,
                             .read_only = true,
                             .cache = request.source_cache,
                             .follow_references = request.follow_references,
                             .snapshot = request.snapshot});
  };
  auto disks = std::vector<std::unique_ptr<BlockImage>>{};
  disks.push_back(TRY(open_source(request.source)));
  for (auto const& path : request.more_sources) disks.push_back(TRY(open_source(path)));
  auto const source = join_disks(std::move(disks));
  auto target = request.target;
  if (target.bytes == 0) target.bytes = source->geometry().bytes;
  auto const can_pack = target.format == "qcow2" || is_stream(target);
  if (request.compress && !can_pack) {
    return fail(Errc::unsupported,
                fmt::format("{}: format {} holds no compressed clusters; qcow2 does, and vmdk "
                            "with subformat=streamOptimized",
                            target.path, target.format));
  }
  if (is_stream(target) && !request.target_exists && target.backing.path.empty()) {
    auto const adapter = target.options.find("adapter_type");
    auto writer = TRY(vmdk::StreamWriter::create(target.path, target.bytes,
                                                 adapter == target.options.end() ? "ide" : adapter->second));
    auto const outcome = Converter{request, *source}.into(writer, report);
    if (!outcome) Storage::remove(target.path);
    return outcome;
  }
  if (!request.target_exists) TRY(create_image(target));
  auto outcome = fill(request, target, *source, report);
  if (outcome && request.bitmaps) outcome = copy_bitmaps(request);
  if (!outcome && !request.target_exists) remove_files(target);
  return outcome;
}

}  // namespace vireo::image
