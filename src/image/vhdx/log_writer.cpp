#include "image/vhdx/log_writer.h"

#include <algorithm>

#include "image/vhdx/crc32c.h"

namespace vireo::image::vhdx {

Result<> LogWriter::write(std::vector<block_map::PendingWrite> const& writes) {
  auto const half = header_->log_length / 2 / log_at::sector;
  auto const most = std::min<u64>(half - 2, 126);  // as many descriptors as one sector holds
  auto rest = std::span{writes};
  while (!rest.empty()) {
    auto const part = rest.first(std::min<u64>(rest.size(), most));
    TRY(write_entry(part));
    for (auto const& write : part) TRY(storage_->write(write.at, write.bytes));
    TRY(storage_->sync());
    rest = rest.subspan(part.size());
  }
  return {};
}

Result<> LogWriter::write_entry(std::span<block_map::PendingWrite const> writes) {
  auto const first = log_ == UniqueId{};
  if (first) log_ = TRY(new_unique_id());
  ++sequence_;
  auto const at = sequence_ % 2 == 0 ? u64{0} : header_->log_length / 2;
  auto const bytes = TRY(entry(writes, at));
  TRY(storage_->write(header_->log_offset + at, bytes));
  TRY(storage_->sync());
  if (header_->log == log_) return {};
  header_->log = log_;  // there is a valid entry from the first moment on
  auto const written = write_file_header(*storage_, *header_);
  if (!written) header_->log = UniqueId{};
  return written;
}

Result<std::vector<std::byte>> LogWriter::entry(std::span<block_map::PendingWrite const> writes, u64 at) const {
  auto bytes = std::vector<std::byte>((writes.size() + 1) * log_at::sector);
  auto const file_bytes = TRY(storage_->size());
  auto* const data = bytes.data();
  store_le<u32>(data, log_at::entry_signature);
  store_le<u32>(data + log_at::entry_length, static_cast<u32>(bytes.size()));
  store_le<u32>(data + log_at::tail, static_cast<u32>(at));
  store_le<u64>(data + log_at::sequence, sequence_);
  store_le<u32>(data + log_at::descriptors, static_cast<u32>(writes.size()));
  std::memcpy(data + log_at::log, log_.data(), log_.size());
  store_le<u64>(data + log_at::flushed_file, file_bytes);
  store_le<u64>(data + log_at::last_file, file_bytes);
  for (auto index = std::size_t{0}; index < writes.size(); ++index) {
    auto const* const content = writes[index].bytes.data();
    auto* const descriptor = data + log_at::header_bytes + index * log_at::descriptor_bytes;
    store_le<u32>(descriptor, log_at::data_signature);
    store_le<u32>(descriptor + log_at::trailing, load_le<u32>(content + log_at::sector_sequence_low));
    store_le<u64>(descriptor + log_at::leading, load_le<u64>(content));
    store_le<u64>(descriptor + log_at::file_offset, writes[index].at);
    store_le<u64>(descriptor + log_at::descriptor_sequence, sequence_);
    auto* const sector = data + (index + 1) * log_at::sector;
    std::memcpy(sector, content, log_at::sector);
    store_le<u32>(sector, log_at::sector_signature);
    store_le<u32>(sector + log_at::sector_sequence_high, static_cast<u32>(sequence_ >> 32));
    store_le<u32>(sector + log_at::sector_sequence_low, static_cast<u32>(sequence_));
  }
  store_le<u32>(data + log_at::checksum, crc32c(bytes, log_at::checksum));
  return bytes;
}

Result<> LogWriter::close() {
  if (!header_->log_in_use()) return {};
  header_->log = UniqueId{};
  log_ = UniqueId{};
  return write_file_header(*storage_, *header_);
}

}  // namespace vireo::image::vhdx
