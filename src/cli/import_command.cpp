#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <set>

#include "cli/appliance_commands.h"
#include "cli/image_tool.h"
#include "image/appliance/package.h"
#include "image/operations/convert.h"
#include "image/operations/describe.h"
#include "image/operations/resize.h"
#include "machine/spec.h"
#include "vocab/numbers.h"

namespace vireo::cli {
namespace {

namespace fs = std::filesystem;
using image::appliance::Package;

struct ImportRequest {
  std::string path{};
  std::string name{};
  std::string folder{};
  std::string format{"qcow2"};
};

/// What a machine may be called, from what it was called there.
std::string plain_name(std::string const& name) {
  auto result = std::string{};
  for (auto const letter : name) {
    auto const good = std::isalnum(static_cast<unsigned char>(letter)) != 0 || letter == '-' || letter == '_' ||
                      letter == '.';
    result += good ? letter : '-';
  }
  result.resize(std::min<std::size_t>(result.size(), 63));
  return result.find_first_not_of("-.") == std::string::npos ? "vm" : result;
}

/// "52:54:00:12:34:56" from that, "52-54-..." or "525400123456"; empty: none of these.
std::string plain_mac(std::string const& text) {
  auto digits = std::string{};
  for (auto const letter : text) {
    if (letter != ':' && letter != '-') digits += letter;
  }
  auto const good = digits.size() == 12 && std::ranges::all_of(digits, [](char c) {
                      return std::isxdigit(static_cast<unsigned char>(c)) != 0;
                    });
  if (!good) return {};
  auto result = digits.substr(0, 2);
  for (auto at = std::size_t{2}; at < digits.size(); at += 2) result += ":" + digits.substr(at, 2);
  return result;
}

class Importer {
 public:
  Importer(ImportRequest request, Package package)
      : request_{std::move(request)}, package_{std::move(package)} {}
  ~Importer() {
    for (auto const& each : made_) ::unlink(each.c_str());
  }
  Importer(Importer const&) = delete;
  Importer& operator=(Importer const&) = delete;

  Result<> run() {
    auto const& from = package_.appliance();
    config_.name = request_.name.empty() ? plain_name(from.name) : request_.name;
    warnings_ = package_.warnings();
    if (request_.folder.empty()) request_.folder = config_.name;
    auto failure = std::error_code{};
    request_.folder = fs::absolute(request_.folder, failure).lexically_normal().string();
    auto const spec = in_folder(config_.name + ".yaml");
    if (fs::exists(spec, failure)) return fail(Errc::busy, fmt::format("{}: exists", spec));
    TRY(host::make_folders(request_.folder));
    TRY(map_processors_and_memory());
    for (auto number = std::size_t{1}; number <= from.disks.size(); ++number) TRY(bring_disk(number));
    map_networks();
    TRY(bring_boot_files());
    TRY(machine::check_config(config_));
    TRY(host::write_text(spec, machine::write_spec(config_)));
    made_.clear();
    for (auto const& line : warnings_) fmt::print(stderr, "vireo: warning: {}\n", line);
    fmt::print("{}\n", spec);
    return {};
  }

 private:
  std::string in_folder(std::string const& name) const { return (fs::path{request_.folder} / name).string(); }

  Result<> map_processors_and_memory() {
    auto const& from = package_.appliance();
    config_.cpus = std::min(from.cpus, machine::max_vcpus);
    if (config_.cpus != from.cpus) warn(fmt::format("{} processors instead of {}", config_.cpus, from.cpus));
    if (from.memory > machine::max_memory)
      return fail(Errc::unsupported, fmt::format("{}: {} bytes of memory", request_.path, from.memory));
    config_.memory.bytes = std::max(align_up(from.memory, 2 * MiB), machine::min_memory);
    if (config_.memory.bytes != from.memory)
      warn(fmt::format("{} bytes of memory instead of {}", config_.memory.bytes, from.memory));
    if (from.efi) warn("it has UEFI firmware there, and starts in a BIOS here");
    return {};
  }

  Result<> bring_disk(std::size_t number) {
    auto const& disk = package_.appliance().disks[number - 1];
    auto const path = in_folder(fmt::format("{}-disk{}.{}", config_.name, number, request_.format));
    if (disk.file.empty()) {
      TRY(image::create_image({.path = path, .format = request_.format, .bytes = disk.bytes}));
    } else {
      TRY(convert(disk, path));
    }
    made_.push_back(path);
    auto const bytes = TRY(image::describe_image(path, request_.format)).bytes;
    if (bytes > disk.bytes)
      warn(fmt::format("disk {} has {} bytes, the descriptor says {}", number, bytes, disk.bytes));
    if (bytes < disk.bytes)
      TRY(image::resize_image({.path = path, .format = request_.format, .bytes = disk.bytes}));
    if (disk.controller != "other") controllers_.insert(disk.controller);
    config_.disks.push_back({.path = path, .format = request_.format});
    return {};
  }

  Result<> convert(image::appliance::ApplianceDisk const& disk, std::string const& path) {
    auto const found = TRY(package_.find_checked(disk.file));
    auto const copy = path + ".part";
    if (!found) {
      TRY(package_.copy_checked(disk.file, copy));
      made_.push_back(copy);
    }
    auto const tool = ImageTool{.style = Style::vireo, .name = "vireo"};
    auto progress = ProgressLine{tool, false};
    auto const converted = image::convert_image({.source = found.value_or(copy),
                                                 .source_format = disk.format,
                                                 .target = {.path = path, .format = request_.format}},
                                                progress.report());
    progress.finish();
    if (!found) {
      ::unlink(copy.c_str());
      made_.pop_back();
    }
    return converted;
  }

  void map_networks() {
    for (auto const& nic : package_.appliance().nics) {
      auto const mac = plain_mac(nic.mac);
      config_.networks.push_back({.kind = "user", .mac = mac});
      warn(fmt::format("network \"{:.60}\": NAT in its place", nic.network));
    }
    if (!controllers_.empty()) {
      auto names = std::string{};
      for (auto const& each : controllers_) names += (names.empty() ? "" : ", ") + each;
      warn(fmt::format("disks that were on {} are virtio disks", names));
    }
  }

  Result<> bring_boot_files() {
    auto const& from = package_.appliance();
    if (from.kernel.empty()) {
      config_.firmware = "bios";
      return {};
    }
    config_.kernel = in_folder(config_.name + "-kernel");
    TRY(package_.copy_checked(from.kernel, config_.kernel));
    made_.push_back(config_.kernel);
    config_.append = from.command_line;
    if (from.initrd.empty()) return {};
    config_.initrd = in_folder(config_.name + "-initrd");
    TRY(package_.copy_checked(from.initrd, config_.initrd));
    made_.push_back(config_.initrd);
    return {};
  }

  void warn(std::string line) {
    if (std::ranges::find(warnings_, line) == warnings_.end()) warnings_.push_back(std::move(line));
  }

  ImportRequest request_;
  Package package_;
  machine::MachineConfig config_{};
  std::set<std::string> controllers_{};
  std::vector<std::string> warnings_{};
  std::vector<std::string> made_{};  // goes when the import fails
};

Result<> run(Arguments arguments) {
  auto request = ImportRequest{};
  auto words = Words{};
  auto command =
      Command{.usage = "vireo import VM.ova|VM.ovf [--name NAME] [--to FOLDER] [--disk-format FORMAT]",
              .summary =
                  "Makes a spec for `vireo run --spec`, and disks, from a virtual machine of VMware, "
                  "VirtualBox or others. Prints the spec's path; what could not be mapped is said.",
              .options = {},
              .positional = into(words)};
  command.options = {{"--name", "NAME", "what the machine is called (as there)", into(request.name)},
                     {"--to", "FOLDER", "where the files go (./NAME)", into(request.folder)},
                     {"--disk-format", "FORMAT", "of its disks (qcow2)", into(request.format)}};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "import takes one .ova or .ovf file; --help tells more");
  if (!request.name.empty() && plain_name(request.name) != request.name)
    return fail(Errc::invalid, fmt::format("--name '{}': letters, digits, '-', '_' and '.'", request.name));
  request.path = words[0];
  request.format = format_named(request.format);
  auto package = TRY(Package::open(request.path));
  return Importer{std::move(request), std::move(package)}.run();
}

}  // namespace

int import_command(std::span<char const* const> arguments) {
  return ImageTool{.style = Style::vireo, .name = "vireo"}.failed(run(arguments));
}

}  // namespace vireo::cli
