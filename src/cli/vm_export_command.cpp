#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "cli/appliance_commands.h"
#include "cli/image_run.h"
#include "cli/image_tool.h"
#include "image/appliance/manifest.h"
#include "image/appliance/ovf.h"
#include "image/appliance/tar.h"
#include "image/key_ring.h"
#include "image/operations/convert.h"
#include "image/operations/describe.h"
#include "machine/pool_store.h"
#include "machine/spec.h"
#include "vocab/numbers.h"

namespace vireo::cli {
namespace {

namespace fs = std::filesystem;
using namespace image::appliance;  // NOLINT: the format's own vocabulary

constexpr u64 piece{1 * MiB};

struct ExportRequest {
  machine::MachineConfig config{};
  std::string path{};
  bool is_tar{};
};

/// Where files go: into one tar, or beside the descriptor. Their sums become the manifest.
class Sink {
 public:
  static Result<Sink> create(ExportRequest const& request) {
    auto sink = Sink{};
    sink.folder_ = fs::path{request.path}.parent_path();
    if (request.is_tar) sink.tar_ = TRY(TarWriter::create(request.path));
    return sink;
  }
  Result<> put_text(std::string const& name, std::string const& text, bool in_manifest = true) {
    auto const bytes = std::as_bytes(std::span{text});
    if (in_manifest) {
      auto sum = TRY(FileSum::create("SHA256"));
      TRY(sum.add(bytes));
      lines_.push_back({"SHA256", name, TRY(sum.finish())});
    }
    if (!tar_) {
      auto const file = TRY(make(name));
      TRY(file.write(0, bytes));
      return file.sync();
    }
    TRY(tar_->begin(name, bytes.size()));
    return tar_->add(bytes);
  }
  Result<> put_file(std::string const& name, std::string const& path) {
    auto const from = TRY(host::File::open(path, {}));
    auto const bytes = TRY(from.size());
    auto const is_there = !tar_ && fs::path{path} == folder_ / name;
    auto to = std::optional<host::File>{};
    if (!tar_ && !is_there) to = TRY(make(name));
    if (tar_) TRY(tar_->begin(name, bytes));
    auto sum = TRY(FileSum::create("SHA256"));
    auto buffer = std::vector<std::byte>(piece);
    for (auto done = u64{0}; done < bytes; done += piece) {
      auto const part = Bytes{buffer}.first(std::min(piece, bytes - done));
      TRY(from.read(done, part));
      TRY(sum.add(part));
      if (tar_) TRY(tar_->add(part));
      if (to) TRY(to->write(done, part));
    }
    if (to) TRY(to->sync());
    lines_.push_back({"SHA256", name, TRY(sum.finish())});
    return {};
  }
  Result<> finish(std::string const& manifest) {
    TRY(put_text(manifest, manifest_text(lines_), false));
    return tar_ ? tar_->finish() : Result<>{};
  }
  std::vector<std::string> const& made() const { return made_; }

 private:
  Result<host::File> make(std::string const& name) {
    auto const path = (folder_ / name).string();
    auto file = TRY(host::File::open(path, {.write = true, .create = true, .exclusive = true}));
    made_.push_back(path);
    return file;
  }
  fs::path folder_{};
  std::optional<TarWriter> tar_{};
  std::vector<ManifestLine> lines_{};
  std::vector<std::string> made_{};
};

class Exporter {
 public:
  explicit Exporter(ExportRequest request) : request_{std::move(request)} {}
  Exporter(Exporter const&) = delete;
  Exporter& operator=(Exporter const&) = delete;
  ~Exporter() {
    for (auto const& each : parts_) ::unlink(each.c_str());
    auto failure = std::error_code{};
    if (request_.is_tar) fs::remove(work_, failure);
    if (done_) return;
    for (auto const& each : made_) ::unlink(each.c_str());
  }

  Result<> run() {
    auto const stem = fs::path{request_.path}.stem().string();
    auto failure = std::error_code{};
    if (fs::exists(request_.path, failure)) return fail(Errc::busy, fmt::format("{}: exists", request_.path));
    work_ = request_.is_tar ? fs::path{request_.path + ".parts"} : fs::path{request_.path}.parent_path();
    if (request_.is_tar) TRY(host::make_folders(work_.string()));
    describe();
    for (auto number = std::size_t{1}; number <= request_.config.disks.size(); ++number)
      TRY(pack_disk(number, fmt::format("{}-disk{}.vmdk", stem, number)));
    TRY(add_file(stem + "-kernel", request_.config.kernel, appliance_.kernel));
    TRY(add_file(stem + "-initrd", request_.config.initrd, appliance_.initrd));
    appliance_.command_line = request_.config.append;

    auto sink = TRY(Sink::create(request_));
    if (request_.is_tar) made_.push_back(request_.path);
    auto const outcome = [&]() -> Result<> {
      TRY(sink.put_text(stem + ".ovf", write_ovf(appliance_)));
      for (auto const& [name, path] : sources_) TRY(sink.put_file(name, path));
      return sink.finish(stem + ".mf");
    }();
    made_.insert(made_.end(), sink.made().begin(), sink.made().end());
    TRY(outcome);
    done_ = true;
    if (!request_.is_tar) parts_.clear();  // they are its files
    for (auto const& line : warnings_) fmt::print(stderr, "vireo: warning: {}\n", line);
    return {};
  }

 private:
  void describe() {
    auto const& config = request_.config;
    appliance_.name = config.name;
    appliance_.cpus = config.cpus;
    appliance_.memory = config.memory.bytes;
    for (auto const& each : config.networks) {
      appliance_.nics.push_back({"E1000", "NAT", each.mac});
      if (!each.forward.empty()) warnings_.emplace_back("forwarded ports are not exported");
    }
    auto const limited = std::ranges::any_of(config.disks, [](auto const& each) {
      return each.iops != 0 || each.bps.bytes != 0 || !each.throttle_group.empty();
    });
    if (limited) warnings_.emplace_back("limits of disks are not exported");
  }

  Result<> pack_disk(std::size_t number, std::string const& name) {
    auto const& disk = request_.config.disks[number - 1];
    auto const path = (work_ / name).string();
    if (!disk.key_file.empty()) {
      TRY(image::offer_key_file(disk.key_file));
      warnings_.push_back(fmt::format("{}: is not encrypted in the export", disk.path));
    }
    auto const tool = ImageTool{.style = Style::vireo, .name = "vireo"};
    auto progress = ProgressLine{tool, false};
    auto const packed = image::convert_image(
        {.source = disk.path,
         .source_format = disk.format,
         .follow_references = disk.follow_backing,
         .target = {.path = path,
                    .format = "vmdk",
                    .options = {{"subformat", "streamOptimized"}, {"adapter_type", "lsilogic"}}},
         .compress = true},
        progress.report());
    progress.finish();
    TRY(packed);
    parts_.push_back(path);
    auto const bytes = TRY(image::describe_image(path, "vmdk")).bytes;
    appliance_.disks.push_back({name, "vmdk", bytes, "scsi"});
    TRY(add_source(name, path));
    return {};
  }

  Result<> add_file(std::string const& name, std::string const& path, std::string& field) {
    if (path.empty()) return {};
    field = name;
    return add_source(name, path);
  }
  Result<> add_source(std::string const& name, std::string const& path) {
    auto const file = TRY(host::File::open(path, {}));
    appliance_.files.push_back({name, TRY(file.size())});
    sources_.emplace_back(name, path);
    return {};
  }

  ExportRequest request_;
  Appliance appliance_{};
  fs::path work_{};
  std::vector<std::pair<std::string, std::string>> sources_{};
  std::vector<std::string> warnings_{};
  std::vector<std::string> parts_{};
  std::vector<std::string> made_{};
  bool done_{};
};

Result<machine::MachineConfig> find_machine(std::string const& word) {
  auto failure = std::error_code{};
  auto config = machine::MachineConfig{};
  if (fs::exists(word, failure)) {
    auto const text = TRY(host::read_text(word));
    config = TRY(machine::read_spec(text, word));
  } else {
    config.name = word;
    config.image = word;
    config.networks.push_back({});
  }
  TRY(apply_image(config));
  for (auto& disk : config.disks) TRY(machine::resolve_volume(disk));
  return config;
}

Result<> run(Arguments arguments) {
  auto name = std::string{};
  auto words = Words{};
  auto command = Command{.usage = "vireo vm-export SPEC|IMAGE FILE.ova|FILE.ovf [--name NAME]",
                         .summary =
                             "Writes a whole virtual machine, as a spec or the image store has it, for VMware, "
                             "VirtualBox and others: descriptor, packed disks and manifest.",
                         .options = {},
                         .positional = into(words)};
  command.options = {{"--name", "NAME", "what the machine is called there", into(name)}};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2)
    return fail(Errc::invalid, "vm-export takes a machine's spec and a .ova or .ovf file; --help tells more");
  auto request = ExportRequest{.config = TRY(find_machine(words[0])), .path = words[1]};
  auto const end = fs::path{request.path}.extension();
  if (end != ".ova" && end != ".ovf")
    return fail(Errc::invalid, fmt::format("{}: ends in neither .ova nor .ovf", request.path));
  request.is_tar = end == ".ova";
  if (!name.empty()) request.config.name = name;
  return Exporter{std::move(request)}.run();
}

}  // namespace

int vm_export_command(std::span<char const* const> arguments) {
  return ImageTool{.style = Style::vireo, .name = "vireo"}.failed(run(arguments));
}

}  // namespace vireo::cli
