import java.nio.ByteBuffer;

/**
 * One account's state in one byte array: 30 daily panes of two measures, the day they reach to, the score last published.
 * Totals are summed from the panes, so late events need no special case.
 */
final class Row {
  static final long DAY_MS = 86_400_000L;
  static final int WINDOW_DAYS = 30;
  static final double EVENTS_HUNDRED_AT = 80;
  static final double VOLUME_HUNDRED_AT = 160;

  private static final int NEWEST_DAY = 0;
  private static final int PUBLISHED = NEWEST_DAY + Integer.BYTES;
  private static final int EVENTS = PUBLISHED + Double.BYTES;
  private static final int VOLUME = EVENTS + WINDOW_DAYS * Integer.BYTES;
  private static final int SIZE = VOLUME + WINDOW_DAYS * Integer.BYTES;

  private final ByteBuffer bytes;

  private Row(ByteBuffer bytes) {
    this.bytes = bytes;
  }

  /** A row without events and without a published score. */
  static Row fresh(int day) {
    ByteBuffer bytes = ByteBuffer.allocate(SIZE);
    bytes.putInt(NEWEST_DAY, day);
    bytes.putDouble(PUBLISHED, Double.NaN);
    return new Row(bytes);
  }

  /** A copy: the store's array may be in its cache or on its way to the changelog. */
  static Row copyOf(byte[] stored) {
    return new Row(ByteBuffer.wrap(stored.clone()));
  }

  byte[] toBytes() {
    return bytes.array();
  }

  int newestDay() {
    return bytes.getInt(NEWEST_DAY);
  }

  double published() {
    return bytes.getDouble(PUBLISHED);
  }

  void setPublished(double score) {
    bytes.putDouble(PUBLISHED, score);
  }

  /** Empties the panes that the window has left behind. Days before the newest one change nothing. */
  void advanceTo(int day) {
    int newest = newestDay();
    if (day <= newest) {
      return;
    }
    for (int past = Math.max(newest + 1, day - WINDOW_DAYS + 1); past <= day; past++) {
      int slot = past % WINDOW_DAYS * Integer.BYTES;
      bytes.putInt(EVENTS + slot, 0);
      bytes.putInt(VOLUME + slot, 0);
    }
    bytes.putInt(NEWEST_DAY, day);
  }

  /** Adds one event; false when it is older than the window. */
  boolean add(int day, int count) {
    if (day <= newestDay() - WINDOW_DAYS) {
      return false;
    }
    int slot = day % WINDOW_DAYS * Integer.BYTES;
    bytes.putInt(EVENTS + slot, bytes.getInt(EVENTS + slot) + 1);
    bytes.putInt(VOLUME + slot, bytes.getInt(VOLUME + slot) + count);
    return true;
  }

  double score() {
    long events = 0;
    long volume = 0;
    for (int slot = 0; slot < WINDOW_DAYS * Integer.BYTES; slot += Integer.BYTES) {
      events += bytes.getInt(EVENTS + slot);
      volume += bytes.getInt(VOLUME + slot);
    }
    double eventPoints = Math.min(100.0, 100.0 * events / EVENTS_HUNDRED_AT);
    double volumePoints = Math.min(100.0, 100.0 * volume / VOLUME_HUNDRED_AT);
    return (eventPoints + volumePoints) / 2;
  }
}
