#pragma once

#include <atomic>
#include <optional>
#include <span>
#include <vector>

#include "vocab/bytes.h"
#include "vocab/numbers.h"
#include "vocab/result.h"

namespace vireo::memory {

/// Who must know of stores that no vCPU makes: by devices, by loaders. Called on any thread, after the bytes
/// have changed and before the guest can be told of it.
class WriteObserver {
 public:
  virtual ~WriteObserver() = default;
  virtual void written(Gpa at, u64 length) = 0;
};

enum class RegionKind : u8 { ram, rom };

/// The guest's physical memory as its users see it: RAM and ROM regions. What add() makes are blocks, each one
/// host mapping that stays until the end; windows over them decide which addresses show what. Reads and writes
/// are plain memory accesses that race with the guest, as DMA does. Addresses and lengths come from the guest:
/// out of range is Errc::invalid.
class GuestMemory {
 public:
  struct Region {
    GpaRange range;   // page-aligned
    std::byte* host;  // range.length bytes
    RegionKind kind;
    int fd;  // memfd behind it
    u64 fd_offset;
  };
  using Regions = std::vector<Region>;  // ordered by address, disjoint
  /// Shows other bytes of a block in place of what lies at `range`, or, without `host`, leaves the range to the
  /// devices. A window of kind rom over RAM protects it.
  struct Window {
    GpaRange range;     // page-aligned
    std::byte* host{};  // range.length bytes of one block
    RegionKind kind{};
    bool operator==(Window const&) const = default;
  };

  GuestMemory();
  ~GuestMemory();
  GuestMemory(GuestMemory const&) = delete;
  GuestMemory& operator=(GuestMemory const&) = delete;

  /// Maps fresh zero memory at `range`. Fails on overlap, misalignment and when the host has no memory. Before
  /// the first vCPU runs.
  Result<> add(GpaRange range, RegionKind kind);
  /// Memory of a device, at no address that a guest has: windows show it. Valid as long as this.
  Result<Bytes> add_apart(u64 bytes);
  /// What add() and add_apart() made.
  Regions const& blocks() const { return blocks_; }
  /// The machine's RAM, whatever windows lie over it.
  std::vector<GpaRange> ram() const;
  u64 ram_bytes() const;

  /// In place of earlier windows; a later one of the list lies above the ones before it. One thread at a time,
  /// and no vCPU is in code (engine::Engine::change_memory).
  void set_windows(std::span<Window const> windows);

  /// What the guest sees. For those whom set_windows() waits for: vCPUs in code, and who holds the executor.
  Regions const& regions() const { return *map_.load(std::memory_order_acquire); }
  /// The region around `at`, or nothing (MMIO or nothing). Any thread, as the rest.
  std::optional<Region> find(Gpa at) const;
  /// The host address of `length` bytes in one RAM region (ROM too when not `for_write`), or null. Who writes
  /// there for a device calls note_written() before the guest may learn of it.
  std::byte* host(Gpa at, u64 length, bool for_write) const;

  /// May cross regions; nothing is copied on error. Writing to ROM is an error.
  Result<> read(Gpa at, Bytes into) const;
  Result<> write(Gpa at, ConstBytes from);
  /// For loaders: also writes to ROM.
  Result<> load(Gpa at, ConstBytes from);
  template <typename T>
  Result<T> read_as(Gpa at) const {
    auto value = T{};
    TRY(read(at, std::as_writable_bytes(std::span{&value, 1})));
    return value;
  }
  template <typename T>
  Result<> write_as(Gpa at, T const& value) {
    return write(at, std::as_bytes(std::span{&value, 1}));
  }

  /// Null for none. It must outlive its place here.
  void set_write_observer(WriteObserver* observer) { observer_.store(observer, std::memory_order_release); }
  /// Any thread. write() and load() call it themselves.
  void note_written(Gpa at, u64 length) const {
    auto* const observer = observer_.load(std::memory_order_acquire);
    if (observer != nullptr) observer->written(at, length);
  }

 private:
  class Reading;
  static constexpr Gpa apart{u64{1} << 52};  // no x86 processor has addresses from here on (SDM vol. 3, 4.1.4)

  void show(Regions&& regions);

  std::atomic<WriteObserver*> observer_{};
  Regions blocks_;
  std::atomic<Regions const*> map_;
  mutable std::atomic<u32> readers_{};  // who holds on to *map_
};

}  // namespace vireo::memory
