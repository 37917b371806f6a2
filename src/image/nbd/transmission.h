#pragma once

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "image/nbd/handshake.h"
#include "image/nbd/request.h"

namespace vireo::image::nbd {

struct TransmissionLimits {
  u32 threads{8};                // of one client: that many requests are worked on at a time
  u64 stall_ns{60'000'000'000};  // a client that stops in the middle of a message is left
};

/// A client's requests after the handshake. Whoever is free takes the next request from the connection, carries
/// it out and answers: no request is handed from one thread to another, and slow ones do not hold up the rest.
class Transmission {
 public:
  Transmission(Stream& stream, Session session, TransmissionLimits limits)
      : stream_{stream}, session_{std::move(session)}, served_{*session_.served}, limits_{limits} {}
  /// Returns when the client has left and all its requests are done.
  void serve();

 private:
  using Turn = std::unique_lock<std::mutex>;

  void work();
  void let_another_receive();
  Result<bool> next(std::vector<std::byte>& buffer);

  Result<> write(Request const& request, std::vector<std::byte>& buffer, Turn& turn);
  Result<> read(Request const& request, std::vector<std::byte>& buffer);
  Result<> read_in_chunks(Request const& request, std::vector<std::byte>& buffer);
  Result<> block_status(Request const& request);
  Result<> change(Request const& request);
  Result<> drain(u32 length, std::vector<std::byte>& buffer);

  Result<> answer(Request const& request, u32 error);
  Result<> answer(Request const& request, Result<> const& outcome);
  Result<> send_chunk(Request const& request, Chunk type, bool last, ConstBytes head, ConstBytes data = {});
  Result<> send(ConstBytes first, ConstBytes second = {});
  u64 patience() const;

  Stream& stream_;
  Session session_;
  Export const& served_;
  TransmissionLimits limits_;

  std::mutex receiving_;
  bool ended_{};  // with receiving_
  std::mutex sending_;
  std::atomic<u32> waiting_{0};        // threads that would receive next
  std::vector<std::jthread> helpers_;  // with receiving_
};

}  // namespace vireo::image::nbd
