#include "image/nbd/client_connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "host/clock.h"
#include "image/nbd/option_data.h"

namespace vireo::image::nbd {
namespace {

constexpr u64 stall_ns{120'000'000'000};
constexpr u32 longest_status{1 << 20};
constexpr u32 longest_error{64 * 1024};

u64 patience() { return host::monotonic_ns() + stall_ns; }

std::unexpected<Error> nonsense(std::string_view what) {
  return fail(Errc::corrupt, fmt::format("nbd: the server's answer: {}", what));
}

ConstBytes request_head(Request const& request, Packet& packet) {
  return packet.add(request_magic)
      .add(request.flags)
      .add(static_cast<u16>(request.command))
      .add(request.cookie)
      .add(request.offset)
      .add(request.length)
      .bytes();
}

}  // namespace

ClientConnection::~ClientConnection() {
  auto packet = Packet{};
  static_cast<void>(write_all(*stream_, request_head({.command = Command::disconnect}, packet),
                              host::monotonic_ns() + 1'000'000'000));
}

bool ClientConnection::is_broken() {
  auto const lock = Lock{mutex_};
  return broken_;
}

u32 ClientConnection::under_way() {
  auto const lock = Lock{mutex_};
  return static_cast<u32>(calls_.size());
}

Result<> ClientConnection::send(Call const& call) {
  auto packet = Packet{};
  auto const head = request_head(call.request, packet);
  auto const lock = std::lock_guard{sending_};
  return write_all(*stream_, head, call.payload, patience());
}

Result<> ClientConnection::carry_out(Call& call) {
  {
    auto const lock = Lock{mutex_};
    if (broken_) return fail(Errc::gone, "nbd: the connection is lost");
    call.request.cookie = next_cookie_++;
    calls_[call.request.cookie] = &call;
  }
  auto outcome = send(call);
  auto lock = Lock{mutex_};
  if (!outcome) {
    broken_ = true;
    stream_->hang_up();
  }
  // While someone reads, what it reads may go into this call: nobody leaves before.
  while (!call.done && (reading_ || !broken_)) {
    if (reading_) {
      changed_.wait(lock);
      continue;
    }
    reading_ = true;
    lock.unlock();
    auto read = read_answer();
    lock.lock();
    reading_ = false;
    if (!read) {
      broken_ = true;
      stream_->hang_up();
      if (outcome) outcome = std::move(read);
    }
    changed_.notify_all();
  }
  calls_.erase(call.request.cookie);
  if (call.done) return {};
  return fail(Errc::gone, outcome ? "nbd: the connection is lost" : outcome.error().what());
}

Result<Call*> ClientConnection::find(u64 cookie) {
  auto const lock = Lock{mutex_};
  auto const found = calls_.find(cookie);
  if (found == calls_.end() || found->second->done) return nonsense("to no request");
  return found->second;
}

void ClientConnection::finish(Call& call) {
  auto const lock = Lock{mutex_};
  auto const complete = call.error != 0 || call.received == call.into.size();
  if (!complete) call.error = error_number::eio;
  call.done = true;
}

Result<> ClientConnection::read_answer() {
  auto head = std::array<std::byte, simple_reply_bytes>{};
  TRY(read_all(*stream_, head, patience()));
  auto const magic = load_be<u32>(head.data());
  if (magic == simple_reply_magic)
    return read_simple(load_be<u32>(head.data() + 4), load_be<u64>(head.data() + 8));
  if (magic != chunk_magic || !terms_.structured) return nonsense("does not begin as one");
  auto length = std::array<std::byte, chunk_header_bytes - simple_reply_bytes>{};
  TRY(read_all(*stream_, length, patience()));
  auto const flags = load_be<u16>(head.data() + 4);
  auto const type = static_cast<Chunk>(load_be<u16>(head.data() + 6));
  auto& call = *TRY(find(load_be<u64>(head.data() + 8)));
  TRY(read_content(type, call, load_be<u32>(length.data())));
  if ((flags & chunk_done) != 0) finish(call);
  return {};
}

Result<> ClientConnection::read_simple(u32 error, u64 cookie) {
  auto& call = *TRY(find(cookie));
  if (call.request.command == Command::read && terms_.structured && error == 0)
    return nonsense("of the old form");
  call.error = error;
  if (error == 0 && !call.into.empty()) {
    TRY(read_all(*stream_, call.into, patience()));
    call.received = call.into.size();
  }
  finish(call);
  return {};
}

Result<> ClientConnection::read_content(Chunk type, Call& call, u32 length) {
  auto const place_of = [&](ConstBytes offset, u64 count) -> Result<Bytes> {
    auto const at = load_be<u64>(offset.data());
    auto const begin = call.request.offset;
    auto const inside =
        at >= begin && at - begin <= call.into.size() && count <= call.into.size() - (at - begin);
    if (!inside) return nonsense("lies outside of what was asked for");
    call.received += count;
    return call.into.subspan(at - begin, count);
  };
  switch (type) {
    case Chunk::none: return length == 0 ? Result<>{} : nonsense("has more than nothing");
    case Chunk::offset_data: {
      auto offset = std::array<std::byte, 8>{};
      if (length < offset.size()) return nonsense("is too short");
      TRY(read_all(*stream_, offset, patience()));
      return read_all(*stream_, TRY(place_of(offset, length - offset.size())), patience());
    }
    case Chunk::offset_hole: {
      auto hole = std::array<std::byte, 12>{};
      if (length != hole.size()) return nonsense("is no hole");
      TRY(read_all(*stream_, hole, patience()));
      std::ranges::fill(TRY(place_of(hole, load_be<u32>(hole.data() + 8))), std::byte{0});
      return {};
    }
    case Chunk::block_status: return read_status(call, length);
    case Chunk::error:
    case Chunk::error_offset: break;
  }
  if ((static_cast<u16>(type) & chunk_is_error) == 0) return nonsense("is of no known kind");
  if (length < 6 || length > longest_error) return nonsense("is no error");
  auto bytes = std::vector<std::byte>(length);
  TRY(read_all(*stream_, bytes, patience()));
  auto const error = load_be<u32>(bytes.data());
  call.error = error == 0 ? error_number::eio : error;
  return {};
}

Result<> ClientConnection::read_status(Call& call, u32 length) {
  if (length < 12 || length % 8 != 4 || length > longest_status) return nonsense("is no block status");
  auto bytes = std::vector<std::byte>(length);
  TRY(read_all(*stream_, bytes, patience()));
  if (call.request.command != Command::block_status) return nonsense("is a block status");
  if (load_be<u32>(bytes.data()) != terms_.allocation_context) return {};
  for (auto at = std::size_t{4}; at < length; at += 8) {
    call.runs.push_back({load_be<u32>(bytes.data() + at), load_be<u32>(bytes.data() + at + 4)});
  }
  return {};
}

}  // namespace vireo::image::nbd
