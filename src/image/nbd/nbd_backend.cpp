#include "image/nbd/nbd_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "host/clock.h"
#include "observe/log.h"

namespace vireo::image::nbd {
namespace {

constexpr u64 second_ns{1'000'000'000};
constexpr u64 handshake_ns{10 * second_ns};
constexpr u64 largest_change{u64{1} << 30};
constexpr u64 literal_zeroes{1 << 20};

/// Worth another try: the server is away, or comes up.
bool may_pass(Error const& error) {
  return error.code() == Errc::gone || error.code() == Errc::io || error.code() == Errc::not_found ||
         error.code() == Errc::busy;
}

}  // namespace

NbdBackend::NbdBackend(Address address, std::unique_ptr<TlsContext> tls)
    : address_{std::move(address)},
      tls_{std::move(tls)},
      blocks_{1, [this](u64 at, Bytes into) { return read_blocks(at, into); },
              [this](u64 at, ConstBytes from) { return write_blocks(at, from); }} {}

Result<std::unique_ptr<Backend>> NbdBackend::open(Address address, bool writable) {
  auto tls = std::unique_ptr<TlsContext>{};
  if (address.encrypted) tls = TRY(TlsContext::client(address.tls));
  auto backend = std::unique_ptr<NbdBackend>{new NbdBackend{std::move(address), std::move(tls)}};
  backend->connections_.push_back(TRY(backend->connect_once(host::monotonic_ns() + handshake_ns)));
  if (writable && backend->terms_.has(transmission_flag::read_only)) {
    return fail(Errc::denied, "nbd: the server lets clients read only");
  }
  return backend;
}

Result<std::shared_ptr<ClientConnection>> NbdBackend::connect_once(u64 deadline_ns) {
  auto stream = TRY(nbd::connect(address_, deadline_ns));
  auto const terms = TRY(greet_server(stream, address_, tls_.get(), deadline_ns));
  if (terms_.bytes == 0) {
    terms_ = terms;
    blocks_.use_blocks_of(terms.smallest_block);
  }
  if (terms.bytes != terms_.bytes || terms.smallest_block != terms_.smallest_block) {
    return fail(Errc::corrupt,
                fmt::format("nbd: the server's disk had {} bytes and now has {}", terms_.bytes, terms.bytes));
  }
  return std::make_shared<ClientConnection>(std::move(stream), terms);
}

/// One that is idle, else a new one, else the one with the least to do.
Result<std::shared_ptr<ClientConnection>> NbdBackend::pick(u64 deadline_ns) {
  auto const lock = std::lock_guard{mutex_};
  std::erase_if(connections_, [](auto const& each) { return each->is_broken(); });
  auto const least =
      std::ranges::min_element(connections_, {}, [](auto const& each) { return each->under_way(); });
  auto const most = terms_.has(transmission_flag::can_multi_conn) ? std::max(address_.connections, u32{1}) : 1;
  auto const good = least != connections_.end() && ((*least)->under_way() == 0 || connections_.size() >= most);
  if (good) return *least;
  auto fresh = connect_once(std::min(deadline_ns, host::monotonic_ns() + handshake_ns));
  if (fresh) connections_.push_back(*fresh);
  if (fresh || connections_.empty()) return fresh;
  address_.connections = static_cast<u32>(connections_.size());  // the server takes no more
  return connections_.front();
}

void NbdBackend::drop(std::shared_ptr<ClientConnection> const& lost) {
  auto const lock = std::lock_guard{mutex_};
  std::erase(connections_, lost);
  if (unflushed_ && !terms_.has(transmission_flag::can_multi_conn)) lost_writes_ = true;
}

/// All commands may be carried out twice: they say what is to be where, not what is to change.
Result<> NbdBackend::perform(Call& call) {
  auto const deadline = host::monotonic_ns() + address_.patience_seconds * second_ns;
  for (auto pause_ms = 20u;; pause_ms = std::min(pause_ms * 2, 1000u)) {
    auto connection = pick(std::max(deadline, host::monotonic_ns() + second_ns));
    auto outcome = connection ? (*connection)->carry_out(call) : Result<>{std::unexpected{connection.error()}};
    if (outcome) break;
    if (connection) drop(*connection);
    if (!may_pass(outcome.error()) || host::monotonic_ns() >= deadline) return outcome;
    observe::log(observe::Level::warning, "nbd", "{}; connecting again", outcome.error().what());
    call.runs.clear();
    call.error = 0;
    call.received = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds{pause_ms});
  }
  if (call.error == 0) return {};
  return fail(errc_of_number(call.error), fmt::format("nbd: the server answers with error {} at offset {}",
                                                      call.error, call.request.offset));
}

Result<> NbdBackend::read_blocks(u64 at, Bytes into) {
  auto const most = align_down(terms_.largest_payload, terms_.smallest_block);
  while (!into.empty()) {
    auto const part = into.first(std::min<u64>(into.size(), most));
    auto call =
        Call{.request = {.command = Command::read, .offset = at, .length = static_cast<u32>(part.size())},
             .into = part};
    TRY(perform(call));
    into = into.subspan(part.size());
    at += part.size();
  }
  return {};
}

Result<> NbdBackend::write_blocks(u64 at, ConstBytes from) {
  auto const most = align_down(terms_.largest_payload, terms_.smallest_block);
  unflushed_ = true;
  while (!from.empty()) {
    auto const part = from.first(std::min<u64>(from.size(), most));
    auto call =
        Call{.request = {.command = Command::write, .offset = at, .length = static_cast<u32>(part.size())},
             .payload = part};
    TRY(perform(call));
    from = from.subspan(part.size());
    at += part.size();
  }
  return {};
}

Result<> NbdBackend::change(Command command, u16 flags, u64 at, u64 length) {
  unflushed_ = true;
  while (length != 0) {
    auto const part = std::min(length, largest_change);
    auto call =
        Call{.request = {.flags = flags, .command = command, .offset = at, .length = static_cast<u32>(part)}};
    TRY(perform(call));
    at += part;
    length -= part;
  }
  return {};
}

Result<> NbdBackend::write_zeroes(u64 at, u64 length, bool may_unmap) {
  if (terms_.has(transmission_flag::send_write_zeroes)) {
    auto const flags = may_unmap ? u16{0} : command_flag::no_hole;
    return blocks_.zero(
        at, length, [&](u64 start, u64 count) { return change(Command::write_zeroes, flags, start, count); });
  }
  auto const zeroes = std::vector<std::byte>(std::min(length, literal_zeroes));
  for (auto done = u64{0}; done < length; done += zeroes.size()) {
    TRY(write(at + done, ConstBytes{zeroes}.first(std::min<u64>(zeroes.size(), length - done))));
  }
  return {};
}

Result<> NbdBackend::discard(u64 at, u64 length) {
  if (!terms_.has(transmission_flag::send_trim)) return {};
  auto const start = align_up(at, blocks_.block());
  auto const end = align_down(at + length, blocks_.block());
  return start < end ? change(Command::trim, 0, start, end - start) : Result<>{};
}

Result<> NbdBackend::flush() {
  unflushed_ = false;
  if (terms_.has(transmission_flag::send_flush)) {
    auto call = Call{.request = {.command = Command::flush}};
    TRY(perform(call));
  }
  if (!lost_writes_.exchange(false)) return {};
  return fail(Errc::io, "nbd: the connection was lost with writes that were not flushed");
}

Result<host::File::Extent> NbdBackend::extent_at(u64 at) {
  auto whole = host::File::Extent{.start = at, .length = terms_.bytes - at, .data = true};
  if (!terms_.tells_allocation) return whole;
  auto const start = align_down(at, blocks_.block());
  auto call = Call{.request = {.command = Command::block_status,
                               .offset = start,
                               .length = static_cast<u32>(std::min(terms_.bytes - start, largest_change))}};
  TRY(perform(call));
  auto const zero = [](Status const& run) { return (run.flags & state_flag::zero) != 0; };
  auto length = u64{0};
  for (auto const& run : call.runs) {
    if (zero(run) != zero(call.runs.front())) break;
    length += run.length;
  }
  length = std::min(length, terms_.bytes - start);
  if (length <= at - start) return whole;
  return host::File::Extent{.start = at, .length = length - (at - start), .data = !zero(call.runs.front())};
}

Result<std::unique_ptr<Backend>> open_nbd(std::string const& url, bool writable) {
  return NbdBackend::open(TRY(parse_address(url)), writable);
}

}  // namespace vireo::image::nbd
