// SPDX-License-Identifier: Apache-2.0
#pragma once

// The substitution expressions of RFC 3402, section 3.2: "!^urn:bus:(.*)$!\1.example!i".

#include <cstddef>
#include <string>
#include <string_view>

namespace cloudbus {

// Expressions come from DNS and are matched by the loop that serves clients: see also regex_bounds.h. In the worst case
// that was found, an expression took 50 ms for a subject of 255 bytes, and 8 ms for a subject of 40 bytes.
inline constexpr std::size_t kMaxExpression = 1024;    // bytes
inline constexpr std::size_t kMaxSubject = 255;        // bytes that are matched
inline constexpr std::size_t kMaxSubstitution = 1024;  // bytes of the result

// What an expression makes of a subject; or what is wrong, in words that quote nothing of the expression. Both are
// empty if the expression does not match, or if the result is empty.
struct Substitution {
  std::string result, error;
};

// An expression has three parts, each with a delimiter in front: a regular expression, a replacement and flags. The
// delimiter is the first character, which is no digit, no backslash and no flag. A backslash before the delimiter takes
// away only its meaning as the delimiter.
//
// The regular expression is a POSIX extended one, for regcomp(3) in the "C" locale: RFC 3403, section 3, allows none
// that depends on the locale. It matches anywhere unless it is anchored. The replacement knows \1 to \9, and \\ for a
// backslash; any other use of a backslash is an error. The flag i ignores the case of ASCII letters.
Substitution substitute(std::string_view expression, const std::string& subject);

}  // namespace cloudbus
