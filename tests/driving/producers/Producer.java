import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes the lines of a file to Kafka with Kafka's own client: topic, key and value, separated by tabs. */
public final class Producer {
  public static void main(String[] arguments) throws Exception {
    var text = new StringSerializer();
    Map<String, Object> settings = Map.of("bootstrap.servers", arguments[0]);
    try (var producer = new KafkaProducer<String, String>(settings, text, text)) {
      for (String line : Files.readAllLines(Path.of(arguments[1]), StandardCharsets.UTF_8)) {
        String[] fields = line.split("\t", 3);
        producer.send(new ProducerRecord<>(fields[0], fields[1], fields[2])).get();
      }
    }
  }
}
