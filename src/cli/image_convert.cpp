#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "cli/image_verbs.h"
#include "image/backend.h"
#include "image/operations/convert.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

struct ConvertWords {
  Words words{};
  Words options{};
  std::string source_format{};
  std::string format{};
  std::string compress{};
  std::string backing{};
  std::string backing_format{};
  std::string cache{"unsafe"};
  std::string source_cache{};
  std::string snapshot{};
  std::string sparse{};
  std::string ignored{};
  u64 jobs{};
  bool packed{};
  bool no_create{};
  bool target_is_zero{};
  bool progress{};
  bool quiet{};
  bool bitmaps{};
  bool skip_broken_bitmaps{};
  bool shared{};
  bool out_of_order{};
  bool follow{};
};

Result<image::ConvertRequest> request_of(ImageTool const& tool, ConvertWords const& asked) {
  if (asked.words.size() < 2) return fail(Errc::invalid, "Must specify image file name and where it goes");
  auto request = image::ConvertRequest{.source = asked.words[0],
                                       .source_format = format_named(asked.source_format),
                                       .follow_references = asked.follow};
  auto& target = request.target;
  target.path = asked.words.back();
  request.more_sources = {asked.words.begin() + 1, asked.words.end() - 1};
  request.bitmaps = asked.bitmaps;
  request.skip_broken_bitmaps = asked.skip_broken_bitmaps;
  target.format = !asked.format.empty() ? format_named(asked.format)
                  : tool.is_qemu()      ? "raw"
                                        : format_for(target.path);
  for (auto const& each : asked.options) TRY(add_options(target.options, each));
  auto const take = [&](std::string const& name, std::string const& given) {
    auto node = target.options.extract(name);
    return node ? node.mapped() : given;
  };
  target.backing = {.path = take("backing_file", asked.backing), .format = {}};
  request.compress = asked.packed || !asked.compress.empty();
  if (!asked.compress.empty() && target.format == "qcow2") target.options["compression_type"] = asked.compress;
  if (request.compress && target.format == "vmdk") target.options["subformat"] = "streamOptimized";
  if (asked.compress == "zstd" && target.format == "vmdk") {
    return fail(Errc::unsupported, "VMDK packs with zlib only: --compress zlib");
  }
  request.snapshot = asked.snapshot;
  for (auto const prefix : {"snapshot.id=", "snapshot.name="}) {
    if (request.snapshot.starts_with(prefix)) request.snapshot.erase(0, std::string_view{prefix}.size());
  }
  request.target_exists = asked.no_create || (image::is_url(target.path) && !image::holds_files(target.path));
  request.target_is_zero = asked.target_is_zero;
  request.jobs = static_cast<u32>(std::min<u64>(asked.jobs, 64));
  request.cache = TRY(parse_cache(asked.cache));
  request.sync = !tool.is_qemu();  // qemu-img's mode unsafe leaves it to the host when data reaches the disk
  request.source_cache = TRY(parse_cache(asked.source_cache));
  if (!asked.sparse.empty()) request.sparse = TRY(parse_size(asked.sparse));
  return request;
}

}  // namespace

int image_convert(ImageTool const& tool, Arguments arguments) {
  auto asked = ConvertWords{.follow = tool.follows()};
  auto command =
      Command{.usage = "vireo image convert [OPTION]... IN... OUT",
              .summary = "Copies a disk into an image of another format or kind; what is zero takes no space.",
              .options = {},
              .positional = into(asked.words)};
  command.options = {
      {"-f", "FORMAT", "the source's format (found by looking)", into(asked.source_format)},
      {"-O", "FORMAT", "the target's (by its name; else raw)", into(asked.format)},
      {"--format", "FORMAT", "the same", into(asked.format)},
      {"-o", "OPTION=VALUE,...", "the target format's own options", into(asked.options)},
      {"--jobs", "N", "threads that copy (as many as processors)", into_number(asked.jobs)},
      {"-m", "N", "the same", into_number(asked.jobs)},
      {"--compress", "zlib|zstd", "pack clusters", into(asked.compress)},
      {"-c", "", "pack clusters", into(asked.packed)},
      {"-B", "FILE", "write only what differs from this backing file", into(asked.backing)},
      {"-F", "FORMAT", "the backing file's format", into(asked.backing_format)},
      {"-l", "SNAPSHOT", "the source as it was then", into(asked.snapshot)},
      {"-n", "", "the target is there", into(asked.no_create)},
      {"--target-is-zero", "", "and reads as zeroes", into(asked.target_is_zero)},
      {"-S", "SIZE", "zeroes of so many bytes become holes (4K); 0: none do", into(asked.sparse)},
      {"-t", "CACHE", "the target's cache mode (unsafe, synced at the end)", into(asked.cache)},
      {"-T", "CACHE", "the source's cache mode", into(asked.source_cache)},
      {"--bitmaps", "", "the source's dirty bitmaps too", into(asked.bitmaps)},
      {"--skip-broken-bitmaps", "", "but not those that are out of date", into(asked.skip_broken_bitmaps)},
      {"-p", "", "show how far it is", into(asked.progress)},
      {"-q", "", "say nothing", into(asked.quiet)},
      {"-W", "", "write out of order: done as it is", into(asked.out_of_order)},
      {"-U", "", "others may have the source open", into(asked.shared)},
      {"-r", "RATE", "taken and not used", into(asked.ignored)},
      {"--follow-backing", "", "open the backing files that the source names", into(asked.follow)},
  };
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    auto request = TRY(request_of(tool, asked));
    if (!request.target.backing.path.empty()) {
      auto format = format_named(asked.backing_format);
      if (auto node = request.target.options.extract("backing_fmt")) format = format_named(node.mapped());
      if (format.empty()) {
        return fail(Errc::invalid, fmt::format("{}: the backing file's format must be stated: -F FORMAT",
                                               request.target.path));
      }
      request.target.backing.format = format;
    }
    if (tool.is_qemu() && !request.target_exists && request.source != request.target.path) {
      remove_old_image(request.target.path);
      if (auto const found = request.target.options.find("data_file"); found != request.target.options.end())
        remove_old_image((std::filesystem::path{request.target.path}.parent_path() / found->second).string());
    }
    auto progress = ProgressLine{tool, asked.progress && !asked.quiet};
    auto const outcome = image::convert_image(request, progress.report());
    progress.finish();
    return outcome;
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
