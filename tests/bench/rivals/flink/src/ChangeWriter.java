import java.nio.charset.StandardCharsets;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Writes changes as JSON, keyed by account. */
public final class ChangeWriter implements KafkaRecordSerializationSchema<Change> {
  private static final long serialVersionUID = 1L;

  private final String topic;

  ChangeWriter(String topic) {
    this.topic = topic;
  }

  @Override
  public ProducerRecord<byte[], byte[]> serialize(Change change, KafkaSinkContext context, Long timestamp) {
    byte[] key = change.account.getBytes(StandardCharsets.UTF_8);
    return new ProducerRecord<>(topic, null, change.time, key, change.toJson().getBytes(StandardCharsets.UTF_8));
  }
}
