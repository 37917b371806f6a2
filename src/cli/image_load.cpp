#include <fmt/format.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

#include "cli/image_verbs.h"
#include "image/open_image.h"

namespace vireo::cli {
namespace {

struct Load {
  u64 count{75000};
  u64 depth{64};
  u64 bytes{4096};
  u64 step{0};
  u64 offset{0};
  u64 flush_interval{0};
  u64 pattern{0};
  bool writes{};
};

/// As many threads as requests are to be under way.
Result<> run_load(image::BlockImage& image, Load const& load) {
  auto const disk = image.geometry().bytes;
  auto next = std::atomic<u64>{0};
  auto mutex = std::mutex{};
  auto failure = std::optional<Error>{};
  auto const work = [&] {
    auto buffer = std::vector<std::byte>(load.bytes, static_cast<std::byte>(load.pattern));
    while (true) {
      auto const number = next.fetch_add(1);
      if (number >= load.count) return;
      auto at = load.offset + number * load.step;
      if (at + load.bytes > disk) at %= disk - load.bytes + 1;
      auto outcome = load.writes ? image.write(at, buffer) : image.read(at, buffer);
      if (outcome && load.flush_interval != 0 && (number + 1) % load.flush_interval == 0)
        outcome = image.flush();
      if (outcome) continue;
      auto const lock = std::lock_guard{mutex};
      if (!failure) failure = std::move(outcome).error();
      next = load.count;
      return;
    }
  };
  auto threads = std::vector<std::jthread>{};
  for (auto number = u64{1}; number < std::min<u64>(load.depth, 64); ++number) threads.emplace_back(work);
  work();
  threads.clear();
  if (failure) return std::unexpected{*std::move(failure)};
  return {};
}

}  // namespace

int image_bench(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto cache = std::string{"writeback"};
  auto engine = std::string{};
  auto load = Load{};
  auto no_drain = false;
  auto native = false;
  auto quiet = false;
  auto shared = false;
  auto follow = tool.follows();
  auto command = Command{.usage = "vireo image bench [-w] [-c COUNT] [-d DEPTH] [-s SIZE] [-S STEP] FILE",
                         .summary = "Sends requests to an image and tells how long they took.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"-c", "COUNT", "so many requests (75000)", into_number(load.count)},
                     {"-d", "DEPTH", "so many at a time (64)", into_number(load.depth)},
                     {"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"-o", "OFFSET", "where to start (0)", into_size(load.offset)},
                     {"-s", "SIZE", "bytes of each (4096)", into_size(load.bytes)},
                     {"-S", "STEP", "from one to the next (SIZE)", into_size(load.step)},
                     {"-w", "", "write instead of read", into(load.writes)},
                     {"--pattern", "BYTE", "what to write (0)", into_number(load.pattern)},
                     {"--flush-interval", "N", "flush after each N requests", into_number(load.flush_interval)},
                     {"--no-drain", "", "taken and not used", into(no_drain)},
                     {"-t", "CACHE", "the cache mode", into(cache)},
                     {"-i", "AIO", "taken and not used", into(engine)},
                     {"-n", "", "taken and not used", into(native)},
                     {"--follow-backing", "", "open the backing files that the image names", into(follow)},
                     {"-q", "", "say nothing", into(quiet)},
                     {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (load.step == 0) load.step = load.bytes;
    auto const name = format_named(format);
    auto const mode = TRY(parse_cache(cache));
    auto const image = TRY(image::open_image(
        words[0], {.format = name, .read_only = !load.writes, .cache = mode, .follow_references = follow}));
    if (load.bytes == 0 || load.bytes > image->geometry().bytes || load.bytes > u64{1} << 30) {
      return fail(Errc::invalid, fmt::format("-s {}: does not fit the disk", load.bytes));
    }
    if (!quiet) {
      fmt::print(
          "Sending {} {} requests, {} bytes each, {} in parallel (starting at offset {}, step size {})\n",
          load.count, load.writes ? "write" : "read", load.bytes, load.depth, load.offset, load.step);
    }
    auto const start = host::monotonic_ns();
    TRY(run_load(*image, load));
    auto const seconds = static_cast<double>(host::monotonic_ns() - start) / 1e9;
    fmt::print("Run completed in {:.3f} seconds.\n", seconds);
    if (!tool.is_qemu() && seconds > 0)
      fmt::print("{:.0f} requests/s\n", static_cast<double>(load.count) / seconds);
    return {};
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
