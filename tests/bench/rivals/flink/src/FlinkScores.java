import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * The benchmark's work as a Flink program, in the local cluster that Flink starts inside one JVM. Arguments: bootstrap,
 * group, input topic, output topic, checkpoint folder, parallelism. Runs until SIGTERM.
 *
 * <p>State is on the heap and goes to the folder with each checkpoint; after it the offsets are committed to the group.
 */
public final class FlinkScores {
  private FlinkScores() {}

  public static void main(String[] args) throws Exception {
    Configuration settings = new Configuration();
    settings.set(StateBackendOptions.STATE_BACKEND, "hashmap");
    settings.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
    settings.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + args[4]);
    settings.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, Duration.ofSeconds(1));
    StreamExecutionEnvironment flink =
        StreamExecutionEnvironment.createLocalEnvironment(Integer.parseInt(args[5]), settings);
    flink.getConfig().enableObjectReuse();
    flink
        .fromSource(source(args), WatermarkStrategy.<Usage>forMonotonousTimestamps()
            .withTimestampAssigner((usage, recordTime) -> usage.time), "usage")
        .keyBy(usage -> usage.account)
        .process(new ScoreFunction())
        .sinkTo(sink(args));
    flink.execute("scores");
  }

  private static KafkaSource<Usage> source(String[] args) {
    return KafkaSource.<Usage>builder()
        .setBootstrapServers(args[0])
        .setGroupId(args[1])
        .setTopics(args[2])
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setValueOnlyDeserializer(new UsageReader())
        .setProperty("max.poll.records", "10000")
        .build();
  }

  private static KafkaSink<Change> sink(String[] args) {
    return KafkaSink.<Change>builder()
        .setBootstrapServers(args[0])
        .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
        .setRecordSerializer(new ChangeWriter(args[3]))
        .setProperty("batch.size", Integer.toString(256 * 1024))
        .setProperty("linger.ms", "5")
        .build();
  }
}
