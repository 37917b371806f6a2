#include "machine/spec.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <optional>
#include <type_traits>

#include "device/storage/disk_errors.h"
#include "vocab/units.h"

namespace vireo::machine {
namespace {

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};

std::unexpected<Error> fail_at(YAML::Node const& node, std::string const& path, std::string const& text) {
  return fail(Errc::invalid, fmt::format("line {}: {}: {}", node.Mark().line + 1, path, text));
}

Result<> read_value(YAML::Node const& node, std::string const& path, std::string& value) {
  if (!node.IsScalar()) return fail_at(node, path, "text is expected");
  value = node.Scalar();
  return {};
}
Result<> read_value(YAML::Node const& node, std::string const& path, bool& value) {
  if (node.IsScalar() && (node.Scalar() == "true" || node.Scalar() == "false")) {
    value = node.Scalar() == "true";
    return {};
  }
  return fail_at(node, path, "true or false is expected");
}
Result<> read_value(YAML::Node const& node, std::string const& path, u32& value) {
  if (!node.IsScalar()) return fail_at(node, path, "a whole number is expected");
  auto const number = parse_number(node.Scalar(), ~u32{0});
  if (!number) return fail_at(node, path, number.error().what());
  value = static_cast<u32>(*number);
  return {};
}
Result<> read_value(YAML::Node const& node, std::string const& path, Size& value) {
  if (!node.IsScalar()) return fail_at(node, path, "a size is expected, as in 4GiB");
  auto const bytes = parse_size(node.Scalar());
  if (!bytes) return fail_at(node, path, bytes.error().what());
  value.bytes = *bytes;
  return {};
}
template <typename T>
Result<> read_value(YAML::Node const& node, std::string const& path, std::vector<T>& value);

/// A struct with fields(): each key of the mapping goes to its field.
template <typename T>
Result<> read_value(YAML::Node const& node, std::string const& path, T& value) {
  if (!node.IsMap()) return fail_at(node, path, "a mapping of keys is expected");
  for (auto const& entry : node) {
    auto const key = entry.first.as<std::string>();
    auto known = std::vector<std::string>{};
    auto result = std::optional<Result<>>{};
    T::fields(value, [&](char const* name, auto& field) {
      known.emplace_back(name);
      if (key == name) result = read_value(entry.second, path + "." + key, field);
    });
    if (!result) {
      auto const hint = nearest(key, known);
      return fail_at(entry.first, path + "." + key,
                     hint.empty() ? fmt::format("unknown key; known are {}", fmt::join(known, ", "))
                                  : fmt::format("unknown key; did you mean '{}'?", hint));
    }
    TRY(std::move(*result));
  }
  return {};
}

template <typename T>
Result<> read_value(YAML::Node const& node, std::string const& path, std::vector<T>& value) {
  if (!node.IsSequence()) return fail_at(node, path, "a list is expected");
  value.clear();
  for (auto const& element : node) {
    auto const place = fmt::format("{}[{}]", path, value.size());
    TRY(read_value(element, place, value.emplace_back()));
  }
  return {};
}

struct Document {
  std::string api_version, kind, name;
  MachineConfig spec;
  static void fields(auto&& s, auto&& f) {
    f("apiVersion", s.api_version);
    f("kind", s.kind);
    f("name", s.name);
    f("spec", s.spec);
  }
};

template <typename T>
void write_value(YAML::Emitter& out, T const& value) {
  if constexpr (std::is_same_v<T, Size>) {
    out << format_size(value.bytes);
  } else if constexpr (std::is_same_v<T, bool> || std::is_arithmetic_v<T>) {
    out << value;
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.empty()) out << YAML::DoubleQuoted;
    out << value;
  } else if constexpr (IsVector<T>::value) {
    if (value.empty()) out << YAML::Flow;
    out << YAML::BeginSeq;
    for (auto const& element : value) write_value(out, element);
    out << YAML::EndSeq;
  } else {
    out << YAML::BeginMap;
    T::fields(value, [&](char const* name, auto const& field) {
      out << YAML::Key << name << YAML::Value;
      write_value(out, field);
    });
    out << YAML::EndMap;
  }
}

Result<> check_choice(char const* key, std::string const& value, std::vector<std::string_view> const& choices) {
  if (std::ranges::find(choices, value) != choices.end()) return {};
  return fail(Errc::invalid, fmt::format("{}: '{}' is not one of {}", key, value, fmt::join(choices, ", ")));
}

}  // namespace

Result<MachineConfig> read_spec(std::string_view text, std::string_view file) {
  auto document = Document{};
  try {
    auto const root = YAML::Load(std::string{text});
    TRY_IN(file, read_value(root, "document", document));
    if (document.api_version != "vireo/v1") {
      return fail(Errc::invalid,
                  fmt::format("{}: apiVersion: 'vireo/v1' is expected, not '{}'", file, document.api_version));
    }
    if (document.kind != "Instance") {
      return fail(Errc::invalid,
                  fmt::format("{}: kind: 'Instance' is expected, not '{}'", file, document.kind));
    }
  } catch (YAML::Exception const& error) {  // the library's way to report; it ends here
    return fail(Errc::invalid, fmt::format("{}: line {}: {}", file, error.mark.line + 1, error.msg));
  }
  if (!document.name.empty()) document.spec.name = document.name;
  return std::move(document.spec);
}

std::string write_spec(MachineConfig const& config) {
  auto out = YAML::Emitter{};
  write_value(out, Document{"vireo/v1", "Instance", config.name, config});
  return std::string{out.c_str()} + "\n";
}

Result<> check_config(MachineConfig const& config) {
  auto const is_name_character = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
  };
  if (config.name.empty() || config.name.size() > 63 || !std::ranges::all_of(config.name, is_name_character)) {
    return fail(Errc::invalid,
                fmt::format("name: '{}' must be 1 to 63 letters, digits, '-', '_' or '.'", config.name));
  }
  TRY(check_choice("engine", config.engine,
                   {"auto", "software", "software,translate", "software,interpret", "software,verify", "kvm"}));
  if (config.engine == "kvm") {
    return fail(Errc::unsupported, "engine: 'kvm' is not built yet; use 'auto' or 'software'");
  }
  TRY(check_choice("cpu", config.cpu, {"x86-64-v2", "x86-64-v3", "host"}));
  if (config.cpus < 1 || config.cpus > max_vcpus) {
    return fail(Errc::invalid, fmt::format("cpus: {} is not within 1 and {}", config.cpus, max_vcpus));
  }
  if (config.engine == "software,verify" && config.cpus != 1) {
    return fail(Errc::invalid, "engine: 'software,verify' compares one virtual processor; use cpus: 1");
  }
  if (config.code_cache.bytes < min_code_cache || config.code_cache.bytes > max_code_cache) {
    return fail(Errc::invalid,
                fmt::format("code_cache: {} is not within {} and {}", format_size(config.code_cache.bytes),
                            format_size(min_code_cache), format_size(max_code_cache)));
  }
  if (config.memory.bytes < min_memory || config.memory.bytes > max_memory) {
    return fail(Errc::invalid,
                fmt::format("memory: {} is not within {} and {}", format_size(config.memory.bytes),
                            format_size(min_memory), format_size(max_memory)));
  }
  if (config.memory.bytes % (2 * 1024 * 1024) != 0) {
    return fail(Errc::invalid,
                fmt::format("memory: {} is not a multiple of 2MiB", format_size(config.memory.bytes)));
  }
  TRY(check_choice("vga", config.vga, {"auto", "std", "none"}));
  if (config.firmware == "linux" && config.kernel.empty()) {
    return fail(
        Errc::invalid,
        "kernel: nothing to boot; name an image (vireo run debian), give --kernel FILE, or --firmware bios "
        "with a --disk that boots");
  }
  if (config.firmware != "linux" &&
      !(config.kernel.empty() && config.initrd.empty() && config.append.empty())) {
    return fail(Errc::invalid,
                fmt::format("firmware: '{}' boots from disks; kernel, initrd and append belong to 'linux'",
                            config.firmware));
  }
  if (config.console == "stdio" && config.virtio_console == "stdio") {
    return fail(Errc::invalid, "virtio_console: stdio is taken by console; set that to none");
  }
  TRY_IN("on_error", device::parse_error_policy(config.on_error));
  for (auto const& disk : config.disks) {
    if (disk.path.empty()) return fail(Errc::invalid, "disks: a disk has no path");
    if (!disk.format.empty())
      TRY(check_choice("disks: format", disk.format, {"raw", "qcow2", "vdi", "vhd", "vhdx", "vmdk", "luks"}));
    TRY(check_choice("disks: cache", disk.cache,
                     {"writeback", "none", "writethrough", "directsync", "unsafe"}));
    if (!disk.on_error.empty()) TRY_IN("disks: on_error", device::parse_error_policy(disk.on_error));
  }
  for (auto const& network : config.networks) TRY(check_choice("networks: kind", network.kind, {"user"}));
  return {};
}

}  // namespace vireo::machine
