import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.streams.processor.StateRestoreListener;

/** Prints, as each partition's rows are ready, how many accounts are and the seconds since the first one began. */
final class RestoreReport implements StateRestoreListener {
  private long startedAt;
  private long accounts;

  @Override
  public synchronized void onRestoreStart(TopicPartition partition, String store, long from, long to) {
    if (startedAt == 0) {
      startedAt = System.nanoTime();
    }
  }

  @Override
  public void onBatchRestored(TopicPartition partition, String store, long end, long records) {}

  @Override
  public void onRestoreEnd(TopicPartition partition, String store, long records) {}

  /** Called by a processor that found its rows restored. */
  synchronized void restored(int rows) {
    accounts += rows;
    double seconds = startedAt == 0 ? 0 : (System.nanoTime() - startedAt) / 1e9;
    System.err.println("{\"event\": \"restored\", \"accounts\": " + accounts + ", \"seconds\": " + seconds + "}");
  }
}
