#include "device/fw_cfg/fw_cfg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "device/fw_cfg/spec.h"

namespace vireo::device {

using namespace fw_cfg_spec;

namespace {

template <typename T>
void put_be(FwCfg::Item& item, T value) {
  for (auto i = sizeof(T); i-- > 0;) item.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

FwCfg::FwCfg(memory::GuestMemory& memory) : memory_{memory} {
  add(Signature, {'Q', 'E', 'M', 'U'});
  add(Id, {id_traditional | id_dma, 0, 0, 0});
  write_directory();
}

Result<> FwCfg::add_file(std::string const& name, Item content) {
  if (name.empty() || name.size() >= name_bytes || files_.contains(name)) {
    return fail(Errc::invalid,
                fmt::format("firmware file '{}': the name is taken, empty or longer than {} characters", name,
                            name_bytes - 1));
  }
  auto const key = static_cast<u16>(FileFirst + files_.size());
  files_[name] = key;
  add(key, std::move(content));
  write_directory();
  return {};
}

void FwCfg::write_directory() {
  auto directory = Item{};
  put_be(directory, static_cast<u32>(files_.size()));
  for (auto const& [name, key] : files_) {
    put_be(directory, static_cast<u32>(items_.at(key).size()));
    put_be(directory, key);
    put_be(directory, u16{0});
    auto const start = directory.size();
    directory.insert(directory.end(), name.begin(), name.end());
    directory.resize(start + name_bytes);
  }
  add(FileDirectory, std::move(directory));
}

Result<> FwCfg::restore(state::Saved const& saved) {
  reset();
  auto state = State{};
  TRY(state::restore(saved, state));
  state_ = state;
  return {};
}

std::span<bus::PortRange const> FwCfg::ports() const {
  static constexpr auto ranges = std::array<bus::PortRange, 2>{{{Selector, 2}, {DmaHigh, 8}}};
  return ranges;
}

void FwCfg::select(u16 key) {
  state_.key = key;
  state_.offset = 0;
}

void FwCfg::take(Bytes into) {
  auto const found = items_.find(state_.key);
  auto const whole = found != items_.end() ? std::as_bytes(std::span{found->second}) : ConstBytes{};
  auto const rest = whole.subspan(std::min<std::size_t>(state_.offset, whole.size()));
  auto const piece = std::min(rest.size(), into.size());
  std::copy_n(rest.begin(), piece, into.begin());
  std::fill(into.begin() + static_cast<std::ptrdiff_t>(piece), into.end(), std::byte{0});
  state_.offset = static_cast<u32>(std::min<u64>(u64{state_.offset} + into.size(), whole.size()));
}

u32 FwCfg::read_port(u16 port, u8 width) {
  if (port == Data) {
    auto byte = std::array<std::byte, 1>{};
    take(byte);
    return std::to_integer<u32>(byte[0]);
  }
  if (port == Selector) return 0;
  // The DMA register reads as its signature, big-endian.
  auto value = u32{0};
  for (auto i = u32{0}; i < width; ++i) {
    auto const place = port + i - DmaHigh;
    value |= static_cast<u32>(dma_signature >> (8 * (7 - place)) & 0xff) << (8 * i);
  }
  return value;
}

void FwCfg::write_port(u16 port, u8 width, u32 value) {
  if (port == Selector && width == 2) return select(static_cast<u16>(value));
  if (width != 4) return;
  if (port == DmaHigh) state_.dma_high = std::byteswap(value);
  if (port != DmaLow) return;
  auto const at = Gpa{u64{state_.dma_high} << 32 | std::byteswap(value)};
  state_.dma_high = 0;
  transfer(at);
}

void FwCfg::transfer(Gpa at) {
  auto const access = memory_.read_as<DmaAccess>(at);
  if (!access) return;  // there is no place to say so
  auto const control = std::byteswap(access->control);
  auto const length = std::byteswap(access->length);
  if ((control & DmaSelect) != 0) select(static_cast<u16>(control >> 16));
  auto good = (control & DmaWrite) == 0;
  if (good && (control & DmaRead) != 0) {
    good = copy(Gpa{std::byteswap(access->address)}, length);
  } else if (good && (control & DmaSkip) != 0) {
    auto const end = items_.contains(state_.key) ? items_.at(state_.key).size() : 0;
    state_.offset = static_cast<u32>(std::min<u64>(u64{state_.offset} + length, end));
  }
  // The guest polls this word; where it has taken the memory away meanwhile, nobody waits.
  static_cast<void>(memory_.write_as<u32>(at, std::byteswap(good ? u32{0} : u32{DmaError})));
}

/// A length beyond the item costs no more than what the guest's memory takes.
bool FwCfg::copy(Gpa to, u32 length) {
  auto chunk = std::array<std::byte, 4096>{};
  while (length > 0) {
    auto const piece = std::span{chunk}.first(std::min<std::size_t>(length, chunk.size()));
    take(piece);
    if (!memory_.write(to, piece)) return false;
    to = to + piece.size();
    length -= static_cast<u32>(piece.size());
  }
  return true;
}

}  // namespace vireo::device
