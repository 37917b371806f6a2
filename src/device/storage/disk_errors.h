#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "bus/lines.h"
#include "vocab/result.h"

namespace vireo::device {

/// What becomes of a request that a disk cannot carry out.
enum class ErrorPolicy : u8 {
  pause,   // the machine stands still until its owner lets it go on; then the request is made again
  report,  // the guest gets an I/O error
  stop,    // the machine ends
};

std::string_view name_of(ErrorPolicy policy);
Result<ErrorPolicy> parse_error_policy(std::string_view name);

/// One disk's way with errors, shared by its device and by those who change it while the machine runs. Any
/// thread.
class DiskErrors {
 public:
  /// `disk` is how people know it; `control` outlives this.
  DiskErrors(std::string disk, ErrorPolicy policy, bus::MachineControl& control)
      : disk_{std::move(disk)}, policy_{policy}, control_{control} {}

  ErrorPolicy policy() const { return policy_; }
  void set_policy(ErrorPolicy policy) { policy_ = policy; }

  /// A request failed; `verb` is what it wanted ("write"). True: the device keeps it, and makes it again after
  /// its next start(). False: the guest is to be told.
  bool keeps(Error const& error, std::string_view verb);

 private:
  std::string disk_;
  std::atomic<ErrorPolicy> policy_;
  bus::MachineControl& control_;
};

}  // namespace vireo::device
