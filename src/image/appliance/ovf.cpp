#include "image/appliance/ovf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <pugixml.hpp>

#include "image/appliance/allocation_units.h"
#include "image/appliance/tar.h"
#include "vocab/numbers.h"

namespace vireo::image::appliance {
namespace {

using pugi::xml_node;

constexpr std::size_t most_items{4096};
constexpr u64 largest_disk{u64{1} << 56};

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(Errc::corrupt, fmt::format("OVF: {}", what));
}
std::unexpected<Error> unsupported(std::string_view what) {
  return fail(Errc::unsupported, fmt::format("OVF: {} is not supported", what));
}

/// Prefixes of namespaces are whatever a writer chose.
std::string_view local(char const* name) {
  auto const text = std::string_view{name};
  return text.substr(text.rfind(':') + 1);  // npos + 1 is 0
}
xml_node child(xml_node node, std::string_view name) {
  for (auto const each : node.children()) {
    if (local(each.name()) == name) return each;
  }
  return {};
}
std::string attribute(xml_node node, std::string_view name) {
  for (auto const& each : node.attributes()) {
    if (local(each.name()) == name) return each.value();
  }
  return {};
}
std::string text(xml_node node, std::string_view name) {
  auto value = std::string{child(node, name).child_value()};
  while (!value.empty() && static_cast<unsigned char>(value.back()) <= ' ') value.pop_back();
  value.erase(0, value.find_first_not_of(" \t\r\n"));
  return value;
}
std::optional<u64> number(std::string_view word) {
  auto value = u64{0};
  auto const [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
  return value;
}
std::optional<u64> product(std::optional<u64> a, std::optional<u64> b) {
  auto value = u64{0};
  if (!a || !b || __builtin_mul_overflow(*a, *b, &value)) return std::nullopt;
  return value;
}
std::string lower(std::string word) {
  for (auto& letter : word) letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  return word;
}

std::string format_of(std::string const& uri, std::string const& file) {
  auto const has = [&](std::string_view part) { return uri.find(part) != std::string::npos; };
  if (has("vmdk")) return "vmdk";
  if (has("137171")) return "vhd";  // go.microsoft.com/fwlink/?LinkId=137171
  if (has("qcow")) return "qcow2";
  auto const end = lower(file.substr(std::min(file.rfind('.'), file.size())));
  static auto const ends = std::map<std::string, std::string>{
      {".vmdk", "vmdk"},   {".vhd", "vhd"}, {".vhdx", "vhdx"}, {".vdi", "vdi"},
      {".qcow2", "qcow2"}, {".img", "raw"}, {".raw", "raw"}};
  auto const found = ends.find(end);
  return found == ends.end() ? "" : found->second;
}

/// CIM_ResourceAllocationSettingData.ResourceType.
enum ResourceType : u64 {
  cpu = 3,
  memory = 4,
  ide = 5,
  scsi = 6,
  ethernet = 10,
  cd = 15,
  dvd = 16,
  disk = 17,
  storage = 20
};
struct Item {
  u64 type{};
  std::string name{}, subtype{}, instance{}, parent{}, place{}, address{}, quantity{}, units{}, resource{},
      connection{};
  std::string order{};  // of disks: by their controllers, in the order of these, and their places there
};

class Parser {
 public:
  Result<Appliance> run(xml_node envelope) {
    TRY(read_references(child(envelope, "References")));
    TRY(read_disks(child(envelope, "DiskSection")));
    auto const system = TRY(find_system(envelope));
    read_names(system);
    auto const hardware = child(system, "VirtualHardwareSection");
    if (!hardware) return corrupt("no VirtualHardwareSection");
    TRY(read_hardware(hardware));
    read_settings(system, hardware);
    TRY(read_direct_boot(child(system, "DirectBootSection")));
    for (auto const& each : envelope.children()) {
      static constexpr auto known = std::array<std::string_view, 7>{"References",
                                                                    "DiskSection",
                                                                    "NetworkSection",
                                                                    "VirtualSystem",
                                                                    "VirtualSystemCollection",
                                                                    "Strings",
                                                                    ""};
      if (std::ranges::find(known, local(each.name())) == known.end())
        warn("{} is left out", local(each.name()));
    }
    return std::move(result_);
  }

 private:
  struct Disk {
    std::string file{};
    std::string format{};
    u64 bytes{};
  };

  template <typename... Arguments>
  void warn(fmt::format_string<Arguments...> pattern, Arguments&&... arguments) {
    auto line = fmt::format(pattern, std::forward<Arguments>(arguments)...);
    if (result_.warnings.size() < 100 && std::ranges::find(result_.warnings, line) == result_.warnings.end())
      result_.warnings.push_back(std::move(line));
  }

  Result<> read_references(xml_node references) {
    for (auto const file : references.children()) {
      if (local(file.name()) != "File") continue;
      auto const name = attribute(file, "href");
      if (!is_plain_name(name))
        return corrupt(fmt::format("the file \"{:.100}\" is not beside the descriptor", name));
      if (files_.size() == most_items) return corrupt("too many files");
      auto const compression = attribute(file, "compression");
      if (!compression.empty() && compression != "identity")
        return unsupported(fmt::format("the file {}, compressed by {}", name, compression));
      if (!attribute(file, "chunkSize").empty()) return unsupported(fmt::format("the file {} in parts", name));
      files_[attribute(file, "id")] = name;
      result_.files.push_back({name, number(attribute(file, "size")).value_or(0)});
    }
    return {};
  }

  Result<> read_disks(xml_node section) {
    for (auto const each : section.children()) {
      if (local(each.name()) != "Disk") continue;
      auto const id = attribute(each, "diskId");
      auto const file_id = attribute(each, "fileRef");
      auto const unit = allocation_unit(attribute(each, "capacityAllocationUnits"), 1);
      auto const bytes = product(number(attribute(each, "capacity")), unit);
      if (!bytes || *bytes > largest_disk) return corrupt(fmt::format("disk {}: its capacity is no size", id));
      if (!attribute(each, "parentRef").empty()) return unsupported(fmt::format("disk {} over another", id));
      auto entry = Disk{.bytes = *bytes};
      if (!file_id.empty()) {
        if (!files_.contains(file_id))
          return corrupt(fmt::format("disk {}: no file has the id {}", id, file_id));
        entry.file = files_[file_id];
        entry.format = format_of(attribute(each, "format"), entry.file);
        if (entry.format.empty())
          return unsupported(fmt::format("disk {}: format \"{:.100}\"", id, attribute(each, "format")));
      }
      if (disks_.size() == most_items) return corrupt("too many disks");
      disks_[id] = std::move(entry);
    }
    return {};
  }

  static Result<xml_node> find_system(xml_node envelope) {
    auto const single = child(envelope, "VirtualSystem");
    if (single) return single;
    auto const collection = child(envelope, "VirtualSystemCollection");
    auto found = std::vector<xml_node>{};
    for (auto const each : collection.children()) {
      if (local(each.name()) == "VirtualSystem") found.push_back(each);
    }
    if (found.size() == 1) return found.front();
    if (found.empty()) return corrupt("no VirtualSystem");
    return unsupported(fmt::format("a collection of {} machines", found.size()));
  }

  void read_names(xml_node system) {
    result_.name = text(system, "Name");
    if (result_.name.empty()) result_.name = attribute(system, "id");
    result_.system = text(child(system, "OperatingSystemSection"), "Description");
  }

  Result<> read_hardware(xml_node hardware) {
    auto items = std::vector<Item>{};
    for (auto const each : hardware.children()) {
      auto const kind = local(each.name());
      if (kind != "Item" && kind != "StorageItem" && kind != "EthernetPortItem") continue;
      if (items.size() == most_items) return corrupt("too many pieces of hardware");
      // Other configurations than the default one, and bounds of ranges.
      if (!attribute(each, "configuration").empty() || !attribute(each, "bound").empty()) {
        warn("hardware of another configuration is left out");
        continue;
      }
      items.push_back({.type = number(text(each, "ResourceType")).value_or(0),
                       .name = text(each, "ElementName"),
                       .subtype = text(each, "ResourceSubType"),
                       .instance = text(each, "InstanceID"),
                       .parent = text(each, "Parent"),
                       .address = kind == "EthernetPortItem" ? text(each, "MACAddress") : text(each, "Address"),
                       .quantity = text(each, "VirtualQuantity"),
                       .units = text(each, "AllocationUnits"),
                       .resource = text(each, "HostResource"),
                       .connection = text(each, "Connection")});
      items.back().place = text(each, "AddressOnParent");
    }
    for (auto& item : items) {
      if (item.type == disk) item.order = fmt::format("{:>8}{:>20}", controller_rank(items, item), item.place);
    }
    std::ranges::stable_sort(items, {}, &Item::order);
    for (auto const& item : items) TRY(read_item(items, item));
    if (result_.memory == 0) return corrupt("no memory is stated");
    return {};
  }

  static std::size_t controller_rank(std::vector<Item> const& items, Item const& item) {
    auto const found = std::ranges::find(items, item.parent, &Item::instance);
    return static_cast<std::size_t>(found - items.begin());
  }
  static std::string controller_of(std::vector<Item> const& items, Item const& item) {
    auto const found = std::ranges::find(items, item.parent, &Item::instance);
    if (found == items.end()) return "other";
    auto const subtype = lower(found->subtype);
    if (found->type == 5) return "ide";
    if (found->type == 6) return "scsi";
    if (subtype.find("ahci") != std::string::npos || subtype.find("sata") != std::string::npos) return "sata";
    if (subtype.find("nvme") != std::string::npos) return "nvme";
    return "other";
  }

  Result<> read_item(std::vector<Item> const& items, Item const& item) {
    switch (item.type) {
      case cpu: {
        auto const count = number(item.quantity);
        if (!count || *count == 0 || *count > 4096)
          return corrupt(fmt::format("\"{:.40}\" processors", item.quantity));
        result_.cpus = static_cast<u32>(*count);
        return {};
      }
      case memory: {
        auto const bytes = product(number(item.quantity), allocation_unit(item.units, MiB));
        if (!bytes || *bytes == 0)
          return corrupt(fmt::format("memory \"{:.40}\" of \"{:.40}\"", item.quantity, item.units));
        result_.memory = *bytes;
        return {};
      }
      case ethernet: result_.nics.push_back({item.subtype, item.connection, item.address}); return {};
      case disk: return read_disk_item(items, item);
      case ide:
      case scsi:
      case storage: return {};
      case cd:
      case dvd:
        if (!item.resource.empty()) warn("the disc in {} is left out", item.name);
        return {};
      default: warn("hardware of type {} ({:.60}) is left out", item.type, item.name); return {};
    }
  }

  Result<> read_disk_item(std::vector<Item> const& items, Item const& item) {
    auto const slash = item.resource.rfind('/');
    auto const id = slash == std::string::npos ? item.resource : item.resource.substr(slash + 1);
    auto const found = disks_.find(id);
    if (item.resource.find("/file/") != std::string::npos) return unsupported("a disk that names a file");
    if (found == disks_.end()) return corrupt(fmt::format("{}: no disk has the id \"{:.60}\"", item.name, id));
    auto const& entry = found->second;
    if (entry.file.empty() && entry.bytes == 0) return corrupt(fmt::format("disk {} has no size", id));
    result_.disks.push_back({entry.file, entry.format, entry.bytes, controller_of(items, item)});
    return {};
  }

  /// The words in which VMware and VirtualBox say that a machine has UEFI.
  void read_settings(xml_node system, xml_node hardware) {
    for (auto const each : hardware.children()) {
      if (local(each.name()) != "Config") continue;
      if (attribute(each, "key") == "firmware") result_.efi = lower(attribute(each, "value")) == "efi";
    }
    auto const vbox = child(child(system, "Machine"), "Hardware");
    for (auto const& place : {vbox, child(vbox, "BIOS")}) {
      if (lower(attribute(child(place, "Firmware"), "type")).starts_with("efi")) result_.efi = true;
    }
  }

  Result<> read_direct_boot(xml_node section) {
    if (!section) return {};
    for (auto const& [key, field] :
         {std::pair{"kernel", &result_.kernel}, std::pair{"initrd", &result_.initrd}}) {
      auto const id = attribute(section, key);
      if (id.empty()) continue;
      if (!files_.contains(id)) return corrupt(fmt::format("{}: no file has the id {:.60}", key, id));
      *field = files_[id];
    }
    result_.command_line = attribute(section, "commandLine");
    return {};
  }

  Appliance result_{};
  std::map<std::string, std::string> files_{};
  std::map<std::string, Disk> disks_{};
};

}  // namespace

Result<Appliance> parse_ovf(std::string_view text_of) {
  auto document = pugi::xml_document{};
  auto const parsed = document.load_buffer(text_of.data(), text_of.size());
  if (!parsed) return corrupt(fmt::format("offset {}: {}", parsed.offset, parsed.description()));
  auto const envelope = child(document, "Envelope");
  if (!envelope) return corrupt("no Envelope");
  return Parser{}.run(envelope);
}

}  // namespace vireo::image::appliance
