#include "machine/debian_build.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <filesystem>

#include "host/process.h"
#include "machine/debian_mirror.h"
#include "machine/debian_recipe.h"
#include "vocab/numbers.h"
#include "vocab/units.h"

namespace vireo::machine {
namespace {

using host::Process;

constexpr u64 smallest_disk{1 * GiB};
constexpr u64 largest_disk{8192 * GiB};
constexpr char const* archive_keys{"/usr/share/keyrings/debian-archive-keyring.gpg"};

Result<std::string> code_name_of(std::string_view release) {
  using Pair = std::pair<std::string_view, std::string_view>;
  for (auto const& [number, name] : std::array{Pair{"12", "bookworm"}, Pair{"13", "trixie"}}) {
    if (release == number || release == name) return std::string{name};
  }
  return fail(Errc::unsupported, fmt::format("Debian release '{}': 12 (bookworm) or 13 (trixie)", release));
}

bool is_package_name(std::string_view name) {
  auto const allowed = [](char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '+' ||
           letter == '-' || letter == '.';
  };
  return name.size() >= 2 && name.front() != '-' && name.front() != '+' && std::ranges::all_of(name, allowed);
}

Result<> check(DebianBuild const& build) {
  if (build.size < smallest_disk || build.size > largest_disk) {
    return fail(Errc::invalid, fmt::format("disk size {}: between {} and {}", format_size(build.size),
                                           format_size(smallest_disk), format_size(largest_disk)));
  }
  for (auto const& package : build.packages) {
    if (!is_package_name(package)) return fail(Errc::invalid, fmt::format("'{}' is no package name", package));
  }
  if (build.root_password.empty() || build.root_password.find_first_of("\n\r") != std::string::npos) {
    return fail(Errc::invalid, "the root password must be one line, not empty");
  }
  for (auto const* program : {"mmdebstrap", "mke2fs", "apt-get"}) {
    if (host::find_program(program).empty()) {
      return fail(Errc::not_found,
                  fmt::format("{} is not installed; run: apt-get install mmdebstrap e2fsprogs fakeroot "
                              "uidmap debian-archive-keyring",
                              program));
    }
  }
  if (::geteuid() != 0 && host::find_program("fakeroot").empty()) {
    return fail(Errc::not_found,
                "fakeroot is not installed; without root it is needed: apt-get install fakeroot");
  }
  return {};
}

/// Runs a tool; its failure carries the last lines it said.
Result<std::string> run(std::vector<std::string> arguments, std::vector<std::string> environment,
                        std::function<void(std::string_view)> const& on_line = {}) {
  auto const name = arguments.front();
  auto last = std::deque<std::string>{};
  auto const result = TRY(host::run_process({.arguments = std::move(arguments),
                                             .environment = std::move(environment),
                                             .output = Process::Stream::capture,
                                             .error = Process::Stream::capture},
                                            [&](std::string_view line) {
                                              last.emplace_back(line);
                                              if (last.size() > 15) last.pop_front();
                                              if (on_line) on_line(line);
                                            }));
  if (result.status.success()) return result.output;
  return fail(Errc::io,
              fmt::format("{} failed ({}):\n  {}", name, result.status.text(), fmt::join(last, "\n  ")));
}

std::string ask_apt(std::vector<std::string> arguments) {
  auto answer = run(std::move(arguments), {});
  if (!answer) return {};
  while (answer->ends_with('\n')) answer->pop_back();
  return *answer;
}

/// The host's proxy for apt serves the build, and does not stay in the image.
std::vector<std::string> proxy_environment() {
  auto const proxy = ask_apt({"apt-config", "shell", "proxy", "Acquire::http::Proxy"});  // proxy='URI'
  auto const quote = proxy.find('\'');
  if (quote == std::string::npos || proxy.size() < quote + 3) return {};
  return {fmt::format("http_proxy={}", proxy.substr(quote + 1, proxy.size() - quote - 2))};
}

std::vector<std::string> mmdebstrap_arguments(DebianBuild const& build, std::string const& code_name,
                                              std::string const& target, std::string const& setup) {
  auto packages = std::string{debian_packages()};
  for (auto const& package : build.packages) packages += "," + package;
  auto arguments = std::vector<std::string>{
      "mmdebstrap",
      "--mode=auto",
      "--variant=minbase",
      "--architectures=amd64",
      ::geteuid() == 0 ? "--format=directory" : "--format=tar",
      "--include=" + packages,
      "--aptopt=Apt::Install-Recommends \"false\"",
      "--dpkgopt=force-unsafe-io",
      "--dpkgopt=path-exclude=/usr/share/man/*",
      "--dpkgopt=path-exclude=/usr/share/locale/*",
      "--dpkgopt=path-exclude=/usr/share/doc/*",
      "--dpkgopt=path-include=/usr/share/doc/*/copyright",
      fmt::format("--customize-hook=upload {} /root/.vireo-setup", shell_quoted(setup)),
      "--customize-hook=chroot \"$1\" /bin/sh /root/.vireo-setup",
      "--customize-hook=rm \"$1\"/root/.vireo-setup"};
  if (std::filesystem::exists(archive_keys)) arguments.push_back(fmt::format("--keyring={}", archive_keys));
  arguments.insert(arguments.end(), {code_name, target});
  auto const targets = ask_apt({"apt-get", "indextargets", "--format", "$(LABEL)|$(COMPONENT)|$(REPO_URI)",
                                "Created-By: Packages", "Origin: Debian"});
  for (auto& line : debian_sources(code_name, targets)) arguments.push_back(std::move(line));
  return arguments;
}

}  // namespace

Result<StoredImage> build_debian(ImageStore const& store, DebianBuild const& build,
                                 std::function<void(std::string_view)> const& progress) {
  auto const code_name = TRY(code_name_of(build.release));
  TRY(check(build));
  auto draft = TRY(store.draft(build.name));
  auto const root = ::geteuid() == 0;
  auto const setup = draft.folder() + "/setup";
  auto const target = draft.folder() + (root ? "/tree" : "/tree.tar");
  TRY(host::write_text(setup, debian_setup_script(build.root_password, build.ssh_key), 0600));

  progress(fmt::format("building Debian {} with mmdebstrap", code_name));
  TRY(run(mmdebstrap_arguments(build, code_name, target, setup), proxy_environment(),
          [&](std::string_view line) {
            if (line.starts_with("I: ")) progress(line.substr(3));
          }));
  ::unlink(setup.c_str());

  progress("writing the disk");
  auto assemble =
      std::vector<std::string>{"sh",   "-c",           std::string{debian_assemble_script()},       "sh",
                               target, draft.folder(), fmt::format("{}", align_up(build.size, MiB))};
  if (!root) assemble.insert(assemble.begin(), "fakeroot");
  TRY(run(std::move(assemble), {}));
  return draft.publish({.name = build.name,
                        .release = "debian " + code_name,
                        .disk = "disk.raw",
                        .disk_format = "raw",
                        .kernel = "vmlinuz",
                        .initrd = "initrd.img",
                        .command_line = std::string{debian_command_line}});
}

}  // namespace vireo::machine
