#include "image/nbd/transmission.h"

#include <algorithm>

#include "host/clock.h"
#include "image/nbd/option_data.h"
#include "observe/log.h"

namespace vireo::image::nbd {
namespace {

constexpr u32 piece{2 * 1024 * 1024};
constexpr u64 smallest_hole{64 * 1024};  // shorter ones are sent as zeroes
constexpr u32 most_runs{4096};           // in one answer about block status

}  // namespace

u64 Transmission::patience() const { return host::monotonic_ns() + limits_.stall_ns; }

void Transmission::serve() {
  work();
  // Nobody starts helpers any longer: receivers do that, and there are none after the end.
  auto helpers = [&] {
    auto const turn = Turn{receiving_};
    return std::move(helpers_);
  }();
  helpers.clear();
}

void Transmission::work() {
  auto buffer = std::vector<std::byte>{};
  while (true) {
    auto const went = next(buffer);
    if (went && *went) continue;
    if (!went) {
      observe::log(observe::Level::debug, "nbd", "{}", went.error().what());
      stream_.hang_up();
      auto const turn = Turn{receiving_};
      ended_ = true;
    }
    return;
  }
}

/// Called with the turn held: someone must listen while this thread works.
void Transmission::let_another_receive() {
  if (waiting_ == 0 && helpers_.size() + 1 < limits_.threads) {
    helpers_.emplace_back([this] { work(); });
  }
}

/// One request, from receiving to answering. False: there are no more.
Result<bool> Transmission::next(std::vector<std::byte>& buffer) {
  ++waiting_;
  auto turn = Turn{receiving_};
  --waiting_;
  if (ended_) return false;
  ended_ = true;  // unless this goes well
  auto head = std::array<std::byte, request_bytes>{};
  auto const begun = TRY(stream_.read_some(Bytes{head}, never));
  if (begun == 0) return false;
  TRY(read_all(stream_, Bytes{head}.subspan(begun), patience()));
  auto const request = TRY(parse_request(head));
  if (request.command == Command::disconnect) return false;
  if (request.command == Command::write) {
    TRY(write(request, buffer, turn));
    return true;
  }
  ended_ = false;
  let_another_receive();
  turn.unlock();
  auto const refused = refusal(request, served_.bytes(), served_.read_only);
  if (refused != 0) {
    TRY(answer(request, refused));
  } else if (request.command == Command::read) {
    TRY(read(request, buffer));
  } else if (request.command == Command::block_status) {
    TRY(block_status(request));
  } else {
    TRY(change(request));
  }
  return true;
}

/// A payload of more than a piece is written while it comes in.
Result<> Transmission::write(Request const& request, std::vector<std::byte>& buffer, Turn& turn) {
  if (request.length > largest_payload) return fail(Errc::invalid, "nbd: a write of more than 32 MiB");
  auto const refused = refusal(request, served_.bytes(), served_.read_only);
  if (refused != 0) TRY(drain(request.length, buffer));
  auto outcome = Result<>{};
  auto& image = *served_.image;
  auto at = served_.offset + request.offset;
  for (auto left = refused != 0 ? 0 : request.length; left != 0;) {
    auto const part = std::min(left, piece);
    if (buffer.size() < part) buffer.resize(part);
    TRY(read_all(stream_, Bytes{buffer}.first(part), patience()));
    left -= part;
    if (left == 0) {
      ended_ = false;
      let_another_receive();
      turn.unlock();
    }
    if (outcome) outcome = image.write(at, ConstBytes{buffer}.first(part));
    at += part;
  }
  if (refused != 0) {
    ended_ = false;
    turn.unlock();
    return answer(request, refused);
  }
  if (outcome && request.has(command_flag::fua)) outcome = image.flush();
  return answer(request, outcome);
}

Result<> Transmission::drain(u32 length, std::vector<std::byte>& buffer) {
  while (length != 0) {
    auto const part = std::min(length, piece);
    if (buffer.size() < part) buffer.resize(part);
    TRY(read_all(stream_, Bytes{buffer}.first(part), patience()));
    length -= part;
  }
  return {};
}

Result<> Transmission::read(Request const& request, std::vector<std::byte>& buffer) {
  if (session_.structured) return read_in_chunks(request, buffer);
  auto at = served_.offset + request.offset;
  auto const head = Packet{}.add(simple_reply_magic).add(u32{0}).add(request.cookie);
  if (buffer.size() < std::min(request.length, piece)) buffer.resize(std::min(request.length, piece));
  auto const first = Bytes{buffer}.first(std::min(request.length, piece));
  if (auto const outcome = served_.image->read(at, first); !outcome) return answer(request, outcome);
  auto const lock = std::lock_guard{sending_};
  TRY(write_all(stream_, head.bytes(), first, patience()));
  for (auto left = request.length - static_cast<u32>(first.size()); left != 0;) {
    at += piece;
    auto const part = Bytes{buffer}.first(std::min(left, piece));
    TRY(served_.image->read(at, part));  // the answer has begun: an error can only end the connection
    TRY(write_all(stream_, part, patience()));
    left -= static_cast<u32>(part.size());
  }
  return {};
}

Result<> Transmission::read_in_chunks(Request const& request, std::vector<std::byte>& buffer) {
  auto& image = *served_.image;
  auto const in_one = request.has(command_flag::df);
  if (in_one && request.length > piece) return answer(request, error_number::eoverflow);
  if (buffer.size() < std::min(request.length, piece)) buffer.resize(std::min(request.length, piece));
  for (auto at = request.offset, end = request.offset + request.length; at < end;) {
    auto part = std::min<u64>(end - at, piece);
    auto hole = false;
    if (!in_one && part >= smallest_hole) {
      auto const extent = image.extent_at(served_.offset + at);
      if (!extent) return answer(request, std::unexpected{extent.error()});
      hole = extent->presence == BlockImage::Presence::zero && extent->length >= smallest_hole;
      part =
          hole ? std::min(end - at, extent->length) : std::min(part, std::max(extent->length, smallest_hole));
    }
    auto const last = at + part == end;
    if (hole) {
      TRY(send_chunk(request, Chunk::offset_hole, last, Packet{}.add(at).add(static_cast<u32>(part)).bytes()));
    } else {
      auto const bytes = Bytes{buffer}.first(part);
      if (auto const outcome = image.read(served_.offset + at, bytes); !outcome)
        return answer(request, outcome);
      TRY(send_chunk(request, Chunk::offset_data, last, Packet{}.add(at).bytes(), bytes));
    }
    at += part;
  }
  return {};
}

Result<> Transmission::block_status(Request const& request) {
  if (session_.contexts.empty()) return answer(request, error_number::einval);
  for (auto const context : session_.contexts) {
    auto packet = Packet{}.add(context);
    auto run = Status{};
    auto runs = u32{0};
    auto const put = [&] {
      packet.add(static_cast<u32>(run.length)).add(run.flags);
      ++runs;
    };
    for (auto at = request.offset, end = request.offset + request.length; at < end && runs < most_runs;) {
      auto const found = status_at(served_, context, at, end - at);
      if (!found) return answer(request, std::unexpected{found.error()});
      at += found->length;
      if (run.length != 0 && run.flags != found->flags) {
        put();
        run = {};
        if (request.has(command_flag::req_one)) break;
      }
      run = {run.length + found->length, found->flags};
    }
    if (run.length != 0 && runs < most_runs) put();
    TRY(send_chunk(request, Chunk::block_status, context == session_.contexts.back(), packet.bytes()));
  }
  return {};
}

Result<> Transmission::change(Request const& request) {
  auto& image = *served_.image;
  auto const at = served_.offset + request.offset;
  auto outcome = Result<>{};
  if (request.command == Command::trim) outcome = image.discard(at, request.length);
  if (request.command == Command::write_zeroes) {
    outcome = image.write_zeroes(at, request.length, !request.has(command_flag::no_hole));
  }
  auto const flushes = request.command == Command::flush || request.has(command_flag::fua);
  if (outcome && flushes && !served_.read_only) outcome = image.flush();
  return answer(request, outcome);
}

Result<> Transmission::answer(Request const& request, Result<> const& outcome) {
  if (outcome) return answer(request, 0);
  observe::log(observe::Level::warning, "nbd", "{}", outcome.error().what());
  return answer(request, error_number_of(outcome.error().code()));
}

Result<> Transmission::answer(Request const& request, u32 error) {
  if (!session_.structured) {
    return send(Packet{}.add(simple_reply_magic).add(error).add(request.cookie).bytes());
  }
  if (error == 0) return send_chunk(request, Chunk::none, true, {});
  return send_chunk(request, Chunk::error, true, Packet{}.add(error).add(u16{0}).bytes());
}

Result<> Transmission::send_chunk(Request const& request, Chunk type, bool last, ConstBytes head,
                                  ConstBytes data) {
  auto const packet = Packet{}
                          .add(chunk_magic)
                          .add(last ? chunk_done : u16{0})
                          .add(static_cast<u16>(type))
                          .add(request.cookie)
                          .add(static_cast<u32>(head.size() + data.size()))
                          .add(head);
  return send(packet.bytes(), data);
}

Result<> Transmission::send(ConstBytes first, ConstBytes second) {
  auto const lock = std::lock_guard{sending_};
  return write_all(stream_, first, second, patience());
}

}  // namespace vireo::image::nbd
