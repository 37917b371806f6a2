#include "device/virtio/block/block.h"

#include <algorithm>
#include <array>
#include <bit>

#include "observe/log.h"

namespace vireo::device::virtio {
namespace {

using namespace spec;

constexpr u32 most_ranges{16};               // in one discard or write-zeroes request
constexpr u32 most_range_sectors{1U << 21};  // 1 GiB
constexpr u32 class_code_scsi{0x010000};

constexpr auto kept_for_later = BlockStatus{0xff};  // never reaches the guest

u64 bit(u32 feature) { return u64{1} << feature; }

BlockConfig make_config(image::BlockImage::Geometry const& geometry, BlockOptions const& options) {
  auto const sector = std::max(geometry.sector, sector_bytes);
  auto config = BlockConfig{};
  config.capacity = geometry.bytes / sector_bytes;
  config.seg_max = std::min<u32>(options.queue_size - 2U, 254);
  config.heads = 16;
  config.sectors = 63;
  config.cylinders = static_cast<u16>(std::min<u64>(config.capacity / (16 * 63), 16383));
  config.blk_size = sector;
  config.physical_block_exp = sector < 4096 ? static_cast<u8>(std::countr_zero(4096 / sector)) : u8{0};
  config.min_io_size = 1;
  config.writeback = 1;
  config.num_queues = options.queues;
  config.max_discard_sectors = most_range_sectors;
  config.max_discard_seg = most_ranges;
  config.discard_sector_alignment = std::max(geometry.cluster, sector) / sector_bytes;
  config.max_write_zeroes_sectors = most_range_sectors;
  config.max_write_zeroes_seg = most_ranges;
  config.write_zeroes_may_unmap = 1;
  return config;
}

}  // namespace

Block::Block(std::shared_ptr<image::BlockImage> image, BlockOptions options)
    : image_{std::move(image)},
      options_{std::move(options)},
      geometry_{image_->geometry()},
      description_{.id = DeviceId::block,
                   .class_code = class_code_scsi,
                   .name = "virtio-block",
                   .queue_sizes = std::vector<u16>(options_.queues, options_.queue_size)},
      config_{make_config(geometry_, options_)} {}

u64 Block::features() const {
  auto features = bit(VIRTIO_BLK_F_SEG_MAX) | bit(VIRTIO_BLK_F_GEOMETRY) | bit(VIRTIO_BLK_F_BLK_SIZE) |
                  bit(VIRTIO_BLK_F_FLUSH) | bit(VIRTIO_BLK_F_TOPOLOGY);
  if (options_.queues > 1) features |= bit(VIRTIO_BLK_F_MQ);
  if (geometry_.read_only) return features | bit(VIRTIO_BLK_F_RO);
  return features | bit(VIRTIO_BLK_F_DISCARD) | bit(VIRTIO_BLK_F_WRITE_ZEROES);
}

void Block::activate() {
  // 5.2.6.2: a driver without FLUSH counts on every finished write being stable.
  flush_each_write_ = !transport_->negotiated(VIRTIO_BLK_F_FLUSH);
  workers_.start(options_.threads);
  for (auto& request : kept_.with([](auto& kept) { return std::exchange(kept, {}); })) {
    transport_->queue(request.queue).adopt(request.chain);
    start(std::move(request));
  }
  for (auto index = u16{0}; index < options_.queues; ++index) queue_notified(index);
}

void Block::queue_notified(u16 index) {
  consume(*transport_, index, [&](Chain&& chain) { submit(index, std::move(chain)); });
}

void Block::quiesce() {
  workers_.finish();
  reap();
}

state::Saved Block::save() const {
  auto state = State{.capacity = config_.capacity};
  auto const add = [&](std::vector<Segment> const& segments, bool writable) {
    for (auto const& segment : segments) {
      state.kept_segments.push_back({segment.at.value, static_cast<u32>(segment.host.size()), writable});
    }
  };
  kept_.with([&](auto const& kept) {
    for (auto const& [queue, chain, header] : kept) {
      state.kept.push_back({.sector = header.sector,
                            .type = header.type,
                            .segments = static_cast<u32>(chain.readable.size() + chain.writable.size()),
                            .queue = queue,
                            .id = chain.id,
                            .slots = chain.slots});
      add(chain.readable, false);
      add(chain.writable, true);
    }
  });
  return state::save(state);
}

Result<std::vector<Block::Request>> Block::rebuild(State const& state) const {
  auto requests = std::vector<Request>{};
  auto rest = std::span{state.kept_segments};
  for (auto const& saved : state.kept) {
    if (saved.queue >= options_.queues || saved.segments > rest.size()) {
      return fail(Errc::corrupt, "virtio-block: a kept request that cannot be");
    }
    auto builder = ChainBuilder{transport_->memory()};
    for (auto const& segment : rest.first(saved.segments)) {
      TRY(builder.add(segment.at, segment.length, segment.writable != 0));
    }
    rest = rest.subspan(saved.segments);
    auto chain = std::move(builder).take(saved.id, saved.slots);
    if (chain.readable_bytes < sizeof(BlockRequestHeader) || chain.writable_bytes == 0) {
      return fail(Errc::corrupt, "virtio-block: a kept request without header or status");
    }
    requests.push_back({saved.queue, std::move(chain), {saved.type, 0, saved.sector}});
  }
  return requests;
}

Result<> Block::restore(state::Saved const& saved) {
  auto state = State{.capacity = config_.capacity};
  TRY(state::restore(saved, state));
  if (state.capacity != config_.capacity) {
    return fail(Errc::corrupt, fmt::format("virtio-block: saved with a disk of {} sectors, this one has {}",
                                           state.capacity, config_.capacity));
  }
  auto requests = TRY(rebuild(state));
  kept_.with([&](auto& kept) { kept = std::move(requests); });
  return {};
}

void Block::submit(u16 queue, Chain chain) {
  auto header = BlockRequestHeader{};
  auto const got = gather(chain.readable, 0, std::as_writable_bytes(std::span{&header, 1}));
  if (got != sizeof header || chain.writable_bytes == 0)
    return transport_->fail("request without header or status");
  start({queue, std::move(chain), header});
}

void Block::start(Request&& request) {
  workers_.submit([this, request = std::move(request)]() mutable { execute(request); });
}

void Block::execute(Request& request) {
  auto const outcome = perform(request);
  if (outcome == kept_for_later) return kept_.with([&](auto& kept) { kept.push_back(std::move(request)); });
  auto const status = std::byte{outcome};
  auto const written = request.chain.writable_bytes;
  scatter(request.chain.writable, written - 1, std::span{&status, 1});
  transport_->queue(request.queue).note_written(request.chain);
  auto const first = finished_.with([&](auto& finished) {
    finished.push_back({request.queue, {request.chain.id, request.chain.slots, written}});
    return finished.size() == 1;
  });
  if (first) transport_->post([this] { reap(); });
}

void Block::reap() {
  auto const finished = finished_.with([](auto& list) { return std::exchange(list, {}); });
  auto touched = std::vector<bool>(options_.queues);
  for (auto const& [index, completion] : finished) {
    transport_->queue(index).push(std::span{&completion, 1});
    touched[index] = true;
  }
  for (auto index = u16{0}; index < options_.queues; ++index) {
    if (touched[index]) transport_->interrupt(index);
  }
}

// ---- on a worker ----

BlockStatus Block::perform(Request const& request) {
  switch (request.header.type) {
    case VIRTIO_BLK_T_IN: return transfer(request, false);
    case VIRTIO_BLK_T_OUT: return transfer(request, true);
    case VIRTIO_BLK_T_FLUSH: return status_of(image_->flush(), "flush");
    case VIRTIO_BLK_T_GET_ID: return identify(request);
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES: return for_each_range(request);
    default: return VIRTIO_BLK_S_UNSUPP;
  }
}

BlockStatus Block::transfer(Request const& request, bool write) {
  auto const& chain = request.chain;
  auto const data = write ? slice(chain.readable, sizeof(BlockRequestHeader), chain.readable_bytes)
                          : slice(chain.writable, 0, chain.writable_bytes - u64{1});
  auto const bytes =
      write ? chain.readable_bytes - u64{sizeof(BlockRequestHeader)} : chain.writable_bytes - u64{1};
  if (bytes % sector_bytes != 0 || !in_range(request.header.sector, bytes)) return VIRTIO_BLK_S_IOERR;
  if (write && geometry_.read_only) return VIRTIO_BLK_S_IOERR;
  auto at = request.header.sector * sector_bytes;
  for (auto const& segment : data) {
    auto const done = write ? image_->write(at, segment.host) : image_->read(at, segment.host);
    if (!done) return status_of(done, write ? "write" : "read");
    at += segment.host.size();
  }
  if (write && flush_each_write_) return status_of(image_->flush(), "flush");
  return VIRTIO_BLK_S_OK;
}

BlockStatus Block::for_each_range(Request const& request) {
  auto const bytes = request.chain.readable_bytes - u64{sizeof(BlockRequestHeader)};
  auto ranges = std::array<BlockRange, most_ranges>{};
  if (geometry_.read_only) return VIRTIO_BLK_S_IOERR;
  if (bytes == 0 || bytes % sizeof(BlockRange) != 0 || bytes > sizeof ranges) return VIRTIO_BLK_S_IOERR;
  gather(request.chain.readable, sizeof(BlockRequestHeader),
         std::as_writable_bytes(std::span{ranges}).first(bytes));
  auto const zeroes = request.header.type == VIRTIO_BLK_T_WRITE_ZEROES;
  auto const known_flags = zeroes ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0U;
  for (auto const& range : std::span{ranges}.first(bytes / sizeof(BlockRange))) {
    if ((range.flags & ~known_flags) != 0) return VIRTIO_BLK_S_UNSUPP;
    auto const length = u64{range.num_sectors} * sector_bytes;
    if (range.num_sectors > most_range_sectors || !in_range(range.sector, length)) return VIRTIO_BLK_S_IOERR;
    auto const at = range.sector * sector_bytes;
    auto const unmap = (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
    auto const done = zeroes ? image_->write_zeroes(at, length, unmap) : image_->discard(at, length);
    if (!done) return status_of(done, zeroes ? "write zeroes" : "discard");
  }
  if (zeroes && flush_each_write_) return status_of(image_->flush(), "flush");
  return VIRTIO_BLK_S_OK;
}

BlockStatus Block::identify(Request const& request) {
  if (request.chain.writable_bytes - 1 < identifier_bytes) return VIRTIO_BLK_S_IOERR;
  auto text = std::array<char, identifier_bytes>{};
  std::copy_n(options_.serial.begin(), std::min(options_.serial.size(), text.size()), text.begin());
  scatter(request.chain.writable, 0, std::as_bytes(std::span{text}));
  return VIRTIO_BLK_S_OK;
}

bool Block::in_range(u64 sector, u64 bytes) const {
  return sector <= config_.capacity && bytes <= (config_.capacity - sector) * sector_bytes;
}

BlockStatus Block::status_of(Result<> const& result, std::string_view verb) {
  if (result) return VIRTIO_BLK_S_OK;
  auto const kept = options_.errors != nullptr && options_.errors->keeps(result.error(), verb);
  if (options_.errors == nullptr) {
    VIREO_LOG_GUEST(observe::Level::warning, "virtio-block", "{}: {}", verb, result.error().what());
  }
  return kept ? kept_for_later : VIRTIO_BLK_S_IOERR;
}

}  // namespace vireo::device::virtio
