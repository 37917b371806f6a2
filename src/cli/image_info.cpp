#include <fmt/format.h>
#include <sys/stat.h>

#include <ctime>

#include "cli/image_text.h"
#include "cli/image_verbs.h"
#include "cli/json_text.h"
#include "image/operations/layers.h"
#include "image/operations/snapshot.h"

namespace vireo::cli {
namespace {

std::string with_dashes(std::string text) {
  for (auto& letter : text) {
    if (letter == ' ') letter = '-';
  }
  return text;
}

struct FactAsJson {
  JsonText operator()(auto const& value) const { return JsonText{value}; }
  JsonText operator()(image::FactList const& list) const {
    auto json = list.is_array ? JsonText::array() : JsonText::object();
    for (auto const& each : list.facts) json.add(with_dashes(each.key), std::visit(FactAsJson{}, each.value));
    return json;
  }
};
JsonText json_of(image::Fact const& fact) { return std::visit(FactAsJson{}, fact.value); }

void print_facts(std::vector<image::Fact> const& facts, bool is_array, int indent);
struct FactAsText {
  int indent;
  void operator()(auto const& value) const { fmt::print(" {}\n", value); }
  void operator()(image::FactList const& list) const {
    fmt::print("\n");
    print_facts(list.facts, list.is_array, indent + 4);
  }
};
void print_facts(std::vector<image::Fact> const& facts, bool is_array, int indent) {
  for (auto index = std::size_t{0}; index < facts.size(); ++index) {
    fmt::print("{:{}}{}:", "", indent, is_array ? fmt::format("[{}]", index) : facts[index].key);
    std::visit(FactAsText{indent}, facts[index].value);
  }
}

JsonText snapshots_json(std::vector<image::SnapshotInfo> const& snapshots) {
  auto list = JsonText::array();
  for (auto const& each : snapshots) {
    list.add(JsonText::object()
                 .add("vm-clock-nsec", each.clock_ns % 1'000'000'000)
                 .add("name", each.name)
                 .add("date-sec", each.seconds)
                 .add("date-nsec", each.nanoseconds)
                 .add("vm-clock-sec", each.clock_ns / 1'000'000'000)
                 .add("id", each.id)
                 .add("vm-state-size", each.machine_state_bytes));
  }
  return list;
}

JsonText json_of(ImageTool const& tool, image::Layer const& layer) {
  auto const& description = layer.description;
  auto json = JsonText::object();
  if (!description.backing_format.empty())
    json.add("backing-filename-format", tool.shown_format(description.backing_format));
  if (!description.snapshots.empty()) json.add("snapshots", snapshots_json(description.snapshots));
  json.add("virtual-size", description.bytes).add("filename", layer.path);
  if (description.cluster != 0) json.add("cluster-size", description.cluster);
  json.add("format", tool.shown_format(description.format)).add("actual-size", image::host_bytes(description));
  if (!description.facts.empty()) {
    auto data = JsonText::object();
    for (auto const& fact : description.facts) data.add(with_dashes(fact.key), json_of(fact));
    json.add(
        "format-specific",
        JsonText::object().add("type", tool.shown_format(description.format)).add("data", std::move(data)));
  }
  if (!description.backing_path.empty()) json.add("full-backing-filename", description.backing_path);
  if (!description.backing_file.empty()) json.add("backing-filename", description.backing_file);
  if (description.encrypted) json.add("encrypted", true);
  return json.add("dirty-flag", description.dirty);
}

void print(ImageTool const& tool, image::Layer const& layer) {
  auto const& description = layer.description;
  fmt::print("image: {}\nfile format: {}\nvirtual size: {} ({} bytes)\ndisk size: {}\n", layer.path,
             tool.shown_format(description.format), human_size(description.bytes), description.bytes,
             human_size(image::host_bytes(description)));
  if (description.encrypted) fmt::print("encrypted: yes\n");
  if (description.cluster != 0) fmt::print("cluster_size: {}\n", description.cluster);
  if (description.dirty) fmt::print("cleanly shut down: no\n");
  if (!description.backing_file.empty()) {
    auto const elsewhere =
        !description.backing_path.empty() && description.backing_path != description.backing_file;
    fmt::print("backing file: {}{}\n", description.backing_file,
               elsewhere ? fmt::format(" (actual path: {})", description.backing_path) : "");
    if (!description.backing_format.empty())
      fmt::print("backing file format: {}\n", tool.shown_format(description.backing_format));
  }
  if (!description.snapshots.empty()) fmt::print("Snapshot list:\n{}", snapshot_table(description.snapshots));
  if (description.facts.empty()) return;
  fmt::print("Format specific information:\n");
  print_facts(description.facts, false, 4);
}

}  // namespace

std::string snapshot_table(std::vector<image::SnapshotInfo> const& snapshots) {
  auto text = fmt::format("{:<10}{:<17}{:>8}{:>20}{:>13}{:>11}\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK",
                          "ICOUNT");
  for (auto const& each : snapshots) {
    auto const when = static_cast<std::time_t>(each.seconds);
    auto parts = std::tm{};
    ::localtime_r(&when, &parts);
    char date[64];
    std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &parts);
    auto const seconds = each.clock_ns / 1'000'000'000;
    auto const clock = fmt::format("{:02}:{:02}:{:02}.{:03}", seconds / 3600, seconds / 60 % 60, seconds % 60,
                                   each.clock_ns / 1'000'000 % 1000);
    text += fmt::format("{:<9} {:<16} {:>8}{:>20}{:>13}{:>11}\n", each.id, each.name,
                        human_size(each.machine_state_bytes), date, clock, "");
  }
  return text;
}

int image_info(ImageTool const& tool, Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto output = std::string{"human"};
  auto chain = false;
  auto shared = false;
  auto follow = tool.follows();
  auto command =
      Command{.usage = "vireo image info [--output human|json] [--backing-chain --follow-backing] FILE",
              .summary = "Tells what an image is; what lies behind it is not opened.",
              .options = {},
              .positional = into(words)};
  command.options = {{"-f", "FORMAT", "the image's format (found by looking)", into(format)},
                     {"--output", "human|json", "how to print", into(output)},
                     {"--backing-chain", "", "the images behind it too", into(chain)},
                     {"--follow-backing", "", "open the backing files that the image names", into(follow)},
                     {"-U", "", "others may have it open", into(shared)}};
  auto const run = [&]() -> Result<> {
    if (TRY(parse_tool(command, arguments)) == Parsed::help_shown) return {};
    if (words.size() != 1) return fail(Errc::invalid, "Expecting one image file name");
    if (output != "human" && output != "json")
      return fail(Errc::invalid, "--output must be used with human or json");
    auto layers = TRY(image::read_chain(words[0], format_named(format), follow));
    if (!chain) layers.resize(1);
    if (layers[0].description.snapshots.empty() && !layers[0].description.encrypted) {
      layers[0].description.snapshots =
          TRY(image::list_snapshots({.path = words[0], .format = layers[0].description.format}));
    }
    if (output == "json") {
      auto list = JsonText::array();
      for (auto const& layer : layers) list.add(json_of(tool, layer));
      fmt::print("{}\n", chain ? list.dump() : json_of(tool, layers[0]).dump());
      return {};
    }
    for (auto index = std::size_t{0}; index < layers.size(); ++index) {
      if (index != 0) fmt::print("\n");
      print(tool, layers[index]);
    }
    return {};
  };
  return tool.failed(run());
}

}  // namespace vireo::cli
