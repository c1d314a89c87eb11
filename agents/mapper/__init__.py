"""`vitals mapper`: records of other systems on Kafka become events on the input topics."""
