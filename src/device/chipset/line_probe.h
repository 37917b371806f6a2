#pragma once

#include <vector>

#include "bus/lines.h"

namespace vireo::device {

/// Test ends for wires: they remember what a device did.
struct LineProbe : bus::IrqLine {
  void set(bool level) override {
    rises += level && !high ? 1 : 0;
    high = level;
  }
  bool high{false};
  int rises{0};
};

struct MsiProbe : bus::MsiSink {
  struct Message {
    u64 address;
    u32 data;
    bool operator==(Message const&) const = default;
  };
  void signal(u64 address, u32 data) override { messages.push_back({address, data}); }
  std::vector<Message> messages;
};

struct ControlProbe : bus::MachineControl {
  void request_reset(char const*) override { ++resets; }
  void request_power_off() override { ++power_offs; }
  void request_pause(std::string reason) override { pauses.push_back(std::move(reason)); }
  void request_failure(std::string reason) override { failures.push_back(std::move(reason)); }
  int resets{0};
  int power_offs{0};
  std::vector<std::string> pauses, failures;
};

}  // namespace vireo::device
