#include "device/virtio/balloon/balloon.h"

#include <sys/mman.h>

#include <algorithm>
#include <limits>

#include "observe/log.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u16 inflate_queue{0};
constexpr u16 deflate_queue{1};
constexpr u16 statistics_queue{2};
// 5.5.2 counts queues as if every feature were there, Linux leaves out those that are not: whatever follows the
// statistics queue, or takes its place without that feature, reports free pages.
constexpr u16 queue_count{5};
constexpr u32 most_pages{16384};  // of one request; the rest stays with the guest

constexpr u32 actual_offset{4};
constexpr u32 poison_offset{12};

}  // namespace

Balloon::Balloon(memory::GuestMemory& memory)
    : memory_{memory},
      description_{.id = DeviceId::balloon,
                   .class_code = 0x00ff00,
                   .name = "virtio-balloon",
                   .queue_sizes = std::vector<u16>(queue_count, 128)} {}

u64 Balloon::features() const {
  return u64{1} << VIRTIO_BALLOON_F_STATS_VQ | u64{1} << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
         u64{1} << VIRTIO_BALLOON_F_PAGE_POISON | u64{1} << VIRTIO_BALLOON_F_PAGE_REPORTING;
}

void Balloon::set_target(u64 bytes) {
  auto const pages = static_cast<u32>(std::min<u64>(bytes / page_size, std::numeric_limits<u32>::max()));
  if (state_.num_pages == pages) return;
  state_.num_pages = pages;
  transport_->config_changed();
}

void Balloon::read_config(u32 offset, Bytes into) const {
  read_config_struct(BalloonConfig{state_.num_pages, state_.actual, 0, state_.poison_value}, offset, into);
}

void Balloon::write_config(u32 offset, ConstBytes from) {
  if (from.size() != sizeof(u32)) return;
  if (offset == actual_offset) state_.actual = load_le<u32>(from.data());
  if (offset == poison_offset) state_.poison_value = load_le<u32>(from.data());
}

void Balloon::activate() {
  for (auto index = u16{0}; index < queue_count; ++index) queue_notified(index);
}

void Balloon::quiesce() {
  if (!statistics_buffer_) return;
  transport_->queue(statistics_queue).unpop(*statistics_buffer_);
  statistics_buffer_.reset();
}

void Balloon::reset() {
  state_ = State{.num_pages = 0};
  statistics_ = {};
}

void Balloon::queue_notified(u16 index) {
  auto const statistics = index == statistics_queue && transport_->negotiated(VIRTIO_BALLOON_F_STATS_VQ);
  auto& queue = transport_->queue(index);
  consume(*transport_, index, [&](Chain&& chain) {
    if (statistics) return take_statistics(std::move(chain));
    if (index == inflate_queue) inflate(chain);
    // Deflating needs no act: the host gives pages at the first touch.
    if (index > deflate_queue) report(chain);
    queue.push(chain, 0);
  });
  transport_->interrupt(index);
}

void Balloon::inflate(Chain const& chain) {
  auto const count = std::min<u32>(chain.readable_bytes / u32{sizeof(u32)}, most_pages);
  auto pages = std::vector<u32>(count);
  gather(chain.readable, 0, std::as_writable_bytes(std::span{pages}));
  std::ranges::sort(pages);
  for (auto first = std::size_t{0}; first < pages.size();) {
    auto next = first + 1;
    while (next < pages.size() && pages[next] == pages[next - 1] + 1) ++next;
    give_back(Gpa{pages[first] * page_size}, (next - first) * page_size);
    first = next;
  }
}

void Balloon::report(Chain const& chain) {
  // 5.5.6.6: the driver expects its poison back, and we give back zeroes.
  if (transport_->negotiated(VIRTIO_BALLOON_F_PAGE_POISON) && state_.poison_value != 0) return;
  for (auto const& segment : chain.writable) {
    auto const start = align_up(segment.at.value, page_size);
    auto const end = align_down(segment.at.value + segment.host.size(), page_size);
    if (start < end) give_back(Gpa{start}, end - start);
  }
}

void Balloon::give_back(Gpa at, u64 bytes) {
  while (bytes > 0) {
    auto const region = memory_.find(at);
    if (!region || region->kind != memory::RegionKind::ram) return;
    auto const offset = at - region->range.start;
    auto const piece = std::min(bytes, region->range.length - offset);
    // SOUND: whole pages inside one region; the mapping stays and reads as zero until it is touched again.
    if (::madvise(region->host + offset, piece, MADV_REMOVE) == 0)
      returned_bytes_ += piece;
    else
      VIREO_LOG_GUEST(observe::Level::info, "virtio-balloon", "the host does not take memory back");
    memory_.note_written(at, piece);
    at = at + piece;
    bytes -= piece;
  }
}

void Balloon::take_statistics(Chain&& chain) {
  for (auto offset = u32{0}; offset + balloon_statistic_bytes <= std::min<u32>(chain.readable_bytes, page_size);
       offset += balloon_statistic_bytes) {
    auto entry = std::array<std::byte, balloon_statistic_bytes>{};
    gather(chain.readable, offset, entry);
    auto const tag = load_le<u16>(&entry[0]);
    if (tag < statistics_.size()) statistics_[tag] = load_le<u64>(&entry[2]);
  }
  // 5.5.6.3: one buffer at a time; a second one frees the first.
  if (statistics_buffer_) transport_->queue(statistics_queue).push(*statistics_buffer_, 0);
  statistics_buffer_ = std::move(chain);
}

void Balloon::request_statistics() {
  if (!statistics_buffer_) return;
  transport_->queue(statistics_queue).push(*std::exchange(statistics_buffer_, {}), 0);
  transport_->interrupt(statistics_queue);
}

}  // namespace vireo::device::virtio
