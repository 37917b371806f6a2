#include "firmware/acpi/aml.h"

#include <algorithm>

namespace vireo::firmware::aml {
namespace {

enum Opcode : u8 {  // ACPI 6.5, table 20.2
  name_op = 0x08,
  byte_prefix = 0x0a,
  word_prefix = 0x0b,
  dword_prefix = 0x0c,
  string_prefix = 0x0d,
  qword_prefix = 0x0e,
  scope_op = 0x10,
  buffer_op = 0x11,
  package_op = 0x12,
  method_op = 0x14,
  dual_name = 0x2e,
  multi_name = 0x2f,
  extended = 0x5b,
  arg0_op = 0x68,
  device_op = 0x82,
  return_op = 0xa4,
};

void put(Term& term, u64 value, u32 bytes) {
  for (auto i = u32{0}; i < bytes; ++i) term.push_back(static_cast<u8>(value >> (8 * i)));
}

/// A term of a few bytes with room for what follows. (Growing a one-byte vector draws a false -Warray-bounds
/// from g++ 12.)
Term start(std::initializer_list<u8> bytes) {
  auto term = Term{};
  term.reserve(64);
  for (auto const byte : bytes) term.push_back(byte);
  return term;
}

void append(Term& term, Term const& more) {
  for (auto const byte : more) term.push_back(byte);
}

/// PkgLength (20.2.4) counts itself.
Term with_length(Term const& body) {
  auto extra = u64{0};
  if (body.size() + 1 >= 1u << 6) extra = 1;
  if (body.size() + 2 >= 1u << 12) extra = 2;
  if (body.size() + 3 >= 1u << 20) extra = 3;
  auto const total = body.size() + 1 + extra;
  auto result = start({});
  if (extra == 0) {
    result.push_back(static_cast<u8>(total));
  } else {
    result.push_back(static_cast<u8>(extra << 6 | (total & 0xf)));
    put(result, total >> 4, static_cast<u32>(extra));
  }
  append(result, body);
  return result;
}

Term operation(std::initializer_list<u8> opcode, Term const& head, std::vector<Term> const& contents) {
  auto body = head;
  for (auto const& term : contents) append(body, term);
  auto result = start(opcode);
  append(result, with_length(body));
  return result;
}

/// Word, DWord or QWord address space descriptor (6.4.3.5): fixed range, producer.
Term window(u8 tag, u32 width, u8 type, u8 type_flags, u64 first, u64 last) {
  auto result = start({tag});
  put(result, 3 + 5 * width, 2);
  put(result, type, 1);
  put(result, 0x0c, 1);  // minimum and maximum are fixed
  put(result, type_flags, 1);
  put(result, 0, width);  // granularity
  put(result, first, width);
  put(result, last, width);
  put(result, 0, width);  // translation
  put(result, last - first + 1, width);
  return result;
}

constexpr u8 word_space{0x88}, dword_space{0x87}, qword_space{0x8a};
constexpr u8 memory_type{0}, io_type{1}, bus_type{2};
constexpr u8 whole_io_range{3};
constexpr u8 uncached_writable{1};
constexpr u8 prefetchable_writable{7};

}  // namespace

Term integer(u64 value) {
  if (value <= 1) return {static_cast<u8>(value)};
  auto result = start({});
  auto const bytes = value <= 0xff ? 1u : value <= 0xffff ? 2u : value <= 0xffffffff ? 4u : 8u;
  result.push_back(bytes == 1   ? byte_prefix
                   : bytes == 2 ? word_prefix
                   : bytes == 4 ? dword_prefix
                                : qword_prefix);
  put(result, value, bytes);
  return result;
}

Term string(std::string_view text) {
  auto result = start({string_prefix});
  result.insert(result.end(), text.begin(), text.end());
  result.push_back(0);
  return result;
}

Term path(std::string_view text) {
  auto result = start({});
  if (text.starts_with('\\')) {
    result.push_back('\\');
    text.remove_prefix(1);
  }
  auto segments = std::vector<std::string>{};
  while (!text.empty()) {
    auto const dot = text.find('.');
    auto segment = std::string{text.substr(0, dot)};
    segment.resize(4, '_');
    segments.push_back(segment);
    text.remove_prefix(dot == std::string_view::npos ? text.size() : dot + 1);
  }
  if (segments.size() == 2) result.push_back(dual_name);
  if (segments.size() > 2) {
    result.push_back(multi_name);
    result.push_back(static_cast<u8>(segments.size()));
  }
  for (auto const& segment : segments) result.insert(result.end(), segment.begin(), segment.end());
  return result;
}

Term package(std::vector<Term> const& elements) {
  return operation({package_op}, {static_cast<u8>(elements.size())}, elements);
}

Term buffer(Term const& bytes) { return operation({buffer_op}, integer(bytes.size()), {bytes}); }

Term eisa_id(std::string_view id) {
  auto const letter = [&](std::size_t i) { return static_cast<u32>(id[i] - '@') & 0x1f; };
  auto const digit = [&](std::size_t i) {
    return static_cast<u32>(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
  };
  auto const packed = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digit(3) << 12 | digit(4) << 8 |
                      digit(5) << 4 | digit(6);
  return integer(__builtin_bswap32(packed));
}

Term name(std::string_view where, Term const& value) { return concatenate({{name_op}, path(where), value}); }
Term scope(std::string_view where, std::vector<Term> const& contents) {
  return operation({scope_op}, path(where), contents);
}
Term device(std::string_view where, std::vector<Term> const& contents) {
  return operation({extended, device_op}, path(where), contents);
}
Term method(std::string_view where, u8 arguments, std::vector<Term> const& contents) {
  auto head = path(where);
  head.push_back(arguments);
  return operation({method_op}, head, contents);
}
Term return_argument(u8 index) { return {return_op, static_cast<u8>(arg0_op + index)}; }

Term io_port(u16 first, u8 count) {
  auto result = start({0x47, 1});  // small resource: I/O port, 16-bit decode
  put(result, first, 2);
  put(result, first, 2);
  put(result, 1, 1);
  put(result, count, 1);
  return result;
}
Term irq(u8 line) {
  auto result = start({0x22});  // small resource: IRQ, edge, high
  put(result, u64{1} << line, 2);
  return result;
}
Term memory32_fixed(u32 address, u32 length, bool writable) {
  auto result = start({0x86, 9, 0, static_cast<u8>(writable ? 1 : 0)});
  put(result, address, 4);
  put(result, length, 4);
  return result;
}
Term bus_numbers(u16 first, u16 last) { return window(word_space, 2, bus_type, 0, first, last); }
Term io_window(u16 first, u16 last) { return window(word_space, 2, io_type, whole_io_range, first, last); }
Term memory_window32(u32 first, u32 last) {
  return window(dword_space, 4, memory_type, uncached_writable, first, last);
}
Term memory_window64(u64 first, u64 last) {
  return window(qword_space, 8, memory_type, prefetchable_writable, first, last);
}
Term resources(std::vector<Term> const& descriptors) {
  auto bytes = concatenate(descriptors);
  append(bytes, {0x79, 0});  // end tag; checksum 0: none
  return buffer(bytes);
}

Term concatenate(std::vector<Term> const& terms) {
  auto result = start({});
  for (auto const& term : terms) append(result, term);
  return result;
}

}  // namespace vireo::firmware::aml
