/** One account's state: 30 daily panes of two measures, the day they reach to, the score last published. */
public final class Panes {
  static final long DAY_MS = 86_400_000L;
  static final int WINDOW_DAYS = 30;
  static final double EVENTS_HUNDRED_AT = 80;
  static final double VOLUME_HUNDRED_AT = 160;

  public int day;
  public double published = Double.NaN;
  public int[] events = new int[WINDOW_DAYS];
  public int[] volume = new int[WINDOW_DAYS];

  public Panes() {}

  /** Empties the panes that the window has left behind. Days before the newest one change nothing. */
  void advanceTo(int to) {
    for (int past = Math.max(day + 1, to - WINDOW_DAYS + 1); past <= to; past++) {
      events[past % WINDOW_DAYS] = 0;
      volume[past % WINDOW_DAYS] = 0;
    }
    day = Math.max(day, to);
  }

  /** Adds one event unless it is older than the window. */
  void add(int eventDay, int count) {
    if (eventDay > day - WINDOW_DAYS) {
      events[eventDay % WINDOW_DAYS] += 1;
      volume[eventDay % WINDOW_DAYS] += count;
    }
  }

  /** Whether events are left that time can move out of the window. */
  boolean isEmpty() {
    for (int count : events) {
      if (count > 0) {
        return false;
      }
    }
    return true;
  }

  double score() {
    long eventTotal = 0;
    long volumeTotal = 0;
    for (int slot = 0; slot < WINDOW_DAYS; slot++) {
      eventTotal += events[slot];
      volumeTotal += volume[slot];
    }
    double eventPoints = Math.min(100.0, 100.0 * eventTotal / EVENTS_HUNDRED_AT);
    double volumePoints = Math.min(100.0, 100.0 * volumeTotal / VOLUME_HUNDRED_AT);
    return (eventPoints + volumePoints) / 2;
  }
}
