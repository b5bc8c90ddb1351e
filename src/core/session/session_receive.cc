// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "cloudbus/core/session/session.h"

// What arrives: bytes become frames, frames become events.

namespace cloudbus {
namespace {

constexpr Duration kLeastRoundTrip = std::chrono::microseconds(50);  // a smaller one is mostly the clock's resolution
constexpr Duration kRoundTripAge = std::chrono::seconds(10);

}  // namespace

std::optional<Event> Session::fail(LinkCode code, std::string reason) {
  close(code, std::move(reason));
  return Event{.kind = EventKind::Closed};
}

// Counts a frame that changes nothing against its limit.
std::optional<Event> Session::idle_frame(Time now) {
  if (idle_frames_.take(now)) return std::nullopt;
  return fail(LinkCode::Flood, "too many frames that change nothing");
}

bool Session::was_opened(StreamId id) const { return id <= last_stream_; }

// The next `size` bytes, contiguous; null until all of them have arrived.
const std::byte* Session::take(Bytes& input, std::size_t size) {
  if (partial_size_ == 0 && input.size() >= size) {
    const std::byte* place = input.data();
    input = input.subspan(size);
    return place;
  }
  std::size_t part = std::min(input.size(), size - partial_size_);
  if (part > 0) std::memcpy(partial_.data() + partial_size_, input.data(), part);
  partial_size_ += part;
  input = input.subspan(part);
  if (partial_size_ < size) return nullptr;
  partial_size_ = 0;
  return partial_.data();
}

std::optional<Event> Session::receive(Bytes& input, Time now) {
  auto event = next_event(input, now);
  if (!event) acknowledge_some(now);
  return event;
}

std::optional<Event> Session::next_event(Bytes& input, Time now) {
  if (!input.empty()) on_heard(now);
  while (state_ != State::Closed) {
    if (state_ == State::Preface) {
      if (auto event = receive_preface(input)) return event;
      if (state_ == State::Preface) return std::nullopt;
    } else if (!in_frame_) {
      const std::byte* place = take(input, kHeaderSize);
      if (!place) return std::nullopt;
      header_ = decode_header(place);
      if (auto event = on_header(now)) return event;
    } else if (header_.type == FrameType::Data) {
      if (data_left_ > 0 && input.empty()) return std::nullopt;
      if (auto event = receive_data(input)) return event;
    } else {
      const std::byte* place = take(input, header_.length);
      if (!place) return std::nullopt;
      in_frame_ = false;
      if (is_reliable(header_.type)) position_received_ += header_.length;
      if (auto event = on_frame({place, header_.length}, now)) return event;
    }
  }
  input = {};
  return std::nullopt;
}

void Session::on_heard(Time now) {
  last_received_ = now;
  unanswered_since_ = Time::max();
  taken_when_heard_ = output_.taken();
}

std::optional<Event> Session::receive_preface(Bytes& input) {
  std::size_t look = std::min(input.size(), kMagic.size() - std::min(partial_size_, kMagic.size()));
  if (!std::equal(input.begin(), input.begin() + look, kMagic.begin() + std::min(partial_size_, kMagic.size()))) {
    auto first = as_text(input.first(std::min<std::size_t>(input.size(), 16)));
    return fail(LinkCode::ProtocolError,
                fmt::format("the peer does not speak this protocol; its first bytes: {}", first));
  }
  const std::byte* place = take(input, kPrefaceSize);
  if (!place) return std::nullopt;
  if (auto error = preface_error(place, role_)) return fail(error->code, std::move(error->reason));
  state_ = State::Hello;
  if (!greeted_) greet();
  return std::nullopt;
}

std::optional<Event> Session::on_header(Time now) {
  if (const char* error = header_error(header_))
    return fail(LinkCode::FrameError,
                fmt::format("{}: type {}, flags {}, length {}, stream {}", error, static_cast<unsigned>(header_.type),
                            header_.flags, header_.length, header_.stream));
  if (trace_) trace_->on_frame(false, header_.type, header_.flags, header_.length, header_.stream);
  bool first = state_ == State::Hello;
  if (first != (header_.type == FrameType::Hello) && header_.type != FrameType::Close)
    return fail(LinkCode::ProtocolError, first ? "the first frame is not HELLO" : "a second HELLO");
  if (output_.size() - output_.rewound() > limits_.max_unwritten && header_.type != FrameType::Close)
    return fail(LinkCode::Flood, "the peer asks for answers and reads none");
  if (output_.kept() > resume_window_ + limits_.max_unwritten && header_.type != FrameType::Close)
    return fail(LinkCode::Flood, "the peer asks for answers and acknowledges none");
  in_frame_ = true;
  if (is_reliable(header_.type)) position_received_ += kHeaderSize;
  if (header_.type == FrameType::Reset && header_.length > kReset && !has_reasons())
    return fail(LinkCode::FrameError, "a reason in RESET, which was not agreed on");
  if (header_.stream != 0 && header_.type != FrameType::Open && !was_opened(header_.stream))
    return fail(LinkCode::ProtocolError, fmt::format("a frame for stream {}, which was never opened", header_.stream));
  if (header_.type != FrameType::Data) return std::nullopt;
  return on_data_header(now);
}

std::optional<Event> Session::on_data_header(Time now) {
  data_left_ = header_.length;
  bool empty = header_.length == 0;
  Stream* stream = find_live(header_.stream);
  if (!stream) return empty ? idle_frame(now) : std::nullopt;
  if (stream->receiving == Direction::Finished) return fail(LinkCode::ProtocolError, "DATA after FIN");
  if (role_ == Role::Controller && !stream->accepted) return fail(LinkCode::ProtocolError, "DATA before ACCEPT");
  if (!stream->window.admits(header_.length))
    return fail(LinkCode::CreditError,
                fmt::format("stream {} is beyond its credit of {}", header_.stream, stream->window.limit()));
  stream->window.receive(header_.length);
  return empty && !(header_.flags & kFin) ? idle_frame(now) : std::nullopt;
}

std::optional<Event> Session::receive_data(Bytes& input) {
  if (data_left_ == 0) {
    in_frame_ = false;
    return header_.flags & kFin ? on_fin() : std::nullopt;
  }
  Bytes part = input.first(std::min(input.size(), data_left_));
  input = input.subspan(part.size());
  data_left_ -= part.size();
  position_received_ += part.size();
  Stream* stream = find_live(header_.stream);
  if (!stream || stream->receiving != Direction::Open) return std::nullopt;
  return Event{.kind = EventKind::Data,
               .stream = header_.stream,
               .owner = stream->owner,
               .data = part,
               .ends_frame = data_left_ == 0};
}

std::optional<Event> Session::on_fin() {
  Stream* stream = find_live(header_.stream);
  if (!stream || stream->receiving != Direction::Open) return std::nullopt;
  stream->receiving = Direction::Finished;
  Event event{.kind = EventKind::Finished, .stream = header_.stream, .owner = stream->owner};
  erase_if_over(header_.stream, *stream);
  return event;
}

std::optional<Event> Session::on_frame(Bytes payload, Time now) {
  // What the segment wrote before it saw RESUME belongs to the session with which this link began. Nothing is answered:
  // the bytes behind RESUME belong to the other session.
  bool is_answer = header_.type == FrameType::Resume || header_.type == FrameType::Close;
  if (state_ == State::Resuming && !is_answer) return std::nullopt;
  switch (header_.type) {
    case FrameType::Hello: return on_hello(payload, now);
    case FrameType::Open: return on_open(payload);
    case FrameType::Accept: return on_accept(payload, now);
    case FrameType::Data: return std::nullopt;  // taken by receive_data
    case FrameType::Credit: return on_credit(payload, now);
    case FrameType::Reset: return on_reset(payload, now);
    case FrameType::Stop: return on_stop(payload, now);
    case FrameType::MaxStreams: return on_max_streams(payload, now);
    case FrameType::Ping: return on_ping(payload, now);
    case FrameType::GoAway: return on_go_away(payload, now);
    case FrameType::Ack: return on_ack(payload, now);
    case FrameType::Resume: return on_resume(payload);
    case FrameType::Close: return on_close(payload);
  }
  return std::nullopt;
}

std::optional<Event> Session::on_hello(Bytes payload, Time now) {
  auto decoded = decode_hello(payload);
  if (auto* error = std::get_if<LinkError>(&decoded)) return fail(error->code, std::move(error->reason));
  peer_ = std::move(std::get<Hello>(decoded));
  max_streams_peer_ = peer_.max_streams;
  agree_on_resuming();
  state_ = State::Established;
  ping(now);
  return Event{.kind = EventKind::Established};
}

std::optional<Event> Session::on_open(Bytes payload) {
  if (role_ != Role::Segment) return fail(LinkCode::ProtocolError, "OPEN from a segment");
  if (header_.stream <= last_stream_) return fail(LinkCode::ProtocolError, "OPEN with an id that was used");
  if (streams_opened_ >= max_streams_own_) return fail(LinkCode::ProtocolError, "OPEN beyond max-streams");
  auto decoded = decode_open(payload);
  if (auto* error = std::get_if<LinkError>(&decoded)) return fail(error->code, std::move(error->reason));
  request_ = std::move(std::get<OpenRequest>(decoded));
  last_stream_ = header_.stream;
  streams_opened_++;
  idle_frames_.add(16);
  streams_.try_emplace(header_.stream, OwnerId{0}, request_.priority, own_.initial_window, peer_.initial_window);
  if (drain_ == Drain::Done) {
    reset(header_.stream, StreamCode::GoingAway);
    release();
    return std::nullopt;
  }
  return Event{.kind = EventKind::Opened, .stream = header_.stream, .request = &request_};
}

std::optional<Event> Session::on_accept(Bytes payload, Time now) {
  if (role_ != Role::Controller) return fail(LinkCode::ProtocolError, "ACCEPT from a controller");
  if (auto error = fields_error(payload)) return fail(error->code, std::move(error->reason));
  Stream* stream = find_live(header_.stream);
  if (!stream) return idle_frame(now);
  if (stream->accepted) return fail(LinkCode::ProtocolError, "a second ACCEPT");
  stream->accepted = true;
  return Event{.kind = EventKind::Accepted, .stream = header_.stream, .owner = stream->owner};
}

std::optional<Event> Session::on_credit(Bytes payload, Time now) {
  auto limit = load<std::uint64_t>(payload.data());
  if (limit > kMaxOffset) return fail(LinkCode::CreditError, "an offset beyond 2^63 - 1");
  Stream* stream = find_live(header_.stream);
  if (!stream || limit <= stream->send_limit) return idle_frame(now);
  stream->send_limit = limit;
  schedule(header_.stream, *stream);
  return std::nullopt;
}

std::optional<Event> Session::on_reset(Bytes payload, Time now) {
  Stream* stream = find_live(header_.stream);
  if (!stream) return idle_frame(now);
  auto offset = load<std::uint64_t>(payload.data() + 2);
  if (offset != stream->window.received())
    return fail(LinkCode::ProtocolError, fmt::format("RESET of stream {} at {}, but {} bytes came", header_.stream,
                                                     offset, stream->window.received()));
  Event event{.kind = EventKind::Reset,
              .stream = header_.stream,
              .owner = stream->owner,
              .code = stream_code(load<std::uint16_t>(payload.data())),
              .reason = as_text(payload.subspan(kReset))};
  erase(header_.stream);
  return event;
}

std::optional<Event> Session::on_stop(Bytes payload, Time now) {
  Stream* stream = find_live(header_.stream);
  if (!stream || stream->sending != Direction::Open) return idle_frame(now);
  stream->sending = Direction::Stopped;
  Event event{.kind = EventKind::Stopped,
              .stream = header_.stream,
              .owner = stream->owner,
              .code = stream_code(load<std::uint16_t>(payload.data()))};
  erase_if_over(header_.stream, *stream);
  return event;
}

std::optional<Event> Session::on_max_streams(Bytes payload, Time now) {
  auto granted = load<std::uint64_t>(payload.data());
  if (role_ != Role::Controller || granted <= max_streams_peer_) return idle_frame(now);
  max_streams_peer_ = granted;
  return Event{.kind = EventKind::MoreStreams};
}

std::optional<Event> Session::on_ping(Bytes payload, Time now) {
  auto value = load<std::uint64_t>(payload.data());
  if (!(header_.flags & kReply)) {
    if (!pings_.take(now)) return fail(LinkCode::Flood, "too many pings");
    store(append(FrameType::Ping, 0, 8, kReply), value);
    return std::nullopt;
  }
  if (!ping_pending_ || value != ping_value_) return idle_frame(now);
  ping_pending_ = false;
  Duration sample = std::max(now - ping_sent_, kLeastRoundTrip);
  measured(sample, now);
  if (drain_ == Drain::Asked) {
    drain_ = Drain::Done;
    store(append(FrameType::GoAway, 0, 8), last_stream_);
  }
  return std::nullopt;
}

// Keeps the samples that are smaller than all later ones: the first sample is the smallest.
void Session::measured(Duration sample, Time now) {
  while (!round_trips_.empty() && round_trips_.back().took >= sample) round_trips_.pop_back();
  round_trips_.push_back({now, sample});
  while (now - round_trips_.front().at > kRoundTripAge) round_trips_.pop_front();
  round_trip_ = round_trips_.front().took;
}

std::optional<Event> Session::on_go_away(Bytes payload, Time now) {
  auto last = load<std::uint64_t>(payload.data());
  if (last > go_away_) return fail(LinkCode::ProtocolError, "GOAWAY with an id that grew");
  if (peer_going_away_ && last == go_away_) return idle_frame(now);
  go_away_ = last;
  if (peer_going_away_) return std::nullopt;
  peer_going_away_ = true;
  return Event{.kind = EventKind::GoingAway};
}

std::optional<Event> Session::on_ack(Bytes payload, Time now) {
  auto position = load<std::uint64_t>(payload.data());
  std::uint64_t sent = is_resumable() ? position_acked_ + output_.kept() - output_.rewound() : position_sent_;
  if (position > sent) return fail(LinkCode::ProtocolError, "ACK beyond what was sent");
  if (position <= position_acked_) return idle_frame(now);
  if (is_resumable()) output_.release(position - position_acked_);
  position_acked_ = position;
  account();
  return std::nullopt;
}

std::optional<Event> Session::on_close(Bytes payload) {
  closed_ = {{link_code(load<std::uint16_t>(payload.data())), std::string(as_text(payload.subspan(2)))}, true};
  state_ = State::Closed;
  return Event{.kind = EventKind::Closed};
}

}  // namespace cloudbus
