#include <fmt/format.h>

#include <pugixml.hpp>
#include <set>
#include <sstream>

#include "image/appliance/ovf.h"
#include "vocab/numbers.h"

namespace vireo::image::appliance {
namespace {

using pugi::xml_node;

constexpr auto stream_vmdk = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized";
constexpr auto own_namespace = "urn:vireo:ovf:1";
constexpr std::size_t disks_of_a_controller{15};

class Writer {
 public:
  explicit Writer(Appliance const& appliance) : appliance_{appliance} {}

  std::string run() {
    auto declaration = document_.append_child(pugi::node_declaration);
    declaration.append_attribute("version") = "1.0";
    declaration.append_attribute("encoding") = "UTF-8";
    auto envelope = document_.append_child("Envelope");
    envelope.append_attribute("xmlns") = "http://schemas.dmtf.org/ovf/envelope/1";
    envelope.append_attribute("xmlns:ovf") = "http://schemas.dmtf.org/ovf/envelope/1";
    envelope.append_attribute("xmlns:rasd") =
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData";
    envelope.append_attribute("xmlns:vssd") =
        "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData";
    envelope.append_attribute("xmlns:vmw") = "http://www.vmware.com/schema/ovf";
    envelope.append_attribute("xmlns:vireo") = own_namespace;
    references(envelope.append_child("References"));
    disks(section(envelope, "DiskSection", "The machine's disks"));
    networks(section(envelope, "NetworkSection", "The networks it is in"));
    system(envelope.append_child("VirtualSystem"));
    auto text = std::ostringstream{};
    document_.save(text, "  ");
    return text.str();
  }

 private:
  static xml_node section(xml_node parent, char const* name, char const* info) {
    auto node = parent.append_child(name);
    node.append_child("Info").text() = info;
    return node;
  }
  static void element(xml_node parent, char const* name, std::string const& value) {
    parent.append_child(name).text() = value.c_str();
  }
  std::string id_of(std::string const& file) const {
    for (auto index = std::size_t{0}; index < appliance_.files.size(); ++index) {
      if (appliance_.files[index].name == file) return fmt::format("file{}", index + 1);
    }
    return {};
  }

  void references(xml_node node) {
    for (auto const& each : appliance_.files) {
      auto file = node.append_child("File");
      file.append_attribute("ovf:href") = each.name.c_str();
      file.append_attribute("ovf:id") = id_of(each.name).c_str();
      file.append_attribute("ovf:size") = fmt::format("{}", each.bytes).c_str();
    }
  }
  void disks(xml_node node) {
    for (auto index = std::size_t{0}; index < appliance_.disks.size(); ++index) {
      auto disk = node.append_child("Disk");
      disk.append_attribute("ovf:capacity") = fmt::format("{}", appliance_.disks[index].bytes).c_str();
      disk.append_attribute("ovf:capacityAllocationUnits") = "byte";
      disk.append_attribute("ovf:diskId") = fmt::format("vmdisk{}", index + 1).c_str();
      disk.append_attribute("ovf:fileRef") = id_of(appliance_.disks[index].file).c_str();
      disk.append_attribute("ovf:format") = stream_vmdk;
    }
  }
  void networks(xml_node node) {
    auto known = std::set<std::string>{};
    for (auto const& nic : appliance_.nics) {
      if (!known.insert(nic.network).second) continue;
      auto network = node.append_child("Network");
      network.append_attribute("ovf:name") = nic.network.c_str();
      element(network, "Description", nic.network);
    }
  }

  struct Hardware {
    std::string name{}, subtype{}, parent{}, place{}, quantity{}, units{}, resource{}, connection{}, address{};
  };
  /// Elements in the order of their names, as the schema has them. Yields the InstanceID.
  std::string item(xml_node hardware, u32 type, Hardware const& is) {
    auto const instance = fmt::format("{}", ++instances_);
    auto node = hardware.append_child("Item");
    auto const put = [&](char const* name, std::string const& value) {
      if (!value.empty()) element(node, name, value);
    };
    put("rasd:Address", is.address);
    put("rasd:AddressOnParent", is.place);
    put("rasd:AllocationUnits", is.units);
    if (!is.connection.empty()) put("rasd:AutomaticAllocation", "true");
    put("rasd:Connection", is.connection);
    put("rasd:ElementName", is.name);
    put("rasd:HostResource", is.resource);
    put("rasd:InstanceID", instance);
    put("rasd:Parent", is.parent);
    put("rasd:ResourceSubType", is.subtype);
    put("rasd:ResourceType", fmt::format("{}", type));
    put("rasd:VirtualQuantity", is.quantity);
    return instance;
  }

  void system(xml_node node) {
    node.append_attribute("ovf:id") = appliance_.name.c_str();
    node.append_child("Info").text() = "A virtual machine";
    element(node, "Name", appliance_.name);
    auto os = section(node, "OperatingSystemSection", "What runs in it");
    os.append_attribute("ovf:id") = "101";  // CIM_OperatingSystem.OSType: Linux 64-Bit
    element(os, "Description", appliance_.system.empty() ? "Linux 64-Bit" : appliance_.system);
    auto hardware = section(node, "VirtualHardwareSection", "What it is made of");
    auto const kind = hardware.append_child("System");
    element(kind, "vssd:ElementName", "Virtual Hardware Family");
    element(kind, "vssd:InstanceID", "0");
    element(kind, "vssd:VirtualSystemIdentifier", appliance_.name);
    element(kind, "vssd:VirtualSystemType", "vmx-10");
    item(hardware, 3,
         {.name = fmt::format("{} virtual CPU(s)", appliance_.cpus),
          .quantity = fmt::format("{}", appliance_.cpus),
          .units = "hertz * 10^6"});
    auto const memory = appliance_.memory / MiB;
    item(hardware, 4,
         {.name = fmt::format("{}MB of memory", memory),
          .quantity = fmt::format("{}", memory),
          .units = "byte * 2^20"});
    auto controller = std::string{};
    for (auto index = std::size_t{0}; index < appliance_.disks.size(); ++index) {
      auto const place = index % disks_of_a_controller;
      if (place == 0) {
        auto const number = fmt::format("{}", index / disks_of_a_controller);
        controller =
            item(hardware, 6, {.name = "SCSI Controller " + number, .subtype = "lsilogic", .place = number});
      }
      item(hardware, 17,
           {.name = fmt::format("Hard Disk {}", index + 1),
            .parent = controller,
            .place = fmt::format("{}", place < 7 ? place : place + 1),  // 7 is the controller
            .resource = fmt::format("ovf:/disk/vmdisk{}", index + 1)});
    }
    for (auto index = std::size_t{0}; index < appliance_.nics.size(); ++index) {
      auto const& nic = appliance_.nics[index];
      item(hardware, 10,
           {.name = fmt::format("Ethernet {}", index + 1),
            .subtype = nic.model,
            .place = fmt::format("{}", index),
            .connection = nic.network,
            .address = nic.mac});
    }
    auto firmware = hardware.append_child("vmw:Config");
    firmware.append_attribute("ovf:required") = "false";
    firmware.append_attribute("vmw:key") = "firmware";
    firmware.append_attribute("vmw:value") = appliance_.efi ? "efi" : "bios";
    if (appliance_.kernel.empty()) return;
    auto direct = section(node, "vireo:DirectBootSection", "Boots without firmware");
    direct.append_attribute("ovf:required") = "false";
    direct.append_attribute("vireo:kernel") = id_of(appliance_.kernel).c_str();
    if (!appliance_.initrd.empty()) direct.append_attribute("vireo:initrd") = id_of(appliance_.initrd).c_str();
    direct.append_attribute("vireo:commandLine") = appliance_.command_line.c_str();
  }

  Appliance const& appliance_;
  pugi::xml_document document_{};
  u32 instances_{};
};

}  // namespace

std::string write_ovf(Appliance const& appliance) { return Writer{appliance}.run(); }

}  // namespace vireo::image::appliance
