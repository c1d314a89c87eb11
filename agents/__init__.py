"""Everything that touches the world: Kafka, Faust, clocks, files, terminals."""
