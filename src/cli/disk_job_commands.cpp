#include <fmt/format.h>

#include <filesystem>

#include "cli/follow_job.h"
#include "cli/job_commands.h"
#include "image/backend.h"
#include "machine/control/control_client.h"
#include "machine/control/job_protocol.h"

namespace vireo::cli {
namespace {

using machine::ControlClient;
using namespace machine::control;

/// The machine may stand in another folder.
std::string from_here(std::string const& path) {
  auto failure = std::error_code{};
  return path.empty() || image::is_url(path) ? path : std::filesystem::absolute(path, failure).string();
}

/// "a=b,c=d" as a list.
std::function<Result<>(std::string_view)> into_list(Words& words) {
  return [&words](std::string_view text) -> Result<> {
    auto options = std::map<std::string, std::string>{};
    TRY(add_options(options, text));
    for (auto const& [key, value] : options) words.push_back(fmt::format("{}={}", key, value));
    return {};
  };
}

/// What the jobs of one command line do once they are started.
struct Start {
  Words words{};
  u64 rate{};
  bool wait{};
  bool complete{};

  Option rate_option() { return {"--rate", "SIZE", "at most so many bytes a second", into_size(rate)}; }
  Option wait_option() {
    return {"--wait", "", "show how far it is, until it has ended or is ready", into(wait)};
  }
  Option complete_option() {
    return {"--complete", "", "wait, and go on there as soon as it is ready", into(complete)};
  }

  template <typename Wish>
  Result<> run(std::string_view verb, Wish const& wish) {
    auto client = TRY(ControlClient::connect(words[0]));
    auto const started = TRY_IN(words[0], client.call<Jobs>(verb, wish));
    for (auto const& job : started.jobs) {
      if (!wait && !complete) {
        fmt::print("{}\n", job.job);
        continue;
      }
      TRY_IN(words[0], follow_job(client, job.job, complete));
    }
    return {};
  }
};

}  // namespace

Result<> disk_snapshot(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto const command =
      Command{.usage = "vireo disk snapshot VM DISK FILE [DISK FILE]... [OPTION]...",
              .summary = "Puts a new image over each disk's, all at one instant; the disks go on in these.",
              .options = {{"--format", "F", "of the new images (as the disk's)", into(format)}},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() < 3 || words.size() % 2 == 0) {
    return fail(Errc::invalid, "disk snapshot takes a machine, and a disk and a new file as often as you like");
  }
  auto wish = DiskSnapshot{};
  for (auto index = std::size_t{1}; index < words.size(); index += 2) {
    wish.disks.push_back({words[index], from_here(words[index + 1]), format_named(format)});
  }
  auto client = TRY(ControlClient::connect(words[0]));
  TRY_IN(words[0], client.call<Nothing>("disk-snapshot", wish));
  return {};
}

Result<> disk_stream(Arguments arguments) {
  auto start = Start{};
  auto wish = DiskStream{};
  auto const command = Command{.usage = "vireo disk stream VM DISK [OPTION]...",
                               .summary = "Brings what lies behind a disk's image into it.",
                               .options = {{"--base", "FILE", "stays behind it (nothing)", into(wish.base)},
                                           start.rate_option(),
                                           start.wait_option()},
                               .positional = into(start.words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (start.words.size() != 2) return fail(Errc::invalid, "disk stream takes a machine and a disk");
  wish.disk = start.words[1];
  wish.base = from_here(wish.base);
  wish.rate = start.rate;
  return start.run("disk-stream", wish);
}

Result<> disk_commit(Arguments arguments) {
  auto start = Start{};
  auto wish = DiskCommit{};
  auto const command = Command{
      .usage = "vireo disk commit VM DISK [OPTION]...",
      .summary = "Brings a disk's image into the one behind it.",
      .options = {{"--top", "FILE", "the uppermost image that is committed (the disk's own)", into(wish.top)},
                  {"--base", "FILE", "into which image (the one behind)", into(wish.base)},
                  {"--resume", "", "an interrupted one: write only what differs", into(wish.resume)},
                  start.rate_option(),
                  start.wait_option(),
                  start.complete_option()},
      .positional = into(start.words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (start.words.size() != 2) return fail(Errc::invalid, "disk commit takes a machine and a disk");
  wish.disk = start.words[1];
  wish.top = from_here(wish.top);
  wish.base = from_here(wish.base);
  wish.rate = start.rate;
  return start.run("disk-commit", wish);
}

Result<> disk_mirror(Arguments arguments) {
  auto start = Start{};
  auto wish = DiskMirror{};
  auto const command = Command{
      .usage = "vireo disk mirror VM DISK TARGET [OPTION]...",
      .summary =
          "Copies a disk to another image of any format and keeps both the same; complete goes on there.",
      .options = {{"--format", "F", "of the target (as the disk's)", into(wish.format)},
                  {"-o", "KEY=VALUE,...", "options of a new target, as of image create",
                   into_list(wish.options)},
                  {"--existing", "", "the target is there; it is overwritten", into(wish.exists)},
                  {"--sync", "full|top", "all of it, or what its top image holds (full)", into(wish.sync)},
                  {"--resume", "", "an interrupted one: write only what differs", into(wish.resume)},
                  {"--on-target-error", "fail|pause", "what an error of the target does (fail)",
                   into(wish.on_target_error)},
                  start.rate_option(),
                  start.wait_option(),
                  start.complete_option()},
      .positional = into(start.words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (start.words.size() != 3) return fail(Errc::invalid, "disk mirror takes a machine, a disk and a target");
  wish.disk = start.words[1];
  wish.target = from_here(start.words[2]);
  wish.format = format_named(wish.format);
  wish.rate = start.rate;
  return start.run("disk-mirror", wish);
}

Result<> disk_backup(Arguments arguments) {
  auto start = Start{};
  auto each = BackupOfDisk{};
  auto const command =
      Command{.usage = "vireo disk backup VM DISK TARGET [DISK TARGET]... [OPTION]...",
              .summary = "Copies disks as they are now, all at one instant, while their guest goes on.",
              .options = {{"--format", "F", "of the targets (as the disk's)", into(each.format)},
                          {"-o", "KEY=VALUE,...", "options of new targets, as of image create",
                           into_list(each.options)},
                          {"--existing", "", "the targets are there; they are overwritten", into(each.exists)},
                          {"--bitmap", "NAME", "starts anew at that instant", into(each.bitmap)},
                          {"--incremental", "", "only what the bitmap marks", into(each.incremental)},
                          {"--backing", "FILE", "the backup before, behind the new one", into(each.backing)},
                          {"--backing-format", "F", "its format", into(each.backing_format)},
                          {"--resume", "", "an interrupted one: write only what differs", into(each.resume)},
                          start.rate_option(),
                          start.wait_option()},
              .positional = into(start.words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (start.words.size() < 3 || start.words.size() % 2 == 0) {
    return fail(Errc::invalid, "disk backup takes a machine, and a disk and a target as often as you like");
  }
  each.format = format_named(each.format);
  each.backing_format = format_named(each.backing_format);
  each.backing = from_here(each.backing);
  each.rate = start.rate;
  auto wish = DiskBackup{};
  for (auto index = std::size_t{1}; index < start.words.size(); index += 2) {
    each.disk = start.words[index];
    each.target = from_here(start.words[index + 1]);
    wish.disks.push_back(each);
  }
  return start.run("disk-backup", wish);
}

}  // namespace vireo::cli
