#include "image/nfs/nfs_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nfsc/libnfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "image/unique_id.h"
#include "vocab/numbers.h"

namespace vireo::image::nfs {
namespace {

constexpr u64 smallest_part{512};
constexpr u64 largest_part{1 * MiB};
// libnfs 4 encodes a request of version 4 into 4 KiB, its data included, and knows no sizes of the server's.
constexpr u64 write_part_of_version_4{3584};
constexpr u64 read_part_of_version_4{64 * KiB};

constexpr bool is_request_denied(int status) {
  return status == -EACCES || status == -EPERM || status == -EROFS;
}
constexpr bool is_space_gone(int status) { return status == -ENOSPC || status == -EDQUOT || status == -EFBIG; }

Errc code_of(int status) {
  if (status == -EFAULT || status == -EINTR) return Errc::gone;  // libnfs: no answer came
  if (status == -ENOENT) return Errc::not_found;
  if (status == -EEXIST) return Errc::busy;
  if (is_request_denied(status)) return Errc::denied;
  return is_space_gone(status) ? Errc::no_space : Errc::io;
}

}  // namespace

/// What libnfs was asked for; it lies on the stack of a thread that waits for it.
struct NfsConnection::Request {
  polled::Batch& batch;
  NfsConnection* connection{};
  Bytes into{};
  u64 at{};
  std::size_t wanted{};
  int status{-EINPROGRESS};
  std::string reason{};
  Facts facts{};

  static Request& finish(int status, void* data, void* request) {
    auto& self = *static_cast<Request*>(request);
    self.status = status;
    if (status < 0 && data != nullptr) self.reason = static_cast<char const*>(data);
    self.batch.done();
    return self;
  }
  static void done(int status, nfs_context*, void* data, void* request) { finish(status, data, request); }
  static void opened(int status, nfs_context*, void* data, void* request) {
    auto const& self = finish(status, data, request);
    if (status >= 0) self.connection->file_ = static_cast<nfsfh*>(data);
  }
  static void looked(int status, nfs_context*, void* data, void* request) {
    auto& self = finish(status, data, request);
    if (status < 0) return;
    auto const& found = *static_cast<nfs_stat_64 const*>(data);
    self.facts = {.bytes = found.nfs_size, .file_system = found.nfs_dev, .number = found.nfs_ino};
  }
  static void received(int status, nfs_context*, void* data, void* request) {
    auto& self = finish(status, data, request);
    if (status < 0) return;
    auto const count = std::min(static_cast<std::size_t>(status), self.into.size());
    std::memcpy(self.into.data(), data, count);
  }
};

NfsConnection::NfsConnection(Address const& address)
    : PolledConnection{address.timeout_seconds * 1'000'000'000},
      version_{address.version},
      read_part_{read_part_of_version_4},
      write_part_{write_part_of_version_4} {}

NfsConnection::~NfsConnection() {
  if (nfs_ != nullptr && file_ != nullptr && !is_lost()) {
    if (locked_) static_cast<void>(set_lock(F_UNLCK));
    auto batch = polled::Batch{};
    auto request = Request{.batch = batch};
    static_cast<void>(ask(request, [&] { return ::nfs_close_async(nfs_, file_, Request::done, &request); }));
  }
  cut();
}

int NfsConnection::descriptor() { return ::nfs_get_fd(nfs_); }
short NfsConnection::wanted_events() { return static_cast<short>(::nfs_which_events(nfs_)); }
bool NfsConnection::service(short events) { return ::nfs_service(nfs_, events) >= 0; }

std::string NfsConnection::reason() {
  auto const* const text = ::nfs_get_error(nfs_);
  return text != nullptr ? text : "the connection is lost";
}

void NfsConnection::cut() {
  if (nfs_ != nullptr) ::nfs_destroy_context(nfs_);
  nfs_ = nullptr;
}

std::unexpected<Error> NfsConnection::failed(Request const& request) const {
  auto const text = request.reason.empty() ? std::string{::strerror(-request.status)} : request.reason;
  return fail(code_of(request.status), text);
}

/// One request, and its status.
template <typename F>
Result<> NfsConnection::ask(Request& request, F const& start) {
  TRY(carry_out(request.batch, [&]() -> Result<> {
    if (start() != 0) return fail(Errc::gone, reason());
    request.batch.add();
    return {};
  }));
  return request.status < 0 ? failed(request) : Result<>{};
}

Result<> NfsConnection::configure(Address const& address) {
  nfs_ = ::nfs_init_context();
  if (nfs_ == nullptr) return fail(Errc::no_space, "libnfs: out of memory");
  auto settings = fmt::format("nfs://host/folder/file?version={}&autoreconnect=0", address.version);
  if (address.nfs_port != 0) settings += fmt::format("&nfsport={}", address.nfs_port);
  if (address.mount_port != 0) settings += fmt::format("&mountport={}", address.mount_port);
  auto* const taken = ::nfs_parse_url_incomplete(nfs_, settings.c_str());
  if (taken == nullptr) return fail(Errc::invalid, reason());
  ::nfs_destroy_url(taken);
  if (address.uid) ::nfs_set_uid(nfs_, static_cast<int>(*address.uid));
  if (address.gid) ::nfs_set_gid(nfs_, static_cast<int>(*address.gid));
  if (address.version != 4) return {};
  // Else libnfs names a client by process and second, and a server drops one for the other.
  static auto count = std::atomic<u64>{0};
  auto const id = TRY(new_unique_id());
  auto const name = fmt::format("vireo {} {} {:x}", ::getpid(), ++count, load_le<u64>(id.data()));
  ::nfs4_set_client_name(nfs_, name.c_str());
  return {};
}

Result<> NfsConnection::mount(Address const& address) {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  TRY(ask(request, [&] {
    return ::nfs_mount_async(nfs_, address.host.c_str(), address.folder.c_str(), Request::done, &request);
  }));
  if (version_ == 4) return {};
  read_part_ = std::clamp<u64>(::nfs_get_readmax(nfs_), smallest_part, largest_part);
  write_part_ = std::clamp<u64>(::nfs_get_writemax(nfs_), smallest_part, largest_part);
  return {};
}

Result<> NfsConnection::open(std::string const& path, Access access) {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch, .connection = this};
  auto const flags = access == Access::read     ? O_RDONLY
                     : access == Access::create ? O_RDWR | O_CREAT | O_EXCL
                                                : O_RDWR;
  return ask(request,
             [&] { return ::nfs_open2_async(nfs_, path.c_str(), flags, 0644, Request::opened, &request); });
}

Result<std::shared_ptr<NfsConnection>> NfsConnection::connect(Address const& address, Access access) {
  auto connection = std::shared_ptr<NfsConnection>{new NfsConnection{address}};
  TRY(connection->configure(address));
  TRY(connection->mount(address));
  TRY(connection->open("/" + address.file, access));
  return connection;
}

Result<> NfsConnection::remove_file(Address const& address) {
  auto connection = NfsConnection{address};
  TRY(connection.configure(address));
  TRY(connection.mount(address));
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  return connection.ask(request, [&] {
    return ::nfs_unlink_async(connection.nfs_, ("/" + address.file).c_str(), Request::done, &request);
  });
}

Result<NfsConnection::Facts> NfsConnection::facts() {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  TRY(ask(request, [&] { return ::nfs_fstat64_async(nfs_, file_, Request::looked, &request); }));
  return request.facts;
}

/// Cuts a range into parts, and asks again for what a server did not do of them.
template <typename F>
Result<> NfsConnection::in_parts(u64 at, std::size_t bytes, u64 part, F const& start) {
  auto batch = polled::Batch{};
  auto requests = std::vector<Request>{};
  requests.reserve(bytes / part + 1);
  for (auto done = std::size_t{0}; done < bytes;) {
    auto const count = std::min<std::size_t>(part, bytes - done);
    requests.push_back({.batch = batch, .into = {}, .at = at + done, .wanted = count});
    done += count;
  }
  while (!requests.empty()) {
    TRY(carry_out(batch, [&]() -> Result<> {
      for (auto& each : requests) {
        if (start(each) != 0) return fail(Errc::gone, reason());
        batch.add();
      }
      return {};
    }));
    auto left = std::vector<Request>{};
    for (auto const& each : requests) {
      if (each.status < 0) return failed(each);
      auto const count = std::min(static_cast<std::size_t>(each.status), each.wanted);
      if (count == 0) return fail(Errc::io, fmt::format("the file ends at {}, before its end", each.at));
      if (count < each.wanted)
        left.push_back({.batch = batch, .at = each.at + count, .wanted = each.wanted - count});
    }
    requests = std::move(left);
  }
  return {};
}

Result<> NfsConnection::read(u64 at, Bytes into) {
  return in_parts(at, into.size(), read_part_, [&](Request& request) {
    request.into = into.subspan(request.at - at, request.wanted);
    return ::nfs_pread_async(nfs_, file_, request.at, request.wanted, Request::received, &request);
  });
}

Result<> NfsConnection::write(u64 at, ConstBytes from) {
  return in_parts(at, from.size(), write_part_, [&](Request& request) {
    return ::nfs_pwrite_async(nfs_, file_, request.at, request.wanted, from.data() + (request.at - at),
                              Request::done, &request);
  });
}

Result<> NfsConnection::commit() {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  return ask(request, [&] { return ::nfs_fsync_async(nfs_, file_, Request::done, &request); });
}

Result<> NfsConnection::truncate(u64 bytes) {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  return ask(request, [&] { return ::nfs_ftruncate_async(nfs_, file_, bytes, Request::done, &request); });
}

Result<> NfsConnection::lock(bool alone) {
  if (version_ != 4) return {};
  TRY(set_lock(alone ? F_WRLCK : F_RDLCK));
  locked_ = true;
  return {};
}

Result<> NfsConnection::set_lock(int kind) {
  auto batch = polled::Batch{};
  auto request = Request{.batch = batch};
  auto range = nfs4_flock{.l_type = kind,
                          .l_whence = SEEK_SET,
                          .l_pid = static_cast<u32>(::getpid()),
                          .l_start = 0,
                          .l_len = ~u64{0}};
  auto outcome = ask(
      request, [&] { return ::nfs_fcntl_async(nfs_, file_, NFS4_F_SETLK, &range, Request::done, &request); });
  auto const held = request.reason.find("NFS4ERR_DENIED") != std::string::npos;
  if (!outcome && held) return fail(Errc::busy, "another one has the file open");
  return outcome;
}

}  // namespace vireo::image::nfs
