#include "cli/serve_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>

#include "host/file.h"
#include "host/socket.h"
#include "host/system_error.h"
#include "image/backend.h"
#include "image/create_qcow2.h"
#include "image/open_image.h"
#include "image/operations/bitmap.h"

namespace vireo::cli {
namespace {

std::atomic<image::nbd::Server*> running{nullptr};

void stop_running(int) {
  // SOUND: an atomic pointer and stop(), which stores a flag and writes to a descriptor: allowed in a handler.
  if (auto* const server = running.load()) server->stop();
}

class StopSignals {
 public:
  explicit StopSignals(image::nbd::Server& server) {
    running = &server;
    for (auto const number : {SIGTERM, SIGINT, SIGHUP}) std::signal(number, stop_running);
  }
  StopSignals(StopSignals const&) = delete;
  ~StopSignals() {
    for (auto const number : {SIGTERM, SIGINT, SIGHUP}) std::signal(number, SIG_DFL);
    running = nullptr;
  }
};

Result<std::unique_ptr<image::BlockImage>> open_disk(ServeRequest const& request) {
  auto const options = image::OpenOptions{.format = request.format,
                                          .read_only = request.read_only || request.temporary,
                                          .cache = request.cache,
                                          .follow_references = request.follow_references,
                                          .snapshot = request.snapshot};
  auto disk = TRY(image::open_image(request.path, options));
  if (!request.temporary) return disk;
  auto const format = request.format.empty() ? TRY(image::probe_format(request.path)) : request.format;
  disk.reset();
  auto const folder = std::filesystem::temp_directory_path();
  auto const path = (folder / fmt::format("vireo-export-{}.qcow2", ::getpid())).string();
  TRY(image::create_qcow2(
      path, 0,
      {.path = image::name_beside(std::filesystem::current_path() / "", request.path), .format = format}));
  auto overlay = image::open_image(
      path, {.format = "qcow2", .cache = image::CacheMode::unsafe, .follow_references = true});
  ::unlink(path.c_str());
  return overlay;
}

/// "qemu:dirty-bitmap:NAME": bit 0 says that a range has changed.
Result<std::vector<image::nbd::MetaContext>> bitmap_contexts(ServeRequest const& request) {
  auto contexts = std::vector<image::nbd::MetaContext>{};
  for (auto const& name : request.bitmaps) {
    auto const found = TRY(image::read_bitmap({.path = request.path, .format = request.format}, name));
    auto const bitmap = std::make_shared<image::DirtyBitmap const>(found);
    auto const offset = request.offset;
    contexts.push_back({"qemu:dirty-bitmap:" + name, [=](u64 at, u64 length) -> Result<image::nbd::Status> {
                          auto const next = bitmap->next(offset + at);
                          if (!next) return image::nbd::Status{length, 0};
                          if (next->start > offset + at) {
                            return image::nbd::Status{std::min(next->start - offset - at, length), 0};
                          }
                          return image::nbd::Status{std::min(next->length, length), 1};
                        }});
  }
  return contexts;
}

Result<host::Descriptor> listen(ServeRequest const& request) {
  if (!request.unix_path.empty()) return host::listen_unix(request.unix_path);
  return host::listen_tcp(TRY(host::parse_tcp_address(request.tcp, std::to_string(image::nbd::default_port))));
}

Result<std::string> url_of(ServeRequest const& request, host::Descriptor const& listener) {
  auto const scheme = request.tls_folder.empty() ? "nbd" : "nbds";
  if (!request.unix_path.empty()) {
    return fmt::format("{}+unix:///{}?socket={}", scheme, request.name, request.unix_path);
  }
  auto address = TRY(host::parse_tcp_address(request.tcp, ""));
  address.port = std::to_string(TRY(host::bound_port(listener.get())));
  return fmt::format("{}://{}/{}", scheme, host::to_text(address), request.name);
}

/// The parent ends here, and leaves what is open to the child. It has no other thread yet.
Result<> leave_to_child(ServeRequest const& request) {
  auto const child = ::fork();
  if (child < 0) return host::fail_errno(errno, "fork");
  if (child > 0) {
    auto const written =
        request.pid_file.empty() ? Result<>{} : host::write_text(request.pid_file, fmt::format("{}\n", child));
    ::_exit(written ? 0 : 1);
  }
  ::setsid();
  auto const null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (auto const fd : {0, 1, 2}) ::dup2(null, fd);
  return {};
}

}  // namespace

Result<> serve_disk(ServeRequest const& request) {
  auto contexts = TRY(bitmap_contexts(request));  // as they are before anyone writes
  auto const disk = TRY(open_disk(request));
  auto settings = request.settings;
  auto tls = std::unique_ptr<image::nbd::TlsContext>{};
  if (!request.tls_folder.empty()) {
    tls = TRY(
        image::nbd::TlsContext::server({.folder = request.tls_folder, .verify_peer = !request.tls_any_client}));
    settings.tls = tls.get();
  }
  auto listeners = std::vector<host::Descriptor>{};
  listeners.push_back(TRY(listen(request)));
  auto const url = TRY(url_of(request, listeners.front()));
  if (request.fork) {
    TRY(leave_to_child(request));
  } else if (!request.pid_file.empty()) {
    TRY(host::write_text(request.pid_file, fmt::format("{}\n", ::getpid())));
  }
  auto exports = std::vector<image::nbd::Export>{};
  exports.push_back({.name = request.name,
                     .description = request.description,
                     .image = disk.get(),
                     .read_only = disk->geometry().read_only,
                     .offset = request.offset,
                     .contexts = std::move(contexts)});
  auto const server = TRY(image::nbd::Server::create(std::move(listeners), std::move(exports), settings));
  auto const signals = StopSignals{*server};
  if (request.announce) {
    fmt::print("{}\n", url);
    std::fflush(stdout);
  }
  auto const outcome = server->run();
  if (!request.unix_path.empty()) ::unlink(request.unix_path.c_str());
  if (!request.pid_file.empty()) ::unlink(request.pid_file.c_str());
  TRY(outcome);
  return disk->geometry().read_only ? Result<>{} : disk->flush();
}

}  // namespace vireo::cli
