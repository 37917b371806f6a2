#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "host/descriptor.h"
#include "vocab/integers.h"
#include "vocab/result.h"

namespace vireo::host {

/// How a process ended.
struct ExitStatus {
  int code{};    // exit code, when signal is 0
  int signal{};  // the signal that ended it
  bool success() const { return code == 0 && signal == 0; }
  std::string text() const;  // "exit code 2", "signal 9"
};

/// A child process, killed when this is destroyed before wait() was called.
class Process {
 public:
  enum class Stream : u8 { inherit, discard, capture };
  struct Options {
    std::vector<std::string> arguments;    // [0] is looked up in $PATH
    std::vector<std::string> environment;  // NAME=value, added to ours
    std::string input;                     // up to 64 KiB, given on stdin; empty: /dev/null
    bool inherit_input{};
    Stream output{Stream::inherit};
    Stream error{Stream::inherit};
    bool own_group{};  // signals from the terminal do not reach it; kill() reaches its children too
  };

  static Result<Process> start(Options const& options);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();

  pid_t id() const { return id_; }
  /// What the child writes, when captured; both streams end when it and its heirs are gone.
  int output_fd() const { return output_.get(); }
  int error_fd() const { return error_.get(); }
  Result<> kill(int signal) const;
  Result<ExitStatus> wait();

 private:
  Process() = default;

  pid_t id_{-1};
  bool group_{};
  Descriptor output_;
  Descriptor error_;
};

struct RunResult {
  ExitStatus status;
  std::string output;  // what was captured of stdout
  std::string error;
};

/// Starts, collects what is captured, waits. `on_error_line` sees each line of a captured stderr as it comes.
Result<RunResult> run_process(Process::Options const& options,
                              std::function<void(std::string_view)> const& on_error_line = {});

/// The program's path when $PATH (and the sbin folders) has it, or "".
std::string find_program(std::string_view name);

}  // namespace vireo::host
