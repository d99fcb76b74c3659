#include "parallel/transport.h"

namespace pcpp {

std::size_t Exchange::sent_bytes() const {
  std::size_t bytes = 0;
  for (const SendPiece& piece : sends) bytes += piece.bytes;
  return bytes;
}

Transport::~Transport() = default;
Hub::~Hub() = default;

}  // namespace pcpp
