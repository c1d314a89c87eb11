"""What crosses the wire: messages, codecs, topics and the fields of each source, as data."""
