// SPDX-License-Identifier: Apache-2.0
#pragma once

// Which POSIX extended regular expressions from DNS may be given to regcomp(3). For an expression of 20 bytes,
// regcomp() and regexec(3) can take all memory or hours.

#include <cstddef>
#include <string>
#include <string_view>

namespace cloudbus {

// Elements of an expression whose repetitions are written out: a{3}(bc)+ is aaabcbc*.
inline constexpr std::size_t kMaxRegexElements = 256;

// Why an expression is refused, or nothing. Refused are too many elements, a repetition of what may be empty, as in
// (a*)*, and back references, which POSIX does not have in extended expressions. regcomp() finds all other errors.
std::string regex_bounds_error(std::string_view expression);

}  // namespace cloudbus
