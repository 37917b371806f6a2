#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "vocab/integers.h"

/// ACPI Machine Language as byte strings that nest (ACPI 6.5, chapter 20). Each function yields one whole term.
namespace vireo::firmware::aml {

using Term = std::vector<u8>;

Term integer(u64 value);
Term string(std::string_view text);
/// "\\_SB.PCI0": segments of up to four characters, padded with '_'.
Term path(std::string_view name);
Term package(std::vector<Term> const& elements);
Term buffer(Term const& bytes);
/// A plug and play id such as "PNP0A08", packed into 32 bits (ACPI 6.5, 19.3.4).
Term eisa_id(std::string_view id);

Term name(std::string_view where, Term const& value);
Term scope(std::string_view where, std::vector<Term> const& contents);
Term device(std::string_view where, std::vector<Term> const& contents);
/// `arguments` 0..7.
Term method(std::string_view where, u8 arguments, std::vector<Term> const& contents);
Term return_argument(u8 index);

// Resource descriptors for _CRS (ACPI 6.5, 6.4); resources() adds the end tag.
Term io_port(u16 first, u8 count);
Term irq(u8 line);
Term memory32_fixed(u32 address, u32 length, bool writable);
Term bus_numbers(u16 first, u16 last);
Term io_window(u16 first, u16 last);
Term memory_window32(u32 first, u32 last);
Term memory_window64(u64 first, u64 last);
Term resources(std::vector<Term> const& descriptors);

Term concatenate(std::vector<Term> const& terms);

}  // namespace vireo::firmware::aml
