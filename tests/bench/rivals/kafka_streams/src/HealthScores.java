import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.BytesDeserializer;
import org.apache.kafka.common.serialization.BytesSerializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.state.Stores;

/**
 * The benchmark's work as a Kafka Streams program. Arguments: bootstrap, application id, input topic, output topic,
 * EACH or CONFLATED, state folder, then settings as name=value. Runs until SIGTERM; prints a JSON line for each restored partition.
 */
public final class HealthScores {
  private HealthScores() {}

  public static void main(String[] args) {
    Properties settings = settings(args);
    RestoreReport restoreReport = new RestoreReport();
    ScoreProcessor.Publishing publishing = ScoreProcessor.Publishing.valueOf(args[4]);
    KafkaStreams streams = new KafkaStreams(
        topology(args[2], args[3], () -> new ScoreProcessor(publishing, restoreReport)), settings);
    streams.setGlobalStateRestoreListener(restoreReport);
    streams.setUncaughtExceptionHandler(error -> {
      error.printStackTrace();
      Runtime.getRuntime().halt(1);
      return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
    streams.start();
  }

  private static Properties settings(String[] args) {
    Properties settings = new Properties();
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[1]);
    settings.put(StreamsConfig.STATE_DIR_CONFIG, args[5]);
    // The processors ask for commits. A commit that one partition asks for takes the thread's others with it, published or
    // not, so each of the four has a thread of its own.
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 600_000);
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG), 900_000);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 4);
    settings.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L * 1024 * 1024);
    settings.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    settings.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
    settings.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 * 1024);
    for (int position = 6; position < args.length; position++) {
      String[] setting = args[position].split("=", 2);
      settings.put(setting[0], setting[1]);
    }
    return settings;
  }

  private static Topology topology(
      String input, String output, ProcessorSupplier<Bytes, byte[], Bytes, byte[]> scoring) {
    Topology topology = new Topology();
    topology.addSource("usage", new BytesDeserializer(), new ByteArrayDeserializer(), input);
    topology.addProcessor("score", scoring, "usage");
    topology.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(ScoreProcessor.STORE), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingEnabled(),
        "score");
    topology.addSink("changes", output, new BytesSerializer(), new ByteArraySerializer(), "score");
    return topology;
  }
}
