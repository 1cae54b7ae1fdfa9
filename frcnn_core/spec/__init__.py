"""The spec language: protobuf text in, a checked message with defaults out."""
