#include "cli/pool_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "cli/image_tool.h"
#include "cli/json_text.h"
#include "machine/pool_store.h"
#include "vocab/units.h"

namespace vireo::cli {
namespace {

using image::Pool;
using machine::PoolStore;

struct Verb {
  std::string_view name;
  std::string_view help;
  Result<> (*run)(Arguments);
};

int run_verb(std::string_view group, std::span<Verb const> verbs, Arguments arguments) {
  auto const word = arguments.empty() ? std::string_view{"--help"} : std::string_view{arguments.front()};
  if (word == "--help" || word == "-h") {
    fmt::print("usage: vireo {} VERB [ARGUMENT]...\n\n", group);
    for (auto const& verb : verbs) fmt::print("  {:<8} {}\n", verb.name, verb.help);
    return arguments.empty() ? exit_bad_configuration : 0;
  }
  auto const tool = ImageTool{.style = Style::vireo, .name = "vireo"};
  auto const found = std::ranges::find(verbs, word, &Verb::name);
  if (found != verbs.end()) return tool.failed(found->run(arguments.subspan(1)));
  auto names = std::vector<std::string_view>{};
  for (auto const& verb : verbs) names.push_back(verb.name);
  auto const near = nearest(word, names);
  return tool.failed(
      fail(Errc::invalid, fmt::format("{}: unknown verb '{}'{}", group, word,
                                      near.empty() ? "" : fmt::format("; did you mean '{}'?", near)))
          .error());
}

Result<> check_output(std::string const& format) {
  if (format == "table" || format == "json" || format == "name") return {};
  return fail(Errc::invalid, fmt::format("--format {}: table, json or name", format));
}

Result<std::unique_ptr<Pool>> pool_named(std::string const& name) {
  auto const spec = TRY(PoolStore{}.find(name));
  return image::open_pool(spec);
}
struct Place {
  std::unique_ptr<Pool> pool;
  std::string volume;
};
Result<Place> place_of(std::string const& word) {
  auto const colon = word.find(':');
  if (colon == std::string::npos)
    return fail(Errc::invalid, fmt::format("'{}': POOL:VOLUME is expected", word));
  return Place{TRY(pool_named(word.substr(0, colon))), word.substr(colon + 1)};
}

std::string size_text(u64 bytes) { return bytes > u64{1} << 62 ? "unlimited" : human_size(bytes); }

JsonText json_of(image::PoolSpec const& spec, image::PoolFigures const& figures) {
  auto json = JsonText::object();
  json.add("name", spec.name).add("kind", spec.kind).add("location", spec.location).add("format", spec.format);
  json.add("capacity", figures.capacity).add("promised", figures.promised).add("used", figures.used);
  json.add("free", figures.free).add("may-promise", figures.may_promise).add("alarm", figures.alarm);
  return json;
}

Result<> pool_create(Arguments arguments) {
  auto spec = image::PoolSpec{};
  auto words = Words{};
  auto alarm = u64{spec.alarm_percent};
  auto promise = u64{spec.promise_percent};
  auto command = Command{.usage = "vireo pool create NAME --location FOLDER|URL [OPTION]...",
                         .summary = "Makes a storage pool: a place for the disks of many machines.",
                         .options = {},
                         .positional = into(words)};
  command.options = {
      {"--location", "FOLDER|URL", "where volumes lie: a folder, or nfs://HOST/EXPORT/FOLDER",
       into(spec.location)},
      {"--kind", "KIND", "directory or nfs (by the location)", into(spec.kind)},
      {"--disk-format", "FORMAT", "of new volumes (qcow2)", into(spec.format)},
      {"--capacity", "SIZE", "use no more (as much as there is; nfs: must be stated)",
       into_size(spec.capacity)},
      {"--alarm", "PERCENT", "of the capacity in use (85)", into_number(alarm)},
      {"--promise", "PERCENT", "of the capacity that volumes may have together (200); 0: any amount",
       into_number(promise)}};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "pool create takes one name; --help tells more");
  if (alarm > 100 || promise > 100'000) return fail(Errc::invalid, "--alarm, --promise: out of range");
  auto failure = std::error_code{};
  spec.name = words[0];
  spec.format = format_named(spec.format);
  spec.alarm_percent = static_cast<u32>(alarm);
  spec.promise_percent = static_cast<u32>(promise);
  if (spec.location.starts_with("nfs://")) spec.kind = "nfs";
  if (!spec.location.empty() && spec.kind == "directory")
    spec.location = std::filesystem::absolute(spec.location, failure).lexically_normal().string();
  return PoolStore{}.add(spec);
}

Result<> pool_list(Arguments arguments) {
  auto format = std::string{"table"};
  auto const command =
      Command{.usage = "vireo pool list [--format table|json|name]",
              .summary = "Lists the storage pools.",
              .options = {{"--format", "table|json|name", "how to print (table)", into(format)}},
              .positional = {}};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  TRY(check_output(format));
  if (format == "table")
    fmt::print("{:<16} {:<10} {:>10} {:>10} {:>10} {:>10} {}\n", "NAME", "KIND", "CAPACITY", "PROMISED", "USED",
               "FREE", "ALARM");
  auto all = JsonText::array();
  for (auto const& spec : TRY(PoolStore{}.list())) {
    if (format == "name") fmt::print("{}\n", spec.name);
    if (format == "name") continue;
    auto const pool = TRY(image::open_pool(spec));
    auto const figures = TRY(pool->figures());
    if (format == "json") all.add(json_of(spec, figures));
    if (format == "table")
      fmt::print("{:<16} {:<10} {:>10} {:>10} {:>10} {:>10} {}\n", spec.name, spec.kind,
                 size_text(figures.capacity), size_text(figures.promised), size_text(figures.used),
                 size_text(figures.free), figures.alarm ? "yes" : "no");
  }
  if (format == "json") fmt::print("{}\n", all.dump());
  return {};
}

Result<> pool_show(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{"table"};
  auto const command = Command{.usage = "vireo pool show NAME [--format table|json]",
                               .summary = "Tells what a pool has promised, used and free.",
                               .options = {{"--format", "table|json", "how to print (table)", into(format)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  TRY(check_output(format));
  if (words.size() != 1) return fail(Errc::invalid, "pool show takes one name; vireo pool list shows them");
  auto const pool = TRY(pool_named(words[0]));
  auto const figures = TRY(pool->figures());
  auto const& spec = pool->spec();
  if (format == "json") {
    fmt::print("{}\n", json_of(spec, figures).dump());
    return {};
  }
  fmt::print("name: {}\nkind: {}\nlocation: {}\nformat: {}\n", spec.name, spec.kind, spec.location,
             spec.format);
  fmt::print("capacity: {}\npromised: {}\nmay promise: {}\nused: {}\nfree: {}\nalarm: {}\n",
             size_text(figures.capacity), size_text(figures.promised), size_text(figures.may_promise),
             size_text(figures.used), size_text(figures.free),
             figures.alarm ? fmt::format("yes, {}% are in use", spec.alarm_percent) : "no");
  return {};
}

Result<> pool_delete(Arguments arguments) {
  auto words = Words{};
  auto force = false;
  auto const command =
      Command{.usage = "vireo pool delete NAME [--force]",
              .summary = "Forgets a pool. Its folder stays.",
              .options = {{"--force", "", "even when it has volumes, which stay", into(force)}},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "pool delete takes one name");
  return PoolStore{}.remove(words[0], force);
}

Result<> volume_create(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{};
  auto preallocation = std::string{"off"};
  auto const command =
      Command{.usage = "vireo volume create POOL:NAME SIZE [-f FORMAT]",
              .summary = "Makes an empty disk in a pool; it takes room as it is written to.",
              .options = {{"-f", "FORMAT", "raw, qcow2, vmdk, vhd, vhdx or vdi (the pool's)", into(format)},
                          {"--preallocation", "off|metadata|falloc|full", "what gets its place at once",
                           into(preallocation)}},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, "volume create takes POOL:NAME and a size");
  auto const bytes = TRY(parse_size(words[1]));
  auto const kind = TRY(image::parse_preallocation(preallocation));
  auto const place = TRY(place_of(words[0]));
  auto const volume = TRY(place.pool->create(place.volume, bytes, format_named(format), kind));
  if (TRY(place.pool->figures()).alarm)
    fmt::print(stderr, "vireo: warning: pool {} is filled beyond its alarm threshold\n",
               place.pool->spec().name);
  fmt::print("{}\n", volume.path);
  return {};
}

Result<> volume_list(Arguments arguments) {
  auto words = Words{};
  auto format = std::string{"table"};
  auto const command =
      Command{.usage = "vireo volume list [POOL]... [--format table|json|name]",
              .summary = "Lists the volumes of pools; of all when none is named.",
              .options = {{"--format", "table|json|name", "how to print (table)", into(format)}},
              .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  TRY(check_output(format));
  if (words.empty()) {
    for (auto const& spec : TRY(PoolStore{}.list())) words.push_back(spec.name);
  }
  if (format == "table") fmt::print("{:<32} {:<8} {:>10} {:>10}\n", "VOLUME", "FORMAT", "SIZE", "USED");
  auto all = JsonText::array();
  for (auto const& word : words) {
    auto const pool = TRY(pool_named(word));
    for (auto const& each : TRY(pool->volumes())) {
      auto const name = word + ":" + each.name;
      if (format == "name") fmt::print("{}\n", name);
      if (format == "table")
        fmt::print("{:<32} {:<8} {:>10} {:>10}{}\n", name, each.format, size_text(each.bytes),
                   size_text(each.used), each.fault.empty() ? "" : "  " + each.fault);
      auto json = JsonText::object();
      json.add("name", name).add("format", each.format).add("path", each.path).add("size", each.bytes);
      json.add("used", each.used);
      if (!each.fault.empty()) json.add("fault", each.fault);
      all.add(std::move(json));
    }
  }
  if (format == "json") fmt::print("{}\n", all.dump());
  return {};
}

Result<> volume_delete(Arguments arguments) {
  auto words = Words{};
  auto const command = Command{.usage = "vireo volume delete POOL:NAME",
                               .summary = "Deletes a disk of a pool, with its snapshots and bitmaps.",
                               .options = {},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 1) return fail(Errc::invalid, "volume delete takes POOL:NAME");
  auto const place = TRY(place_of(words[0]));
  return place.pool->remove(place.volume);
}

Result<> volume_resize(Arguments arguments) {
  auto words = Words{};
  auto shrink = false;
  auto const command = Command{.usage = "vireo volume resize POOL:NAME SIZE [--shrink]",
                               .summary = "Makes a disk of a pool longer or shorter.",
                               .options = {{"--shrink", "", "lose data behind the new end", into(shrink)}},
                               .positional = into(words)};
  if (TRY(parse(command, arguments)) == Parsed::help_shown) return {};
  if (words.size() != 2) return fail(Errc::invalid, "volume resize takes POOL:NAME and a size");
  auto const bytes = TRY(parse_size(words[1]));
  auto const place = TRY(place_of(words[0]));
  return place.pool->resize(place.volume, bytes, shrink);
}

constexpr auto pool_verbs =
    std::to_array<Verb>({{"create", "make a storage pool", pool_create},
                         {"list", "list the pools", pool_list},
                         {"show", "tell what a pool has promised, used and free", pool_show},
                         {"delete", "forget a pool", pool_delete}});
constexpr auto volume_verbs = std::to_array<Verb>({{"create", "make a disk in a pool", volume_create},
                                                   {"list", "list the disks of pools", volume_list},
                                                   {"delete", "delete a disk", volume_delete},
                                                   {"resize", "make a disk longer or shorter", volume_resize}});

}  // namespace

int pool_command(std::span<char const* const> arguments) { return run_verb("pool", pool_verbs, arguments); }
int volume_command(std::span<char const* const> arguments) {
  return run_verb("volume", volume_verbs, arguments);
}

}  // namespace vireo::cli
